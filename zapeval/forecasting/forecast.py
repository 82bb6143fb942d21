"""Main flow 1: benchmark -> series -> windows -> contexts -> forecaster -> check -> predictions."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series, Span, context_span
from zapeval.benchmarks.recipe import check_recordings
from zapeval.errors import BrokenPlugin, ZapevalError
from zapeval.forecasting.forecaster import Contexts, Forecaster
from zapeval.forecasting.manifest import BenchmarkPart, ForecasterPart, Manifest
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
    dtype: Dtype = "float32",
    progress: Callable[[int], None] | None = None,
) -> None:
    """Forecasts every window of a benchmark and writes the predictions.

    Repeating an interrupted call goes on where it stopped.

    Args:
        forecaster: What forecasts.
        benchmark: What is forecast.
        recordings: Its recordings.
        path: The store to make; must not exist.
        context: Context length in frames.
        dtype: Stored type.
        progress: Told the windows of each block when it is written.

    Raises:
        BrokenPlugin: A forecast has another shape or type than it must, or is not finite.
        InvalidInput: The recordings are not the benchmark's, or path exists.
        StorageError: The disk is full.
    """
    check_recordings(benchmark, recordings)
    writer = PredictionsWriter(path, manifest_of(forecaster, benchmark, context), dtype)
    try:
        for series in benchmark.series:
            recording = recordings[series.recording]
            done = series.windows
            for windows in writer.todo(benchmark, series, recording.neurons):
                values = forecast_windows(
                    forecaster, benchmark, series, recording, windows, context=context
                )
                writer.write(series, windows[0], values)
                done -= windows[1] - windows[0]
                if progress is not None:
                    progress(windows[1] - windows[0])
            if progress is not None and done:
                progress(done)
        writer.finish()
    finally:
        writer.close()


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
    return np.concatenate(
        [
            _batch(forecaster, benchmark, series, recording, (start, stop), context)
            for start, stop in ((start, min(start + size, windows[1])) for start in starts)
        ]
    )


def _batch(
    forecaster: Forecaster,
    benchmark: Benchmark,
    series: Series,
    recording: Recording,
    windows: Span,
    context: int,
) -> np.ndarray:
    """Forecasts a batch of windows.

    Under ``next-step`` position ``k`` is forecast one step ahead from the ``k`` frames before it,
    so no forecaster can see what it predicts.
    """
    origins = series.origins[slice(*windows)]
    activity = _contexts(benchmark, recording, origins, context)
    if benchmark.protocol == "horizon":
        contexts = Contexts(
            activity=activity, horizon=benchmark.horizon, series=series.name, origins=origins
        )
        return _checked(forecaster, contexts, windows)
    steps = []
    for k in range(1, benchmark.horizon + 1):
        contexts = Contexts(
            # A copy, not a view: a view leads to the frames behind it.
            activity=activity[:, :k].copy(),
            horizon=1,
            series=series.name,
            origins=tuple(origin + k - 1 for origin in origins),
        )
        steps.append(_checked(forecaster, contexts, windows))
    return np.concatenate(steps, axis=1)


def manifest_of(forecaster: Forecaster, benchmark: Benchmark, context: int) -> Manifest:
    """Returns what the predictions of a run say of themselves.

    Raises:
        BrokenPlugin: The forecaster has no name, or parameters that JSON does not hold.
    """
    return Manifest(
        benchmark=BenchmarkPart(
            id=benchmark.id, version=benchmark.version, digest=benchmark.digest
        ),
        context=context,
        forecaster=_said_of(forecaster),
        software={
            "zapeval": importlib.metadata.version("zapeval"),
            "python": platform.python_version(),
        },
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _said_of(forecaster: Forecaster) -> ForecasterPart:
    try:
        parameters = json.loads(json.dumps(dict(forecaster.parameters), allow_nan=False))
        return ForecasterPart(
            name=forecaster.name, version=forecaster.version, parameters=parameters
        )
    except (AttributeError, TypeError, ValueError) as error:
        who = getattr(forecaster, "name", type(forecaster).__name__)
        raise BrokenPlugin(
            f"{who}: its name, version and parameters go into the manifest as JSON: {error}"
        ) from error


def _contexts(
    benchmark: Benchmark, recording: Recording, origins: tuple[int, ...], context: int
) -> np.ndarray:
    spans = [context_span(benchmark, origin, context) for origin in origins]
    first = spans[0][0]
    frames = recording.activity.read((first, spans[-1][1])).astype(np.float32, copy=False)
    return np.stack([frames[start - first : stop - first] for start, stop in spans])


def _checked(forecaster: Forecaster, contexts: Contexts, windows: Span) -> np.ndarray:
    where = f"{forecaster.name}: {contexts.series}, windows [{windows[0]}, {windows[1]})"
    try:
        values = forecaster.forecast(contexts)
    except ZapevalError:
        raise
    except Exception as error:
        raise BrokenPlugin(f"{where}: raised {type(error).__name__}: {error}") from error
    count, _, neurons = contexts.activity.shape
    expected = (count, contexts.horizon, neurons)
    if not isinstance(values, np.ndarray) or values.dtype != np.float32:
        got = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise BrokenPlugin(f"{where}: returned {got}, expected a float32 NumPy array")
    if values.shape != expected:
        raise BrokenPlugin(
            f"{where}: returned shape {list(values.shape)}, expected [windows, horizon, neurons] "
            f"= {list(expected)}"
        )
    if not np.isfinite(values).all():
        index = np.unravel_index(int((~np.isfinite(values)).argmax()), values.shape)
        window, step, neuron = (int(i) for i in index)
        raise BrokenPlugin(
            f"{where}: returned {values[index]} for window {windows[0] + window}, step "
            f"{step + 1}, neuron {neuron}; expected finite numbers"
        )
    return values
