"""A sample: a bounded, seeded part of predictions with the frames around them.

From each series come up to two runs of consecutive windows, a few steps, and a few hundred
neighbouring neurons: what a few chunks hold, so that a store of any size takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series, mask_array
from zapeval.errors import InvalidInput, UsageError
from zapeval.forecasting.predictions import Predictions
from zapeval.recordings.arrays import Array
from zapeval.recordings.recording import Recordings

SERIES, RUNS, WINDOWS, NEURONS = 24, 2, 32, 384
"""Most series, runs of windows in each, windows in a run, and neurons of a sample."""

BEFORE, AFTER = 8, 8
"""Frames that are read before the first context frame that counts, and after the last target."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a part of the sample lies; what is taken at one seed is the same for every store.

    Attributes:
        series: The series.
        windows: Indices of its windows, ascending and consecutive.
        steps: Steps, 1-based.
        neurons: Range of neurons ``[start, stop)``.
    """

    series: Series
    windows: tuple[int, int]
    steps: tuple[int, ...]
    neurons: tuple[int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A part of the sample.

    Attributes:
        place: Where it lies.
        values: Predictions, float64 ``[windows, steps, neurons]``.
        frames: Activity, float64 ``[frames, neurons]``; NaN beyond the recording.
        rows: Row of frames that each window and step predicts, int64 ``[windows, steps]``.
        leads: Frames between the last one that a forecaster could see and the target, by step.
    """

    place: Place
    values: np.ndarray
    frames: np.ndarray
    rows: np.ndarray
    leads: tuple[int, ...]

    def at(self, step: int, shift: int = 0) -> np.ndarray:
        """Returns the activity at the targets of a step (an index), moved by some frames."""
        return np.asarray(self.frames[self.rows[:, step] + shift])

    @property
    def last_seen(self) -> np.ndarray:
        """The last frame that a forecaster could see, ``[windows, steps, neurons]``."""
        return np.asarray(self.frames[self.rows - np.array(self.leads)])


def places(benchmark: Benchmark, recordings: Recordings, seed: int) -> tuple[Place, ...]:
    """Returns where a sample lies: the same places for the same seed."""
    rng = np.random.default_rng(seed)
    chosen = list(benchmark.series)
    if len(chosen) > SERIES:
        chosen = [chosen[i] for i in sorted(rng.choice(len(chosen), SERIES, replace=False))]
    found = []
    for series in chosen:
        neurons = recordings[series.recording].neurons
        width = min(neurons, NEURONS)
        for _ in range(RUNS if series.windows > WINDOWS else 1):
            first = int(rng.integers(0, neurons - width + 1))
            length = min(series.windows, WINDOWS)
            start = int(rng.integers(0, series.windows - length + 1))
            found.append(
                Place(
                    series=series,
                    windows=(start, start + length),
                    steps=steps_of(benchmark.horizon),
                    neurons=(first, first + width),
                )
            )
    return tuple(found)


def steps_of(horizon: int) -> tuple[int, ...]:
    """Returns the steps of a sample: the first three, the last, and two in the middle."""
    middle = max(1, horizon // 2)
    return tuple(sorted({s for s in (1, 2, 3, middle, middle + 1, horizon) if s <= horizon}))


def take(
    predictions: Predictions, benchmark: Benchmark, recordings: Recordings, place: Place
) -> Part:
    """Returns a part of the sample, without neurons that are not scored or have no prediction.

    Raises:
        InvalidInput: A value is not finite, or the store is not the benchmark's.
        StorageError: A chunk is missing or cannot be read.
        UsageError: The store holds volumes.
    """
    series = place.series
    array = predictions.arrays.get(series.array)
    recording = recordings[series.recording]
    if predictions.kind != "traces":
        raise UsageError(f"{predictions.uri}: holds volumes; forensics reads traces")
    shape = (series.windows, benchmark.horizon, recording.neurons)
    if array is None or array.shape != shape:
        raise InvalidInput(
            f"{predictions.uri}/{series.array}: expected an array {list(shape)} "
            f"({benchmark.label}); see what is wrong with `zapeval check`"
        )
    values = np.stack(
        [
            array.read(place.windows, (step - 1, step), place.neurons)[:, 0].astype(float)
            for step in place.steps
        ],
        axis=1,
    )
    origins = np.array(series.origins[slice(*place.windows)])
    leads = tuple(step if benchmark.protocol == "horizon" else 1 for step in place.steps)
    first = int(origins[0]) - 1 - BEFORE
    frames = _frames(recording.activity, first, int(origins[-1]) + benchmark.horizon + AFTER, place)
    kept = _kept(series, recording.neurons, place, values)
    return Part(
        place=place,
        values=values[:, :, kept],
        frames=frames[:, kept],
        rows=origins[:, None] + np.array(place.steps) - 1 - first,
        leads=leads,
    )


def take_all(
    predictions: Predictions, benchmark: Benchmark, recordings: Recordings, seed: int
) -> Iterator[Part]:
    """Yields the parts of a sample that hold a neuron to look at."""
    for place in places(benchmark, recordings, seed):
        part = take(predictions, benchmark, recordings, place)
        if part.values.shape[2]:
            yield part


def _frames(activity: Array, first: int, stop: int, place: Place) -> np.ndarray:
    """Returns frames ``[first, stop)`` as float64, NaN where the recording has none."""
    low, high = max(0, first), min(stop, activity.shape[0])
    frames = np.full((stop - first, place.neurons[1] - place.neurons[0]), np.nan)
    frames[low - first : high - first] = activity.read((low, high), place.neurons)
    return frames


def _kept(series: Series, neurons: int, place: Place, values: np.ndarray) -> np.ndarray:
    """Returns which of the sampled neurons are scored and predicted, ``bool [neurons]``."""
    mask = mask_array(series, neurons)
    kept = ~np.isnan(values).all(axis=(0, 1))
    if mask is not None:
        kept &= mask[slice(*place.neurons)]
    if not np.isfinite(values[:, :, kept]).all():
        raise InvalidInput(f"{series.array}: a sampled prediction is not finite; score it to see")
    return np.asarray(kept)
