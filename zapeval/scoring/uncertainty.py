"""The uncertainty of a scorecard: 95 % intervals from the sums of each window.

Where time is sampled (conditions of one fish), errors are put in the order of the frames that they
are about, and the long-run variance of that series is taken (longrun.py). A mean over several steps
collects all errors about one frame first: windows share frames, and taken window by window such a
mean looks far smoother than it is. A correlation is treated likewise, by each window's influence on
it. Series are independent of each other. Where series are sampled (worms, many fish), the spread
between series is what counts, and single ones have no interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.scoring.longrun import FEWEST, LongRun, long_run
from zapeval.scoring.metrics import METRICS, range_of
from zapeval.scoring.scorecard import Score, Summary
from zapeval.scoring.scores import averages, weights_of
from zapeval.scoring.student import critical
from zapeval.scoring.tally import Cell, Tally

LEVEL = 0.95
"""Level of every interval."""

FEWEST_SERIES = 5
"""Sampled series below which their spread is not known well enough."""

METHOD_TIME = "long-run variance, equal-weighted cosine, prewhitened; Student's t"
METHOD_SERIES = "variance between series; Student's t"

FEW = f"fewer than {FEWEST_SERIES} series to average"
SINGLE = "single series have none: series are what is sampled"
POOLED = "positions of next-step windows overlap in time; sample series to have intervals"
ON_REQUEST = "correlations have intervals on request"
UNDEFINED = "undefined scores have none"

Intervals = Literal["errors", "all", "none"]
"""Scores that get intervals: those that are means of errors, all, or none."""

ERRORS = ("mae", "mse")
"""Metrics that are means of errors."""

Key = tuple[str, int, str]
"""Row, step and metric of a score; the summary stands at step 0 of row ``summary``."""


@final
@dataclass(frozen=True, kw_only=True)
class Spread:
    """Variance of a score, and the degrees of freedom behind it."""

    variance: float
    degrees: float

    def around(
        self, value: float, ends: tuple[float, float] = (-math.inf, math.inf)
    ) -> tuple[float, float]:
        """Returns the interval around a value, as far as it lies between two ends."""
        half = critical(self.degrees, LEVEL) * math.sqrt(self.variance)
        return max(ends[0], value - half), min(ends[1], value + half)


def mean_spread(parts: Sequence[Spread], weights: Sequence[float]) -> Spread:
    """Returns the spread of a weighted mean of independent scores.

    Degrees of freedom: Satterthwaite 1946, Biometrics Bulletin 2(6).
    """
    shares = np.asarray(weights, float) / sum(weights)
    terms = [s * s * part.variance for s, part in zip(shares, parts, strict=True)]
    total = sum(terms)
    if not total:
        return Spread(variance=0.0, degrees=min(part.degrees for part in parts))
    below = sum((t / total) ** 2 / part.degrees for t, part in zip(terms, parts, strict=True))
    return Spread(variance=total, degrees=1 / below)


def about_frames(
    origins: np.ndarray, values: np.ndarray, weights: Mapping[int, float]
) -> np.ndarray:
    """Returns what is about each frame, added up to a weighted mean of step scores.

    Args:
        origins: Origin of each window, int ``[windows]``.
        values: A value of each window and step, float64 ``[windows, steps, columns]``.
        weights: Step (1-based) to weight.

    Returns:
        Centred contributions in the order of frames, float64 ``[frames, columns]``, over the
        frames that any value is about; their sum is the deviation of the mean.
    """
    steps = np.array(sorted(weights))
    chosen = values[:, steps - 1]
    shares = np.array([weights[step] for step in steps]) / len(values)
    parts = (chosen - chosen.mean(axis=0)) * shares[None, :, None]
    frames, where = np.unique(origins[:, None] + steps - 1, return_inverse=True)
    total = np.zeros((len(frames), values.shape[2]))
    np.add.at(total, where.reshape(parts.shape[:2]), parts)
    return total


def enough(origins: Sequence[int]) -> bool:
    """Tells whether a series has windows enough for an estimate; equal ones count once."""
    return len(set(origins)) >= FEWEST


def deviations(origins: Sequence[int], values: np.ndarray, weights: Mapping[int, float]) -> LongRun:
    """Returns the long-run coefficients of a mean of step scores of one series.

    Args:
        origins: Origin of each window, enough of them.
        values: A value of each window and step, float64 ``[windows, steps, columns]``: its mean
            errors, or differences of two forecasters' errors.
        weights: Step (1-based) to weight; they add up to 1.
    """
    return long_run(about_frames(np.asarray(origins), values, weights))


def contributions(tally: Tally, series: str, metrics: Sequence[str]) -> np.ndarray:
    """Returns what each window contributes to the scores of a series.

    Args:
        tally: The sums.
        series: Name of the series.
        metrics: Their order in the last axis.

    Returns:
        float64 ``[windows, steps, metrics]``: mean errors, and influences on the mean
        correlation; zeros where a score is undefined.
    """
    cells = tally.of_series(series)
    return np.stack([np.stack([_of(c, m) for m in metrics], axis=1) for c in cells], axis=1)


def _of(cell: Cell, metric: str) -> np.ndarray:
    if metric == "correlation":
        return np.zeros_like(cell.absolute) if cell.influence is None else cell.influence
    sums = cell.absolute if metric == "mae" else cell.squared
    return sums / max(cell.counts, 1)


def with_intervals(
    scores: Sequence[Score],
    summary: Summary,
    tally: Tally,
    benchmark: Benchmark,
    intervals: Intervals = "errors",
) -> tuple[tuple[Score, ...], Summary, dict[str, object]]:
    """Returns scores and summary with their intervals, and how these were made.

    Args:
        scores: Every score.
        summary: The summary.
        tally: The sums behind them; with influences where all scores are to have intervals.
        benchmark: The benchmark.
        intervals: Which scores get intervals.
    """
    reasons = [UNDEFINED] if any(score.value is None for score in scores) else []
    if benchmark.sampled == "series":
        spreads = _between_series(scores, tally, benchmark)
        few = sum(not series.held_out for series in benchmark.series) < FEWEST_SERIES
        return _applied(scores, summary, spreads, METHOD_SERIES, [FEW if few else SINGLE, *reasons])
    if benchmark.protocol == "next-step":
        return _applied(scores, summary, {}, METHOD_TIME, [POOLED, *reasons])
    short = [series.name for series in benchmark.series if not enough(series.origins)]
    if short:
        reasons.insert(0, f"fewer than {FEWEST} windows: {', '.join(short)}")
    if intervals == "errors":
        reasons.insert(0, ON_REQUEST)
    metrics = METRICS if intervals == "all" else ERRORS
    return _applied(scores, summary, _in_time(tally, benchmark, metrics), METHOD_TIME, reasons)


def _in_time(tally: Tally, benchmark: Benchmark, metrics: Sequence[str]) -> dict[Key, Spread]:
    """Returns the spread of every row where windows in time are sampled."""
    found: dict[Key, Spread] = {}
    weights = {step: 1 / len(benchmark.summary_steps) for step in benchmark.summary_steps}
    keys = [(step + 1, metric) for step in range(benchmark.steps) for metric in metrics]
    summaries = []
    for series in benchmark.series:
        if not enough(series.origins):
            continue
        values = contributions(tally, series.name, metrics)
        # A step by itself: the order of windows is that of the frames that they are about.
        alone = deviations(series.origins, values.reshape(len(values), 1, -1), {1: 1.0})
        for (step, metric), spread in zip(keys, spreads_of(alone), strict=True):
            found[series.name, step, metric] = spread
        if not series.held_out and benchmark.primary in metrics:
            column = metrics.index(benchmark.primary)
            summaries += spreads_of(
                deviations(series.origins, values[..., column : column + 1], weights)
            )
    found |= _averaged(found, benchmark, metrics)
    if len(summaries) == sum(not series.held_out for series in benchmark.series):
        found["summary", 0, benchmark.primary] = mean_spread(summaries, [1.0] * len(summaries))
    return found


def spreads_of(found: LongRun) -> list[Spread]:
    """Returns the spread of each column."""
    pairs = zip(found.variance, found.degrees, strict=True)
    return [Spread(variance=float(variance), degrees=float(degrees)) for variance, degrees in pairs]


def _averaged(
    found: Mapping[Key, Spread], benchmark: Benchmark, metrics: Sequence[str]
) -> dict[Key, Spread]:
    """Returns the spread of the averages, where every member has one."""
    rows: dict[Key, Spread] = {}
    for row, members in averages(benchmark):
        weights = [float(s.windows) if row == "pooled" else 1.0 for s in members]
        for step in range(1, benchmark.steps + 1):
            for metric in metrics:
                parts = [found.get((s.name, step, metric)) for s in members]
                known = [part for part in parts if part is not None]
                if len(known) == len(parts):
                    rows[row, step, metric] = mean_spread(known, weights)
    return rows


def _between_series(
    scores: Sequence[Score], tally: Tally, benchmark: Benchmark
) -> dict[Key, Spread]:
    """Returns the spread of the averages where series are sampled."""
    values = {(s.series, s.step, s.metric): s.value for s in scores}
    metrics = sorted({score.metric for score in scores})
    rows: dict[Key, Spread] = {}
    for row, members in averages(benchmark):
        cells = [tally.cell(s.name, 1) for s in members]  # series weigh the same at every step
        table = {
            (step, metric): [values[s.name, step, metric] for s in members]
            for step in range(1, benchmark.steps + 1)
            for metric in metrics
        }
        for (step, metric), column in table.items():
            spread = spread_between(column, weights_of(row, metric, cells))
            if spread is not None:
                rows[row, step, metric] = spread
        if row == "average":
            chosen = [table[step, benchmark.primary] for step in benchmark.summary_steps]
            means = [None if None in of else sum(of) / len(of) for of in zip(*chosen, strict=True)]
            spread = spread_between(means, [1.0] * len(means))
            if spread is not None:
                rows["summary", 0, benchmark.primary] = spread
    return rows


def spread_between(values: Sequence[float | None], weights: Sequence[float]) -> Spread | None:
    """Returns the spread of a weighted mean of sampled series; None where they are too few.

    The variance is that of a ratio estimator (Cochran 1977, Sampling Techniques, 6.3), which for
    equal weights is the variance between series over their number.
    """
    known = np.array([value for value in values if value is not None])
    if len(known) < max(len(values), FEWEST_SERIES):
        return None
    shares = np.asarray(weights, float) / sum(weights)
    count = len(known)
    squares = np.square(shares * (known - shares @ known)).sum()
    return Spread(variance=float(squares * count / (count - 1)), degrees=count - 1)


def _applied(
    scores: Sequence[Score],
    summary: Summary,
    spreads: Mapping[Key, Spread],
    method: str,
    reasons: Sequence[str],
) -> tuple[tuple[Score, ...], Summary, dict[str, object]]:
    def one(score: Score) -> Score:
        spread = spreads.get((score.series, score.step, score.metric))
        if spread is None or score.value is None:
            return score
        low, high = spread.around(score.value, range_of(score.metric))
        return replace(score, low=low, high=high)

    whole = spreads.get(("summary", 0, summary.metric))
    if whole is not None and summary.value is not None:
        low, high = whole.around(summary.value, range_of(summary.metric))
        summary = replace(summary, low=low, high=high)
    info: dict[str, object] = {
        "level": LEVEL,
        "method": method if spreads else None,
        "reason": "; ".join(reasons) or None,
    }
    return tuple(map(one, scores)), summary, info
