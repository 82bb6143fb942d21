from __future__ import annotations

import jax
import numpy as np
import pytest
import videos
from flax import nnx

from baselines.volumetric.forecaster import VolumetricUNet
from baselines.volumetric.learning import split_model
from baselines.volumetric.loader import VideoBatches
from baselines.volumetric.sharding import layout_over
from zapeval.errors import InvalidInput
from zapeval.forecasting.contexts import contexts_of
from zapeval.forecasting.forecast import forecast
from zapeval.forecasting.predictions import open_predictions
from zapeval.forecasting.train import train
from zapeval.forecasting.training import training_of
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import Layout, write_array

FEATURES = 2
TINY = {
    **{"levels": 0, "features": 4, "groups": 2, "blocks": 1, "resolution": 1},
    **{"steps": 2, "validation": 2, "past_stimulus": True, "future_stimulus": True},
}


@pytest.fixture(autouse=True)
def strict_promotion():
    """Lets types be promoted: optax does so within."""


@pytest.fixture(autouse=True, scope="module")
def quickly(compiled_once):
    """Compiles little."""


def stimulus(features=FEATURES):
    return np.random.default_rng(3).normal(size=(videos.FRAMES, features)).astype(np.float32)


def write_stimulus(folder, values):
    write_array(open_store(folder).child("stimuli_features"), values, Layout(chunk=values.shape))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    videos.write(folder)
    write_stimulus(folder, stimulus())
    return folder


def training(data, folder, covariates):
    (folder / "kept").mkdir(parents=True)
    return training_of(
        videos.benchmark(),
        videos.opened(data),
        context=videos.CONTEXT,
        seed=0,
        folder=folder / "kept",
        record=folder / "kept",
        covariates=covariates,
    )


def contexts(data, covariates):
    given, recordings = videos.benchmark(), videos.opened(data)
    series = given.series[0]
    return contexts_of(
        given,
        series,
        recordings["fish"],
        series.origins[:2],
        context=videos.CONTEXT,
        covariates=covariates,
    )


def fitted(data, folder, **settings):
    made = VolumetricUNet(**(TINY | settings))
    made.fit(training(data, folder, made.covariates))
    return made


def shaken(params):
    """Returns parameters none of which is zero, so that FiLM tells something."""
    rng = np.random.default_rng(4)
    return jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.3, leaf.shape).astype("f4"), params)


@pytest.mark.parametrize("head", ["lead-time", "direct"])
def test_forecasts_are_the_models_told_of_the_windows_stimulus(data, tmp_path, head):
    made = fitted(data, tmp_path, head=head)
    made._params = shaken(made._params)
    given = contexts(data, made.covariates)
    found = made.forecast(given)
    definition, _ = split_model(made._configuration)
    model, shown = nnx.merge(definition, made._params), stimulus()
    for window, origin in enumerate(given.origins):
        told = (
            shown[None, origin - videos.CONTEXT : origin],
            shown[None, origin : origin + videos.HORIZON],
        )
        frames = given.video[window][None]
        leads = [None] if head == "direct" else [np.array([n + 1], "i4") for n in range(4)]
        outputs = [np.asarray(model.forecast(frames, lead, *told))[0] for lead in leads]
        expected = videos.traces(np.concatenate(outputs), videos.labels())
        np.testing.assert_allclose(found[window], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["past_stimulus", "future_stimulus"])
def test_only_what_is_asked_for_is_declared_and_looked_at(data, tmp_path, name):
    other = {"past_stimulus": "future_stimulus", "future_stimulus": "past_stimulus"}[name]
    made = fitted(data, tmp_path, **{other: False})
    covariate = {"past_stimulus": "stimulus", "future_stimulus": "future_stimulus"}[name]
    assert made.covariates == ("video", covariate)
    made._params = shaken(made._params)
    before = made.forecast(contexts(data, made.covariates))
    shown = contexts(data, made.covariates)
    getattr(shown, covariate)[1, -1] += 1
    after = made.forecast(shown)
    np.testing.assert_array_equal(after[0], before[0])
    assert np.abs(after[1] - before[1]).min() > 1e-6


def test_training_windows_are_whole_and_come_with_their_stimulus(data, tmp_path):
    made = VolumetricUNet(**TINY)
    given = training(data, tmp_path, made.covariates)
    c = made._settings.configuration(videos.CONTEXT, videos.HORIZON, FEATURES)
    layout = layout_over(devices=jax.devices()[:1])
    batches = VideoBatches(given, c, layout, size=2, validation=3)
    recorded, shown = videos.video(), stimulus()
    last = given.series[0].train[0][1] - videos.HORIZON
    drawn = set()
    for step in range(40):
        batch = batches.train(step)
        for window in range(2):
            frames = np.asarray(batch["frames"])[window]
            origin = next(
                n for n in range(3, videos.FRAMES) if np.array_equal(recorded[n - 3 : n], frames)
            )
            drawn.add(origin)
            past, future = (np.asarray(batch[f"{n}_stimulus"])[window] for n in ("past", "future"))
            np.testing.assert_array_equal(past, shown[origin - 3 : origin])
            np.testing.assert_array_equal(future, shown[origin : origin + videos.HORIZON])
    assert max(drawn) == last


def test_the_manifest_says_what_it_was_told(data, tmp_path):
    made, recordings = VolumetricUNet(**TINY), videos.opened(data)
    given = {"context": videos.CONTEXT}
    found = train(made, videos.benchmark(), recordings, tmp_path / "seed-0", seed=0, **given)
    store = tmp_path / "p.zarr"
    forecast(made, videos.benchmark(), recordings, store, trained=found, **given)
    said = open_predictions(str(store)).manifest.forecaster
    assert set(said.covariates) == {"video", "stimulus", "future_stimulus"}
    assert (said.parameters["past_stimulus"], said.parameters["future_stimulus"]) == (True, True)


def test_a_checkpoint_that_was_told_less_is_refused(data, tmp_path):
    made = fitted(data, tmp_path / "one", past_stimulus=False)
    (tmp_path / "model").mkdir()
    made.save(tmp_path / "model")
    with pytest.raises(InvalidInput, match=r"was trained with past_stimulus 0, but this .* has"):
        VolumetricUNet(**TINY).load(tmp_path / "model")
    same = VolumetricUNet(**(TINY | {"past_stimulus": False}))
    same.load(tmp_path / "model")
    shown = contexts(data, same.covariates)
    np.testing.assert_array_equal(same.forecast(shown), made.forecast(shown))


def test_another_stimulus_is_refused(data, tmp_path):
    made = fitted(data, tmp_path / "one")
    other = tmp_path / "other"
    videos.write(other)
    write_stimulus(other, stimulus(3))
    with pytest.raises(InvalidInput, match="has 3 features, but the model is told of 2"):
        made.forecast(contexts(other, made.covariates))
    values = stimulus()
    values[20] = np.nan
    broken = tmp_path / "broken"
    videos.write(broken)
    write_stimulus(broken, values)
    with pytest.raises(InvalidInput, match="stimulus holds values that are not finite"):
        fitted(broken, tmp_path / "two", steps=40)
