"""A study of seconds: models of a few parameters on a recording of sixty frames."""

from __future__ import annotations

from pathlib import Path

import pytest
import videos

from baselines.volumetric.studies.grid import Sizes, Study, study_of
from baselines.volumetric.studies.run import Ground

TINY = Sizes(
    settings={
        **{"levels": 0, "features": 2, "groups": 1, "blocks": 1, "resolution": 1},
        **{"steps": 3, "validation": 2},
    },
    finer={"upsampled_features": 2},
    spatial=("S21", "S64"),
    contexts=(1, 3),
    context=3,
)


@pytest.fixture(autouse=True)
def strict_promotion():
    """Lets types be promoted: optax does so within."""


@pytest.fixture(autouse=True, scope="module")
def quickly(compiled_once):
    """Compiles little."""


@pytest.fixture(scope="session")
def fish(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recording that is studied."""
    folder = tmp_path_factory.mktemp("fish")
    videos.write(folder)
    return folder


@pytest.fixture(scope="session")
def companion(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Another recording."""
    folder = tmp_path_factory.mktemp("other")
    videos.write(folder, seed=1)
    return str(folder)


@pytest.fixture
def ground(fish: Path, companion: str):
    """Builds what a study stands on."""

    def build(name: str, every: int = 4, **changes) -> Ground:
        references = ("persistence",)
        study = study_of(name, TINY, changes, others=[companion], references=references)
        return stand(study, every)

    def stand(study: Study, every: int) -> Ground:
        whole, recordings = videos.benchmark(), videos.opened(fish)
        return Ground(study=study, whole=whole, recordings=recordings, every=every)

    return build
