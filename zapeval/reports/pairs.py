"""Pairs of entries: their differences, tested on the same windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np

from zapeval.reports.entries import Entry
from zapeval.reports.evidence import Evidence
from zapeval.reports.ranks import holm
from zapeval.reports.skill import Estimate
from zapeval.scoring.student import two_sided
from zapeval.scoring.uncertainty import Spread


@final
@dataclass(frozen=True, kw_only=True)
class Pair:
    """The difference between two entries, the first less the second.

    Attributes:
        first: Name of an entry.
        second: Name of another.
        difference: Difference of their scores; below 0, the first is better.
        spread: Its spread, or None where nothing is known of it.
        p: Probability of a difference as large if there is none, or None.
        adjusted: The same, adjusted by Holm's method over all pairs of the comparison.
    """

    first: str
    second: str
    difference: float
    spread: Spread | None
    p: float | None
    adjusted: float | None

    @property
    def estimate(self) -> Estimate:
        """The difference with its interval, which is not adjusted."""
        if self.spread is None:
            return Estimate(value=self.difference)
        low, high = self.spread.around(self.difference)
        return Estimate(value=self.difference, low=low, high=high)

    def to_document(self) -> dict[str, Any]:
        """Returns what JSON says of it."""
        estimate = self.estimate
        return {
            "first": self.first,
            "second": self.second,
            "difference": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "p": self.p,
            "adjusted": self.adjusted,
        }


def pairs_of(
    entries: Sequence[Entry], evidence: Evidence, sides: Sequence[tuple[int, int]]
) -> tuple[Pair, ...]:
    """Returns every pair, with p-values where the evidence has variances."""
    differences = [float(evidence.values[i] - evidence.values[j]) for i, j in sides]
    spreads: Sequence[Spread | None] = (None,) * len(sides)
    tests: Sequence[float | None] = (None,) * len(sides)
    adjusted = tests
    if evidence.parts is not None and sides:
        known = evidence.spreads(contrasts(len(entries), sides))
        chances = [_chance(d, spread) for d, spread in zip(differences, known, strict=True)]
        spreads, tests, adjusted = known, chances, holm(chances)
    return tuple(
        Pair(
            first=entries[i].name,
            second=entries[j].name,
            difference=difference,
            spread=spread,
            p=p,
            adjusted=held,
        )
        for (i, j), difference, spread, p, held in zip(
            sides, differences, spreads, tests, adjusted, strict=True
        )
    )


def contrasts(count: int, sides: Sequence[tuple[int, int]]) -> np.ndarray:
    """Returns what makes differences of scores, float64 ``[entries, pairs]``."""
    made = np.zeros((count, len(sides)))
    for column, (first, second) in enumerate(sides):
        made[first, column], made[second, column] = 1.0, -1.0
    return made


def _chance(difference: float, spread: Spread) -> float:
    """Returns the p-value of a difference; without variance it is 1 for none, else 0."""
    if not difference:
        return 1.0
    if not spread.variance:
        return 0.0
    return two_sided(difference / math.sqrt(spread.variance), spread.degrees)


def in_order(pairs: Sequence[Pair], place: Mapping[str, int]) -> tuple[Pair, ...]:
    """Returns pairs with the better ranked entry first, in the order of the rows."""
    turned = [
        pair
        if place[pair.first] < place[pair.second]
        else replace(pair, first=pair.second, second=pair.first, difference=-pair.difference)
        for pair in pairs
    ]
    return tuple(sorted(turned, key=lambda pair: (place[pair.first], place[pair.second])))
