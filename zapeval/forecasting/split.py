"""The split: which windows a forecaster learns from and is chosen by.

None of them, context or targets, holds a frame that any series of the recording is tested on; save
validation windows, for a forecaster that says that it leaks.
"""

from __future__ import annotations

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series, context_span, windows_in


def train_origins(
    benchmark: Benchmark, series: Series, context: int, tested: np.ndarray
) -> tuple[int, ...]:
    """Returns the training windows of a series: all their frames lie in one training range."""
    return tuple(
        origin
        for span in series.train
        for origin in windows_in(span, benchmark.horizon)
        if context_span(benchmark, origin, context)[0] >= span[0]
        and not touches(benchmark, origin, context, tested)
    )


def validation_origins(
    benchmark: Benchmark, series: Series, context: int, tested: np.ndarray
) -> tuple[int, ...]:
    """Returns the validation windows of a series: their targets lie in one validation range."""
    return tuple(
        origin
        for span in series.validation
        for origin in windows_in(span, benchmark.horizon)
        if context_span(benchmark, origin, context)[0] >= 0
        and not touches(benchmark, origin, context, tested)
    )


def touches(benchmark: Benchmark, origin: int, context: int, tested: np.ndarray) -> bool:
    """Tells whether a window, context and targets, holds a frame that is tested on."""
    start = context_span(benchmark, origin, context)[0]
    return bool(tested[start : origin + benchmark.horizon].any())


def tested_frames(benchmark: Benchmark, recording: str) -> np.ndarray:
    """Returns which frames of a recording are a test target of any series, bool ``[frames]``."""
    tested = np.zeros(dict(benchmark.frames)[recording], bool)
    for series in benchmark.series:
        if series.recording == recording:
            for origin in series.origins:
                tested[origin : origin + benchmark.horizon] = True
    return tested
