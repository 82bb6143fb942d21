"""A raw worm: one recording as its file holds it, before anything is done to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zapeval.benchmarks.celegans.sources import Source


@dataclass(frozen=True, kw_only=True, eq=False)
class RawWorm:
    """One recording.

    Attributes:
        name: What to call it: unique within its source.
        traces: Activity in whatever unit the file has, ``[frames, neurons]``; NaN where missing.
        seconds: Time of each frame, ``[frames]``.
        labels: The label of each neuron, or None.
        notes: What its reader had to leave out or mend, a sentence each.
        fewest_frames: Frames below which its source is not used.
    """

    name: str
    traces: np.ndarray
    seconds: np.ndarray
    labels: tuple[str | None, ...]
    notes: tuple[str, ...] = ()
    fewest_frames: int = 0


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A worm that its file names and that cannot be read.

    Attributes:
        name: What it would be called.
        reason: Why, a sentence.
    """

    name: str
    reason: str


Found = RawWorm | Unread


@dataclass(frozen=True, kw_only=True)
class Job:
    """A piece of a folder that is read at once: one or more worms of one source.

    Attributes:
        key: What it is called in journals and reports; unique within the folder.
        source: Where its worms come from.
        files: The files that it reads.
        read: Yields its worms; raises InvalidInput where no more can be read.
    """

    key: str
    source: Source
    files: tuple[Path, ...]
    read: Callable[[], Iterator[Found]]


class Reader(ABC):
    """Knows the files of one source family."""

    @abstractmethod
    def jobs(self, files: Sequence[Path], folder: Path) -> tuple[list[Job], set[Path]]:
        """Returns the jobs that it makes of a folder's files, and every file that it knows.

        Args:
            files: All files below the folder, sorted.
            folder: The folder, from which jobs are named.

        Raises:
            UsageError: It needs a library that is not installed.
        """
