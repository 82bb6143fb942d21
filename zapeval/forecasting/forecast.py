"""Main flow 1: benchmark -> series -> windows -> contexts -> forecaster -> check -> predictions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import final

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series, Span, context_span
from zapeval.benchmarks.recipe import check_recordings
from zapeval.errors import BrokenPlugin
from zapeval.forecasting.answer import answer
from zapeval.forecasting.causality import check_causal
from zapeval.forecasting.checkpoint import Checkpoint
from zapeval.forecasting.contexts import COVARIATES, contexts_of, data_mark
from zapeval.forecasting.forecaster import Forecaster, NextStepForecaster
from zapeval.forecasting.manifest import BenchmarkPart, Manifest, said_of, software
from zapeval.forecasting.writing import Dtype, PredictionsWriter
from zapeval.recordings.recording import Recording, Recordings

BATCH_BYTES = 256 << 20
"""Largest batch of contexts in bytes: 233 windows of 4 frames of 71,721 neurons, 3 of 256."""


def forecast(
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
) -> None:
    """Forecasts every window of a benchmark and writes the predictions.

    Repeating an interrupted call goes on where it stopped, behind the blocks that are whole.

    Args:
        forecaster: What forecasts.
        benchmark: What is forecast.
        recordings: Its recordings.
        path: The store to make; must not exist.
        context: Context length in frames.
        trained: What the forecaster was trained on, if it learns.
        dtype: Stored type.
        compressed: Whether to compress, without loss.
        progress: Told the windows of each block when it is written.

    Raises:
        BrokenPlugin: A forecast has another shape or type than it must, is not finite, or looks
            ahead.
        InvalidInput: The recordings are not the benchmark's, or path exists.
        StorageError: The disk is full.
    """
    check_recordings(benchmark, recordings)
    check_declared(forecaster)
    manifest = manifest_of(forecaster, benchmark, context, trained).model_copy(
        update={"data": data_mark(benchmark, recordings, context)}
    )
    writer = PredictionsWriter(path, manifest, dtype, compressed=compressed)
    try:
        with _Behind(writer, progress) as behind:
            for series in benchmark.series:
                recording = recordings[series.recording]
                if benchmark.protocol == "next-step" and isinstance(forecaster, NextStepForecaster):
                    _probe(forecaster, benchmark, series, recording, context)
                done = series.windows
                for windows in writer.todo(benchmark, series, recording.neurons):
                    values = forecast_windows(
                        forecaster, benchmark, series, recording, windows, context=context
                    )
                    behind.write(series, windows, values)
                    # Kept, it would lie in memory beside the next two: 294 MB each.
                    del values
                    done -= windows[1] - windows[0]
                behind.wait()
                if progress is not None and done:
                    progress(done)
        writer.finish()
    finally:
        writer.close()


@final
class _Behind:
    """Writes a block on a thread of its own while the next is forecast; two are in memory at most.

    What was begun is written to its end, also where the next block can't be forecast.
    """

    def __init__(self, writer: PredictionsWriter, progress: Callable[[int], None] | None) -> None:
        self._writer = writer
        self._progress = progress
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._begun: tuple[Future[None], int] | None = None

    def __enter__(self) -> _Behind:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown()

    def write(self, series: Series, windows: Span, values: np.ndarray) -> None:
        """Begins to write a block when the one before is written."""
        self.wait()
        future = self._pool.submit(self._writer.write, series, windows[0], values)
        self._begun = future, windows[1] - windows[0]

    def wait(self) -> None:
        """Returns when what was begun is written; raises what went wrong with it."""
        if self._begun is None:
            return
        (future, count), self._begun = self._begun, None
        future.result()
        if self._progress is not None:
            self._progress(count)


def forecast_windows(
    forecaster: Forecaster,
    benchmark: Benchmark,
    series: Series,
    recording: Recording,
    windows: Span,
    *,
    context: int,
) -> np.ndarray:
    """Returns the checked forecast of some windows, float32 ``[windows, horizon, neurons]``.

    Raises:
        BrokenPlugin: It is not what the contract asks for.
    """
    first, last = context_span(benchmark, series.origins[0], context)
    size = max(1, BATCH_BYTES // ((last - first) * recording.neurons * 4))
    starts = range(windows[0], windows[1], size)
    answers = []
    for start in starts:
        batch = (start, min(start + size, windows[1]))
        contexts = contexts_of(
            benchmark,
            series,
            recording,
            series.origins[slice(*batch)],
            context=context,
            covariates=forecaster.covariates,
        )
        answers.append(answer(forecaster, benchmark, contexts, batch))
    return answers[0] if len(answers) == 1 else np.concatenate(answers)


def manifest_of(
    forecaster: Forecaster, benchmark: Benchmark, context: int, trained: Checkpoint | None = None
) -> Manifest:
    """Returns what the predictions of a run say of themselves.

    Raises:
        BrokenPlugin: The forecaster has no name, or parameters that JSON does not hold.
    """
    said = said_of(forecaster)
    if trained is not None:
        said = said.model_copy(
            update={
                "seed": trained.seed,
                "training_data": trained.training_data,
                "checkpoint": trained.model,
                "cost": trained.cost,
            }
        )
    return Manifest(
        benchmark=BenchmarkPart(
            id=benchmark.id, version=benchmark.version, digest=benchmark.digest
        ),
        context=context,
        forecaster=said,
        software=software(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def check_declared(forecaster: Forecaster) -> None:
    """Checks what a forecaster says of itself.

    Raises:
        BrokenPlugin: It asks for a covariate that there is not.
    """
    asked = forecaster.covariates
    if not isinstance(asked, tuple | list) or not set(asked) <= set(COVARIATES):
        raise BrokenPlugin(
            f"{forecaster.name}: covariates are {forecaster.covariates!r}, expected a tuple of "
            f"some of {', '.join(COVARIATES)}"
        )


def _probe(
    forecaster: NextStepForecaster,
    benchmark: Benchmark,
    series: Series,
    recording: Recording,
    context: int,
) -> None:
    contexts = contexts_of(
        benchmark,
        series,
        recording,
        series.origins[:2],
        context=context,
        covariates=forecaster.covariates,
    )
    check_causal(forecaster, contexts)
