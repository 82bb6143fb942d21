from __future__ import annotations

import json

import numpy as np
import pytest

from baselines.training import Counters
from baselines.worms.cores import CORES
from zapeval.errors import InvalidInput, UsageError
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.manifest import said_of
from zapeval.forecasting.training import training_of
from zapeval.forecasting.trial import Trial
from zapeval.registry import FORECASTERS, find

LENGTH, NEURONS = 8, 5


def made(name="worm-ctrnn", **options):
    return find(FORECASTERS, name)(**({"hidden": 8, "epochs": 1} | options))


def trial():
    return Trial(
        protocol="next-step",
        context=LENGTH,
        horizon=LENGTH,
        neurons=NEURONS,
        windows=3,
        covariates=(),
        volume=(1, 1, 1),
    )


@pytest.fixture
def fitted(tmp_path):
    """Fits a forecaster to the trial for a moment."""

    def fit(forecaster):
        given = trial()
        forecaster.fit(
            training_of(
                given.benchmark,
                given.recordings(),
                context=LENGTH,
                seed=0,
                folder=tmp_path,
                record=tmp_path,
            )
        )
        return forecaster

    return fit


def contexts(windows=2, frames=LENGTH, horizon=20, mask=None):
    shape = (windows, frames, NEURONS)
    values = np.random.default_rng(0).normal(0.1, 0.1, shape).astype(np.float32)
    return Contexts(activity=values, horizon=horizon, series="", origins=(9,) * windows, mask=mask)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"hidden": 0}, "hidden is 0, expected a number above 0"),
        ({"hidden": "wide"}, "hidden is 'wide', expected a number above 0"),
        ({"epochs": 1.5}, "epochs is 1.5, expected a number above 0"),
        ({"every": 0}, "every is 0, expected a number above 0"),
        ({"windows": 1}, "windows is 1, expected a number above 1"),
        ({"batch": -1}, "batch is -1, expected a number above 0"),
        ({"published": "yes"}, "published is 'yes', expected true or false"),
        ({"clamp": 1}, "clamp is 1, expected true or false"),
    ],
)
def test_a_setting_that_can_not_be_is_refused(options, said):
    with pytest.raises(UsageError, match=f"worm-ctrnn: {said}"):
        made(**options)


def test_the_linear_model_takes_no_width():
    with pytest.raises(UsageError, match="worm-linear: hidden is 8, but it is as wide as its inp"):
        made("worm-linear")


def test_one_that_is_chosen_as_published_says_that_it_leaks():
    assert said_of(made(published=True)).leaks == (
        "the validation half is the tested half, as published"
    )
    assert said_of(made()).leaks == ""


def test_it_is_trained_as_the_paper_says():
    plan = find(FORECASTERS, "worm-lstm")().plan
    assert (plan.max_steps, plan.batch, plan.patience, plan.schedule) == (500, 128, 100, "plateau")
    assert (plan.learning_rate, plan.weight_decay) == (1e-3, 0.01)
    counters, rates = Counters(), []
    for epoch in range(24):
        counters = counters.after(epoch, 1.0, plan)
        rates.append(plan.rate(epoch, counters.drops))
    # One gain, eleven validations without, one more than the patience of ten.
    falls = [n for n in range(1, 24) if rates[n] < rates[n - 1]]
    assert falls == [11, 22]
    np.testing.assert_allclose(rates[-1], 1e-5)


@pytest.mark.parametrize("name", [f"worm-{core}" for core in CORES])
def test_a_forecast_is_next_steps_fed_back_into_a_window_that_slides(fitted, name):
    width = {} if name == "worm-linear" else {"hidden": 8}
    forecaster = fitted(find(FORECASTERS, name)(epochs=1, **width))
    seen = contexts(frames=3)
    found = forecaster.forecast(seen)
    sequence = seen.activity
    for step in range(20):
        window = sequence[:, -LENGTH:]
        one = Contexts(activity=window, horizon=1, series="", origins=(9, 9))
        newest = forecaster.next_steps(one)[:, -1:]
        np.testing.assert_allclose(found[:, step], newest[:, 0], rtol=1e-4, atol=1e-5)
        sequence = np.concatenate([sequence, newest], axis=1)


def test_the_clamp_keeps_generated_frames_in_the_range_of_the_context(fitted):
    free, held = (fitted(made(clamp=clamp)).forecast(contexts()) for clamp in (False, True))
    low, high = contexts().activity.min(axis=1), contexts().activity.max(axis=1)
    assert ((held >= low[:, None]) & (held <= high[:, None])).all()
    assert not ((free >= low[:, None]) & (free <= high[:, None])).all()


def test_what_is_not_labelled_is_not_looked_at_and_stays_zero(fitted):
    mask = np.array([True, True, False, True, False])
    forecaster = fitted(made("worm-transformer"))
    plain, strange = contexts(mask=mask), contexts(mask=mask)
    strange.activity[..., ~mask] = np.nan
    for ask in (forecaster.next_steps, forecaster.forecast):
        np.testing.assert_array_equal(ask(plain), ask(strange))
        assert not ask(plain)[..., ~mask].any()
    assert np.isnan(strange.activity[..., ~mask]).all()


def test_another_number_of_neurons_than_it_was_trained_for_is_refused(fitted):
    forecaster = fitted(made())
    seen = Contexts(activity=np.zeros((1, 4, 7), np.float32), horizon=1, series="", origins=(9,))
    with pytest.raises(InvalidInput, match="worm-ctrnn: was trained for 5 neurons, got 7"):
        forecaster.next_steps(seen)


def test_what_is_not_trained_does_not_forecast():
    with pytest.raises(UsageError, match="worm-ctrnn: is not trained yet"):
        made().forecast(contexts())


def test_its_size_is_that_of_what_learns(fitted):
    assert fitted(made("worm-feedforward")).size == 5 * 8 + 8 + 64 + 8 + 8 * 5 + 5


def test_its_parameters_are_json():
    said = made(published=True, clamp=True, rate=0.01, batch=3).parameters
    shorter = made(published=True, clamp=True, rate=0.01, batch=3, steps=50, windows=2).parameters
    assert shorter == {**said, "steps": 50, "windows": 2}
    assert json.loads(json.dumps(said)) == {
        "hidden": 8,
        "epochs": 1,
        "batch": 3,
        "learning_rate": 0.01,
        "weight_decay": 0.01,
        "published": True,
        "clamp": True,
    }
