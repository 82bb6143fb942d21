"""Evidence: scores of entries on the same windows, and how far their contrasts can be off.

A contrast is a linear combination of the entries' scores: one of them, the difference of two. Its
uncertainty is that of the same combination of errors, window by window, so what entries have in
common (hard frames are hard for all) cancels before any variance is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from zapeval.errors import NotFound, UsageError
from zapeval.reports.entries import COLUMNS, Entry
from zapeval.scoring.longrun import FEWEST, LongRun, long_run
from zapeval.scoring.scorecard import SeriesLine
from zapeval.scoring.uncertainty import (
    FEWEST_SERIES,
    POOLED,
    Spread,
    about_frames,
    enough,
    mean_spread,
)


@final
@dataclass(frozen=True, kw_only=True)
class Slice:
    """Which scores are compared: the mean over some steps and some series.

    Attributes:
        metric: ``mae`` or ``mse``.
        series: Name of a series, ``average``, ``average:GROUP`` or ``pooled``.
        steps: Steps whose mean is taken.
        members: The series that it is made of.
        weights: Their weights, which add up to 1.
    """

    metric: str
    series: str
    steps: tuple[int, ...]
    members: tuple[SeriesLine, ...]
    weights: tuple[float, ...]

    @property
    def label(self) -> str:
        """The slice in words."""
        many = "mean of steps" if len(self.steps) > 1 else "step"
        return f"{self.metric} of {self.series}, {many} {', '.join(map(str, self.steps))}"


def slice_of(
    entries: Sequence[Entry],
    *,
    metric: str | None = None,
    series: str | None = None,
    step: int | None = None,
) -> Slice:
    """Returns the slice of a metric, row and step; by default what boards rank by.

    Raises:
        UsageError: The metric is no mean of errors, or there is no such step.
        NotFound: There is no such series; lists the known.
    """
    card = entries[0].kept[0].card
    metric = metric or card.summary.metric
    if metric not in COLUMNS:
        raise UsageError(f"compare: has no differences of {metric!r}; known: {', '.join(COLUMNS)}")
    steps = tuple(map(int, card.benchmark["summary_steps"])) if step is None else (step,)
    known = len(entries[0].kept[0].sums[f"{card.series[0].name}/counts"])
    if not steps or not all(1 <= one <= known for one in steps):
        raise UsageError(f"compare: step is {step}, expected 1 to {known}")
    rows = _rows(card.series)
    row = "average" if series is None else series
    if row not in rows:
        raise NotFound(f"compare: has no series {row!r}; known: {', '.join(rows)}")
    members = rows[row]
    sizes = np.array([line.windows if row == "pooled" else 1 for line in members], float)
    weights = tuple(map(float, sizes / sizes.sum()))
    return Slice(metric=metric, series=row, steps=steps, members=members, weights=weights)


def _rows(lines: Sequence[SeriesLine]) -> dict[str, tuple[SeriesLine, ...]]:
    """Returns every row that can be compared with its members; a row of none is left out."""
    trained = [line for line in lines if not line.held_out]
    groups = sorted({line.group for line in trained if line.group})
    by_group = {f"average:{g}": tuple(s for s in trained if s.group == g) for g in groups}
    rows = {"average": tuple(trained), **by_group, "pooled": tuple(trained)}
    rows |= {line.name: (line,) for line in lines}
    return {name: members for name, members in rows.items() if members}


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Scores, and the contributions to their deviations.

    Attributes:
        values: Score of each entry, float64 ``[entries]``.
        parts: For each independent part, contributions to its deviation from its mean, float64
            ``[frames or series, entries]``; they add up to 0. None where nothing is known.
        weights: Weight of each part.
        ordered: Whether the rows of a part are in the order of time, and dependent.
        reason: Why there are no parts, or None.
    """

    values: np.ndarray
    parts: tuple[np.ndarray, ...] | None
    weights: tuple[float, ...] = (1.0,)
    ordered: bool = False
    reason: str | None = None

    def runs(self, contrasts: np.ndarray) -> tuple[LongRun, ...]:
        """Returns coefficients of each part from which variances of contrasts follow.

        Args:
            contrasts: Weight of each entry in each contrast, float64 ``[entries, contrasts]``.

        Raises:
            UsageError: Nothing is known of the uncertainty.
        """
        if self.parts is None:
            raise UsageError(f"evidence: has no variance: {self.reason}")
        of = long_run if self.ordered else between
        return tuple(_alike(part @ contrasts, of) for part in self.parts)

    def spreads(self, contrasts: np.ndarray) -> tuple[Spread, ...]:
        """Returns the spread of each contrast, ``[entries, contrasts]`` as in runs."""
        runs = self.runs(contrasts)
        variances = np.array([run.variance for run in runs])
        degrees = np.array([run.degrees for run in runs])
        return tuple(
            mean_spread(
                [
                    Spread(variance=float(variance), degrees=float(degree))
                    for variance, degree in zip(variances[:, i], degrees[:, i], strict=True)
                ],
                self.weights,
            )
            for i in range(contrasts.shape[1])
        )


def gather(entries: Sequence[Entry], chosen: Slice) -> Evidence:
    """Returns the evidence of entries on a slice, the mean over seeds for each entry."""
    shares = {step: 1 / len(chosen.steps) for step in chosen.steps}
    columns = np.array(chosen.steps) - 1
    first, means, parts = entries[0].kept[0], [], []
    for line in chosen.members:
        errors = np.stack([entry.errors(line.name, chosen.metric) for entry in entries], axis=2)
        means.append(errors[:, columns].mean(axis=(0, 1)))
        parts.append(about_frames(first.origins(line.name), errors, shares))
    table, weights = np.array(means), np.array(chosen.weights)
    # Not a matrix product: the same errors have to give the same score to the last bit.
    values = (weights[:, None] * table).sum(axis=0)
    benchmark = first.card.benchmark
    if benchmark["sampled"] == "series":
        if len(table) < FEWEST_SERIES:
            return Evidence(values=values, parts=None, reason=_few_series(chosen))
        part = weights[:, None] * (table - values)
        return Evidence(values=values, parts=(part,))
    if benchmark["protocol"] == "next-step":
        return Evidence(values=values, parts=None, reason=POOLED)
    short = [one.name for one in chosen.members if not enough(first.origins(one.name).tolist())]
    if short:
        reason = f"fewer than {FEWEST} windows: {', '.join(short)}"
        return Evidence(values=values, parts=None, reason=reason)
    return Evidence(values=values, parts=tuple(parts), weights=chosen.weights, ordered=True)


def between(part: np.ndarray) -> LongRun:
    """Returns coefficients of independent contributions, ``[series, contrasts]``.

    Their mean square is the variance between series of a ratio estimator (Cochran 1977, Sampling
    Techniques, 6.3); for equal weights and two entries the test is the paired t-test.
    """
    count = len(part)
    coefficients = np.sqrt(count) * _helmert(count).T @ part
    return LongRun(coefficients=coefficients, degrees=np.full(part.shape[1], count - 1.0))


def _helmert(count: int) -> np.ndarray:
    """Returns orthonormal columns that are orthogonal to constants, ``[count, count - 1]``."""
    rows, columns = np.indices((count, count - 1))
    below = np.where(rows <= columns, 1.0, np.where(rows == columns + 1, -(columns + 1.0), 0.0))
    basis: np.ndarray = below / np.sqrt((columns + 1.0) * (columns + 2.0))
    return basis


def _alike(part: np.ndarray, of: Callable[[np.ndarray], LongRun]) -> LongRun:
    """Returns coefficients in which equal columns of a part stay equal to the last bit."""
    # A matrix product may round the same column differently at another place.
    first: dict[bytes, int] = {}
    places = [first.setdefault(column.tobytes(), len(first)) for column in part.T.copy()]
    _, where = np.unique(places, return_index=True)
    run = of(part[:, where])
    return LongRun(coefficients=run.coefficients[:, places], degrees=run.degrees[places])


def _few_series(chosen: Slice) -> str:
    count = len(chosen.members)
    return f"series are sampled, and {chosen.series} has {count}, fewer than {FEWEST_SERIES}"
