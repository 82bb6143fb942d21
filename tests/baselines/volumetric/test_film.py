"""The frames that a volumetric UNet films are those of which its traces are the means."""

from __future__ import annotations

import json
from dataclasses import asdict

import jax
import numpy as np
import pytest
import videos

from baselines.keeping import flat
from baselines.volumetric.forecaster import VolumetricUNet
from baselines.volumetric.learning import new_parameters
from baselines.volumetric.settings import Settings
from baselines.volumetric.sharding import default_layout
from zapeval.forecasting.forecast import forecast
from zapeval.forecasting.predictions import open_predictions
from zapeval.forecasting.volumes import forecast_volumes
from zapeval.scoring.score import score

TINY = {"levels": 0, "features": 4, "groups": 2, "blocks": 1, "resolution": 1}
KINDS = {
    "lead times": {},
    "coarse centre": {"resolution": 2, "crop": [4, 4, 2]},
    "all at once, fine": {"head": "direct", "resolution": 4, "full_resolution": True},
    "fed back": {"head": "autoregression"},
}


@pytest.fixture(autouse=True)
def strict_promotion():
    """Lets types be promoted: optax does so within."""


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly():
    """Compiles little: these models run once."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def drawn(folder, settings):
    """Returns a forecaster that took up parameters which nobody trained, from a checkpoint."""
    made, layout = VolumetricUNet(**settings), default_layout()
    configuration = Settings(**made.parameters).configuration(videos.CONTEXT, videos.HORIZON)
    (folder / "params").mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps(asdict(configuration)))
    for name, values in flat(new_parameters(configuration, 0, layout)).items():
        np.save(folder / "params" / f"{name}.npy", np.asarray(values))
    made.load(folder)
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    videos.write(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_volumes_score_as_traces(data, tmp_path, kind):
    benchmark, recordings = videos.benchmark(), videos.opened(data)
    made = drawn(tmp_path / "model", {**TINY, **KINDS[kind]})
    cards = {}
    for what, run in (("volume", forecast_volumes), ("traces", forecast)):
        path = tmp_path / f"{what}.zarr"
        run(made, benchmark, recordings, path, context=videos.CONTEXT)
        cards[what], _ = score(
            open_predictions(path), benchmark, recordings, context=videos.CONTEXT
        )
        assert cards[what].predictions["kind"] == what
    assert cards["volume"].series == cards["traces"].series
    assert cards["volume"].scored_set == cards["traces"].scored_set
    assert cards["volume"].partial == (kind == "coarse centre")
    for one, other in zip(cards["volume"].scores, cards["traces"].scores, strict=True):
        if one.metric == "correlation":  # of forecasts that hardly vary: round-off counts
            assert one.value == pytest.approx(other.value, abs=1e-3)
        else:
            assert one.value == pytest.approx(other.value, rel=1e-5)
