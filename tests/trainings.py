"""Trainings: small benchmarks to learn from, whose frames a test knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.benchmarks.zapbench import CONDITIONS, FRAMES, ZAPBENCH, zapbench_series
from zapeval.forecasting.training import Training, training_of
from zapeval.recordings.recording import Recordings, open_recording


def series(name: str, start: int, **kept) -> Series:
    """Returns a series with one test window at a frame, and the ranges and mask that are given."""
    given = {"recording": "fish", **kept}
    return Series(name=name, array=name.replace(" ", "_"), origins=(start,), **given)


def benchmark_of(every: tuple[Series, ...], frames: Mapping[str, int], horizon: int) -> Benchmark:
    """Returns a benchmark of the protocol ``horizon`` over some series."""
    return Benchmark(
        id="trial",
        version=1,
        protocol="horizon",
        context_lengths=(1,),
        max_context=8,
        horizon=horizon,
        series=every,
        frames=tuple(frames.items()),
        summary_steps=(horizon,),
    )


def recordings_of(folder: Path, activity: Mapping[str, np.ndarray]) -> Recordings:
    """Writes recordings as NumPy files and opens them."""
    openers = {}
    for key, values in activity.items():
        np.save(folder / f"{key}.npy", values)
        openers[key] = lambda uri=str(folder / f"{key}.npy"): open_recording(uri)
    return Recordings(openers)


def training(
    folder: Path,
    benchmark: Benchmark,
    recordings: Recordings,
    *,
    context: int,
    leaks: bool = False,
    seed: int = 0,
) -> Training:
    """Returns what a forecaster is handed to learn from."""
    return training_of(
        benchmark,
        recordings,
        context=context,
        seed=seed,
        folder=folder,
        record=folder,
        leaks=leaks,
    )


def fish(seed: int, neurons: int) -> np.ndarray:
    """Returns activity in ZAPBench's frames, float32 ``[frames, neurons]``."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.1, 0.05, (FRAMES, neurons)).astype(np.float32)


def zapbench_alike(names: tuple[str, ...] = CONDITIONS) -> Benchmark:
    """Returns ZAPBench, or a benchmark of some of its conditions, over the recording ``fish``."""
    kept = tuple(one for one in zapbench_series("fish") if one.name in names)
    frames = (("fish", FRAMES),)
    digits = {"context_lengths": (4,), "max_context": 256, "horizon": ZAPBENCH.horizon}
    return Benchmark(
        id="alike",
        version=1,
        protocol="horizon",
        series=kept,
        frames=frames,
        summary_steps=(1,),
        **digits,
    )
