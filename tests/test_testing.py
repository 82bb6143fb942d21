"""The contract test fails for a forecaster that breaks any clause, and for the right clause."""

from __future__ import annotations

import numpy as np
import pytest

from zapeval.forecasting.forecaster import Forecaster, NextStepForecaster, VideoForecaster
from zapeval.testing import ForecasterContract

NAME = "test_has_a_name"
SHAPE = "test_returns_float32_windows_by_horizon_by_neurons"
FINITE = "test_forecasts_finite_numbers"
TWICE = "test_forecasts_the_same_twice"
ALONE = "test_leaves_its_contexts_alone"
BATCH = "test_forecasts_a_window_alone_as_in_a_batch"
SAYS = "test_says_what_it_is"
CONTEXT = "test_forecasts_from_its_context_and_no_other_frame"
CAUSAL = "test_forecasts_a_frame_from_earlier_ones"
ROLLS = "test_rolls_out_over_a_horizon"
LOADED = "test_forecasts_the_same_when_it_is_loaded"
SEED = "test_learns_the_same_from_the_same_seed"
TEST_FRAMES = "test_learns_nothing_from_test_frames"
CLAUSES = {
    *(NAME, SAYS, SHAPE, FINITE, TWICE, ALONE, BATCH, CONTEXT, CAUSAL, ROLLS),
    *(LOADED, SEED, TEST_FRAMES),
}


def clauses(make):
    """Returns the names of the contract's tests that a forecaster fails."""

    class Trial(ForecasterContract):
        def make(self):
            return make()

    failed = set()
    for name in dir(Trial):
        if name.startswith("test_"):
            try:
                getattr(Trial(), name)()
            except Exception:
                failed.add(name)
    return failed


class Good(Forecaster):
    """Repeats the last frame; the broken ones below change one thing."""

    name = "good"

    def forecast(self, contexts):
        return np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1)


class Nameless(Good):
    name = ""


class Spaced(Good):
    name = " good"


class Path(Good):
    name = "mine/good"


class Double(Good):
    def forecast(self, contexts):
        return super().forecast(contexts).astype(np.float64)


class Transposed(Good):
    def forecast(self, contexts):
        return super().forecast(contexts).swapaxes(1, 2)


class Short(Good):
    def forecast(self, contexts):
        return super().forecast(contexts)[:, 1:]


class List(Good):
    def forecast(self, contexts):
        return super().forecast(contexts).tolist()


class WithNaN(Good):
    def forecast(self, contexts):
        values = super().forecast(contexts)
        values[0, -1, 0] = np.nan
        return values


class WithInfinity(Good):
    def forecast(self, contexts):
        values = super().forecast(contexts)
        values[:, 0, -1] = np.inf
        return values


class Random(Good):
    def forecast(self, contexts):
        noise = np.random.default_rng().normal(size=contexts.activity.shape[2])
        return super().forecast(contexts) + noise.astype(np.float32)


class Drifting(Good):
    """Forecasts otherwise at each call."""

    def __init__(self):
        self.calls = 0

    def forecast(self, contexts):
        self.calls += 1
        return super().forecast(contexts) * np.float32(self.calls)


class Overwriting(Good):
    def forecast(self, contexts):
        values = super().forecast(contexts)
        contexts.activity[:] = 0
        return values


class Normalising(Good):
    """Subtracts the mean over the batch, which holds the future of its windows."""

    def forecast(self, contexts):
        return super().forecast(contexts) - contexts.activity.mean(axis=0, keepdims=True)[:, -1:]


class Peeking(Good):
    """Forecasts the last frame of the batch's last window."""

    def forecast(self, contexts):
        values = super().forecast(contexts)
        return np.repeat(values[-1:], len(values), axis=0)


class Seeded(Good):
    """Draws the same noise at each call, so a window's noise hangs on its place in the batch."""

    def forecast(self, contexts):
        values = super().forecast(contexts)
        return values + np.random.default_rng(1).normal(size=values.shape).astype(np.float32)


class Unspeakable(Good):
    """Has a parameter that JSON does not hold."""

    @property
    def parameters(self):
        return {"of": object()}


class Lossy(Good):
    """Has a parameter that JSON changes the name of."""

    @property
    def parameters(self):
        return {1: "a"}


class Word(Good):
    covariates = "video"


class Unheard(Good):
    covariates = ("sound",)


class Eager(Good):
    """Looks at the frame that it is to forecast."""

    covariates = ("video",)

    def forecast(self, contexts):
        video = contexts.video._video
        later = [video.read((o, o + 1)).mean(dtype=np.float32) for o in contexts.origins]
        return super().forecast(contexts) + np.array(later, np.float32)[:, None, None]


class Stimulated(Good):
    """Uses all that is known beside activity."""

    covariates = ("stimulus", "future_stimulus", "video")

    def forecast(self, contexts):
        heard = contexts.stimulus.mean(axis=(1, 2))[:, None, None]
        to_come = contexts.future_stimulus.mean(axis=2, keepdims=True)
        seen = [contexts.video[number].mean() for number in range(len(contexts))]
        return super().forecast(contexts) * heard + to_come + np.float32(seen)[:, None, None]


class Numbing(Good):
    covariates = ("stimulus",)

    def forecast(self, contexts):
        contexts.stimulus[:] = 0
        return super().forecast(contexts)


class Moving(Good):
    def forecast(self, contexts):
        contexts.neurons.positions[:] += 1
        return super().forecast(contexts)


class Next(NextStepForecaster):
    """Forecasts that nothing changes."""

    name = "next"

    def next_steps(self, contexts):
        return contexts.activity.copy()


class Ahead(Next):
    """Forecasts each frame by itself."""

    def next_steps(self, contexts):
        activity = contexts.activity
        return np.concatenate([activity[:, 1:], activity[:, -1:]], axis=1)


class Told(Next):
    """Uses the stimulus of the frame that it forecasts, which is known."""

    covariates = ("stimulus", "future_stimulus")

    def next_steps(self, contexts):
        change = contexts.future_stimulus - contexts.stimulus
        return contexts.activity + change.mean(axis=2, keepdims=True)


class Foretold(Told):
    """Uses the stimulus of all frames."""

    def next_steps(self, contexts):
        return contexts.activity + contexts.stimulus.mean(axis=(1, 2), keepdims=True)


class Rigid(Next):
    def next_steps(self, contexts):
        if contexts.activity.shape[1] != ForecasterContract.horizon:
            raise ValueError("another length")
        return contexts.activity.copy()


class Film(VideoForecaster):
    """Repeats the last frame of the video."""

    name = "film"

    def frames(self, contexts):
        for window in range(len(contexts)):
            for step in range(1, contexts.horizon + 1):
                yield window, step, contexts.video[window][-1]


class Learner(Good):
    """Adds the mean of its training frames and a little noise."""

    def fit(self, training):
        frames = [series.activity(span) for series in training.series for span in series.train]
        noise = np.random.default_rng(training.seed).normal()
        self.offset = np.float32(np.concatenate(frames).mean() + noise)

    def save(self, folder):
        np.save(folder / "offset.npy", self.offset)

    def load(self, folder):
        self.offset = np.load(folder / "offset.npy")

    def forecast(self, contexts):
        return super().forecast(contexts) + self.offset


class Forgetful(Learner):
    def load(self, folder):
        self.offset = np.float32(0)


class Moody(Learner):
    def fit(self, training):
        super().fit(training)
        self.offset += np.float32(np.random.default_rng().normal())


class Sneaky(Learner):
    """Learns the mean of all frames."""

    def fit(self, training):
        self.offset = training.series[0]._recording.activity.read().mean()


class Confessing(Learner):
    leaks = "the mean of all frames"

    def fit(self, training):
        self.offset = training.series[0].every_frame().read().mean()


class NextLearner(Next):
    """Learns how much of a frame stays."""

    def fit(self, training):
        series = training.series[0]
        inputs = series.contexts(series.train_origins).activity
        targets = series.targets(series.train_origins)
        self.decay = np.float32((inputs * targets).sum() / (inputs**2).sum())

    def save(self, folder):
        np.save(folder / "decay.npy", self.decay)

    def load(self, folder):
        self.decay = np.load(folder / "decay.npy")

    def next_steps(self, contexts):
        return contexts.activity * self.decay


@pytest.mark.parametrize(
    ("broken", "failed"),
    [
        (Nameless, {NAME}),
        (Spaced, {NAME}),
        (Path, {NAME}),
        (Double, {SHAPE}),
        (Transposed, {SHAPE}),
        (Short, {SHAPE}),
        (List, {SHAPE}),
        (WithNaN, {FINITE, BATCH}),
        (WithInfinity, {FINITE}),
        (Random, {TWICE, BATCH, CONTEXT}),
        (Drifting, {TWICE}),
        (Overwriting, {ALONE}),
        (Normalising, {BATCH}),
        (Peeking, {BATCH}),
        (Seeded, {BATCH}),
        (Unspeakable, {SAYS}),
        (Lossy, {SAYS}),
        (Word, {SAYS}),
        (Unheard, {SAYS}),
        (Eager, {CONTEXT}),
        (Numbing, {ALONE}),
        (Moving, {ALONE}),
        (Ahead, {CAUSAL}),
        (Foretold, {CAUSAL}),
        (Rigid, {ROLLS}),
        (Forgetful, {LOADED}),
        (Moody, {SEED, TEST_FRAMES}),
        (Sneaky, {TEST_FRAMES}),
    ],
)
def test_broken_forecaster_fails_its_clause_and_no_other(broken, failed):
    assert clauses(broken) == failed


@pytest.mark.parametrize(
    "good", [Good, Stimulated, Next, Told, Film, Learner, Confessing, NextLearner]
)
def test_good_forecaster_fails_no_clause(good):
    assert clauses(good) == set()


def test_a_forecaster_is_fitted_before_it_is_tested():
    assert clauses(Learner) == set()
    with pytest.raises(AttributeError, match="offset"):
        Learner().forecast(_Trial().contexts())


def test_films_are_made_of_the_activity():
    class Trial(_Trial):
        def make(self):
            return Film()

    contexts = Trial().contexts()
    np.testing.assert_allclose(
        Film().forecast(contexts), Good().forecast(contexts), rtol=1e-6, atol=1e-7
    )


class _Trial(ForecasterContract):
    def make(self):
        return Good()


def test_every_clause_is_known_to_these_tests():
    assert {name for name in dir(ForecasterContract) if name.startswith("test_")} == CLAUSES


def test_forecaster_without_a_name_fails():
    class Anonymous(Forecaster):
        def forecast(self, contexts):
            return np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1)

    assert clauses(Anonymous) == {NAME}


def test_trial_is_as_large_as_it_says():
    class Trial(ForecasterContract):
        context, horizon, neurons, windows = 7, 2, 3, 4

        def make(self):
            return Good()

    contexts = Trial().contexts()
    assert contexts.activity.shape == (4, 7, 3)
    assert contexts.activity.dtype == np.float32
    assert (contexts.horizon, len(contexts.origins)) == (2, 4)
    assert len(np.unique(contexts.activity)) == contexts.activity.size
