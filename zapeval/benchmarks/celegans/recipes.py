"""Recipes: the worm benchmarks over a store of prepared worms."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.benchmarks.celegans.store import open_worms, read_card
from zapeval.benchmarks.celegans.tasks import (
    GENERATION,
    NEXT_STEP,
    THREE_WAY,
    Entry,
    Task,
    benchmark_over,
)
from zapeval.benchmarks.recipe import Recipe
from zapeval.errors import InvalidInput, NotFound
from zapeval.recordings.mirror import data_folder
from zapeval.recordings.recording import Recordings


def worms_folder() -> Path:
    """Returns the folder of the prepared worms."""
    return data_folder() / "celegans"


class WormRecipe(Recipe):
    """A benchmark over the prepared worms.

    Attributes:
        task: What is forecast.
    """

    task: ClassVar[Task]

    def recordings(self, data: str | None = None) -> Recordings:
        """Returns the recordings of a store of worms, by default the one in the data folder.

        Raises:
            NotFound: There is none.
            InvalidInput: It is no store of worms.
        """
        try:
            return open_worms(data or worms_folder()).recordings()
        except NotFound as error:
            raise NotFound(
                f"{self.id}: {error}; prepare it with `zapeval data prepare celegans --from DIR`"
                + ("" if data is None else ", or leave out --data")
            ) from error

    def resolve(self, recordings: Recordings) -> Benchmark:
        """Returns the benchmark over those worms; its digest covers every one of them.

        Raises:
            InvalidInput: A recording is no prepared worm, or none is long enough.
        """
        return benchmark_over(self.task, [_entry(key, recordings) for key in recordings])

    def folder(self) -> Path:
        """Returns the folder of the prepared worms."""
        return worms_folder()


def _entry(key: str, recordings: Recordings) -> Entry:
    recording = recordings[key]
    if recording.folder is None:
        raise InvalidInput(f"{recording.uri}: is a bare array, expected a prepared worm")
    card = read_card(recording.folder)
    if card.key != key:
        raise InvalidInput(f"{recording.uri}: is another worm than {key}")
    return Entry(
        key=key,
        name=card.name,
        source=card.provenance.source,
        frames=recording.frames,
        mask=card.mask,
    )


@final
class Celegans(WormRecipe):
    """One step ahead."""

    id = NEXT_STEP.id
    version = NEXT_STEP.version
    title = NEXT_STEP.title
    task = NEXT_STEP


@final
class CelegansGeneration(WormRecipe):
    """180 steps, generated."""

    id = GENERATION.id
    version = GENERATION.version
    title = GENERATION.title
    task = GENERATION


@final
class CelegansThreeWay(WormRecipe):
    """One step ahead, with a test part of its own."""

    id = THREE_WAY.id
    version = THREE_WAY.version
    title = THREE_WAY.title
    task = THREE_WAY
