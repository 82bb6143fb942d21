from __future__ import annotations

import json
import re

import numpy as np
import pytest
import videos
from flax import nnx

from baselines.volumetric import forecaster as module
from baselines.volumetric.configuration import named
from baselines.volumetric.forecaster import VolumetricUNet
from baselines.volumetric.learning import split_model
from zapeval.benchmarks.synthetic import Smoke
from zapeval.cli.forecasters import make_forecaster
from zapeval.errors import InvalidInput, UsageError
from zapeval.forecasting.contexts import contexts_of
from zapeval.forecasting.forecast import forecast
from zapeval.forecasting.predictions import open_predictions
from zapeval.forecasting.train import train
from zapeval.scoring.score import score
from zapeval.testing import ForecasterContract

TINY = {
    "levels": 0,
    "features": 4,
    "groups": 2,
    "blocks": 1,
    "resolution": 1,
    "steps": 2,
    "validation": 2,
}


@pytest.fixture(autouse=True)
def strict_promotion():
    """Lets types be promoted: optax does so within."""


@pytest.fixture(autouse=True, scope="module")
def quickly(compiled_once):
    """Compiles little: most of these models are equal."""


class TestContract(ForecasterContract):
    def make(self):
        return VolumetricUNet(**TINY)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    videos.write(folder)
    return folder


def fitted(data, folder, **settings):
    made = VolumetricUNet(**{**TINY, **settings})
    notes = []
    made.fit(videos.training(data, folder, note=notes.append))
    return made, notes


def contexts(data, windows=2):
    recordings, given = videos.opened(data), videos.benchmark()
    series = given.series[0]
    return contexts_of(
        given,
        series,
        recordings["fish"],
        series.origins[:windows],
        context=videos.CONTEXT,
        covariates=("video",),
    )


def test_forecasts_are_means_of_the_models_frames(data, tmp_path):
    made, _ = fitted(data, tmp_path, crop=[4, 4, 2])
    found = made.forecast(contexts(data))
    definition, _ = split_model(made._configuration)
    model, labels = nnx.merge(definition, made._params), videos.labels()[2:6]
    frames = contexts(data).video[1][None, :, 2:6]
    for step in (1, 4):
        frame = np.asarray(model.forecast(frames, np.array([step], np.int32)))[0, 0]
        for neuron in range(videos.NEURONS):
            voxels = frame[labels == neuron + 1]
            if not len(voxels):
                assert np.isnan(found[:, :, neuron]).all()
            else:
                assert found[1, step - 1, neuron] == pytest.approx(voxels.mean(), abs=1e-6)
    assert np.isnan(found).any()


def test_losses_and_heads_of_every_kind_learn_and_forecast(data, tmp_path):
    kinds = {
        "direct": {"head": "direct"},
        "fed back": {"head": "autoregression"},
        "histogram": {"head": "hl-gauss", "loss": "hl-gauss", "bins": 4},
        "voxel": {"loss": "voxel", "dropout": 0.5},
        "fine": {"resolution": 2, "full_resolution": True, "blocks": 1},
    }
    for name, settings in kinds.items():
        made, _ = fitted(data, tmp_path / name, **settings)
        values = made.forecast(contexts(data))
        assert values.shape == (2, videos.HORIZON, videos.NEURONS)
        assert np.isfinite(values).all()


def test_frames_that_are_fed_back_are_the_models_own(data, tmp_path):
    made, _ = fitted(data, tmp_path, head="autoregression")
    found = made.forecast(contexts(data))
    definition, _ = split_model(made._configuration)
    model, frames = nnx.merge(definition, made._params), contexts(data).video[1][None]
    for step in range(videos.HORIZON):
        newest = np.asarray(model.forecast(frames))
        frames = np.concatenate([frames[:, 1:], newest], axis=1)
        expected = videos.traces(newest[0], videos.labels())[0]
        np.testing.assert_allclose(found[1, step], expected, atol=1e-5)


def test_it_learns_to_forecast_waves(data, tmp_path):
    made, _ = fitted(data, tmp_path, steps=150, rate=1e-2, validation=9, validate_every=50)
    given = contexts(data, 11)
    truth = np.stack(
        [
            videos.opened(data)["fish"].activity.read((origin, origin + videos.HORIZON))
            for origin in given.origins
        ]
    )
    persistence = np.abs(given.activity[:, -1:] - truth).mean()
    assert np.abs(made.forecast(given) - truth).mean() < 0.6 * persistence


def test_memory_is_told_and_lost_neurons_are_named_before_the_first_step(data, tmp_path):
    _, notes = fitted(data, tmp_path, crop=[4, 4, 2])
    assert notes[0].endswith("will be missing from forecasts: 0, 4, 5")
    assert re.fullmatch(r"a step needs about \S+ GiB on each cpu, which has \S+ GiB", notes[1])


def test_too_little_memory_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "available_bytes", lambda *_: 1000)
    with pytest.raises(InvalidInput, match=r"a training step needs about .*; set remat=true"):
        fitted(data, tmp_path)


def test_a_checkpoint_of_another_configuration_is_refused(data, tmp_path):
    made, _ = fitted(data, tmp_path)
    (tmp_path / "model").mkdir()
    made.save(tmp_path / "model")
    same = VolumetricUNet(**TINY)
    same.load(tmp_path / "model")
    np.testing.assert_array_equal(same.forecast(contexts(data)), made.forecast(contexts(data)))
    other = VolumetricUNet(**{**TINY, "features": 8})
    with pytest.raises(InvalidInput, match=r"was trained with features 4, but this .* features 8"):
        other.load(tmp_path / "model")


def test_a_size_that_does_not_work_is_refused_with_ones_that_do(data, tmp_path):
    with pytest.raises(InvalidInput, match=r"x is 8, expected a multiple of 16 .* 16; y is 4"):
        fitted(data, tmp_path, levels=4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": 5}, "levels is 5, expected 0 to 4"),
        ({"resolution": 3}, "resolution is 3, expected 1, 2 or 4"),
        ({"steps": 0}, "steps is 0, expected a number above 0"),
        ({"crop": [4, 4]}, r"crop is \[4, 4\], expected three numbers"),
        ({"mesh": [1, 0, 1]}, "expected whole numbers from 1"),
        ({"features": 5}, "features is 5, expected a multiple of groups"),
        ({"loss": "hl-gauss"}, "needs a head hl-gauss"),
        ({"head": "autoregression", "past_stimulus": True}, "takes no stimulus"),
        (
            {"head": "autoregression", "resolution": 2, "full_resolution": True},
            "of the input's resolution; leave full resolution out",
        ),
        ({"future_stimulus": "yes"}, "future_stimulus is 'yes', expected true or false"),
        ({"upsampled_features": 0}, "upsampled_features is 0, expected a whole number from 1"),
        ({"mesh": [1, 7, 1]}, "has 7 parts for"),
    ],
)
def test_settings_out_of_range_are_refused(data, tmp_path, settings, message):
    with pytest.raises(UsageError, match=message):
        fitted(data, tmp_path, **settings)


def test_by_default_it_is_the_papers():
    parameters = VolumetricUNet().parameters
    assert json.loads(json.dumps(parameters)) == parameters
    plan = VolumetricUNet().plan
    assert (plan.rate(0, 0), plan.rate(plan.max_steps, 0)) == (1e-4, pytest.approx(1e-7))
    assert (plan.weight_decay, plan.batch, plan.max_steps) == (1e-5, 1, 250_000)
    built = VolumetricUNet()._settings.configuration(4, 32)
    assert built == named("S256", context=4)
    assert VolumetricUNet(levels=2)._settings.configuration(256, 32) == named("S64", context=256)
    full = VolumetricUNet(full_resolution=True)._settings.configuration(4, 32)
    assert full == named("S256", context=4, full_resolution=True)


def test_the_smoke_benchmark_end_to_end(tmp_path):
    smoke = Smoke()
    recordings = smoke.recordings()
    benchmark = smoke.resolve(recordings)
    settings = {**TINY, "levels": 1, "features": 8, "resolution": 2, "rate": 0.003}
    settings |= {"steps": 1000, "validation": 8, "validate_every": 250}
    words = [f"{name}={value}" for name, value in settings.items()]
    made = make_forecaster("volumetric-unet", words)
    found = train(made, benchmark, recordings, tmp_path / "seed-0", context=4, seed=0)
    assert found.cost.parameters == made.size
    forecast(made, benchmark, recordings, tmp_path / "p.zarr", context=4, trained=found)
    card, _ = score(open_predictions(tmp_path / "p.zarr"), benchmark, recordings, context=4)
    seen = np.unique(recordings["brain"].segmentation.read()[1::2, 1::2])
    missing = 256 - np.count_nonzero(seen)
    assert missing > 0
    assert [part.missing for part in card.series] == [missing] * len(card.series)
    assert card.partial
    assert card.summary.value < 0.97 * silence(benchmark, recordings, seen[seen > 0] - 1)


def silence(benchmark, recordings, neurons):
    """Returns the error of forecasting zeros, as the summary weighs it."""
    activity = recordings["brain"].activity
    errors = [
        np.mean(
            [
                np.abs(activity.read((o + step - 1, o + step))[:, neurons]).mean()
                for o in series.origins
                for step in benchmark.summary_steps
            ]
        )
        for series in benchmark.series
        if not series.held_out
    ]
    return np.mean(errors)
