"""Contexts: what a forecaster sees of some windows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series, Span, context_span, mask_array
from zapeval.errors import InvalidInput
from zapeval.recordings.arrays import Array
from zapeval.recordings.recording import SEGMENTATION, NeuronTable, Recording, Recordings

STIMULUS, FUTURE_STIMULUS, VIDEO = "stimulus", "future_stimulus", "video"
"""Covariates that a forecaster may ask for: during the context, during the horizon, and frames."""

COVARIATES = (STIMULUS, FUTURE_STIMULUS, VIDEO)

_AXES = {STIMULUS: ("features",), FUTURE_STIMULUS: ("features",), VIDEO: ("x", "y", "z")}
"""What lies behind the frames."""

Read = Callable[[Span], np.ndarray]
"""Reads frames ``[start, stop)`` of a recording, float32 ``[frames, neurons]``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoContexts:
    """The context frames of some windows as video, each read when it is asked for.

    Attributes:
        labels: The segmentation, integers ``[x, y, z]``; label ``i + 1`` is neuron ``i``.
    """

    labels: Array
    _video: Array = field(repr=False)
    _spans: tuple[Span, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self._spans)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size of a frame, ``(x, y, z)``."""
        return self._video.shape[1:]

    def __getitem__(self, window: int) -> np.ndarray:
        """Returns the frames of one window, float32 ``[context, x, y, z]``.

        Raises:
            StorageError: They can't be read.
        """
        return self.part(window)

    def part(self, window: int, *space: Span) -> np.ndarray:
        """Returns a part of the frames of one window, float32 ``[context, ..]``.

        Args:
            window: The window.
            space: Voxels ``[start, stop)`` along x, y and z; what is left out is whole.

        Raises:
            InvalidInput: A range does not lie in the frames.
            StorageError: They can't be read.
        """
        return self._video.read(self._spans[window], *space).astype(np.float32, copy=False)

    def head(self, frames: int) -> VideoContexts:
        """Returns the first frames of each window."""
        return replace(self, _spans=tuple((a, min(a + frames, b)) for a, b in self._spans))


@dataclass(frozen=True, kw_only=True, eq=False)
class Contexts:
    """What a forecaster sees of some windows of one series: copies, and nothing of the future.

    Attributes:
        activity: Context frames in df/f, float32 ``[windows, context, neurons]``, oldest first.
        horizon: Number of steps wanted.
        series: Name of the series.
        origins: Frame that the first step of each window predicts.
        recording: Key of the recording.
        mask: Which neurons are scored, bool ``[neurons]``; None where all are.
        neurons: Name, region and position of each neuron, where they are known.
        stimulus: Stimulus during the context, float32 ``[windows, context, features]``; None
            unless the forecaster asks for it.
        future_stimulus: Stimulus during the horizon, float32 ``[windows, horizon, features]``;
            None unless the forecaster asks for it.
        video: The context frames as video; None unless the forecaster asks for it.
    """

    activity: np.ndarray
    horizon: int
    series: str
    origins: tuple[int, ...]
    recording: str = ""
    mask: np.ndarray | None = None
    neurons: NeuronTable | None = None
    stimulus: np.ndarray | None = None
    future_stimulus: np.ndarray | None = None
    video: VideoContexts | None = None

    def __len__(self) -> int:
        return len(self.origins)

    def head(self, frames: int) -> Contexts:
        """Returns what was seen of a sequence after its first frames, to forecast one step ahead.

        Args:
            frames: How many of the context's frames are seen.
        """
        later = None
        if self.future_stimulus is not None:
            later = self.future_stimulus[:, frames - 1 : frames].copy()
        return replace(
            self,
            # Copies, not views: a view leads to the frames behind it.
            activity=self.activity[:, :frames].copy(),
            horizon=1,
            origins=tuple(origin + frames - 1 for origin in self.origins),
            stimulus=None if self.stimulus is None else self.stimulus[:, :frames].copy(),
            future_stimulus=later,
            video=None if self.video is None else self.video.head(frames),
        )


def contexts_of(
    benchmark: Benchmark,
    series: Series,
    recording: Recording,
    origins: Sequence[int],
    *,
    context: int,
    covariates: Sequence[str] = (),
    read: Read | None = None,
) -> Contexts:
    """Returns the contexts of some windows.

    Args:
        benchmark: Whose windows they are.
        series: Their series.
        recording: The recording of the series.
        origins: Their origins, never decreasing.
        context: Context length in frames.
        covariates: What the forecaster asks for, of COVARIATES.
        read: What reads the activity; by default straight from the recording.

    Raises:
        InvalidInput: The recording lacks a covariate, or has it for other frames.
        StorageError: Frames can't be read.
    """
    spans = tuple(context_span(benchmark, origin, context) for origin in origins)
    horizon = [(origin, origin + benchmark.horizon) for origin in origins]
    stimulus = future = video = None
    if STIMULUS in covariates:
        stimulus = _gather(spans, _reader(_part(recording, STIMULUS)))
    if FUTURE_STIMULUS in covariates:
        future = _gather(horizon, _reader(_part(recording, FUTURE_STIMULUS)))
    if VIDEO in covariates:
        labels = _part(recording, SEGMENTATION)
        video = VideoContexts(labels=labels, _video=_part(recording, VIDEO), _spans=spans)
    return Contexts(
        activity=_gather(spans, read or _reader(recording.activity)),
        horizon=benchmark.horizon,
        series=series.name,
        origins=tuple(origins),
        recording=series.recording,
        mask=mask_array(series, recording.neurons),
        neurons=recording.table,
        stimulus=stimulus,
        future_stimulus=future,
        video=video,
    )


def video_of(recording: Recording) -> Array:
    """Returns the video of a recording, ``[frames, x, y, z]``.

    Raises:
        InvalidInput: It has none, or one of another length than its activity.
    """
    return _part(recording, VIDEO)


def data_mark(benchmark: Benchmark, recordings: Recordings, context: int) -> str:
    """Returns a digest of the first context of every series, which tells recordings apart.

    Raises:
        StorageError: Frames can't be read.
    """
    digest = hashlib.sha256()
    for series in benchmark.series:
        span = context_span(benchmark, series.origins[0], context)
        frames = _reader(recordings[series.recording].activity)(span)
        digest.update(f"{series.name} {frames.shape}\n".encode() + frames.tobytes())
    return "sha256:" + digest.hexdigest()


def targets_of(benchmark: Benchmark, origins: Sequence[int], read: Read) -> np.ndarray:
    """Returns the target frames of some windows, float32 ``[windows, horizon, neurons]``."""
    return _gather([(origin, origin + benchmark.horizon) for origin in origins], read)


def _gather(spans: Sequence[Span], read: Read) -> np.ndarray:
    """Returns the frames of each span, copied, from one read over neighbours."""
    parts: list[np.ndarray] = []
    run: list[Span] = []
    for span in spans:
        if run and span[0] > run[-1][1]:
            parts += _cut(run, read)
            run = []
        run.append(span)
    return np.stack(parts + _cut(run, read))


def _cut(run: Sequence[Span], read: Read) -> list[np.ndarray]:
    first = run[0][0]
    frames = read((first, run[-1][1]))
    return [frames[start - first : stop - first] for start, stop in run]


def _reader(array: Array) -> Read:
    return lambda span: array.read(span).astype(np.float32, copy=False)


def _part(recording: Recording, name: str) -> Array:
    parts = {
        STIMULUS: recording.stimulus,
        FUTURE_STIMULUS: recording.stimulus,
        VIDEO: recording.video,
        SEGMENTATION: recording.segmentation,
    }
    part = parts[name]
    if part is None:
        raise InvalidInput(
            f"{recording.uri}: has no {name.removeprefix('future_')}, which the forecaster asks "
            "for; use a recording that has it, or a forecaster that does without"
        )
    axes = _AXES.get(name)
    # Other axes first would pass for frames without a word.
    if axes is not None and (len(part.shape) != 1 + len(axes) or part.shape[0] != recording.frames):
        raise InvalidInput(
            f"{part.uri}: has shape {list(part.shape)}, expected [{recording.frames} frames, "
            f"{', '.join(axes)}]"
        )
    return part
