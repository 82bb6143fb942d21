from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from trainings import benchmark_of, recordings_of, series, training

from baselines.autoregression import VectorAutoregression
from baselines.components import Population, components_of
from baselines.gram import lag_gram
from baselines.linear import LeastSquares, SharedMap, fit_map
from baselines.regression import RIDGES, Regression, Windows, chosen_weights
from zapeval.benchmarks.benchmark import windows_in
from zapeval.errors import UsageError
from zapeval.forecasting.contexts import Contexts, contexts_of, targets_of

CONTEXT, HORIZON, NEURONS = 3, 4, 12
MASK = tuple(neuron != 5 for neuron in range(NEURONS))
SERIES = (
    series("a", 560, train=((0, 250), (260, 300)), validation=((300, 340),)),
    series("b", 560, train=((350, 520),), validation=((530, 550),), mask=MASK),
    series("c", 90, train=((0, 80),), recording="other"),
    replace(series("held out", 570), origins=tuple(range(570, 590)), held_out=True),
)
BENCHMARK = benchmark_of(SERIES, {"fish": 600, "other": 100}, HORIZON)


def driven(seed=0, noise=0.02):
    """Neurons that follow a few rotating latents, each with noise of its own."""
    rng = np.random.default_rng(seed)
    found = {}
    for key, frames, neurons in (("fish", 600, NEURONS), ("other", 100, 5)):
        turn = 0.98 * np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
        latents = np.zeros((frames, 2))
        for now in range(1, frames):
            latents[now] = turn @ latents[now - 1] + rng.normal(0, 0.3, 2)
        values = latents @ rng.normal(0, 1, (2, neurons)) + rng.normal(0.3, 0.2, neurons)
        found[key] = (values + rng.normal(0, noise, values.shape)).astype(np.float32)
    return found


def given(folder, activity, *, context=CONTEXT, seed=0):
    return training(folder, BENCHMARK, recordings_of(folder, activity), context=context, seed=seed)


def fitted(folder, activity, **options):
    forecaster = VectorAutoregression()
    forecaster.fit(given(folder, activity, **options))
    return forecaster


def contexts(folder, activity, name="held out", context=CONTEXT):
    recordings = recordings_of(folder, activity)
    one = BENCHMARK.one(name)
    recording = recordings[one.recording]
    return contexts_of(BENCHMARK, one, recording, one.origins, context=context)


def error(forecaster, folder, activity):
    seen = contexts(folder, activity)
    values = activity["fish"]
    targets = targets_of(BENCHMARK, seen.origins, lambda span: values[slice(*span)])
    scored = np.abs(forecaster.forecast(seen) - targets)[:, :, list(MASK)]
    return scored.mean(axis=(0, 2))


def trained_frames(activity):
    """Training frames of the recording ``fish`` without the masked neuron, by hand."""
    frames = [range(250), range(260, 300), range(350, 520)]
    return activity["fish"][[f for part in frames for f in part]][:, list(MASK)].astype(np.float64)


def test_neighbours_foretell_what_a_neuron_alone_does_not(tmp_path):
    activity = driven(noise=0.5)  # A neuron alone hardly shows the latents, all together do.
    alone = LeastSquares()
    alone.fit(given(tmp_path, activity))
    together = fitted(tmp_path, activity)
    ratio = error(together, tmp_path, activity) / error(alone, tmp_path, activity)
    assert (ratio < 1).all()
    assert ratio[0] < 0.9


def test_components_are_those_of_a_singular_value_decomposition(tmp_path):
    activity = driven(noise=0.1)
    population = Population(given(tmp_path, activity), "fish")
    components, states = components_of(population, 2, np.random.default_rng(0))
    frames = trained_frames(activity)
    mean = frames.mean(axis=0)
    _, _, expected = np.linalg.svd(frames - mean, full_matrices=False)
    np.testing.assert_allclose(components.means, mean, rtol=1e-5)
    same = np.abs(np.sum(components.vectors * expected[:2], axis=1))
    np.testing.assert_allclose(same, 1, atol=1e-5)
    # Rows of the states are the training and validation frames, in the terms of the components.
    (stretch,) = (one for one in population.stretches if one.span == (530, 550))
    kept = activity["fish"][535, list(MASK)] - mean
    np.testing.assert_allclose(states[stretch.row(535)], components.vectors @ kept, atol=1e-5)
    assert not population.trained[stretch.row(535)]
    assert population.trained.sum() == len(frames)


def test_neurons_read_in_blocks_make_no_difference_but_rounding(tmp_path, monkeypatch):
    activity = driven()
    whole = fitted(tmp_path, activity).forecast(contexts(tmp_path, activity))
    monkeypatch.setattr("baselines.columns.COLUMNS", 5)
    blocks = fitted(tmp_path, activity).forecast(contexts(tmp_path, activity))
    np.testing.assert_allclose(blocks, whole, atol=2e-3)


def test_regression_is_the_ridge_of_its_design_matrix(tmp_path):
    activity, ridge = driven(), 0.3
    one = given(tmp_path, activity)
    shared = fit_map(lag_gram(one), CONTEXT)
    rng = np.random.default_rng(3)
    states = rng.normal(size=(80, 4))
    rows = np.array(windows_in((CONTEXT, 80), HORIZON))
    windows = Windows(states=states, shared=shared, order=3)
    weights, bias = Regression(windows, rows).solve(2, 2, ridge)
    inputs = np.array([states[row - 2 : row, :2].ravel() for row in rows])
    errors = np.array(
        [states[r : r + HORIZON] - shared.kernel @ states[r - CONTEXT : r] for r in rows]
    )[:, :, :2].reshape(len(rows), -1)
    centred, mean = inputs - inputs.mean(axis=0), errors.mean(axis=0)
    penalty = ridge * np.square(centred).sum() / 4
    design = np.vstack([centred, np.sqrt(penalty) * np.eye(4)])
    wanted = np.vstack([errors - mean, np.zeros((4, errors.shape[1]))])
    expected = np.linalg.lstsq(design, wanted)[0]
    np.testing.assert_allclose(weights.reshape(4, -1), expected, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(bias.ravel(), mean - inputs.mean(axis=0) @ expected, atol=1e-12)


def test_each_step_has_what_errs_least_over_validation_windows(tmp_path):
    activity = driven()
    shared = fit_map(lag_gram(given(tmp_path, activity)), CONTEXT)
    rng = np.random.default_rng(3)
    states = rng.normal(size=(200, 3)).cumsum(axis=0)
    fit, check = np.arange(3, 100), np.arange(110, 190)
    windows = Windows(states=states, shared=shared, order=2)
    regression = Regression(windows, fit)
    weights, bias, choices = chosen_weights(windows, regression, check)

    def left(some, offset):
        total = np.zeros(HORIZON)
        for row in check:
            errors = states[row : row + HORIZON] - shared.kernel @ states[row - CONTEXT : row]
            seen = states[row - len(some) : row, : some.shape[1]]
            given_ = np.einsum("oc,ochd->hd", seen, some) + offset
            padded = np.pad(given_, ((0, 0), (0, 3 - given_.shape[1])))
            total += np.square(errors - padded).sum(axis=1)
        return total

    everyone = [np.zeros((1, 3, HORIZON, 3))], [np.zeros((HORIZON, 3))]
    for order in (1, 2):
        for ridge in RIDGES:
            some, offset = regression.solve(3, order, ridge)
            everyone[0].append(some)
            everyone[1].append(offset)
    best = np.min([left(some, offset) for some, offset in zip(*everyone, strict=True)], axis=0)
    np.testing.assert_allclose(left(weights, bias), best, rtol=1e-10)
    assert len(choices) == HORIZON


def test_step_at_which_nothing_helps_is_left_to_the_shared_map():
    # States persist where it learns and alternate where it is tested: after an odd number of steps
    # what was learned has the wrong sign, after an even number the right one.
    rng = np.random.default_rng(3)
    states = np.zeros((6000, 3))
    for now in range(1, 6000):
        states[now] = (0.9 if now < 3000 else -0.9) * states[now - 1] + rng.normal(size=3)
    shared = SharedMap(np.zeros((HORIZON, CONTEXT)), np.zeros(HORIZON))
    windows = Windows(states=states, shared=shared, order=2)
    regression = Regression(windows, np.arange(3, 2990))
    weights, bias, choices = chosen_weights(windows, regression, np.arange(3010, 5990))
    assert [choice["rank"] > 0 for choice in choices] == [False, True, False, True]
    for step, choice in enumerate(choices):
        assert bool(weights[:, :, step].any()) == bool(bias[step].any()) == (choice["rank"] > 0)


def test_without_validation_frames_it_is_fitted_all_the_same(tmp_path):
    activity = driven()
    bare = replace(BENCHMARK, series=tuple(replace(one, validation=()) for one in SERIES))
    recordings = recordings_of(tmp_path, activity)
    forecaster = VectorAutoregression()
    forecaster.fit(training(tmp_path, bare, recordings, context=CONTEXT))
    alone = LeastSquares()
    alone.fit(training(tmp_path, bare, recordings, context=CONTEXT))
    assert error(forecaster, tmp_path, activity).mean() < error(alone, tmp_path, activity).mean()


def test_frames_outside_training_and_validation_make_no_difference(tmp_path):
    activity = driven()
    other = {key: values.copy() for key, values in activity.items()}
    kept = {key: np.zeros(len(values), bool) for key, values in activity.items()}
    for one in SERIES:
        for start, stop in one.train + one.validation:
            kept[one.recording][start:stop] = True
    for key, values in other.items():
        values[~kept[key]] = np.nan
    other["fish"][350:550, 5] = np.nan  # masked there
    first, second = fitted(tmp_path, activity), fitted(tmp_path, other)
    seen = contexts(tmp_path, activity)
    np.testing.assert_array_equal(first.forecast(seen), second.forecast(seen))


def test_masked_neuron_touches_no_other(tmp_path):
    activity = driven()
    forecaster = fitted(tmp_path, activity)
    seen = contexts(tmp_path, activity)
    changed = seen.activity.copy()
    changed[:, :, 5] = np.nan
    values = forecaster.forecast(replace(seen, activity=changed))
    expected = forecaster.forecast(seen)
    np.testing.assert_array_equal(values[:, :, list(MASK)], expected[:, :, list(MASK)])


def test_recording_that_was_not_trained_on_has_the_shared_map_alone(tmp_path):
    activity = driven()
    forecaster, alone = fitted(tmp_path, activity), LeastSquares()
    alone.fit(given(tmp_path, activity))
    strange = replace(contexts(tmp_path, activity), recording="nobody")
    np.testing.assert_array_equal(forecaster.forecast(strange), alone.forecast(strange))


def test_recordings_have_components_of_their_own(tmp_path):
    activity = driven()
    forecaster, alone = fitted(tmp_path, activity), LeastSquares()
    alone.fit(given(tmp_path, activity))
    for name in ("a", "c"):
        seen = contexts(tmp_path, activity, name)
        assert np.abs(forecaster.forecast(seen) - alone.forecast(seen)).max() > 1e-4


@pytest.mark.parametrize("context", [1, 2, 8])
def test_every_context_length_is_forecast(tmp_path, context):
    activity = driven()
    values = fitted(tmp_path, activity, context=context).forecast(
        contexts(tmp_path, activity, context=context)
    )
    assert (values.dtype, values.shape) == (np.float32, (20, HORIZON, NEURONS))
    assert np.isfinite(values).all()


def test_same_seed_gives_the_same_bits_and_another_the_same_forecast(tmp_path):
    activity = driven()
    seen = contexts(tmp_path, activity)
    first, second, third = (fitted(tmp_path, activity, seed=s).forecast(seen) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(third, first, atol=2e-3)


def test_window_alone_is_forecast_to_the_same_bits(tmp_path):
    activity = driven()
    forecaster = fitted(tmp_path, activity)
    seen = contexts(tmp_path, activity)
    together = forecaster.forecast(seen)
    for window in range(len(seen)):
        part = slice(window, window + 1)
        alone = replace(seen, activity=seen.activity[part], origins=seen.origins[part])
        np.testing.assert_array_equal(forecaster.forecast(alone)[0], together[window])


def test_what_was_saved_forecasts_the_same(tmp_path):
    activity = driven()
    forecaster, again = fitted(tmp_path, activity), VectorAutoregression()
    forecaster.save(tmp_path)
    again.load(tmp_path)
    for name in ("a", "c", "held out"):
        seen = contexts(tmp_path, activity, name)
        np.testing.assert_array_equal(again.forecast(seen), forecaster.forecast(seen))
    assert again.size == forecaster.size


def test_choice_stays_with_the_checkpoint(tmp_path):
    fitted(tmp_path, driven())
    chosen = json.loads((tmp_path / "choice.json").read_text())
    assert set(chosen) == {"fish", "other"}
    assert all(set(step) == {"rank", "order", "ridge"} for step in chosen["fish"])
    assert len(chosen["fish"]) == HORIZON


def test_context_of_another_length_is_refused(tmp_path):
    activity = driven()
    forecaster = fitted(tmp_path, activity)
    with pytest.raises(UsageError, match="was fitted to contexts of 3 frames, got 4"):
        forecaster.forecast(contexts(tmp_path, activity, context=4))


def test_forecast_before_fit_is_refused():
    seen = Contexts(activity=np.zeros((1, 2, 3), np.float32), horizon=2, series="a", origins=(2,))
    with pytest.raises(UsageError, match="var: has not been fitted"):
        VectorAutoregression().forecast(seen)
    assert VectorAutoregression().size is None
