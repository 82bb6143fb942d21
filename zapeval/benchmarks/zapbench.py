"""ZAPBench, version 1: one larval zebrafish, nine stimulus conditions, 32 steps ahead.

Sources: Lueckmann et al. 2025, "ZAPBench", ICLR (arXiv 2503.02618), and its public code and bucket
as of version 0.1.0. Every number below is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from zapeval.benchmarks.benchmark import Benchmark, Series, Span, windows_in
from zapeval.benchmarks.recipe import Recipe
from zapeval.recordings.ledger import read_record
from zapeval.recordings.mirror import Item, Mirror, PublicVideo, data_folder
from zapeval.recordings.recording import Recording, Recordings, open_recording

FRAMES = 7879
"""Frames of the recording (paper, section 3.1)."""

FRAME_SECONDS = 0.9141
"""Time between frames in seconds (paper, section 3.1)."""

OFFSETS = (0, 649, 2422, 3078, 3735, 5047, 5638, 6623, 7279, 7879)
"""First frame of each condition, then the number of frames (public code, ``constants.py``)."""

CONDITIONS = (
    *("gain", "dots", "flash", "taxis", "turning"),
    *("position", "open loop", "rotation", "dark"),
)
"""Names of conditions 0..8 (``CONDITION_NAMES``; its tuple ``CONDITIONS`` is ordered otherwise)."""

HELD_OUT = 3
"""Condition that is never trained on: taxis (paper, section 3.2)."""

PADDING = 1
"""Frames left out at each side of a condition (``constants.py``)."""

MAX_CONTEXT = 256
"""Longest context length (paper, section 3.2)."""

HORIZON = 32
"""Steps ahead (paper, section 3.2)."""

SUMMARY_STEPS = (1, 4, 8, 16, 32)
"""Steps that the papers show."""

VALIDATION_TENTHS, TEST_TENTHS = 1, 2
"""Tenths of a condition's frames for validation and test, rounded down (``constants.py``)."""

PUBLIC = "gs://zapbench-release"
"""The public bucket, readable without an account, CC BY 4.0."""

VOLUMES = "volumes/20240930"
"""Folder of the recording in the bucket."""

PUBLISHED = "dataframes/20250131/combined.json"
"""Every metric that the authors report, in the bucket."""

CITATION = (
    "Lueckmann et al. 2025, ZAPBench: A Benchmark for Whole-Brain Activity Prediction in "
    "Zebrafish, ICLR (arXiv 2503.02618)"
)


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One stimulus condition of the recording, as frame ranges.

    Attributes:
        index: Number of the condition, 0..8.
        name: Its name.
        span: Its frames without the padding.
        train: Frames to train on; None where the condition is held out.
        validation: Frames for choosing checkpoints; None where it is held out.
        test: Frames that hold the targets of the test windows.
    """

    index: int
    name: str
    span: Span
    train: Span | None
    validation: Span | None
    test: Span


def conditions() -> tuple[Condition, ...]:
    """Returns the nine conditions with their splits, in the order of their frames."""
    return tuple(_condition(index) for index in range(len(CONDITIONS)))


def zapbench_series(recording: str, *, every: int = 1) -> tuple[Series, ...]:
    """Returns the nine conditions as series.

    Args:
        recording: Key of the recording.
        every: Keep each ``every``-th test window.
    """
    return tuple(_series(condition, recording, every) for condition in conditions())


MIRRORED = (
    Item(source=f"{VOLUMES}/traces", target="traces"),
    Item(source=f"{VOLUMES}/stimuli_features", target="stimuli_features"),
    Item(
        source=f"{VOLUMES}/segmentation/dataframe.json",
        target="segmentation/dataframe.json",
        kind="file",
    ),
    Item(source=PUBLISHED, target="combined.json", kind="file"),
)
"""What a local mirror holds (about 2.3 GB)."""

PUBLIC_VIDEO = PublicVideo(
    levels={2**n: f"{VOLUMES}/df_over_f_xyz_chunked/s{n}" for n in range(3)},
    segmentation=f"{VOLUMES}/segmentation",
    kept=(2048, 1152, 72),
)
"""The video in df/f, and the centre that Immer et al. 2025 (arXiv 2503.00073) keep of it."""


def mirror_folder() -> Path:
    """Returns the folder of the local mirror."""
    return data_folder() / "zapbench"


def open_zapbench(data: str | None) -> Recording:
    """Returns the recording at a folder or URI, by default the mirror, else the bucket."""
    if data is None:
        complete = read_record(mirror_folder()).complete
        data = str(mirror_folder()) if complete else f"{PUBLIC}/{VOLUMES}"
    return open_recording(data)


def _condition(index: int) -> Condition:
    start, stop = OFFSETS[index] + PADDING, OFFSETS[index + 1] - PADDING
    name = CONDITIONS[index]
    if index == HELD_OUT:
        # Targets begin where a context of the longest length fits, and are the same for all.
        test = (start + MAX_CONTEXT, stop)
        return Condition(
            index=index, name=name, span=(start, stop), train=None, validation=None, test=test
        )
    frames = stop - start
    first_test = stop - frames * TEST_TENTHS // 10
    first_validation = first_test - frames * VALIDATION_TENTHS // 10
    return Condition(
        index=index,
        name=name,
        span=(start, stop),
        train=(start, first_validation),
        validation=(first_validation, first_test),
        test=(first_test, stop),
    )


def _series(condition: Condition, recording: str, every: int) -> Series:
    held_out = condition.train is None
    return Series(
        name=condition.name,
        array=f"test_{'holdout_' if held_out else ''}condition_{condition.index}",
        recording=recording,
        held_out=held_out,
        train=() if condition.train is None else (condition.train,),
        validation=() if condition.validation is None else (condition.validation,),
        origins=windows_in(condition.test, HORIZON)[::every],
    )


ZAPBENCH = Benchmark(
    id="zapbench",
    version=1,
    protocol="horizon",
    context_lengths=(4, MAX_CONTEXT),
    max_context=MAX_CONTEXT,
    horizon=HORIZON,
    series=zapbench_series("zapbench"),
    frames=(("zapbench", FRAMES),),
    primary="mae",
    summary_steps=SUMMARY_STEPS,
    sampled="time",
    frame_seconds=FRAME_SECONDS,
    title="One larval zebrafish, 71,721 neurons, nine conditions, 32 steps ahead",
    citation=CITATION,
)


@final
class ZapBench(Recipe):
    """ZAPBench on its public recording, or on a local mirror of it."""

    id = ZAPBENCH.id
    version = ZAPBENCH.version
    title = ZAPBENCH.title

    def recordings(self, data: str | None = None) -> Recordings:
        """Returns the recording; the local mirror where it is complete, else the bucket."""
        return Recordings({"zapbench": lambda: open_zapbench(data)})

    def resolve(self, recordings: Recordings) -> Benchmark:
        """Returns the benchmark, which is complete without its recording."""
        del recordings
        return ZAPBENCH

    def folder(self) -> Path:
        """Returns the folder of the local mirror."""
        return mirror_folder()

    def mirror(self) -> Mirror:
        """Returns how the public bucket is mirrored."""
        return Mirror(source=PUBLIC, items=MIRRORED, folder=mirror_folder(), video=PUBLIC_VIDEO)
