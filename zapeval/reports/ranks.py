"""Ranks: which entries can be told apart, from tests of their differences.

Ranks carry intervals after Mogstad, Romano, Shaikh & Wilhelm 2024, "Inference for Ranks with
Applications to Mobility across Neighborhoods and Academic Achievement across Countries", Review of
Economic Studies 91(1): an entry's true rank lies between one more than the number of entries that
are better beyond doubt and the number that are not worse beyond doubt, where doubt is about all its
differences at once. Ranks of resampled scores would not cover: near ties they are too sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from zapeval.reports.draws import SEED, factor, inflation, normal_for
from zapeval.scoring.longrun import LongRun
from zapeval.scoring.uncertainty import LEVEL, Spread


@final
@dataclass(frozen=True, kw_only=True)
class RankInterval:
    """Ranks, 1 being the best, that hold the true one with a probability of LEVEL or more."""

    low: int
    high: int


@final
@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What can be said of ranks.

    Both follow from the same tests, one of all differences of an entry together, so that an entry
    whose rank is 1 to 1 ties with no other.

    Attributes:
        intervals: Interval of each entry's rank.
        groups: Tie group of each entry, 1 being that of the best.
    """

    intervals: tuple[RankInterval, ...]
    groups: tuple[int, ...]


def ranks_of(values: Sequence[float]) -> tuple[int, ...]:
    """Returns each score's rank: one more than the number of lower ones, so equal ones share it."""
    array = np.asarray(values)
    return tuple(int(rank) for rank in 1 + (array < array[:, None]).sum(axis=1))


def holm(probabilities: Sequence[float]) -> tuple[float, ...]:
    """Returns p-values adjusted for being several (Holm 1979, Scand. J. Statistics 6(2))."""
    values = np.asarray(probabilities, float)
    order = np.argsort(values, kind="stable")
    stepped = values[order] * np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return tuple(map(float, adjusted))


def tie_groups(values: Sequence[float], apart: np.ndarray) -> tuple[int, ...]:
    """Returns the tie group of each entry, 1 being that of the best.

    The best entry that is in no group yet opens one, and all that are in none and that it can't be
    told apart from join; where several are equally good, they open it together.

    Args:
        values: Score of each entry, lower is better.
        apart: Whether an entry's own differences put another beyond doubt; see Ranking.
    """
    scores, groups = np.asarray(values), np.zeros(len(values), int)
    while not groups.all():
        left = groups == 0
        best = left & (scores == scores[left].min())
        joined = best | (left & ~apart[best].all(axis=0))
        groups[joined] = groups.max() + 1
    return tuple(map(int, groups))


def ranking_of(
    values: Sequence[float],
    pairs: Sequence[tuple[int, int]],
    tests: Sequence[tuple[Spread, float]],
    runs: Sequence[LongRun],
    weights: Sequence[float],
) -> Ranking:
    """Returns what all differences say of the entries' ranks.

    A difference is beyond doubt where its p-value is below the level at which, over joint draws of
    all the entry's differences, the smallest p-value lies in 5 % of them.

    Args:
        values: Score of each entry, lower is better.
        pairs: Every pair of entries once.
        tests: Spread and p-value of each pair's difference.
        runs: Coefficients of the pairs' differences in each independent part.
        weights: Weight of each part.
    """
    scores, sides = np.asarray(values), np.array(pairs).reshape(-1, 2)
    chances = np.array([p for _, p in tests])
    errors = np.sqrt([spread.variance for spread, _ in tests])
    degrees = np.array([spread.degrees for spread, _ in tests])
    rng = np.random.default_rng(SEED)
    # As wide as there are different degrees: a column for each pair would be gigabytes.
    rounded, width = np.unique(np.round(degrees, 1), return_inverse=True)
    root, widths = factor(runs, weights), inflation(rounded, rng)
    normal = normal_for(root, rng)
    found, apart = [], np.zeros((len(scores), len(scores)), bool)
    for entry, own in enumerate(scores):
        of = np.flatnonzero((sides == entry).any(axis=1))
        known = of[errors[of] > 0]
        ratios = widths[:, width[known]] * np.abs(normal @ root[:, known]) / errors[known]
        certain = chances[of] < _level(ratios)
        against = sides[of].sum(axis=1) - entry
        apart[entry, against] = certain
        better, worse = certain & (scores[against] < own), certain & (scores[against] > own)
        found.append(RankInterval(low=1 + int(better.sum()), high=len(scores) - int(worse.sum())))
    return Ranking(intervals=tuple(found), groups=tie_groups(values, apart))


def _level(ratios: np.ndarray) -> float:
    """Returns the level of single tests at which all together err in 5 % of draws.

    Args:
        ratios: Studentised draws of each difference, float64 ``[draws, differences]``.
    """
    count, differences = ratios.shape
    if not differences:
        return 1 - LEVEL
    # Each draw becomes its own p-value, so that differences with few degrees of freedom, whose
    # draws are wild, do not set the level for all.
    places = np.empty(ratios.shape, np.int32)
    np.put_along_axis(places, ratios.argsort(axis=0), np.arange(count)[:, None], axis=0)
    smallest = (count - places.max(axis=1)) / count
    return float(np.quantile(smallest, 1 - LEVEL))
