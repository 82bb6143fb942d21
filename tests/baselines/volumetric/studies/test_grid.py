from __future__ import annotations

import pytest

from baselines.volumetric.configuration import named
from baselines.volumetric.forecaster import VolumetricUNet
from baselines.volumetric.settings import Settings
from baselines.volumetric.studies.grid import PAPER, SMALL, STUDIES, labels_in, study_of
from baselines.volumetric.studies.run import made
from zapeval.errors import NotFound, UsageError


def models(name, *arguments, **options):
    options = {"others": ["a"], **options}
    return [cell for cell in study_of(name, *arguments, **options).cells if not cell.reference]


def test_context_crosses_spatial_and_temporal_context():
    paper = models("context", PAPER)
    assert len(paper) == 15
    for cell in paper:
        spatial, frames = cell.label.split("-C")
        assert (cell.line, cell.place, cell.context) == (spatial, frames, int(frames))
        settings = Settings(**VolumetricUNet(**cell.settings).parameters)
        assert settings.configuration(cell.context, 32) == named(spatial, context=cell.context)
    small = models("context", SMALL)
    assert [cell.label for cell in small] == [
        f"{spatial}-C{frames}" for spatial in ("S21", "S64") for frames in (1, 4, 16)
    ]


def test_cells_of_a_study_differ_in_what_it_varies_alone():
    for name in STUDIES:
        study = study_of(name, others=["a"])
        cells = [cell for cell in study.cells if not cell.reference]
        for cell in cells:
            assert {k for k, v in cell.settings.items() if cells[0].settings[k] != v} <= set(
                study.varied
            )


def test_every_resolution_is_forecast_at_the_videos_own():
    for sizes in (SMALL, PAPER):
        for cell in models("resolution", sizes):
            parameters = VolumetricUNet(**cell.settings).parameters
            c = Settings(**parameters).configuration(4, 32)
            assert c.finest == (parameters["resolution"], parameters["resolution"], 1)


def test_one_companion_joins_after_another():
    found = [cell.settings["others"] for cell in models("pretraining", others=["a", "b"])]
    assert found == [[], ["a"], ["a", "b"]]
    with pytest.raises(UsageError, match="needs another specimen"):
        study_of("pretraining")


def test_references_stand_beside_at_every_context_length():
    labels = [cell.label for cell in study_of("context").cells if cell.reference]
    names = ("persistence", "least-squares", "linear")
    assert labels == [f"{name}-C{frames}" for name in names for frames in (1, 4, 16)]
    alone = [cell for cell in study_of("head").cells if cell.reference]
    assert [(cell.label, cell.place) for cell in alone] == [(f"{name}-C4", "") for name in names]


def test_labels_are_unique_and_every_cell_can_be_made():
    for name in STUDIES:
        cells = study_of(name, SMALL, {"steps": 5}, others=["a"]).cells
        assert len({cell.label for cell in cells}) == len(cells)
        for cell in cells:
            assert made(cell).name == cell.forecaster
            if not cell.reference:
                assert made(cell).parameters["steps"] == 5


def test_what_a_study_varies_is_not_for_others_to_set():
    with pytest.raises(UsageError, match="study head: varies head itself"):
        study_of("head", SMALL, {"head": "direct"})
    with pytest.raises(NotFound, match="known are context, resolution, pretraining, head, loss"):
        study_of("depth")


def test_labels_are_those_of_a_studys_cells():
    loss = study_of("loss", SMALL)
    assert labels_in(loss, ["voxel", "trace", "voxel"]) == ("voxel", "trace")
    with pytest.raises(NotFound, match="no cell 'voxels'; has trace, voxel, hl-gauss"):
        labels_in(loss, ["voxels"])
