"""A recipe: what an entry point in ``zapeval.benchmarks`` names, and a TOML file describes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.errors import InvalidInput
from zapeval.recordings.mirror import Mirror
from zapeval.recordings.recording import Recordings


class Recipe(ABC):
    """Makes a benchmark from recordings; a complete benchmark needs none of them.

    Attributes:
        id: Name on the command line.
        version: Its current version.
        title: One line that says what it is.
    """

    id: str
    version: int
    title: str

    @abstractmethod
    def recordings(self, data: str | None = None) -> Recordings:
        """Returns the recordings by key, opened lazily.

        Args:
            data: Folder or URI that holds them; None means the default place.

        Raises:
            NotFound: There are none there.
        """

    @abstractmethod
    def resolve(self, recordings: Recordings) -> Benchmark:
        """Returns the benchmark over those recordings.

        Raises:
            InvalidInput: The recordings do not fit the recipe.
        """

    def folder(self) -> Path | None:
        """Returns the folder that holds, or would hold, its recordings; None where users say so."""
        return None

    def mirror(self) -> Mirror | None:
        """Returns how its recordings are copied to that folder; None where they are not."""
        return None


def check_recordings(benchmark: Benchmark, recordings: Recordings) -> None:
    """Checks that each recording has the frames that the benchmark was defined over.

    The number of neurons is free: a subset is scored on its own board, under its own data digest.

    Raises:
        InvalidInput: A recording is missing or has another number of frames.
    """
    for key, frames in benchmark.frames:
        if key not in recordings:
            raise InvalidInput(f"{benchmark.label}: needs recording {key!r}, which is not given")
        got = recordings[key].frames
        if got != frames:
            raise InvalidInput(
                f"{recordings[key].activity_uri}: has {got} frames, expected {frames} "
                f"({benchmark.label}); give the recording of this benchmark with --data"
            )
