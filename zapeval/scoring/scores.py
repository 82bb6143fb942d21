"""Scores: from a tally to every number of a scorecard.

``average`` is the unweighted mean over the series that are not held out, as in the papers;
``average:GROUP`` the same within a group; ``pooled`` weights those series by their windows. In
every row ``mse_pooled`` weights them by their errors, one for each window, position and scored
neuron.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.scoring.metrics import METRICS, mean_error
from zapeval.scoring.scorecard import Score, Summary
from zapeval.scoring.tally import Cell, Tally


def scores_of(tally: Tally, benchmark: Benchmark) -> tuple[Score, ...]:
    """Returns every score: series in the benchmark's order, then averages, then pooled."""
    names = [series.name for series in benchmark.series]
    metrics = (*METRICS, *benchmark.extra_metrics)
    found = {
        (name, step, metric): _score(tally.cell(name, step), metric)
        for name in names
        for step in range(1, benchmark.steps + 1)
        for metric in metrics
    }
    scores = list(found.values())
    for row, members in averages(benchmark):
        for step in range(1, benchmark.steps + 1):
            for metric in metrics:
                of = [found[series.name, step, metric] for series in members]
                weights = weights_of(row, metric, [tally.cell(s.name, step) for s in members])
                scores.append(_mean(row, step, metric, of, weights))
    return tuple(scores)


def weights_of(row: str, metric: str, cells: Sequence[Cell]) -> list[float]:
    """Returns what the series of a row weigh in the mean of a metric at one step.

    Args:
        row: ``average``, ``average:GROUP`` or ``pooled``.
        metric: The metric.
        cells: The cell of each series at that step.
    """
    if metric == "mse_pooled":
        return [float(len(cell.squared) * cell.counts) for cell in cells]
    return [float(len(cell.squared)) if row == "pooled" else 1.0 for cell in cells]


def averages(benchmark: Benchmark) -> list[tuple[str, list[Series]]]:
    """Returns the rows that are means over series, each with its members."""
    trained = [series for series in benchmark.series if not series.held_out]
    groups = sorted({series.group for series in trained if series.group})
    by_group = [(f"average:{g}", [s for s in trained if s.group == g]) for g in groups]
    return [("average", trained), *by_group, ("pooled", trained)]


def summary_of(scores: Sequence[Score], benchmark: Benchmark) -> Summary:
    """Returns the mean of the average's primary metric over the summary steps."""
    values = [
        score.value
        for score in scores
        if score.series == "average"
        and score.metric == benchmark.primary
        and score.step in benchmark.summary_steps
    ]
    known = [value for value in values if value is not None]
    mean = float(np.mean(known)) if len(known) == len(values) else None
    return Summary(metric=benchmark.primary, value=mean)


def _score(cell: Cell, metric: str) -> Score:
    values: dict[str, Callable[[], float | None]] = {
        "mae": lambda: mean_error(cell.absolute, cell.counts),
        "mse": lambda: mean_error(cell.squared, cell.counts),
        "mse_pooled": lambda: mean_error(cell.squared, cell.counts),
        "correlation": lambda: cell.correlation,
    }
    undefined = cell.undefined if metric == "correlation" else 0
    return Score(
        series=cell.series,
        step=cell.step,
        metric=metric,
        value=values[metric](),
        undefined=undefined,
    )


def _mean(row: str, step: int, metric: str, of: Sequence[Score], weights: list[float]) -> Score:
    values = [score.value for score in of]
    known = [value for value in values if value is not None]
    # A null member makes the mean null: leaving it out would compare unlike averages.
    mean = float(np.average(known, weights=weights)) if len(known) == len(values) else None
    undefined = sum(score.undefined for score in of)
    return Score(series=row, step=step, metric=metric, value=mean, undefined=undefined)
