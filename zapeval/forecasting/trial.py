"""A trial: a small generated benchmark, on which a forecaster can be put to the test in seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Protocol, Series, Span, context_span
from zapeval.forecasting.contexts import FUTURE_STIMULUS, STIMULUS, VIDEO, Contexts, contexts_of
from zapeval.recordings.arrays import Array
from zapeval.recordings.recording import SEGMENTATION, TRACES, NeuronTable, Recording, Recordings
from zapeval.recordings.recording import STIMULUS as FEATURES

_KEY = "trial"
_FEATURES = 3
_TRAINING_WINDOWS = 64
_VALIDATION_WINDOWS = 16


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A benchmark of one series over a recording that is generated, the same each time.

    Its test windows share no frame, so that each can be changed alone.

    Attributes:
        protocol: ``horizon`` or ``next-step``.
        context: Context length in frames.
        horizon: Steps ahead, or positions.
        neurons: Number of neurons.
        windows: Number of test windows.
        covariates: What the recording has beside activity, as a forecaster asks for it.
        volume: Size of a frame of its video; as many voxels as neurons and more.
    """

    protocol: Protocol = "horizon"
    context: int = 4
    horizon: int = 32
    neurons: int = 13
    windows: int = 5
    covariates: tuple[str, ...] = ()
    volume: tuple[int, int, int] = (8, 8, 4)

    @cached_property
    def benchmark(self) -> Benchmark:
        """The benchmark; its test frames lie behind those for training and validation."""
        seen = self._seen
        train = (0, seen + self.horizon + _TRAINING_WINDOWS - 1)
        validation = (train[1], train[1] + self.horizon + _VALIDATION_WINDOWS - 1)
        origins = (
            validation[1] + seen + number * (seen + self.horizon) for number in range(self.windows)
        )
        series = Series(
            name="trial",
            array="trial",
            recording=_KEY,
            origins=tuple(origins),
            train=(train,),
            validation=(validation,),
        )
        return Benchmark(
            id="trial",
            version=0,
            protocol=self.protocol,
            context_lengths=(self.context,),
            max_context=self.context,
            horizon=self.horizon,
            series=(series,),
            frames=((_KEY, series.origins[-1] + self.horizon),),
            summary_steps=(1,),
        )

    @property
    def series(self) -> Series:
        """Its one series."""
        return self.benchmark.series[0]

    @cached_property
    def activity(self) -> np.ndarray:
        """Activity in df/f, float32 ``[frames, neurons]``: each frame resembles the last."""
        rng = np.random.default_rng(0)
        noise = rng.normal(0, 0.02, (self._frames, self.neurons))
        activity = np.empty_like(noise)
        last = rng.normal(0, 0.05, self.neurons)
        for frame, new in enumerate(noise):
            activity[frame] = last = 0.9 * last + new
        return (activity + 0.1).astype(np.float32)

    def changed(self, kept: Sequence[Span]) -> np.ndarray:
        """Returns the activity with every frame replaced by noise, save those in some ranges."""
        noise = np.random.default_rng(1).normal(0.3, 0.5, self.activity.shape)
        changed = noise.astype(np.float32)
        for start, stop in kept:
            changed[start:stop] = self.activity[start:stop]
        return changed

    def context_frames(self, window: int) -> Span:
        """Returns the frames ``[start, stop)`` that a window's context holds."""
        return context_span(self.benchmark, self.series.origins[window], self.context)

    def recordings(self, activity: np.ndarray | None = None) -> Recordings:
        """Returns the recording, in memory.

        The video shows the activity that is given; the stimulus is always the same.

        Args:
            activity: Activity in place of its own, float32 ``[frames, neurons]``.
        """
        values = self.activity if activity is None else activity
        parts = {TRACES: values}
        if {STIMULUS, FUTURE_STIMULUS} & set(self.covariates):
            stimulus = np.random.default_rng(2).normal(size=(len(values), _FEATURES))
            parts[FEATURES] = stimulus.astype(np.float32)
        if VIDEO in self.covariates:
            labels = self._labels()
            parts[SEGMENTATION] = labels
            parts[VIDEO] = np.pad(values, ((0, 0), (1, 0)))[:, labels]
        arrays = {name: _Memory(f"trial/{name}", part) for name, part in parts.items()}
        recording = _Recording(
            uri="trial", activity_uri=f"trial/{TRACES}", parts=arrays, known=self._table()
        )
        return Recordings({_KEY: lambda: recording})

    def contexts(self, recordings: Recordings, windows: Span | None = None) -> Contexts:
        """Returns the contexts of test windows ``[start, stop)``, all by default."""
        start, stop = windows or (0, self.windows)
        return contexts_of(
            self.benchmark,
            self.series,
            recordings[_KEY],
            self.series.origins[start:stop],
            context=self.context,
            covariates=self.covariates,
        )

    @property
    def _seen(self) -> int:
        return self.context if self.protocol == "horizon" else self.horizon

    @property
    def _frames(self) -> int:
        return dict(self.benchmark.frames)[_KEY]

    def _labels(self) -> np.ndarray:
        """Returns labels, int32 ``[x, y, z]``: background, then each neuron's voxels in turn."""
        voxels = int(np.prod(self.volume))
        labels = np.arange(voxels, dtype=np.int64) * (self.neurons + 1) // voxels
        return labels.astype(np.int32).reshape(self.volume)

    def _table(self) -> NeuronTable:
        names = tuple(f"n{number}" for number in range(self.neurons))
        positions = np.random.default_rng(3).uniform(0, 100, (self.neurons, 3))
        regions = tuple("left" if x < 50 else "right" for x in positions[:, 0])
        return NeuronTable(names=names, regions=regions, positions=positions.astype(np.float32))


@final
class _Memory(Array):
    """An array that is held in memory."""

    def __init__(self, uri: str, values: np.ndarray) -> None:
        self.uri, self.shape, self.dtype, self.chunk = uri, values.shape, values.dtype, values.shape
        self._values = values

    def _read(self, spans: tuple[Span, ...], out: np.ndarray) -> None:
        # Copied, as from a file: what is done to it must not reach the recording.
        out[...] = self._values[tuple(slice(*span) for span in spans)]


@final
@dataclass(frozen=True, kw_only=True)
class _Recording(Recording):
    parts: Mapping[str, Array]
    known: NeuronTable

    @cached_property
    def activity(self) -> Array:
        return self.parts[TRACES]

    @cached_property
    def table(self) -> NeuronTable:
        return self.known

    def _part(self, name: str) -> Array | None:
        return self.parts.get(name)
