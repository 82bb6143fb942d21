"""Seen at 1x, 2x or 4x, the video is forecast at its own resolution, and no neuron is lost."""

from __future__ import annotations

import numpy as np
import pytest

from zapeval.benchmarks.synthetic import Smoke
from zapeval.cli.forecasters import make_forecaster
from zapeval.forecasting.contexts import contexts_of
from zapeval.forecasting.forecast import forecast
from zapeval.forecasting.predictions import open_predictions
from zapeval.forecasting.train import train
from zapeval.recordings.arrays import open_array
from zapeval.recordings.grid import Grid
from zapeval.scoring.score import score

pytestmark = pytest.mark.slow

SETTINGS = [
    *("levels=0", "features=4", "groups=2", "blocks=1", "full_resolution=true"),
    *("upsampled_features=4", "steps=2", "validation=2"),
]


@pytest.fixture(autouse=True)
def strict_promotion():
    """Lets types be promoted: optax does so within."""


@pytest.mark.parametrize("resolution", [1, 2, 4])
def test_full_resolution_loses_no_neuron(tmp_path, resolution):
    smoke = Smoke()
    recordings = smoke.recordings()
    benchmark = smoke.resolve(recordings)
    made = make_forecaster("volumetric-unet", [*SETTINGS, f"resolution={resolution}"])
    found = train(made, benchmark, recordings, tmp_path / "seed-0", context=4, seed=0)
    path = tmp_path / "p.zarr"
    forecast(made, benchmark, recordings, path, context=4, trained=found)
    card, _ = score(open_predictions(path), benchmark, recordings, context=4)
    assert not card.partial
    assert {part.missing for part in card.series} == {0}
    series = benchmark.series[0]
    contexts = contexts_of(
        benchmark,
        series,
        recordings[series.recording],
        series.origins[:1],
        context=4,
        covariates=made.covariates,
    )
    _, step, frame = next(made.frames(contexts))
    assert (step, frame.shape) == (1, contexts.video.shape)
    assert made.grid_of(contexts) == Grid()
    labels = recordings[series.recording].segmentation.read()
    means = [frame[labels == n + 1].mean() for n in range(contexts.activity.shape[2])]
    stored = open_array(path / series.array).read((0, 1), (0, 1))[0, 0]
    np.testing.assert_allclose(stored, means, rtol=1e-4, atol=1e-5)
