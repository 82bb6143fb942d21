"""A small benchmark to learn on: coupled oscillators whose next frames a linear map foretells."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.forecasting.training import Training, training_of
from zapeval.recordings.recording import Recordings, open_recording

FRAMES, NEURONS, CONTEXT, HORIZON = 240, 6, 8, 4


def activity(seed: int = 0, neurons: int = NEURONS) -> np.ndarray:
    """Returns oscillations of several periods with a little noise, float32 [frames, neurons]."""
    rng = np.random.default_rng(seed)
    time = np.arange(FRAMES)[:, None]
    waves = np.sin(2 * np.pi * time / rng.uniform(9, 20, neurons) + rng.uniform(0, 6, neurons))
    return (0.3 * waves + rng.normal(0, 0.02, waves.shape)).astype(np.float32)


def benchmark(*, mask: tuple[bool, ...] | None = None, recordings: int = 1) -> Benchmark:
    """Returns two series a recording, each with training, validation and test frames."""
    half = FRAMES // 2
    series = [
        Series(
            name=f"{part} {number}",
            array=f"{part}_{number}",
            recording=f"fish{number}",
            train=((start, start + 70),),
            validation=((start + 70, start + 90),),
            origins=tuple(range(start + 90, start + half - HORIZON + 1)),
            mask=mask,
        )
        for number in range(recordings)
        for part, start in (("early", 0), ("late", half))
    ]
    return Benchmark(
        id="oscillators",
        version=1,
        protocol="horizon",
        context_lengths=(CONTEXT,),
        max_context=CONTEXT,
        horizon=HORIZON,
        series=tuple(series),
        frames=tuple((f"fish{number}", FRAMES) for number in range(recordings)),
        summary_steps=(1, HORIZON),
    )


def opened(folder: Path, *, recordings: int = 1, neurons: int = NEURONS) -> Recordings:
    """Writes the recordings and opens them."""
    folder.mkdir(parents=True, exist_ok=True)
    openers = {}
    for number in range(recordings):
        path = folder / f"fish{number}.npy"
        np.save(path, activity(number, neurons))
        openers[f"fish{number}"] = lambda uri=str(path): open_recording(uri)
    return Recordings(openers)


def training(folder: Path, *, seed: int = 0, mask: tuple[bool, ...] | None = None, **options):
    """Returns a Training on one recording, with its folders made."""
    for name in ("unfinished", "record"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    made: Training = training_of(
        benchmark(mask=mask),
        opened(folder / "data"),
        context=CONTEXT,
        seed=seed,
        folder=folder / "unfinished",
        record=folder / "record",
        **options,
    )
    return made
