"""Loops: preparing, windows and losses again, by plain loops and sharing no line with zapeval."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def prepared_by_loops(
    traces: np.ndarray, seconds: np.ndarray, measured: int | None = None
) -> np.ndarray:
    """Returns what a neuron each becomes: z-score, smoothing, 0.111 s, means of six."""
    columns = [
        _one([float(v) for v in column], [float(t) for t in seconds], measured)
        for column in traces.T
    ]
    return np.array(columns).T


def _one(values: list[float], seconds: list[float], measured: int | None) -> list[float]:
    some = values[:measured]
    mean = math.fsum(some) / len(some)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in some) / len(some))
    scaled = [(v - mean) / (spread or 1.0) for v in values]
    smoothed = [scaled[0]]
    for value in scaled[1:]:
        smoothed.append(0.5 * value + 0.5 * smoothed[-1])
    times = [t - seconds[0] for t in seconds]
    fine = []
    frame = 0
    number = 0
    while number * 0.111 <= times[-1] + 1e-9:
        time = min(number * 0.111, times[-1])
        while frame + 2 < len(times) and times[frame + 1] <= time:
            frame += 1
        share = (time - times[frame]) / (times[frame + 1] - times[frame])
        fine.append(smoothed[frame] + share * (smoothed[frame + 1] - smoothed[frame]))
        number += 1
    return [math.fsum(fine[6 * k : 6 * k + 6]) / 6 for k in range(len(fine) // 6)]


def pairs_by_loops(activity: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns X and Y of the 32 windows of the second half of a worm, as the paper cuts them."""
    frames = len(activity)
    part = activity[math.ceil(frames / 2) : frames]
    starts = np.floor(np.linspace(0, len(part) - 180 - 1, 32)).astype(int)
    return [(part[s : s + 180], part[s + 1 : s + 181]) for s in starts]


def losses_by_loops(worms: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    """Returns Eq. 4 and the pooled loss of the naive model: what comes next is what is.

    Args:
        worms: Activity and mask of each.
    """
    per_worm, every = [], []
    for activity, mask in worms:
        own = [
            float((y[t, n] - x[t, n]) ** 2)
            for x, y in pairs_by_loops(activity.astype(np.float64))
            for t in range(180)
            for n in range(activity.shape[1])
            if mask[n]
        ]
        per_worm.append(math.fsum(own) / (32 * 180 * int(mask.sum())))
        every += own
    return math.fsum(per_worm) / len(per_worm), math.fsum(every) / len(every)
