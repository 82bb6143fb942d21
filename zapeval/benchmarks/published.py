"""The published table: ZAPBench's own numbers, as its authors report them.

The file is JSON twice over: a string that holds the JSON of a pandas table. Its rows are found by
what they say, never by where they stand: the public code orders its conditions in two ways.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from zapeval.benchmarks.dataframe import Row, read_rows
from zapeval.benchmarks.recipe import Recipe
from zapeval.benchmarks.zapbench import (
    CONDITIONS,
    HORIZON,
    MIRRORED,
    PUBLIC,
    PUBLISHED,
    VOLUMES,
    ZapBench,
    mirror_folder,
)
from zapeval.errors import InvalidInput, NotFound, Refused, StorageError
from zapeval.recordings.stores import Store, open_store

TABLE = next(item.target for item in MIRRORED if item.source == PUBLISHED)
"""Name of the table in a local mirror."""

TABLE_LIMIT = 64 << 20
"""Largest table in bytes; 7 methods, 2 context lengths and 3 seeds make about 12,000 rows."""

DECIMALS = 8
"""Decimals to which numbers agree."""

TOLERANCE = 0.5 * 10.0**-DECIMALS
"""Largest difference that is zero when rounded to DECIMALS.

Differences are rounded, not the numbers: two that lie on either side of 0.019999995 would differ in
their last decimal, however near they are.
"""

COLUMNS = ("method", "context", "condition", "steps_ahead", "MAE")
"""Columns that the table has; ``MSE`` and ``xid`` (a run) may be there too."""

METRICS = {"mae": "MAE", "mse": "MSE"}
"""Metric to the column that holds it."""

_LARGEST = sys.float_info.max
_LISTED = 12

Cell = tuple[str, str, int]
"""Metric, condition, and step (1-based)."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was published of one method at one context length.

    Attributes:
        uri: The table.
        digest: SHA-256 of its bytes.
        values: The number of each metric, condition and step; complete for each metric in it.
        xids: The runs that they come from, sorted; equal numbers were published for all.
        ignored: Conditions of the table that the benchmark does not have.
    """

    uri: str
    digest: str
    values: Mapping[Cell, float]
    xids: tuple[str, ...]
    ignored: tuple[str, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are there: ``mae``, and ``mse`` where the table has it."""
        return tuple(name for name in METRICS if (name, CONDITIONS[0], 1) in self.values)


@dataclass(kw_only=True)
class _Reading:
    """What has been read of a table so far."""

    uri: str
    what: str
    values: dict[Cell, float] = field(default_factory=dict)
    runs: dict[Cell, str] = field(default_factory=dict)
    xids: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)

    @property
    def where(self) -> str:
        return f"{self.uri}: {self.what}"


def require_published(recipe: Recipe) -> None:
    """Checks that there are published numbers for a benchmark.

    Raises:
        Refused: There are none.
    """
    if not isinstance(recipe, ZapBench):
        raise Refused(
            f"{recipe.id}: no numbers are published for it, so there is nothing to compare with; "
            f"there are for {ZapBench.id}"
        )


def read_published(data: str | None, table: str | None, *, method: str, context: int) -> Published:
    """Returns the published numbers of a method that gives the same ones in every run.

    Args:
        data: Folder or URI of the recording, where the table may lie too; None means the default.
        table: The table, or the folder that holds it; None looks beside the recording, in the local
            mirror, then in the public bucket.
        method: Name of the method in the table.
        context: Context length in frames.

    Raises:
        NotFound: There is no table, or it has not that method or context length.
        InvalidInput: The table is too large, damaged, lacks rows, or contradicts itself.
        StorageError: The storage did not answer.
    """
    uri, content = find_table(data, table)
    reading = _Reading(uri=uri, what=f"{method}, context {context}")
    for number, row in _chosen(read_rows(content, uri, COLUMNS), uri, method, context):
        _take(reading, number, row)
    _check_steps(reading)
    _check_complete(reading)
    return Published(
        uri=uri,
        digest=f"sha256:{hashlib.sha256(content).hexdigest()}",
        values=reading.values,
        xids=tuple(sorted(reading.xids)),
        ignored=tuple(sorted(reading.ignored)),
    )


def find_table(data: str | None, table: str | None) -> tuple[str, bytes]:
    """Returns where the published table is, and its bytes; the arguments of read_published.

    Raises:
        NotFound: It is not where it was looked for.
        InvalidInput: It is too large.
        StorageError: The storage did not answer.
    """
    looked = []
    for store, key in _given(table) if table is not None else _places(data):
        try:
            content = store.read(key, TABLE_LIMIT)
        except StorageError as error:
            raise StorageError(f"{error}; give a copy of the table with --table") from error
        if content is not None:
            return f"{store}/{key}", content
        looked.append(f"{store}/{key}")
    raise NotFound(
        f"published table: is not at {' nor at '.join(looked)}; give it with --table, or fetch it "
        "with `zapeval data fetch zapbench`"
    )


def _given(table: str) -> Iterator[tuple[Store, str]]:
    store = open_store(table)
    folder = not store.uri.endswith(".json") if store.path is None else store.path.is_dir()
    if folder:
        yield store, TABLE
    elif store.path is not None:
        yield open_store(store.path.parent), store.path.name
    else:
        parent, _, name = store.uri.rpartition("/")
        yield open_store(parent), name


def _places(data: str | None) -> Iterator[tuple[Store, str]]:
    if data is not None:
        store = open_store(data)
        # First, because a bucket that may not be listed answers for an absent key with 403.
        if store.uri.endswith(f"/{VOLUMES}"):
            yield open_store(store.uri.removesuffix(f"/{VOLUMES}")), PUBLISHED
        yield store, TABLE
    yield open_store(mirror_folder()), TABLE
    yield open_store(PUBLIC), PUBLISHED


def _chosen(
    rows: Iterator[Row], where: str, method: str, context: int
) -> Iterator[tuple[int, Row]]:
    """Yields the rows of a method and context length with their numbers."""
    methods: set[str] = set()
    contexts: set[str] = set()
    some = False
    for number, row in enumerate(rows):
        methods.add(str(row["method"])[:40])
        if row["method"] == method:
            contexts.add(str(row["context"])[:40])
            if whole(row["context"]) == context:
                some = True
                yield number, row
    if method not in methods:
        known = ", ".join(sorted(methods)[:_LISTED]) or "none"
        raise NotFound(f"{where}: has no method {method!r}; its methods: {known}")
    if not some:
        known = ", ".join(sorted(contexts)[:_LISTED])
        raise NotFound(f"{where}: has no {method} at context {context}; its contexts: {known}")


def _take(reading: _Reading, number: int, row: Row) -> None:
    """Notes a row's numbers, which must be those of every other row of its kind."""
    name = condition_of(row["condition"])
    if name is None:
        reading.ignored.add(str(row["condition"])[:40])
        return
    where = f"{reading.uri}: row {number}"
    step, run = whole(row["steps_ahead"]), str(row.get("xid", ""))[:40]
    if step is None:
        raise InvalidInput(f"{where}: steps_ahead is {row['steps_ahead']!r:.40}, expected a number")
    reading.xids |= {run} - {""}
    for metric, column in METRICS.items():
        value = error_of(row.get(column), f"{where}: {column}")
        if value is None:
            continue
        cell = (metric, name, step)
        known = reading.values.setdefault(cell, value)
        other = reading.runs.setdefault(cell, run)
        if abs(value - known) > TOLERANCE:
            raise InvalidInput(
                f"{reading.where}: {column} of {name} at step {step} is {known!r} for xid {other} "
                f"and {value!r} for xid {run}; expected one number in every run"
            )


def error_of(value: object, where: str) -> float | None:
    """Returns an error as the table holds it, or None where it holds none.

    Raises:
        InvalidInput: It is no finite number from 0.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        raise InvalidInput(f"{where} is {value!r:.40}, expected a finite number from 0")
    return float(value)


def condition_of(value: object) -> str | None:
    """Returns the name of a condition that is given by name or by index, or None."""
    index = whole(value)
    if index is not None:
        return CONDITIONS[index] if 0 <= index < len(CONDITIONS) else None
    name = str(value).replace("_", " ").casefold()
    return name if name in CONDITIONS else None


def whole(value: object) -> int | None:
    """Returns a whole number or None; pandas may have written it as 4, 4.0 or "4"."""
    if isinstance(value, str):
        return int(value) if len(value) < 9 and value.isascii() and value.isdigit() else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _check_steps(reading: _Reading) -> None:
    steps = {step for _, _, step in reading.values}
    if steps and not 1 <= min(steps) <= max(steps) <= HORIZON:
        raise InvalidInput(
            f"{reading.where}: steps_ahead runs from {min(steps)} to {max(steps)}, expected 1 to "
            f"{HORIZON}; which step is meant is not guessed: give a table that counts from 1"
        )


def _check_complete(reading: _Reading) -> None:
    findings = []
    present = {"mae", *(metric for metric, _, _ in reading.values)}
    for metric in (metric for metric in METRICS if metric in present):
        for name in CONDITIONS:
            steps = range(1, HORIZON + 1)
            lacking = [step for step in steps if (metric, name, step) not in reading.values]
            if lacking:
                findings.append(f"{METRICS[metric]} of {name} at {_ranges(lacking)}")
    if findings:
        unknown = ", ".join(sorted(reading.ignored)[:_LISTED])
        also = f"; it has conditions that are not known: {unknown}" if unknown else ""
        raise InvalidInput(
            f"{reading.where}: lacks {'; '.join(findings)}{also}",
            [f"{reading.where}: lacks {finding}" for finding in findings],
        )


def _ranges(steps: Sequence[int]) -> str:
    """Returns ascending steps in words: ``steps 1, 4 to 7``."""
    runs = [
        [step for _, step in run]
        for _, run in groupby(enumerate(steps), key=lambda pair: pair[1] - pair[0])
    ]
    shown = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return f"step{'s' * (len(steps) > 1)} {', '.join(shown)}"
