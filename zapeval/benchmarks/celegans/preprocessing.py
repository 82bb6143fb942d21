"""Preprocessing: from a raw worm to the standard form, in named steps whose order matters.

Source: Simeon et al. 2024, and its public code; see each step. Unlabelled neurons are left out:
each step treats every neuron by itself, so that changes none of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from zapeval.benchmarks.celegans.names import NAMES, SLOTS
from zapeval.errors import InvalidInput

VERSION = 1
"""Version of these steps; part of the digest of every worm."""

DT = 0.666
"""Seconds between frames of a prepared worm (section 2.1 of the paper)."""

ALPHA = 0.5
"""Weight of the newest frame in the smoothing (public code)."""

FINER = 6
"""Frames of the fine grid that a prepared frame is the mean of (public code)."""

Scale = Literal["recording", "train-half"]
"""Frames whose mean and variance make the z-score.

``recording``: all, as in the paper, by which the second half leaks into the first one's scale.
``train-half``: those of the first half alone.
"""

SCALES: tuple[Scale, ...] = ("recording", "train-half")
"""Every scale, the paper's first."""


def check_times(seconds: np.ndarray, frames: int) -> None:
    """Checks that each frame has a time, later than the one before.

    Raises:
        InvalidInput: Their numbers differ, a time is not finite, or time does not increase.
    """
    if len(seconds) != frames:
        raise InvalidInput(f"has {frames} frames and {len(seconds)} timestamps, expected as many")
    if frames < 2:
        raise InvalidInput(f"has {frames} frames, expected two or more")
    if not np.isfinite(seconds).all():
        first = int((~np.isfinite(seconds)).argmax())
        raise InvalidInput(f"timestamp {first} is {seconds[first]}, expected a number")
    steps = np.diff(seconds)
    if (steps <= 0).any():
        later = int((steps <= 0).argmax()) + 1
        raise InvalidInput(
            f"time does not increase: timestamp {later} is {seconds[later]:g} s after "
            f"{seconds[later - 1]:g} s"
        )


def fill_missing(traces: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Returns traces without gaps: straight lines in time, the nearest value at either end.

    The public code imputes from the other neurons instead, by a regression of another library.

    Args:
        traces: float64 ``[frames, neurons]``; values that are not finite are missing, but one of
            each neuron at least is there.
        seconds: Increasing, ``[frames]``.
    """
    filled = traces.copy()
    for neuron in np.flatnonzero(~np.isfinite(traces).all(axis=0)):
        there = np.isfinite(traces[:, neuron])
        filled[:, neuron] = np.interp(seconds, seconds[there], traces[there, neuron])
    return filled


def z_score(traces: np.ndarray, frames: int | None = None) -> np.ndarray:
    """Returns each neuron with mean 0 and population variance 1; a constant one with zeros.

    Args:
        traces: float64 ``[frames, neurons]``.
        frames: Take the mean and variance of that many first frames; None takes all.
    """
    measured = traces[:frames]
    # Shifted by a sample, a constant neuron is exactly zero, and its variance too.
    shifted = traces - measured[0]
    mean = shifted[:frames].mean(axis=0)
    spread = shifted[:frames].std(axis=0)
    scaled: np.ndarray = (shifted - mean) / np.where(spread > 0, spread, 1.0)
    return scaled


def smooth(traces: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """Returns causal exponential means: ``s[0] = z[0]``, ``s[t] = alpha z[t] + (1-alpha) s[t-1]``.

    Args:
        traces: float64 ``[frames, neurons]``, as recorded: it goes by frames, not by seconds.
        alpha: Weight of the newest frame, above 0 and at most 1.
    """
    smoothed = np.empty_like(traces)
    last = traces[0]
    for frame, new in enumerate(traces):
        smoothed[frame] = last = alpha * new + (1 - alpha) * last
    return smoothed


def resample(traces: np.ndarray, seconds: np.ndarray, dt: float = DT) -> np.ndarray:
    """Returns traces with a frame every dt seconds, ``[floor(points / 6), neurons]``.

    Straight lines between frames are read every dt / 6 from the first frame to the last, and means
    taken of six such points each; a rest of fewer is dropped. Nothing lies beyond the recording.

    Args:
        traces: float64 ``[frames, neurons]``.
        seconds: Increasing, ``[frames]``.
        dt: Seconds between frames.
    """
    step = dt / FINER
    elapsed = seconds - seconds[0]
    # Rounding must not lose a point that falls on the last frame.
    points = int(elapsed[-1] / step + 1e-9) + 1
    fine = np.minimum(np.arange(points) * step, elapsed[-1])
    before = np.clip(np.searchsorted(elapsed, fine, side="right") - 1, 0, len(elapsed) - 2)
    share = (fine - elapsed[before]) / (elapsed[before + 1] - elapsed[before])
    share = share[:, None]
    values = traces[before] * (1 - share) + traces[before + 1] * share
    blocks = points // FINER
    whole = values[: blocks * FINER].reshape(blocks, FINER, traces.shape[1])
    means: np.ndarray = whole.mean(axis=1)
    return means


def frames_of(seconds: np.ndarray, dt: float = DT) -> int:
    """Returns how many frames resample makes of a recording with those times."""
    return len(resample(np.zeros((len(seconds), 1)), seconds, dt))


def place(traces: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns activity in the slots of all neurons, zeros where unrecorded, and which are recorded.

    Args:
        traces: ``[frames, neurons]``.
        names: Canonical name of each neuron, each once.

    Returns:
        float32 ``[frames, 302]`` and bool ``[302]``.
    """
    slots = [SLOTS[name] for name in names]
    activity = np.zeros((len(traces), len(NAMES)), np.float32)
    activity[:, slots] = traces
    mask = np.zeros(len(NAMES), bool)
    mask[slots] = True
    return activity, mask


def standard(
    traces: np.ndarray, seconds: np.ndarray, names: Sequence[str], scale: Scale = "recording"
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a worm in standard form: z-scored, smoothed, resampled, placed.

    Args:
        traces: Labelled neurons without gaps, float64 ``[frames, neurons]``.
        seconds: Increasing, ``[frames]``.
        names: Canonical name of each neuron.
        scale: Which frames make the z-score.

    Returns:
        float32 ``[frames, 302]`` and bool ``[302]``.
    """
    measured = None
    if scale == "train-half":
        half = frames_of(seconds) // 2 * DT
        measured = max(1, int(np.searchsorted(seconds - seconds[0], half)))
    return place(resample(smooth(z_score(traces, measured)), seconds), names)
