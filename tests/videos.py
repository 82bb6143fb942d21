"""A small recording with video: two halves of a brain in chunks, and a benchmark over it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.forecasting.training import Training, training_of
from zapeval.recordings.recording import Recordings, open_recording
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import Layout, write_array

FRAMES, CONTEXT, HORIZON, NEURONS = 60, 3, 4, 6
VOLUME = (8, 4, 2)
CHUNK = (1, 4, 4, 2)


def labels() -> np.ndarray:
    """Returns a segmentation, uint16 ``[x, y, z]``: background in z = 0, then slabs along x."""
    found = np.zeros(VOLUME, np.uint16)
    found[..., 1] = (np.arange(VOLUME[0]) * NEURONS // VOLUME[0] + 1)[:, None]
    return found


def video(seed: int = 0) -> np.ndarray:
    """Returns waves that travel along x, float32 ``[frames, x, y, z]``."""
    rng = np.random.default_rng(seed)
    time, x = np.arange(FRAMES)[:, None], np.arange(VOLUME[0])[None]
    waves = 0.3 * np.sin(time / 3 - x / 2)[:, :, None, None]
    return (waves + rng.normal(0, 0.05, (FRAMES, *VOLUME))).astype(np.float32)


def traces(frames: np.ndarray, segmentation: np.ndarray) -> np.ndarray:
    """Returns means over each neuron's voxels, float32 ``[frames, neurons]``."""
    means = [frames[:, segmentation == n + 1].mean(axis=1) for n in range(NEURONS)]
    return np.stack(means, axis=1).astype(np.float32)


def write(folder: Path, seed: int = 0) -> None:
    """Writes the recording in the public layout; its video in two chunks a frame, along x."""
    store, frames = open_store(folder), video(seed)
    write_array(store.child("traces"), traces(frames, labels()), Layout(chunk=(FRAMES, NEURONS)))
    write_array(store.child("segmentation"), labels(), Layout(chunk=(4, 4, 2)))
    write_array(store.child("video"), frames, Layout(chunk=CHUNK))


def benchmark(mask: tuple[bool, ...] | None = None) -> Benchmark:
    """Returns one series, with training, validation and test frames."""
    series = Series(
        name="all",
        array="all",
        recording="fish",
        train=((0, 30),),
        validation=((30, 42),),
        origins=tuple(range(46, FRAMES - HORIZON + 1)),
        mask=mask,
    )
    return Benchmark(
        id="waves",
        version=1,
        protocol="horizon",
        context_lengths=(CONTEXT,),
        max_context=CONTEXT,
        horizon=HORIZON,
        series=(series,),
        frames=(("fish", FRAMES),),
        summary_steps=(1, HORIZON),
    )


def opened(folder: Path) -> Recordings:
    """Opens the recording."""
    return Recordings({"fish": lambda: open_recording(str(folder))})


def training(data: Path, folder: Path, *, seed: int = 0, mask=None, **options) -> Training:
    """Returns a Training on the recording, with its folders made."""
    for name in ("unfinished", "record"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return training_of(
        benchmark(mask),
        opened(data),
        context=CONTEXT,
        seed=seed,
        folder=folder / "unfinished",
        record=folder / "record",
        covariates=("video",),
        **options,
    )
