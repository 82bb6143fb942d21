"""The embedded benchmarks: ZAPBench's frames and windows over a generated brain.

``zapbench-mini`` has all 1,557 test windows; ``zapbench-smoke`` at most 64, for trials, and is free
to change.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from zapeval.benchmarks import brain as generator
from zapeval.benchmarks import zapbench
from zapeval.benchmarks.benchmark import Benchmark
from zapeval.benchmarks.brain import Brain, Programme, generate
from zapeval.benchmarks.recipe import Recipe
from zapeval.recordings.mirror import data_folder
from zapeval.recordings.recording import (
    NEURONS,
    SEGMENTATION,
    STIMULUS,
    TRACES,
    VIDEO,
    NeuronTable,
    Recording,
    Recordings,
    open_recording,
)
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import Layout, beside, create_array, write_array

SEED = 9
"""Seed of the brain."""

SMOKE_EVERY = 26
"""Test windows are thinned to each 26th of a condition: 64 in all."""

TRIALS: dict[str, float] = {
    "gain": 65.5,
    "dots": 591,
    "flash": 65.5,
    "taxis": 131.4,
    "turning": 262.4,
    "position": 197,
    "rotation": 65.5,
}
"""Mean length of a stimulus trial in frames (Lueckmann et al. 2025); the others have none."""

_VIDEO_BLOCK = 512


class _Generated(Recipe):
    """A benchmark over the generated brain.

    Attributes:
        every: Keep each ``every``-th test window.
    """

    version = 0
    every: ClassVar[int]

    def recordings(self, data: str | None = None) -> Recordings:
        """Returns the generated recording, made on first use and kept in the data folder."""
        return Recordings({"brain": lambda: _open(data)})

    def resolve(self, recordings: Recordings) -> Benchmark:
        """Returns the benchmark, which is complete without its recording."""
        del recordings
        return Benchmark(
            id=self.id,
            version=self.version,
            protocol=zapbench.ZAPBENCH.protocol,
            context_lengths=zapbench.ZAPBENCH.context_lengths,
            max_context=zapbench.MAX_CONTEXT,
            horizon=zapbench.HORIZON,
            series=zapbench.zapbench_series("brain", every=self.every),
            frames=(("brain", zapbench.FRAMES),),
            primary=zapbench.ZAPBENCH.primary,
            summary_steps=zapbench.SUMMARY_STEPS,
            sampled=zapbench.ZAPBENCH.sampled,
            frame_seconds=zapbench.FRAME_SECONDS,
            title=self.title,
        )

    def folder(self) -> Path:
        """Returns the folder of the generated recording."""
        return brain_folder()


@final
class Mini(_Generated):
    """All test windows."""

    id = "zapbench-mini"
    version = 1
    title = "A generated brain of a few hundred neurons in ZAPBench's frames and windows"
    every = 1


@final
class Smoke(_Generated):
    """At most 64 test windows."""

    id = "zapbench-smoke"
    title = "zapbench-mini with at most 64 windows"
    every = SMOKE_EVERY


def generate_brain(seed: int = SEED) -> Brain:
    """Returns the brain of a seed in ZAPBench's conditions."""
    bounds = zip(zapbench.OFFSETS[:-1], zapbench.OFFSETS[1:], strict=True)
    return generate(
        seed,
        [
            Programme(name=name, start=start, stop=stop, trial=TRIALS.get(name))
            for name, (start, stop) in zip(zapbench.CONDITIONS, bounds, strict=True)
        ],
    )


def write_brain(brain: Brain, folder: Path) -> None:
    """Writes a brain as a recording in the public layout.

    Raises:
        StorageError: The disk is full.
    """
    store = open_store(folder)
    frames, neurons = brain.traces.shape
    write_array(store.child(TRACES), brain.traces, Layout(chunk=(512, neurons), compressed=False))
    write_array(store.child(STIMULUS), brain.stimulus, Layout(chunk=brain.stimulus.shape))
    write_array(store.child(SEGMENTATION), brain.segmentation, Layout(chunk=_whole(brain)))
    names = tuple(f"n{i:03d}" for i in range(neurons))
    table = NeuronTable(names=names, regions=brain.regions, positions=brain.positions)
    (folder / NEURONS).write_text(table.to_csv(), encoding="utf-8")
    shape = (frames, *_whole(brain))
    layout = Layout(chunk=(1, *_whole(brain)), shard=(_VIDEO_BLOCK, *_whole(brain)))
    video = create_array(store.child(VIDEO), shape, "float32", layout)
    for start, values in _video(brain):
        video.write((start, 0, 0, 0), values)


def brain_folder(seed: int = SEED) -> Path:
    """Returns where the generated recording is kept, under the digest of what generates it."""
    source = inspect.getsource(generator) + np.__version__ + str(sorted(TRIALS.items()))
    digest = hashlib.sha256(source.encode()).hexdigest()
    return data_folder() / f"generated-{seed}-{digest[:12]}"


def _open(data: str | None) -> Recording:
    if data is not None:
        return open_recording(data)
    folder = brain_folder()
    if not folder.exists():
        with beside(folder) as partial:
            write_brain(generate_brain(), partial)
    return open_recording(str(folder))


def _video(brain: Brain) -> Iterator[tuple[int, np.ndarray]]:
    frames = len(brain.traces)
    for start in range(0, frames, _VIDEO_BLOCK):
        yield start, brain.frames(start, min(start + _VIDEO_BLOCK, frames))


def _whole(brain: Brain) -> tuple[int, ...]:
    return tuple(brain.segmentation.shape)
