"""Power laws: straight lines of the logarithm of a loss on the logarithm of what grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from zapeval.scoring.student import critical

LEVEL = 0.95
"""Confidence of the intervals."""


@final
@dataclass(frozen=True, kw_only=True)
class Law:
    """``ln(loss) = intercept + slope ln(x)``, by least squares.

    Attributes:
        slope: The exponent.
        low: Lower end of its interval; None where no degree of freedom is left.
        high: Upper end.
        intercept: ``ln(loss)`` at ``x = 1``.
        explained: Share of the variance of ``ln(loss)`` that the line explains.
        points: Number of points.
    """

    slope: float
    low: float | None
    high: float | None
    intercept: float
    explained: float
    points: int

    def at(self, x: float) -> float:
        """Returns the loss that the law says."""
        return float(np.exp(self.intercept + self.slope * np.log(x)))


def law_of(x: Sequence[float], losses: Sequence[float]) -> Law | None:
    """Returns the law of some points, or None where x does not vary.

    The interval of the slope is Student's, ``slope +- t sqrt(s^2 / sum((ln x - mean)^2))`` with
    ``n - 2`` degrees of freedom: each pair of size and seed counts as one independent point, and
    the points scatter alike about the line. Sets of nearly the whole pool share most worms, so
    the interval is too narrow where many of the sizes come close to it.

    Source: Draper & Smith 1998, Applied Regression Analysis, section 1.4.

    Args:
        x: What grows, above 0; one a size and seed.
        losses: The losses, above 0.
    """
    across, up = np.log(np.asarray(x, np.float64)), np.log(np.asarray(losses, np.float64))
    count = len(across)
    if count < 2 or np.ptp(across) == 0:
        return None
    offset, height = across - across.mean(), up - up.mean()
    slope = float((offset * height).sum() / np.square(offset).sum())
    rest = float(np.square(height - slope * offset).sum())
    spread = float(np.square(height).sum())
    low = high = None
    if count > 2:
        error = np.sqrt(rest / (count - 2) / np.square(offset).sum())
        reach = critical(count - 2, LEVEL) * float(error)
        low, high = slope - reach, slope + reach
    return Law(
        slope=slope,
        low=low,
        high=high,
        intercept=float(up.mean() - slope * across.mean()),
        explained=1 - rest / spread if spread > 0 else 1.0,
        points=count,
    )
