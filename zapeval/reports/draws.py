"""Draws: deviations of many scores at once, as their long-run covariance has them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from zapeval.scoring.longrun import LongRun

DRAWS = 10_000
"""Joint draws of all scores."""

SEED = 0
"""Seed of the draws: the same scorecards always give the same intervals."""


def factor(runs: Sequence[LongRun], weights: Sequence[float]) -> np.ndarray:
    """Returns what makes independent normal numbers deviations of weighted sums over parts.

    Args:
        runs: Coefficients of each independent part, of the same columns.
        weights: Weight of each part.

    Returns:
        float64 ``[coefficients of all parts, columns]``; its square is the covariance.
    """
    scaled = [
        weight * run.coefficients / math.sqrt(len(run.coefficients))
        for run, weight in zip(runs, weights, strict=True)
    ]
    return np.concatenate(scaled)


def normal_for(root: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns standard normal numbers to multiply into a factor, float64 ``[DRAWS, rows]``."""
    return rng.standard_normal((DRAWS, len(root)))


def inflation(degrees: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns what makes normal draws Student's t, float64 ``[DRAWS, columns]``.

    Columns keep their own degrees of freedom, and a draw whose variance is estimated low is low in
    all: the smallest number of each stands in the first row, and so on. Normal draws are
    independent of it, so that no order has to be drawn.
    """
    rounded = np.round(degrees, 1)
    found = {d: np.sort(rng.chisquare(d, DRAWS)) / d for d in np.unique(rounded)}
    made: np.ndarray = 1 / np.sqrt(np.stack([found[d] for d in rounded], axis=1))
    return made
