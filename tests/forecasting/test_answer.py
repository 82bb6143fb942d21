"""What a forecaster says is held against its contract before anything is kept of it."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from zapeval.errors import BrokenPlugin, InvalidInput
from zapeval.forecasting.answer import answer
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecaster import Forecaster, NextStepForecaster, VideoForecaster
from zapeval.forecasting.trial import Trial

WHERE = r"mine: trial, windows \[20, 25\): "


def ask(method, *, base=Forecaster, trial=None):
    """Returns what is made of the answers of a method."""
    trial = trial or Trial(context=3, horizon=4, neurons=6)
    name = "next_steps" if base is NextStepForecaster else "forecast"
    made = type("Mine", (base,), {"name": "mine", name: method})()
    contexts = trial.contexts(trial.recordings())
    return answer(made, trial.benchmark, contexts, (20, 20 + len(contexts)))


def zeros(contexts, dtype=np.float32):
    windows, _, neurons = contexts.activity.shape
    return np.zeros((windows, contexts.horizon, neurons), dtype)


def test_a_good_answer_is_handed_on():
    trial = Trial(context=3, horizon=4, neurons=6)
    values = ask(lambda self, c: np.repeat(c.activity[:, -1:], c.horizon, axis=1), trial=trial)
    assert (type(values), values.dtype) == (np.ndarray, np.float32)
    for window, origin in enumerate(trial.series.origins):
        for step in range(4):
            np.testing.assert_array_equal(values[window, step], trial.activity[origin - 1])


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (lambda self, c: zeros(c, "f8"), r"returned float64, expected a float32 NumPy array"),
        (lambda self, c: zeros(c, ">f4"), r"returned >f4, expected a float32 NumPy array"),
        (lambda self, c: zeros(c).tolist(), r"returned list, expected a float32 NumPy array"),
        (lambda self, c: None, r"returned NoneType, expected a float32 NumPy array"),
        (
            lambda self, c: zeros(c)[:, 1:],
            r"returned shape \[5, 3, 6\], expected \[windows, horizon, neurons\] = \[5, 4, 6\]",
        ),
        (lambda self, c: zeros(c)[0], r"returned shape \[4, 6\], expected .* = \[5, 4, 6\]"),
        (lambda self, c: 1 / 0, r"raised ZeroDivisionError: division by zero"),
        (lambda self, c: sys.exit(9), r"raised SystemExit: 9"),
        (
            lambda self, c: (c.activity.fill(0), zeros(c))[1],
            r"changed its contexts in place; expected it to work on a copy",
        ),
    ],
)
def test_an_answer_that_breaks_the_contract_is_refused(method, says):
    with pytest.raises(BrokenPlugin, match=WHERE + says):
        ask(method)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_named_with_its_place(value):
    def forecast(self, contexts):
        values = zeros(contexts)
        values[2, 3, 1] = value
        return values

    says = rf"returned {value} for window 22, step 4, neuron 1; expected finite numbers"
    with pytest.raises(BrokenPlugin, match=WHERE + says):
        ask(forecast)


def test_a_mask_hides_no_number_that_is_none():
    def forecast(self, contexts):
        values = zeros(contexts)
        values[0, 0, 0] = np.nan
        return np.ma.masked_invalid(values)

    with pytest.raises(BrokenPlugin, match="returned nan for window 20, step 1, neuron 0"):
        ask(forecast)


def test_a_mask_is_taken_off():
    assert type(ask(lambda self, c: np.ma.masked_equal(zeros(c), 0))) is np.ndarray


def test_interrupting_a_forecaster_is_not_its_fault():
    def forecast(self, contexts):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(forecast)


def test_an_error_of_ours_keeps_its_class():
    def forecast(self, contexts):
        raise InvalidInput("the recording has no eyes")

    with pytest.raises(InvalidInput, match="no eyes"):
        ask(forecast)


def test_what_is_missing_in_the_recording_is_no_change_of_contexts():
    trial = Trial(context=3, horizon=4, neurons=6)
    activity = trial.activity.copy()
    activity[:, 2] = np.nan
    made = type("Mine", (Forecaster,), {"name": "mine", "forecast": lambda self, c: zeros(c)})()
    contexts = trial.contexts(trial.recordings(activity))
    assert np.isnan(contexts.activity[:, :, 2]).all()
    assert (answer(made, trial.benchmark, contexts, (0, 5)) == 0).all()


class Sparse(VideoForecaster):
    """Repeats the last frame; its volume lacks the last neurons."""

    name = "sparse"

    def frames(self, contexts):
        for window in range(len(contexts)):
            for step in range(1, contexts.horizon + 1):
                yield window, step, contexts.video[window][-1][:5]


def test_only_video_may_lack_a_neuron():
    trial = Trial(context=3, horizon=4, neurons=6, covariates=("video",))
    contexts = trial.contexts(trial.recordings())
    values = answer(Sparse(), trial.benchmark, contexts, (0, 5))
    missing = np.isnan(values).all(axis=(0, 1))
    assert missing.tolist() == [False, False, False, False, True, True]

    def forecast(self, contexts):
        values = zeros(contexts)
        values[:, :, 5] = np.nan
        return values

    with pytest.raises(BrokenPlugin, match="returned nan for window 20, step 1, neuron 5"):
        ask(forecast)


def test_video_that_lacks_a_neuron_at_times_is_refused():
    class Flickering(Sparse):
        def frames(self, contexts):
            for window, step, frame in super().frames(contexts):
                yield window, step, frame * np.float32(np.nan if step == 2 else 1)

    trial = Trial(context=3, horizon=4, neurons=6, covariates=("video",))
    contexts = trial.contexts(trial.recordings())
    with pytest.raises(BrokenPlugin, match="returned nan for window 0, step 2, neuron 0"):
        answer(Flickering(), trial.benchmark, contexts, (0, 5))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([(0, 1)], "gave no frame for window 0, step 2; expected one for each"),
        ([(0, 1), (0, 1)], "gave a frame for window 0, step 1; expected each of 5 windows"),
        ([(5, 1)], "gave a frame for window 5, step 1; expected each of 5 windows and steps 1 to"),
        ([(0, 5)], "gave a frame for window 0, step 5; expected each of 5 windows and steps 1 to"),
        ([(0, 0)], "gave a frame for window 0, step 0; expected each of 5 windows and steps 1 to"),
    ],
)
def test_frames_of_video_come_once_each(given, says):
    class Film(VideoForecaster):
        name = "film"

        def frames(self, contexts):
            for window, step in given:
                yield window, step, contexts.video[0][-1]

    trial = Trial(context=3, horizon=4, neurons=6, covariates=("video",))
    contexts = trial.contexts(trial.recordings())
    with pytest.raises(BrokenPlugin, match=f"film: trial: {says}"):
        answer(Film(), trial.benchmark, contexts, (0, 5))


# next-step

NEXT = Trial(protocol="next-step", horizon=6, neurons=4, windows=3)


def test_each_position_is_answered_from_the_frames_before_it():
    """The twin: position k of the window at o is frame o + k - 1, seen are [o - 1, o + k - 1)."""
    seen: list[Contexts] = []

    def forecast(self, contexts):
        seen.append(contexts)
        return contexts.activity.sum(axis=1, keepdims=True)

    values = ask(forecast, trial=NEXT)
    for window, origin in enumerate(NEXT.series.origins):
        for k in range(1, 7):
            frames = NEXT.activity[origin - 1 : origin + k - 1]
            np.testing.assert_allclose(values[window, k - 1], frames.sum(axis=0), rtol=1e-5)
            assert seen[k - 1].origins[window] == origin + k - 1
            assert seen[k - 1].horizon == 1
    assert all(contexts.activity.base is None for contexts in seen)


def test_a_next_step_forecaster_goes_through_whole_sequences():
    calls = []

    def next_steps(self, contexts):
        calls.append(contexts.activity.shape)
        return contexts.activity.copy()

    values = ask(next_steps, base=NextStepForecaster, trial=NEXT)
    assert calls == [(3, 6, 4)]
    for window, origin in enumerate(NEXT.series.origins):
        np.testing.assert_array_equal(values[window], NEXT.activity[origin - 1 : origin + 5])


def test_next_steps_are_checked_too():
    with pytest.raises(BrokenPlugin, match=r"mine: .* returned shape \[3, 5, 4\], expected"):
        ask(lambda self, c: c.activity[:, 1:], base=NextStepForecaster, trial=NEXT)


# a roll-out


class Summing(NextStepForecaster):
    """Forecasts what is now, the stimulus now and the next stimulus, added up."""

    name = "summing"
    covariates = ("stimulus", "future_stimulus")

    def next_steps(self, contexts):
        now, then = contexts.stimulus, contexts.future_stimulus
        return contexts.activity + (now + 10 * then).sum(axis=2, keepdims=True)


def test_a_roll_out_feeds_back_what_it_forecast_and_goes_on_in_the_stimulus():
    trial = Trial(context=3, horizon=4, neurons=6, covariates=Summing.covariates)
    contexts = trial.contexts(trial.recordings())
    values = Summing().forecast(contexts)
    assert (values.dtype, values.shape) == (np.float32, (5, 4, 6))
    for window in range(5):
        last = contexts.activity[window, -1]
        stimulus = np.concatenate([contexts.stimulus[window], contexts.future_stimulus[window]])
        for step in range(4):
            last = last + stimulus[2 + step].sum() + 10 * stimulus[3 + step].sum()
            np.testing.assert_allclose(values[window, step], last, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("covariates", [("stimulus",), ("future_stimulus",)])
def test_a_roll_out_needs_the_stimulus_of_every_frame(covariates):
    class Half(Summing):
        pass

    Half.covariates = covariates
    trial = Trial(context=3, horizon=4, neurons=6, covariates=covariates)
    contexts = trial.contexts(trial.recordings())
    says = f"asks for {covariates[0]}; next steps that are fed back need both stimulus and"
    with pytest.raises(BrokenPlugin, match=says):
        Half().forecast(contexts)
