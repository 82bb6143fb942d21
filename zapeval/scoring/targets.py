"""Targets of a series: the rows of its recording that its windows predict.

The targets of consecutive windows overlap, so the rows are held once and windows index them; the
array ``[windows, horizon, neurons]`` never exists.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import blake3
import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series, target_span
from zapeval.errors import InvalidInput
from zapeval.recordings.arrays import Array


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Target rows of one series.

    Attributes:
        rows: Activity, float32 ``[frames, neurons]``, in df/f; zeros in frames between windows.
        first_frame: The frame of row 0.
        digest: BLAKE3 of the rows as little-endian float32, in hex.
        finite: Whether every value of the rows is a finite number.
        room: The memory that rows lie in, float32 ``[>= rows.size]``.
    """

    rows: np.ndarray
    first_frame: int
    digest: str
    finite: bool
    room: np.ndarray

    def of_neurons(self, kept: np.ndarray) -> Targets:
        """Returns the targets of some neurons (indices ``int64 [kept]``) in their order."""
        rows = np.ascontiguousarray(self.rows[:, kept])
        return replace(self, rows=rows)


def load_targets(
    benchmark: Benchmark, series: Series, activity: Array, spare: Targets | None = None
) -> Targets:
    """Reads the target rows of a series.

    Args:
        benchmark: The benchmark.
        series: The series.
        activity: Activity of its recording, ``[frames, neurons]``.
        spare: Targets that nobody uses any more; their memory is used where it is large enough.

    Raises:
        InvalidInput: The recording holds other than numbers there.
        StorageError: A part of the recording is missing or cannot be read.
    """
    start, stop = target_span(benchmark, series)
    if stop > activity.shape[0]:
        raise InvalidInput(
            f"{activity.uri}: has {activity.shape[0]} frames, but {series.name} of "
            f"{benchmark.label} needs frames up to {stop}"
        )
    if activity.dtype.kind not in "fiu":
        raise InvalidInput(f"{activity.uri}: holds {activity.dtype}, expected real numbers")
    neurons = activity.shape[1]
    room = _room(benchmark, neurons) if spare is None else spare.room
    if room.size < (stop - start) * neurons:
        room = np.empty((stop - start) * neurons, "<f4")
    rows = room[: (stop - start) * neurons].reshape(stop - start, neurons)
    # A float64 beyond float32 becomes infinite, which check_finite reports as any other infinity.
    with np.errstate(over="ignore"):
        activity.read((start, stop), out=rows)
    predicted = _predicted(benchmark, series)
    if not predicted.all():
        rows[~predicted] = 0
    digest = blake3.blake3(rows.data.cast("B"), max_threads=blake3.blake3.AUTO)
    return Targets(
        rows=rows,
        first_frame=start,
        digest=digest.hexdigest(),
        finite=_all_finite(rows),
        room=room,
    )


def check_finite(targets: Targets, kept: np.ndarray | None, where: str) -> None:
    """Checks that every target of the scored neurons is a finite number.

    Raises:
        InvalidInput: One is not; the message names the first.
    """
    if targets.finite:
        return
    bad = ~np.isfinite(targets.rows if kept is None else targets.rows[:, kept])
    if not bad.any():
        return
    row, column = np.unravel_index(int(bad.argmax()), bad.shape)
    neuron = int(column if kept is None else kept[column])
    frame = targets.first_frame + int(row)
    value = targets.rows[row, neuron]
    raise InvalidInput(
        f"{where}: frame {frame}, neuron {neuron} is {value}; targets must be finite: mend the "
        "recording, or leave the neuron out with a mask"
    )


def _room(benchmark: Benchmark, neurons: int) -> np.ndarray:
    """Returns room for the longest series, so that it serves every other; untouched, it is free."""
    spans = (target_span(benchmark, series) for series in benchmark.series)
    return np.empty(max(stop - start for start, stop in spans) * neurons, "<f4")


def _all_finite(rows: np.ndarray) -> bool:
    """Tells whether every value is finite, by the extremes: NaN and infinity show in them."""
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(rows.min()) and np.isfinite(rows.max()))


def _predicted(benchmark: Benchmark, series: Series) -> np.ndarray:
    """Returns which frames of the target span some window predicts, ``bool [frames]``."""
    start, stop = target_span(benchmark, series)
    predicted = np.zeros(stop - start, bool)
    for origin in series.origins:
        predicted[origin - start : origin - start + benchmark.horizon] = True
    return predicted
