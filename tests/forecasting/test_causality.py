"""A forecaster that looks ahead is found out, and one that does not is left in peace."""

from __future__ import annotations

import numpy as np
import pytest

from zapeval.errors import BrokenPlugin
from zapeval.forecasting.causality import check_causal
from zapeval.forecasting.forecaster import NextStepForecaster
from zapeval.forecasting.trial import Trial

HORIZON = 9
TRIAL = Trial(protocol="next-step", horizon=HORIZON, neurons=5, windows=3)


def check(next_steps, trial=TRIAL, activity=None):
    made = type("Mine", (NextStepForecaster,), {"name": "mine", "next_steps": next_steps})()
    check_causal(made, trial.contexts(trial.recordings(activity)))


def mixing(weights):
    """Returns a forecaster whose outputs are weighted sums of inputs, ``[outputs, inputs]``."""
    return lambda self, contexts: np.einsum("oi,win->won", weights.astype("f4"), contexts.activity)


def test_any_causal_mixture_passes():
    rng = np.random.default_rng(0)
    for _ in range(5):
        check(mixing(np.tril(rng.normal(size=(HORIZON, HORIZON)))))


@pytest.mark.parametrize("distance", range(1, HORIZON))
def test_a_look_ahead_of_any_distance_is_found(distance):
    weights = np.eye(HORIZON) + 0.05 * np.eye(HORIZON, k=distance)
    with pytest.raises(BrokenPlugin, match=r"mine: trial: is not causal: its output at position"):
        check(mixing(weights))


@pytest.mark.parametrize(("output", "later"), [(0, 1), (0, 8), (3, 4), (2, 6), (7, 8), (3, 8)])
def test_a_look_ahead_at_one_position_is_found(output, later):
    weights = np.eye(HORIZON)
    weights[output, later] = 0.05
    with pytest.raises(BrokenPlugin, match=rf"its output at position {output + 1} "):
        check(mixing(weights))


def test_the_finding_names_window_neuron_and_how_far_it_moved():
    def next_steps(self, contexts):
        values = contexts.activity.copy()
        values[1, 0, 3] = contexts.activity[1, -1, 3]
        return values

    says = r"position 1 \(window 1, neuron 3\) moved by \S+ when only inputs from position 2 on"
    with pytest.raises(BrokenPlugin, match=says):
        check(next_steps)


def test_normalising_over_the_whole_sequence_is_found():
    with pytest.raises(BrokenPlugin, match="is not causal"):
        check(lambda self, c: c.activity - c.activity.mean(axis=1, keepdims=True))


def test_rounding_is_no_look_ahead():
    def next_steps(self, contexts):
        noise = np.float32(1e-7) * contexts.activity.sum(axis=1, keepdims=True)
        return contexts.activity + noise

    check(next_steps)


@pytest.mark.parametrize("part", ["stimulus", "future_stimulus"])
def test_a_look_ahead_in_the_stimulus_is_found(part):
    trial = Trial(protocol="next-step", horizon=HORIZON, covariates=("stimulus", "future_stimulus"))

    def known(self, contexts):
        return contexts.activity + getattr(contexts, part).mean(axis=2, keepdims=True)

    def ahead(self, contexts):
        return contexts.activity + getattr(contexts, part)[:, -1:].mean(axis=2, keepdims=True)

    check(known, trial)
    with pytest.raises(BrokenPlugin, match="is not causal"):
        check(ahead, trial)


@pytest.mark.parametrize(
    ("next_steps", "says"),
    [
        (lambda self, c: 1 / 0, r"raised ZeroDivisionError"),
        (lambda self, c: c.activity.tolist(), r"returned list, expected a float32 NumPy array"),
        (lambda self, c: c.activity[:, 1:], r"returned shape \[2, 8, 5\], expected"),
        (lambda self, c: c.activity * np.float32("nan"), r"returned nan for window 0, step 1"),
        (lambda self, c: np.clip(c.activity, 0, 0, out=c.activity), r"changed its contexts"),
    ],
)
def test_other_breaks_of_the_contract_are_told_apart(next_steps, says):
    with pytest.raises(BrokenPlugin, match=says):
        check(next_steps)


def test_a_recording_with_a_missing_neuron_can_be_checked():
    activity = TRIAL.activity.copy()
    activity[:, 2] = np.nan
    check(lambda self, c: np.nan_to_num(c.activity), activity=activity)
    with pytest.raises(BrokenPlugin, match="is not causal"):
        check(lambda self, c: np.nan_to_num(c.activity[:, ::-1].copy()), activity=activity)


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_recording_in_which_nothing_happens_can_be_checked(value):
    still = np.full_like(TRIAL.activity, value)
    check(lambda self, c: np.nan_to_num(c.activity), activity=still)


def test_a_still_recording_hides_no_look_ahead():
    still = np.zeros_like(TRIAL.activity)
    with pytest.raises(BrokenPlugin, match="is not causal"):
        check(lambda self, c: c.activity[:, ::-1].copy(), activity=still)


def test_sequences_of_one_frame_have_no_later_input():
    trial = Trial(protocol="next-step", horizon=1)
    check(lambda self, c: c.activity[:, ::-1].copy(), trial)


def test_what_is_checked_is_not_changed():
    contexts = TRIAL.contexts(TRIAL.recordings())
    before = contexts.activity.copy()

    class Last(NextStepForecaster):
        name = "last"

        def next_steps(self, contexts):
            return contexts.activity.copy()

    check_causal(Last(), contexts)
    np.testing.assert_array_equal(contexts.activity, before)


class Loud(NextStepForecaster):
    """Looks one frame ahead, and shouts in its last neuron."""

    name = "loud"

    def next_steps(self, contexts):
        ahead = np.roll(contexts.activity, -1, axis=1)
        ahead[..., -1] = 1e9
        return ahead


def test_a_huge_output_of_one_neuron_excuses_no_other():
    trial = Trial(protocol="next-step", context=8, horizon=8, neurons=4, windows=2)
    contexts = trial.contexts(trial.recordings())
    with pytest.raises(BrokenPlugin, match=r"loud: .* is not causal"):
        check_causal(Loud(), contexts)
