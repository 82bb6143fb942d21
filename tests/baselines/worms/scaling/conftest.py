"""A store of few short worms, written once."""

from __future__ import annotations

from pathlib import Path

import pytest
from fewworms import training_on, write_few

from baselines.worms.scaling.pool import Pool
from zapeval.benchmarks.celegans.recipes import Celegans


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three worms of sines and three of random walks."""
    folder = tmp_path_factory.mktemp("few") / "worms"
    write_few(folder)
    return folder


@pytest.fixture
def pool(store: Path, tmp_path: Path) -> Pool:
    """The worms that training sets are drawn from."""
    recipe = Celegans()
    recordings = recipe.recordings(str(store))
    return Pool(
        benchmark=recipe.resolve(recordings),
        recordings=recordings,
        training=training_on(store, tmp_path),
    )
