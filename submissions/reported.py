"""Reported numbers: published scores without predictions, kept as they were reported."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.errors import InvalidInput
from zapeval.recordings.documents import DOCUMENT_LIMIT, read_document
from zapeval.recordings.stores import open_store, require

REPORTED = "reported.json"
"""Name of the file in an entry's folder."""

_Value = Annotated[float, Field(ge=0)]
_SHOWN = 6


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Source(_Part):
    """Where the numbers were taken from.

    Attributes:
        what: The file and how it names the method.
        digest: SHA-256 of the file.
    """

    what: str = Field(min_length=1, max_length=500)
    digest: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


class Curve(_Part):
    """One metric of one series over the steps from 1 on, in one run.

    Attributes:
        context: Context length in frames.
        seed: What tells the run from others.
        series: Name of a series of the benchmark.
        metric: ``mae`` or ``mse``.
        values: A number for each step.
    """

    context: int = Field(ge=1)
    seed: str = Field(pattern=r"^[\w.-]{0,40}$")
    series: str = Field(max_length=100)
    metric: Literal["mae", "mse"]
    values: list[_Value] = Field(min_length=1, max_length=10_000)


class Reported(_Part):
    """The whole file.

    Attributes:
        benchmark: ``id@version`` that the numbers are of.
        source: Where they were taken from.
        curves: The numbers.
    """

    schema_: Literal["zapeval.reported/1"] = Field(default="zapeval.reported/1", alias="schema")
    benchmark: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}@\d{1,9}$")
    source: Source
    curves: list[Curve] = Field(min_length=1, max_length=20_000)

    @property
    def contexts(self) -> tuple[int, ...]:
        """Context lengths that there are numbers of, ascending."""
        return tuple(sorted({curve.context for curve in self.curves}))

    def seeds(self, context: int) -> tuple[str, ...]:
        """Returns what tells the runs at a context length apart, in the order of the file."""
        return tuple(dict.fromkeys(c.seed for c in self.curves if c.context == context))

    def value(self, context: int, seed: str, series: str, step: int, metric: str) -> float | None:
        """Returns one number, or None where it was not reported."""
        for curve in self.curves:
            found = (curve.context, curve.seed, curve.series, curve.metric)
            if found == (context, seed, series, metric) and step <= len(curve.values):
                return curve.values[step - 1]
        return None

    def summary(self, benchmark: Benchmark, context: int, seed: str) -> float | None:
        """Returns a run's summary: the mean over series, then over the benchmark's summary steps.

        None where a number that it needs was not reported.
        """
        series = [one.name for one in benchmark.series if not one.held_out]
        curves = {
            curve.series: curve.values
            for curve in self.curves
            if (curve.context, curve.seed, curve.metric) == (context, seed, benchmark.primary)
        }
        last = max(benchmark.summary_steps)
        if any(len(curves.get(name, ())) < last for name in series):
            return None
        values = [curves[name][step - 1] for step in benchmark.summary_steps for name in series]
        return math.fsum(values) / len(values)

    def to_json(self) -> str:
        """Returns the file, a line for each curve; numbers as they were read, to the last digit."""
        said = self.model_dump(mode="json", by_alias=True)
        curves = said.pop("curves")
        head = json.dumps(said, indent=1, allow_nan=False).removesuffix("\n}")
        lines = ",\n".join(f"  {json.dumps(curve, allow_nan=False)}" for curve in curves)
        return f'{head},\n "curves": [\n{lines}\n ]\n}}\n'


def read_reported(path: Path) -> Reported:
    """Returns the reported numbers in a file.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is too large, no JSON, or does not follow the schema.
    """
    store = open_store(path.parent)
    document = read_document(store, path.name)
    if document is None:
        require(store, path.name, DOCUMENT_LIMIT)
    try:
        return Reported.model_validate(document)
    except ValidationError as error:
        found = [
            f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in error.errors(include_url=False)[:_SHOWN]
        ]
        raise InvalidInput("\n".join(found), found) from error


def findings_of(reported: Reported, benchmark: Benchmark, path: Path) -> Iterator[str]:
    """Yields what does not fit the benchmark, a sentence each."""
    names = {series.name for series in benchmark.series}
    seen: set[tuple[int, str, str, str]] = set()
    for curve in reported.curves:
        where = (
            f"{path}: {curve.metric} of {curve.series!r} at context {curve.context}, seed "
            f"{curve.seed!r}"
        )
        key = (curve.context, curve.seed, curve.series, curve.metric)
        if key in seen:
            yield f"{where}: stands twice"
        seen.add(key)
        if curve.series not in names:
            yield f"{where}: {benchmark.label} has no such series"
        if curve.context > benchmark.max_context:
            yield f"{where}: the longest context is {benchmark.max_context} frames"
        if len(curve.values) != benchmark.steps:
            yield f"{where}: {len(curve.values)} steps, expected {benchmark.steps}"
