"""A few short synthetic worms of two sources, in a store that the worm benchmarks read."""

from __future__ import annotations

from pathlib import Path

from zapeval.benchmarks.celegans.recipes import Celegans
from zapeval.benchmarks.celegans.store import write_list, write_worm
from zapeval.benchmarks.celegans.synthetic import RandomWalkSmall, Size, SyntheticRecipe
from zapeval.benchmarks.celegans.synthetic import SinesSmall as Sines
from zapeval.forecasting.training import Training, training_of
from zapeval.recordings.writer import beside

WORMS, FRAMES, LABELLED = 6, 740, 5


def write_few(folder: Path) -> None:
    """Writes three worms of sines and three of random walks."""
    few = Size(worms=WORMS // 2, frames=FRAMES, labelled=LABELLED)
    digests = {}
    with beside(folder) as partial:
        for kind in (Sines, RandomWalkSmall):
            for worm in sized(kind(), few).worms():
                write_worm(partial, worm)
                digests[worm.name] = worm.digest
        write_list(partial, digests, {})


def sized(recipe: SyntheticRecipe, size: Size) -> SyntheticRecipe:
    recipe.size = size  # type: ignore[misc]
    return recipe


def training_on(store: Path, folder: Path, seed: int = 0) -> Training:
    """Returns what a forecaster that is chosen as published learns from in a store of worms."""
    recipe = Celegans()
    recordings = recipe.recordings(str(store))
    return training_of(
        recipe.resolve(recordings),
        recordings,
        context=180,
        seed=seed,
        folder=folder,
        record=folder,
        leaks=True,
    )
