"""Volumes: forecast video as predictions, written frame by frame and never held whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.benchmarks.recipe import check_recordings
from zapeval.errors import BrokenPlugin, InvalidInput, StorageError, UsageError
from zapeval.forecasting.checkpoint import Checkpoint
from zapeval.forecasting.contexts import Contexts, contexts_of, data_mark
from zapeval.forecasting.forecast import check_declared, manifest_of
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.manifest import GridPart
from zapeval.forecasting.training import Note, unheard
from zapeval.forecasting.writing import Dtype, VolumesWriter
from zapeval.recordings.grid import Grid
from zapeval.recordings.recording import Recordings

Frame = tuple[int, int, np.ndarray]
"""Number of the window among its contexts, step from 1, float32 ``[x, y, z]``."""


@runtime_checkable
class Filming(Protocol):
    """A forecaster that can give the frames of which its traces are the means."""

    covariates: tuple[str, ...]

    def grid_of(self, contexts: Contexts) -> Grid:
        """Returns where the voxels of its frames lie in the segmentation."""

    def frames(self, contexts: Contexts) -> Iterator[Frame]:
        """Yields the frame of each window and step once, all of one size."""


def forecast_volumes(
    forecaster: Forecaster,
    benchmark: Benchmark,
    recordings: Recordings,
    path: Path,
    *,
    context: int,
    trained: Checkpoint | None = None,
    dtype: Dtype = "float32",
    compressed: bool = True,
    progress: Callable[[int], None] | None = None,
    note: Note = unheard,
) -> None:
    """Forecasts every window of a benchmark as video and writes the frames.

    Repeating an interrupted call writes the frames that are not whole; windows that lack one are
    forecast again.

    Args:
        forecaster: What forecasts; it gives frames, as VideoForecaster does.
        benchmark: What is forecast.
        recordings: Its recordings.
        path: The store to make; must not exist.
        context: Context length in frames.
        trained: What the forecaster was trained on, if it learns.
        dtype: Stored type.
        compressed: Whether to compress, without loss.
        progress: Told the windows of which all frames are written.
        note: Told what the frames need on disk, before the first is written.

    Raises:
        UsageError: The forecaster gives no frames, or the benchmark has none to forecast ahead.
        BrokenPlugin: A frame is of another shape or type than it must, or stands twice or never.
        InvalidInput: The recordings are not the benchmark's, path exists, or frames of two series
            lie differently in their segmentations.
        StorageError: The disk has no room for all frames.
    """
    if not isinstance(forecaster, Filming):
        raise UsageError(f"{forecaster.name}: gives no frames of video; forecast traces with it")
    if benchmark.protocol != "horizon":
        raise UsageError(f"{benchmark.label}: volumes are of a horizon, it has next steps")
    check_recordings(benchmark, recordings)
    check_declared(forecaster)
    film = _Film(forecaster, benchmark, recordings, context)
    manifest = manifest_of(forecaster, benchmark, context, trained).model_copy(
        update={
            "data": data_mark(benchmark, recordings, context),
            "grid": GridPart(offset=film.grid.offset, stride=film.grid.stride),
        }
    )
    writer = VolumesWriter(path, manifest, dtype, compressed=compressed)
    try:
        todo = [(one, writer.todo(benchmark, one, film.shape)) for one in benchmark.series]
        lacking = sum(len(steps) for _, windows in todo for steps in windows.values())
        _check_room(path, film.shape, lacking, dtype, note)
        for series, windows in todo:
            if progress is not None:
                progress(series.windows - len(windows))
            for window, wanted in windows.items():
                for step, frame in film.of(series, window):
                    if step in wanted:
                        writer.write(series, window, step, frame)
                if progress is not None:
                    progress(1)
        writer.finish()
    finally:
        writer.close()


class _Film:
    """The checked frames of a forecaster, window by window.

    Attributes:
        grid: Where their voxels lie in the segmentation, the same for every series.
    """

    def __init__(
        self, forecaster: Filming, benchmark: Benchmark, recordings: Recordings, context: int
    ) -> None:
        self._forecaster, self._benchmark = forecaster, benchmark
        self._recordings, self._context = recordings, context
        first = benchmark.series[0]
        self.grid = forecaster.grid_of(self._contexts(first, 0))
        for series in benchmark.series[1:]:
            other = forecaster.grid_of(self._contexts(series, 0))
            if other != self.grid:
                raise InvalidInput(
                    f"{benchmark.label}: frames of {series.name} lie at {other}, those of "
                    f"{first.name} at {self.grid}; one store has one grid: forecast traces, or "
                    "crop recordings to one size"
                )
        self._known: tuple[int, ...] | None = None
        self._known = next(self.of(first, 0))[1].shape

    @property
    def shape(self) -> tuple[int, int, int]:
        """Size of a frame."""
        x, y, z = self._known or ()
        return x, y, z

    def of(self, series: Series, window: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yields step and frame for each step of a window.

        Raises:
            BrokenPlugin: A frame is not what the contract asks for.
        """
        horizon, seen = self._benchmark.horizon, set()
        where = f"{series.name}, window {window}"
        for number, step, frame in self._forecaster.frames(self._contexts(series, window)):
            if number != 0 or not 1 <= step <= horizon or step in seen:
                raise BrokenPlugin(
                    f"{where}: got a frame for window {number} of 1, step {step}; expected each of "
                    f"steps 1 to {horizon} once"
                )
            self._check(frame, f"{where}, step {step}")
            seen.add(step)
            yield step, frame
        if len(seen) < horizon:
            raise BrokenPlugin(f"{where}: got {len(seen)} frames, expected one for each step")

    def _check(self, frame: object, where: str) -> None:
        if not isinstance(frame, np.ndarray) or frame.dtype != np.float32 or frame.ndim != 3:
            got = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame)
            raise BrokenPlugin(f"{where}: got {got}, expected float32 [x, y, z]")
        if self._known not in (None, frame.shape):
            raise BrokenPlugin(f"{where}: got {frame.shape}, expected {self._known} as before")

    def _contexts(self, series: Series, window: int) -> Contexts:
        return contexts_of(
            self._benchmark,
            series,
            self._recordings[series.recording],
            series.origins[window : window + 1],
            context=self._context,
            covariates=self._forecaster.covariates,
        )


def _check_room(
    path: Path, shape: tuple[int, int, int], frames: int, dtype: Dtype, note: Note
) -> None:
    """Tells how much is to be written, and refuses it where the disk has no room."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    free = shutil.disk_usage(path.parent).free
    x, y, z = shape
    note(
        f"{frames:,} frames of {x} x {y} x {z} {dtype}: at most {frames * size:,} bytes, "
        f"{free:,} bytes are free"
    )
    if frames * size > free:
        raise StorageError(
            f"{path}: the disk has no room for {frames * size:,} bytes of frames, {free:,} bytes "
            "are free; forecast traces, store float16, crop, or choose another disk"
        )
