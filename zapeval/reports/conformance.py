"""Conformance: whether forecasts that are scored here give the published numbers."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series, Span, context_span, target_span
from zapeval.benchmarks.published import Published
from zapeval.benchmarks.recipe import check_recordings
from zapeval.errors import InvalidInput, StorageError
from zapeval.forecasting.forecast import forecast
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.predictions import open_predictions
from zapeval.forecasting.writing import WINDOWS_A_BLOCK, layout_of
from zapeval.recordings.arrays import Array
from zapeval.recordings.recording import Recording, Recordings
from zapeval.reports.agreement import Agreement, Comparison, Scored
from zapeval.scoring.score import Run, score
from zapeval.scoring.scorecard import Scorecard

METHOD, CONTEXT = "mean", 4
"""The forecaster whose published numbers are compared, and its context length in frames.

It learns nothing and draws nothing at random, so that its numbers depend on the scorer alone.
"""

_VALUE_BYTES = 4
_PATIENCE = 5.0


def verify(
    forecaster: Forecaster,
    benchmark: Benchmark,
    recordings: Recordings,
    published: Published,
    *,
    context: int,
    run: Run = map,
    progress: Callable[[int], None] | None = None,
) -> Agreement:
    """Forecasts and scores every condition, and compares with what was published.

    One condition at a time is forecast into a temporary folder (below ``$TMPDIR``), scored like any
    predictions store, and removed. Of the zebrafish that takes 3.6 GB of disk and 1.3 GB of memory.

    Args:
        forecaster: The method of the published numbers.
        benchmark: The benchmark; its series are the conditions.
        recordings: Its recordings.
        published: The published numbers.
        context: Context length in frames.
        run: What runs the scoring tasks (see score).
        progress: Told the windows of each block when it is forecast.

    Raises:
        InvalidInput: The recording is not the benchmark's, or holds what can't be scored.
        StorageError: The recording can't be read, or the temporary folder is too small.
        BrokenPlugin: The forecaster breaks its contract.
    """
    check_recordings(benchmark, recordings)
    scored: list[Scored] = []
    found: dict[tuple[str, str, int], float] = {}
    for series in benchmark.series:
        recording = recordings[series.recording]
        alone = _alone(benchmark, series)
        with _scratch(_stored_bytes(alone, recording.neurons)) as folder:
            card = _score(forecaster, alone, recording, folder, context, run, progress)
        found |= {(s.metric, s.series, s.step): s.value for s in card.scores if s.value is not None}
        scored.append(_scored(card))
    return Agreement(
        benchmark=benchmark,
        forecaster=forecaster.name,
        version=forecaster.version,
        context=context,
        recording=recordings[benchmark.series[0].recording].activity_uri,
        published=published,
        scored=tuple(scored),
        comparisons=tuple(
            Comparison(
                series=series.name,
                step=step,
                metric=metric,
                ours=found[metric, series.name, step],
                published=published.values[metric, series.name, step],
            )
            for metric in published.metrics
            for series in benchmark.series
            for step in range(1, benchmark.steps + 1)
        ),
    )


def _score(
    forecaster: Forecaster,
    benchmark: Benchmark,
    recording: Recording,
    folder: Path,
    context: int,
    run: Run,
    progress: Callable[[int], None] | None,
) -> Scorecard:
    """Forecasts a benchmark of one series into a folder, and scores it there."""
    series = benchmark.series[0]
    span = (
        context_span(benchmark, series.origins[0], context)[0],
        target_span(benchmark, series)[1],
    )
    held = _HeldRecording(
        uri=recording.uri,
        activity_uri=recording.activity_uri,
        held=_HeldFrames(recording.activity, span),
    )
    recordings = Recordings({series.recording: lambda: held})
    path = folder / "predictions.zarr"
    # Compressed, it would take a fifth less disk, and 400 MB more memory.
    forecast(
        forecaster,
        benchmark,
        recordings,
        path,
        context=context,
        compressed=False,
        progress=progress,
    )
    card, _ = score(open_predictions(str(path)), benchmark, recordings, context=context, run=run)
    return card


def _alone(benchmark: Benchmark, series: Series) -> Benchmark:
    """Returns the benchmark of one series; averages, which need one not held out, go unused."""
    return replace(benchmark, series=(replace(series, held_out=False),))


def _scored(card: Scorecard) -> Scored:
    line = card.series[0]
    return Scored(
        series=line.name,
        windows=line.windows,
        neurons=line.scored,
        data=card.data["digest"],
        predictions=card.predictions["digest"],
    )


def _stored_bytes(benchmark: Benchmark, neurons: int) -> int:
    """Returns how much disk the forecasts of a benchmark of one series take."""
    shard = layout_of(benchmark, neurons, compressed=False).shard
    file = _VALUE_BYTES * math.prod(shard or ())
    return -(-benchmark.windows // WINDOWS_A_BLOCK) * file


@contextmanager
def _scratch(needed: int) -> Iterator[Path]:
    """Gives a temporary folder with room for some bytes, and removes it whatever happens."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="zapeval-"))
    except OSError as error:
        raise StorageError(f"temporary folder: could not be made: {error}; set TMPDIR") from error
    try:
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise StorageError(
                f"{folder.parent}: has {free:,} bytes free, and forecasts of one condition take "
                f"{needed:,}; make room, or set TMPDIR to a folder on a larger disk"
            )
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    # After Ctrl-C the storage library may still be writing: what appears meanwhile goes too.
    end = time.monotonic() + _PATIENCE
    while folder.exists() and time.monotonic() < end:
        shutil.rmtree(folder, ignore_errors=True)


@final
class _HeldFrames(Array):
    """Some frames of an array, read once: a bucket would send whole chunks for every block."""

    def __init__(self, array: Array, span: Span) -> None:
        self.uri = array.uri
        self.shape = self.chunk = array.shape
        self.dtype = array.dtype
        self._span = span
        self._values = array.read(span)

    def _read(self, spans: tuple[Span, ...], out: np.ndarray) -> None:
        (start, stop), neurons = spans
        first, last = self._span
        if not first <= start <= stop <= last:
            raise InvalidInput(f"{self.uri}: frames [{start}, {stop}) of [{first}, {last})")
        out[...] = self._values[start - first : stop - first, slice(*neurons)]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class _HeldRecording(Recording):
    """A recording of which some frames are held in memory.

    Attributes:
        held: The frames.
    """

    held: Array

    @cached_property
    def activity(self) -> Array:
        """The frames."""
        return self.held
