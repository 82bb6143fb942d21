"""Tasks: what is forecast of a set of worms, as splits, windows and a benchmark.

Source: Simeon et al. 2024, sections 2.2 and 2.3, and its public code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from zapeval.benchmarks.benchmark import Benchmark, Protocol, Series, Span
from zapeval.benchmarks.celegans.preprocessing import DT
from zapeval.errors import InvalidInput

LENGTH = 180
"""Positions of a window, and steps that are generated: 120 seconds (L of the paper)."""

WINDOWS = 32
"""Windows of a worm (n_s of the paper)."""

STEPS = (1, 4, 8, 16, 32, 64, 128, 180)
"""Summary steps of the generation."""

CITATION = (
    "Simeon et al. 2024, Scaling Properties for Artificial Neural Network Models of a Small "
    "Nervous System"
)

METRICS = ("mse_pooled",)
"""Metrics beside the usual ones: the public code's loss, pooled over all labelled entries."""

Split = Literal["halves", "three-way"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task over worms.

    Attributes:
        id: Name on the command line.
        version: Its version.
        title: One line that says what it is.
        protocol: ``next-step``, or ``horizon`` for generation.
        split: ``halves``: the second half is for validation and for the reported number, as in the
            paper; ``three-way``: the second half is cut again, its later part is tested on.
        windows: Windows of a worm, 2 or more.
    """

    id: str
    version: int
    title: str
    protocol: Protocol = "next-step"
    split: Split = "halves"
    windows: int = WINDOWS

    @property
    def needed(self) -> int:
        """Frames that a window and its context take."""
        return LENGTH + 1 if self.protocol == "next-step" else 2 * LENGTH

    def fits(self, frames: int) -> bool:
        """Tells whether each part of a worm of so many frames holds a window."""
        return all(stop - start >= self.needed for start, stop in parts_of(self.split, frames))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a benchmark is told of a worm.

    Attributes:
        key: Key of its recording.
        name: Its name.
        source: Where it comes from.
        frames: Number of its frames.
        mask: Which neurons are labelled, one flag a slot.
    """

    key: str
    name: str
    source: str
    frames: int
    mask: tuple[bool, ...]


NEXT_STEP = Task(
    id="celegans", version=1, title="Worms from eight sources, 302 neurons, one step ahead"
)
GENERATION = Task(
    id="celegans-generation",
    version=1,
    title="Worms from eight sources, 302 neurons, 180 steps generated",
    protocol="horizon",
)
THREE_WAY = Task(
    id="celegans-three-way",
    version=1,
    title="Worms from eight sources, one step ahead, tested where nothing was chosen by",
    split="three-way",
)

TASKS = (NEXT_STEP, GENERATION, THREE_WAY)
"""The tasks over recorded worms."""


def parts_of(split: Split, frames: int) -> tuple[Span, ...]:
    """Returns the parts of a worm: train and validation, and the test part where it is another.

    Train is ``[0, floor(T / 2))`` and validation ``[ceil(T / 2), T)``: of an odd number of frames
    the middle one is nobody's. A three-way split cuts the latter likewise.
    """
    train, rest = (0, frames // 2), (frames - frames // 2, frames)
    if split == "halves":
        return train, rest
    quarter = (rest[1] - rest[0]) // 2
    return train, (rest[0], rest[0] + quarter), (rest[1] - quarter, rest[1])


def starts_in(frames: int, needed: int, windows: int = WINDOWS) -> tuple[int, ...]:
    """Returns where windows begin in a part: ``floor(linspace(0, frames - needed, windows))``.

    Exact in whole numbers. In a short part some windows begin at the same frame, and count twice.

    Raises:
        InvalidInput: The part is shorter than a window.
    """
    room = frames - needed
    if room < 0:
        raise InvalidInput(f"a part of {frames} frames: a window needs {needed}")
    return tuple(number * room // (windows - 1) for number in range(windows))


def origins_in(task: Task, part: Span) -> tuple[int, ...]:
    """Returns the origins of the windows of a part; contexts lie in it too.

    Next-step: X is ``[a, a + L)`` and Y ``[a + 1, a + L + 1)``, so the origin is ``a + 1``.
    Generation: 180 frames of context come before the origin.
    """
    lead = task.needed - LENGTH
    starts = starts_in(part[1] - part[0], task.needed, task.windows)
    return tuple(part[0] + start + lead for start in starts)


def benchmark_over(task: Task, entries: Sequence[Entry]) -> Benchmark:
    """Returns the benchmark over worms; those too short for a window stay out.

    Raises:
        InvalidInput: No worm is long enough.
    """
    fitting = [entry for entry in entries if task.fits(entry.frames)]
    if not fitting:
        longest = max((entry.frames for entry in entries), default=0)
        raise InvalidInput(
            f"{task.id}: none of {len(entries)} worms is long enough: the longest has {longest} "
            f"frames, and each part needs {task.needed}"
        )
    return Benchmark(
        id=task.id,
        version=task.version,
        protocol=task.protocol,
        context_lengths=(LENGTH,),
        max_context=LENGTH,
        horizon=LENGTH,
        series=tuple(_series(task, entry) for entry in fitting),
        frames=tuple((entry.key, entry.frames) for entry in fitting),
        summary_steps=(1,) if task.protocol == "next-step" else STEPS,
        primary="mse",
        extra_metrics=METRICS,
        sampled="series",
        frame_seconds=DT,
        title=task.title,
        citation=CITATION,
    )


def _series(task: Task, entry: Entry) -> Series:
    parts = parts_of(task.split, entry.frames)
    return Series(
        name=entry.name,
        array=entry.name,
        recording=entry.key,
        origins=origins_in(task, parts[-1]),
        group=entry.source,
        train=(parts[0],),
        validation=(parts[1],),
        mask=entry.mask,
    )
