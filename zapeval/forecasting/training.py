"""Training: what a forecaster that learns is handed; nothing of the test frames is in reach.

A training window has all its frames, context and targets, in one training range of its series. A
validation window has its targets in a validation range; its context may reach back into what comes
before, as in Lueckmann et al. 2025 (arXiv 2503.02618), section 3.2. A window that would hold a
frame that any series of the recording is tested on is none; a forecaster that says that it leaks
is handed such validation windows too, for benchmarks that are published with one half for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from zapeval.benchmarks.benchmark import (
    Benchmark,
    Protocol,
    Series,
    Span,
    mask_array,
)
from zapeval.errors import BrokenPlugin, InvalidInput
from zapeval.forecasting.contexts import Contexts, contexts_of, targets_of, video_of
from zapeval.forecasting.split import (
    tested_frames,
    touches,
    train_origins,
    validation_origins,
)
from zapeval.recordings.arrays import Array
from zapeval.recordings.frames import Frames
from zapeval.recordings.recording import NeuronTable, Recording, Recordings

Scale = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Puts values of some windows, its second argument, on a scale that their contexts give."""

Report = Callable[[int, int, str], None]
"""Is told how many of how many steps are done, and a word on how it goes."""


Note = Callable[[str], None]
"""Is told what a user should know, such as that a training goes on."""


def silent(done: int, total: int, text: str) -> None:
    """Is a Report that says nothing."""
    del done, total, text


def unheard(text: str) -> None:
    """Is a Note that nobody hears."""
    del text


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSeries:
    """The training and validation frames of one series.

    Attributes:
        name: Name of the series.
        recording: Key of its recording.
        neurons: Number of neurons.
        train: Frame ranges ``[start, stop)`` to train on.
        validation: Frame ranges ``[start, stop)`` to choose by.
        train_origins: Origins of its training windows.
        validation_origins: Origins of its validation windows.
    """

    name: str
    recording: str
    neurons: int
    train: tuple[Span, ...]
    validation: tuple[Span, ...]
    train_origins: tuple[int, ...]
    validation_origins: tuple[int, ...]
    _benchmark: Benchmark = field(repr=False)
    _series: Series = field(repr=False)
    _recording: Recording = field(repr=False)
    _frames: Frames = field(repr=False)
    _tested: np.ndarray = field(repr=False)
    _context: int = field(repr=False)
    _covariates: tuple[str, ...] = field(repr=False)
    _leaks: bool = field(repr=False)
    _scale: Scale | None = field(default=None, repr=False)

    @property
    def mask(self) -> np.ndarray | None:
        """Which neurons are scored, bool ``[neurons]``; None where all are."""
        return mask_array(self._series, self.neurons)

    @property
    def table(self) -> NeuronTable | None:
        """Name, region and position of each neuron, where they are known."""
        return self._recording.table

    def contexts(self, origins: Sequence[int]) -> Contexts:
        """Returns the contexts of some of its windows, as they come when it forecasts.

        Args:
            origins: Some of its training or validation origins, never decreasing.

        Raises:
            InvalidInput: An origin is none of these, or the recording lacks a covariate.
        """
        contexts = self._contexts(origins)
        if self._scale is None:
            return contexts
        return replace(contexts, activity=self._scale(contexts.activity, contexts.activity))

    def targets(self, origins: Sequence[int]) -> np.ndarray:
        """Returns what those windows predict, float32 ``[windows, horizon, neurons]``.

        Raises:
            InvalidInput: An origin is none of its training or validation origins.
        """
        self._check(origins)
        targets = targets_of(self._benchmark, origins, self._frames.read)
        if self._scale is None:
            return targets
        return self._scale(self._contexts(origins).activity, targets)

    def scaled(self, scale: Scale) -> TrainingSeries:
        """Returns the series with contexts and targets on another scale, window by window."""
        inner = self._scale
        if inner is None:
            return replace(self, _scale=scale)

        def both(activity: np.ndarray, values: np.ndarray) -> np.ndarray:
            return scale(inner(activity, activity), inner(activity, values))

        return replace(self, _scale=both)

    def sealed(self) -> TrainingSeries:
        """Returns the series for a forecaster that may not read test frames."""
        kept = tuple(
            origin
            for origin in self.validation_origins
            if not touches(self._benchmark, origin, self._context, self._tested)
        )
        return replace(self, validation_origins=kept, _leaks=False)

    def activity(self, span: Span, columns: Span | None = None) -> np.ndarray:
        """Returns frames of a training or validation range, float32 ``[frames, neurons]``.

        Args:
            span: Frames ``[start, stop)`` within one range.
            columns: Neurons ``[start, stop)``; all by default.

        Raises:
            InvalidInput: The frames are not all in one of its ranges, or one is tested on.
        """
        if self._scale is not None:
            raise InvalidInput(
                f"{self.name}: is scaled window by window, so frames by themselves have no scale; "
                "use a forecaster that is fitted to windows"
            )
        if not any(a <= span[0] and span[1] <= b for a, b in self.train + self.validation):
            raise InvalidInput(
                f"{self.name}: frames [{span[0]}, {span[1]}) are not training or validation "
                f"frames, which are {list(self.train + self.validation)}"
            )
        self._check_untested(span)
        spans = (span,) if columns is None else (span, columns)
        return self._recording.activity.read(*spans).astype(np.float32, copy=False)

    def video(self, span: Span, *space: Span) -> np.ndarray:
        """Returns frames of the video that nobody is tested on, float32 ``[frames, x, y, z]``.

        Args:
            span: Frames ``[start, stop)``.
            space: Voxels ``[start, stop)`` along x, y and z; what is left out is whole.

        Raises:
            InvalidInput: A frame is tested on, a range does not lie in the video, or there is no
                video of the activity's length.
            StorageError: They can't be read.
        """
        self._check_untested(span)
        return video_of(self._recording).read(span, *space).astype(np.float32, copy=False)

    def lead_origins(self, lead: int) -> tuple[int, ...]:
        """Returns the origins of training windows of which one frame is wanted, at a lead time.

        Context and frame lie in one training range; nearer frames leave room for more windows.

        Args:
            lead: Frames from the last one of the context, from 1.
        """
        shorter = replace(self._benchmark, horizon=lead, summary_steps=(1,))
        return train_origins(shorter, self._series, self._context, self._tested)

    def every_frame(self) -> Array:
        """Returns all activity of the recording, ``[frames, neurons]``, test frames included.

        For references that leak on purpose and say so.

        Raises:
            BrokenPlugin: The forecaster doesn't declare that it leaks.
        """
        if not self._leaks:
            raise BrokenPlugin(
                f"{self.name}: a forecaster that reads test frames says so in its attribute leaks"
            )
        return self._recording.activity

    def _contexts(self, origins: Sequence[int]) -> Contexts:
        self._check(origins)
        return contexts_of(
            self._benchmark,
            self._series,
            self._recording,
            origins,
            context=self._context,
            covariates=self._covariates,
            read=self._frames.read,
        )

    def _check_untested(self, span: Span) -> None:
        if self._tested[span[0] : span[1]].any():
            first = span[0] + int(self._tested[span[0] : span[1]].argmax())
            raise InvalidInput(
                f"{self.name}: frames [{span[0]}, {span[1]}) hold frame {first}, which recording "
                f"{self.recording!r} is tested on; move the benchmark's range"
            )

    def _check(self, origins: Sequence[int]) -> None:
        if not len(origins):
            raise InvalidInput(f"{self.name}: no window is asked for, expected one or more")
        known = set(self.train_origins) | set(self.validation_origins)
        for origin in origins:
            if origin not in known:
                raise InvalidInput(
                    f"{self.name}: window at origin {origin} is no training or validation window"
                )
        for before, after in pairwise(origins):
            if after < before:
                raise InvalidInput(
                    f"{self.name}: origin {after} stands behind {before}; sort the origins"
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class Training:
    """What a forecaster that learns is handed.

    Attributes:
        benchmark: Label of the benchmark ("zapbench@1").
        protocol: ``horizon`` or ``next-step``.
        context: Context length in frames.
        horizon: Steps ahead.
        series: Every series that may be trained on.
        held_out: The held-out series; only a forecaster that leaks reads them.
        seed: Seed of everything that is random.
        folder: A folder for what should outlive an interruption; goes when training is done.
        record: The folder that stays with the checkpoint: learning curves, logs.
        report: Told how many of how many steps are done.
        note: Told what a user should know.
    """

    benchmark: str
    protocol: Protocol
    context: int
    horizon: int
    series: tuple[TrainingSeries, ...]
    held_out: tuple[TrainingSeries, ...] = ()
    seed: int
    folder: Path
    record: Path
    report: Report = silent
    note: Note = unheard

    def shortened(self, horizon: int) -> Training:
        """Returns the same windows with fewer steps to predict, for models that are fed back.

        Raises:
            InvalidInput: The horizon is no shorter.
        """
        if not 1 <= horizon <= self.horizon:
            raise InvalidInput(f"horizon {horizon}: expected 1 to {self.horizon}")

        def one(series: TrainingSeries) -> TrainingSeries:
            # Origins stay: a window of fewer steps lies where the whole one did.
            shorter = replace(series._benchmark, horizon=horizon, summary_steps=(1,))
            return replace(series, _benchmark=shorter)

        return replace(
            self,
            horizon=horizon,
            series=tuple(one(s) for s in self.series),
            held_out=tuple(one(s) for s in self.held_out),
        )


def training_of(
    benchmark: Benchmark,
    recordings: Recordings,
    *,
    context: int,
    seed: int,
    folder: Path,
    record: Path,
    covariates: tuple[str, ...] = (),
    leaks: bool = False,
    report: Report = silent,
    note: Note = unheard,
) -> Training:
    """Returns what a forecaster learns from.

    Args:
        benchmark: The benchmark.
        recordings: Its recordings.
        context: Context length in frames.
        seed: Seed of everything that is random.
        folder: A folder for what should outlive an interruption.
        record: A folder for what stays.
        covariates: What the forecaster asks for beside activity.
        leaks: Whether it may read test frames, and be chosen by them.
        report: Told of progress.
        note: Told what a user should know.

    Raises:
        InvalidInput: No series has a training window.
    """
    frames: dict[str, Frames] = {}
    tested = {key: tested_frames(benchmark, key) for key, _ in benchmark.frames}
    found = []
    for series in benchmark.series:
        recording, hidden = recordings[series.recording], tested[series.recording]
        # Training windows never hold a tested frame, whoever asks.
        chosen_by = np.zeros_like(hidden) if leaks else hidden
        kept = frames.setdefault(series.recording, Frames(recording.activity))
        found.append(
            TrainingSeries(
                name=series.name,
                recording=series.recording,
                neurons=recording.neurons,
                train=series.train,
                validation=series.validation,
                train_origins=train_origins(benchmark, series, context, hidden),
                validation_origins=validation_origins(benchmark, series, context, chosen_by),
                _benchmark=benchmark,
                _series=series,
                _recording=recording,
                _frames=kept,
                _tested=hidden,
                _context=context,
                _covariates=covariates,
                _leaks=leaks,
            )
        )
    chosen = tuple(s for s in found if s.train_origins)
    if not chosen and not leaks:
        raise InvalidInput(
            f"{benchmark.label}: no training range holds a window of {context} + "
            f"{benchmark.horizon} frames; give its series training ranges"
        )
    return Training(
        benchmark=benchmark.label,
        protocol=benchmark.protocol,
        context=context,
        horizon=benchmark.horizon,
        series=chosen,
        held_out=tuple(s for s in found if not s.train_origins),
        seed=seed,
        folder=folder,
        record=record,
        report=report,
        note=note,
    )


def joined_series(
    recording: Recording,
    key: str,
    train: tuple[Span, ...],
    *,
    context: int,
    horizon: int,
    mask: tuple[bool, ...] | None = None,
    covariates: tuple[str, ...] = (),
) -> TrainingSeries:
    """Returns frames of a recording outside the benchmark, to train on beside the benchmark's.

    No other frame of it is in reach, and none is for choosing by.

    Args:
        recording: The recording.
        key: What to call it.
        train: Its frame ranges ``[start, stop)`` to train on.
        context: Context length in frames.
        horizon: Steps ahead.
        mask: Which neurons count, one flag a neuron; None where all do.
        covariates: What the forecaster asks for beside activity.

    Raises:
        InvalidInput: It is shorter than a window.
    """
    # A series has a window that is scored; this one stands for it, and nobody scores it.
    series = Series(name=key, array="joined", recording=key, origins=(context,), train=train)
    benchmark = Benchmark(
        id="joined",
        version=0,
        protocol="horizon",
        context_lengths=(context,),
        max_context=context,
        horizon=horizon,
        series=(replace(series, mask=mask),),
        frames=((key, recording.frames),),
        summary_steps=(1,),
    )
    outside = np.ones(recording.frames, bool)
    for start, stop in train:
        outside[start:stop] = False
    return TrainingSeries(
        name=key,
        recording=key,
        neurons=recording.neurons,
        train=train,
        validation=(),
        train_origins=train_origins(benchmark, series, context, outside),
        validation_origins=(),
        _benchmark=benchmark,
        _series=benchmark.series[0],
        _recording=recording,
        _frames=Frames(recording.activity),
        _tested=outside,
        _context=context,
        _covariates=covariates,
        _leaks=False,
    )
