"""Squares: what stands for neurons where they are too many marks for the web."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zapeval.reports.figures.vega import Rows

MARKS = 5000
"""Most marks of a chart."""

Floats = NDArray[np.float64]
View = tuple[str, int, int]


def side_of(places: Floats, box: Floats, views: Sequence[View]) -> float | None:
    """Returns how long squares are, so that those that hold neurons are MARKS at most.

    Args:
        places: float64 ``[neurons, 3]``.
        box: Where the views begin and end, float64 ``[2, 3]``.
        views: Name of each view, and its axes.

    Returns:
        The side in the unit of the places; None where every neuron can be a mark in every view.
    """
    if len(views) * len(places) <= MARKS:
        return None
    sides = box[1] - box[0]
    # Too short at first: squares that would cover the views four times over.
    side = digits(math.sqrt(sum(sides[a] * sides[b] for _, a, b in views) / MARKS) / 2)
    while _count(places, box, views, side) > MARKS:
        side = digits(1.05 * side)
    return side


def rows_of(places: Floats, values: Floats, corner: Floats, side: float) -> Rows:
    """Returns a row a square that holds neurons: its edges, their mean and their number.

    Args:
        places: float64 ``[neurons, 2]``.
        values: float64 ``[neurons]``.
        corner: Where squares begin, float64 ``[2]``.
        side: How long they are.
    """
    cells, inverse = _cells(places, corner, side)
    counts = np.bincount(inverse)
    means = np.bincount(inverse, weights=values) / counts
    return [
        {
            "across": digits(corner[0] + column * side),
            "across_end": digits(corner[0] + (column + 1) * side),
            "up": digits(corner[1] + row * side),
            "up_end": digits(corner[1] + (row + 1) * side),
            "value": digits(mean),
            "neurons": int(count),
        }
        for (column, row), mean, count in zip(cells, means, counts, strict=True)
    ]


def said(side: float | None) -> list[str]:
    """Returns what a chart says of its squares."""
    if side is None:
        return []
    return [f"for the web, each square of {side:.3g} µm shows the mean over its neurons"]


def digits(value: float) -> float:
    """Returns a number with as many digits as a chart needs."""
    return float(f"{value:.6g}")


def _count(places: Floats, box: Floats, views: Sequence[View], side: float) -> int:
    return sum(
        len(_cells(places[:, [across, up]], box[0, [across, up]], side)[0])
        for _, across, up in views
    )


def _cells(places: Floats, corner: Floats, side: float) -> tuple[Any, Any]:
    """Returns the squares that hold neurons, and which of them each neuron lies in."""
    at = ((places - corner) // side).astype(np.int64)
    cells, inverse = np.unique(at, axis=0, return_inverse=True)
    return cells, inverse.reshape(-1)
