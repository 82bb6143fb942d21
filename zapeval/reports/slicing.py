"""Slicing: from maps and groups of neurons to slices, each map read once.

A score of a group is the scorecard's (zapeval/scoring/metrics.py, scores.py) with the mean over
neurons restricted to the group; the group ``all`` holds every neuron, so its scores are those of
the scorecard, up to the float32 of the maps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zapeval.benchmarks.benchmark import Series
from zapeval.errors import NotFound, Refused
from zapeval.reports.groups import ALL, Grouping
from zapeval.reports.maps import Maps
from zapeval.reports.slices import NO_CARD, SliceRow, Slices
from zapeval.reports.tables import shortened
from zapeval.scoring.metrics import METRICS
from zapeval.scoring.scorecard import Scorecard
from zapeval.scoring.scores import averages

Rows = Sequence[tuple[str, tuple[Series, ...]]]
"""Rows of a scorecard, each with the series that it is the mean over."""

_TOLERANCE = 1e-5  # of the mean of float32 values, relative to the scorecard's


def slice_maps(
    maps: Maps,
    grouping: Grouping,
    *,
    metrics: Sequence[str] = METRICS,
    series: str | None = None,
    steps: Sequence[int] | None = None,
    card: Scorecard | None = None,
) -> Slices:
    """Returns the scores of every group, and of all neurons.

    Args:
        maps: The maps.
        grouping: Groups of the neurons of their recordings.
        metrics: Which metrics.
        series: One series, ``average``, ``average:GROUP`` or ``pooled``; None means every one.
        steps: Which steps; None means every one.
        card: The scorecard that was written with the maps.

    Raises:
        NotFound: There is no such series or metric.
        UsageError: There is no such step.
        Refused: The card is not of these maps.
        StorageError: A map can't be read.
    """
    names = {one.name: (one,) for one in maps.benchmark.series}
    means = {name: tuple(members) for name, members in averages(maps.benchmark)}
    wanted = list(names | means) if series is None else [series]
    if series is not None and series not in names | means:
        known = ", ".join(names | means)
        raise NotFound(f"series {series!r}: not in {maps.benchmark.label}; known: {known}")
    if card is not None:
        _check_card(maps, card)
    members = [(name, (names | means)[name]) for name in wanted]
    groups = _Groups(maps, grouping)
    rows: list[SliceRow] = []
    for step in range(1, maps.benchmark.steps + 1) if steps is None else steps:
        for metric in metrics:
            columns = _columns(maps, groups, members, metric, step)
            rows += _rows_of(groups, columns, members, metric, step)
    order = {name: index for index, name in enumerate((*grouping.names, ALL))}
    place = {name: index for index, name in enumerate(wanted)}
    rows.sort(key=lambda row: (order[row.group], place[row.series], row.step))
    sizes = [(name, grouping.count(index)) for index, name in enumerate(grouping.names)]
    every = sum(maps.recordings[key].neurons for key in grouping.members)
    return Slices(
        by=grouping.by,
        benchmark={"label": maps.benchmark.label, "digest": maps.benchmark.digest},
        summary_steps=maps.benchmark.summary_steps,
        groups=(*sizes, (ALL, every)),
        rows=tuple(rows),
        about=grouping.about,
        source={"name": maps.name, "reason": NO_CARD} if card is None else _source(card),
    )


@dataclass(frozen=True)
class _Column:
    """Every group in one series, the last being all neurons.

    Attributes:
        values: The score of each group.
        undefined: int64 ``[groups]``.
        scored: Which neurons were scored, bool ``[neurons]``.
    """

    values: tuple[float | None, ...]
    undefined: np.ndarray
    scored: np.ndarray


class _Groups:
    """The groups as a number a neuron; the last number is that of neurons in none."""

    def __init__(self, maps: Maps, grouping: Grouping) -> None:
        self.names = (*grouping.names, ALL)
        self._last = len(grouping.names)
        self._numbers = {
            key: np.full(maps.recordings[key].neurons, self._last) for key in grouping.members
        }
        for key, members in grouping.members.items():
            for number, neurons in enumerate(members):
                self._numbers[key][neurons] = number

    def column(self, key: str, values: np.ndarray, scored: np.ndarray) -> _Column:
        """Returns the mean over each group's neurons, from float64 and bool ``[neurons]``."""
        known = scored & ~np.isnan(values)
        of = values[known]
        numbers = self._numbers[key][known]
        sums = np.bincount(numbers, weights=of, minlength=len(self.names))
        sums[self._last] = of.sum()
        counts = self.count(key, known)
        means = sums / np.maximum(counts, 1)
        return _Column(
            values=tuple(
                float(mean) if count else None for mean, count in zip(means, counts, strict=True)
            ),
            undefined=self.count(key, scored) - counts,
            scored=scored,
        )

    def count(self, key: str, inside: np.ndarray) -> np.ndarray:
        """Returns how many neurons of each group are inside, int64 ``[groups]``."""
        counts = np.bincount(self._numbers[key][inside], minlength=len(self.names))
        counts[self._last] = inside.sum()
        return counts


def _columns(
    maps: Maps, groups: _Groups, wanted: Rows, metric: str, step: int
) -> dict[str, _Column]:
    """Returns the column of each series that a row is over."""
    found = {}
    for series in {one.name: one for _, of in wanted for one in of}.values():
        values = maps.row(series, metric, step).astype(np.float64)
        # A correlation is NaN where it is undefined too; an error only where none is scored.
        errors = values if metric != "correlation" else maps.row(series, "mae", step)
        found[series.name] = groups.column(series.recording, values, ~np.isnan(errors))
    return found


def _rows_of(
    groups: _Groups,
    columns: Mapping[str, _Column],
    wanted: Rows,
    metric: str,
    step: int,
) -> Iterator[SliceRow]:
    for name, members in wanted:
        weights = [float(one.windows) for one in members] if name == "pooled" else None
        of = [columns[one.name] for one in members]
        neurons = _different(groups, members, of)
        undefined = np.sum([column.undefined for column in of], axis=0)
        for index, group in enumerate(groups.names):
            values = [column.values[index] for column in of]
            known = [value for value in values if value is not None]
            whole = len(known) == len(values)
            yield SliceRow(
                group=group,
                series=name,
                step=step,
                metric=metric,
                value=float(np.average(known, weights=weights)) if whole else None,
                neurons=int(neurons[index]),
                undefined=int(undefined[index]),
            )


def _different(
    groups: _Groups, members: Sequence[Series], columns: Sequence[_Column]
) -> np.ndarray:
    """Returns how many different neurons of each group were scored in any of the series."""
    scored: dict[str, np.ndarray] = {}
    for series, column in zip(members, columns, strict=True):
        before = scored.get(series.recording)
        scored[series.recording] = column.scored if before is None else before | column.scored
    total: np.ndarray = np.sum([groups.count(*one) for one in scored.items()], axis=0)
    return total


def _check_card(maps: Maps, card: Scorecard) -> None:
    """Checks that a scorecard is of these maps: the same benchmark, and the same scores.

    Raises:
        Refused: It is not.
    """
    digest = card.benchmark["digest"]
    if digest != maps.benchmark.digest:
        raise Refused(
            f"scorecard: is of another benchmark ({shortened(digest)}) than {maps.uri} "
            f"({shortened(maps.benchmark.digest)}); give the one that was written with the maps"
        )
    step = maps.benchmark.summary_steps[0]
    for series in maps.benchmark.series:
        row = maps.row(series, "mae", step).astype(np.float64)
        row = row[~np.isnan(row)]
        mean, said = float(row.mean()) if len(row) else None, card.value(series.name, step, "mae")
        equal = mean is None or said is None or abs(mean - said) <= _TOLERANCE * abs(said)
        if not equal or (mean is None) != (said is None):
            raise Refused(
                f"scorecard: has mae {said} for {series.name} at step {step}, but {maps.uri} "
                f"{mean}; give the one that was written with the maps"
            )


def _source(card: Scorecard) -> dict[str, Any]:
    name, seed = card.forecaster.get("name", "unnamed"), card.forecaster.get("seed")
    return {
        "name": str(name) if seed is None else f"{name}, seed {seed}",
        "digest": card.predictions["digest"],
        "context": card.benchmark["context"],
        "data": card.data["digest"],
    }
