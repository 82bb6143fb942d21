"""Agreement: numbers that were computed here, beside the published ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.benchmarks.published import DECIMALS, TOLERANCE, Published
from zapeval.errors import InvalidInput
from zapeval.scoring.environment import environment

SCHEMA = "zapeval.conformance/1"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One number that is known twice.

    Attributes:
        series: Name of the condition.
        step: Steps ahead, 1-based.
        metric: ``mae`` (df/f) or ``mse`` (its square).
        ours: The number that was computed here.
        published: The published one.
    """

    series: str
    step: int
    metric: str
    ours: float
    published: float

    def __str__(self) -> str:
        numbers = f"{self.ours:.10f} here, {self.published:.10f} published"
        return f"{self.metric} of {self.series} at step {self.step}: {numbers}"

    @property
    def difference(self) -> float:
        """Ours less the published number."""
        return self.ours - self.published

    @property
    def agrees(self) -> bool:
        """Whether the difference, rounded to 8 decimals, is zero."""
        return abs(self.difference) <= TOLERANCE


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One condition as it was scored: windows, neurons, digests of targets and of predictions."""

    series: str
    windows: int
    neurons: int
    data: str
    predictions: str


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Every comparison, with the identity of both sides.

    Attributes:
        benchmark: The benchmark.
        forecaster: Name of what forecast.
        version: Its version.
        context: Its context length in frames.
        recording: URI of the recording.
        published: The published numbers.
        scored: What was scored.
        comparisons: Every number: metric by metric, conditions in order, step by step.
    """

    benchmark: Benchmark
    forecaster: str
    version: str
    context: int
    recording: str
    published: Published
    scored: tuple[Scored, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def disagreements(self) -> tuple[Comparison, ...]:
        """The numbers that differ."""
        return tuple(one for one in self.comparisons if not one.agrees)

    @property
    def largest(self) -> Comparison:
        """The number that differs most, if only in later decimals."""
        return max(self.comparisons, key=lambda one: abs(one.difference))

    def at(self, metric: str, series: str, step: int) -> Comparison:
        """Returns one comparison."""
        return next(
            one
            for one in self.comparisons
            if (one.metric, one.series, one.step) == (metric, series, step)
        )

    def to_json(self) -> str:
        """Returns everything as JSON (schema ``zapeval.conformance/1``)."""
        document = {
            "schema": SCHEMA,
            "benchmark": {
                "id": self.benchmark.id,
                "version": self.benchmark.version,
                "context": self.context,
                "digest": self.benchmark.digest,
            },
            "forecaster": {"name": self.forecaster, "version": self.version},
            "recording": self.recording,
            "published": {
                "uri": self.published.uri,
                "digest": self.published.digest,
                "xids": self.published.xids,
                "ignored_conditions": self.published.ignored,
            },
            "decimals": DECIMALS,
            "compared": len(self.comparisons),
            "disagreements": len(self.disagreements),
            "agrees": not self.disagreements,
            "series": [asdict(one) for one in self.scored],
            "values": [
                asdict(one) | {"difference": one.difference, "agrees": one.agrees}
                for one in self.comparisons
            ],
            "environment": environment(),
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"


def require_agreement(agreement: Agreement) -> None:
    """Checks that all numbers agree.

    Raises:
        InvalidInput: Some differ; names the first and the largest.
    """
    differ = agreement.disagreements
    if not differ:
        return
    largest = agreement.largest
    neurons = max(one.neurons for one in agreement.scored)
    raise InvalidInput(
        f"{agreement.published.uri}: {len(differ):,} of {len(agreement.comparisons):,} values "
        f"differ in the first {DECIMALS} decimals from those of {agreement.recording} "
        f"({neurons:,} neurons)\n"
        f"first: {differ[0]}\nlargest, by {abs(largest.difference):.1e}: {largest}"
        f"{_rounded(agreement)}",
        [str(one) for one in differ],
    )


def plain_agreement(agreement: Agreement, steps: Sequence[int]) -> str:
    """Returns the numbers at some steps as aligned text; prose begins with ``#``."""
    lines = [
        line for metric in agreement.published.metrics for line in _table(agreement, metric, steps)
    ]
    prose = [
        f"recording {agreement.recording}",
        f"published {agreement.published.uri}",
        *(
            f"left out, as the benchmark has no such condition: {n}"
            for n in agreement.published.ignored
        ),
        _summary(agreement),
    ]
    return "\n".join(lines + [f"# {line}" for line in prose])


def _table(agreement: Agreement, metric: str, steps: Sequence[int]) -> Iterator[str]:
    yield (
        f"# {metric} of {agreement.forecaster}, context {agreement.context}, on "
        f"{agreement.benchmark.label}"
    )
    names = [series.name for series in agreement.benchmark.series]
    width = max(map(len, names))

    def line(name: str, kind: str, cells: Iterable[str]) -> str:
        return f"{name:<{width}}  {kind:<10}" + "".join(f"  {cell:>10}" for cell in cells)

    yield line("", "", (f"step {step}" for step in steps))
    for name in names:
        row = [agreement.at(metric, name, step) for step in steps]
        yield line(name, "here", (f"{one.ours:.{DECIMALS}f}" for one in row))
        yield line("", "published", (f"{one.published:.{DECIMALS}f}" for one in row))
        yield line("", "difference", (f"{one.difference:+.1e}" for one in row))


def _summary(agreement: Agreement) -> str:
    """Returns how many numbers agree, and how far apart they are at most."""
    compared, largest = len(agreement.comparisons), agreement.largest
    kinds = " and ".join(agreement.published.metrics)
    series, steps = len(agreement.benchmark.series), agreement.benchmark.steps
    return (
        f"{compared - len(agreement.disagreements):,} of {compared:,} values ({kinds} of {series} "
        f"conditions, {steps} steps) agree to {DECIMALS} decimals; largest difference "
        f"{abs(largest.difference):.1e}, {largest.metric} of {largest.series} at step "
        f"{largest.step}"
    )


def _rounded(agreement: Agreement) -> str:
    """Returns a hint where the published numbers have too few decimals to agree."""
    exponents = [Decimal(repr(one.published)).as_tuple().exponent for one in agreement.comparisons]
    most = max(-exponent for exponent in exponents if isinstance(exponent, int))
    return f"\nthe published values have at most {most} decimals" if most < DECIMALS else ""
