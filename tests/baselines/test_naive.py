from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.naive import Drift, Mean, Persistence, SeasonalNaive
from zapeval.errors import UsageError
from zapeval.forecasting.forecaster import Contexts


def contexts_of(activity, horizon=3):
    origins = tuple(range(len(activity)))
    return Contexts(activity=activity, horizon=horizon, series="gain", origins=origins)


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3), horizon=st.integers(1, 6), seed=st.integers(0, 99)
)
def test_persistence_repeats_the_last_frame(shape, horizon, seed):
    activity = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    values = Persistence().forecast(contexts_of(activity, horizon))
    assert (values.dtype, values.shape) == (np.float32, (shape[0], horizon, shape[2]))
    for window, step, neuron in np.ndindex(values.shape):
        assert values[window, step, neuron] == activity[window, -1, neuron]


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    horizon=st.integers(1, 6),
    window=st.none() | st.integers(1, 7),
    seed=st.integers(0, 99),
)
def test_mean_repeats_the_mean_of_the_last_frames(shape, horizon, window, seed):
    activity = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    values = Mean(window).forecast(contexts_of(activity, horizon))
    assert (values.dtype, values.shape) == (np.float32, (shape[0], horizon, shape[2]))
    frames = min(window or shape[1], shape[1])
    for w, step, neuron in np.ndindex(values.shape):
        last = [float(activity[w, -1 - i, neuron]) for i in range(frames)]
        assert values[w, step, neuron] == np.float32(sum(last) / frames)


def test_mean_of_one_frame_is_persistence():
    activity = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    one, other = Mean(1), Persistence()
    np.testing.assert_array_equal(
        one.forecast(contexts_of(activity)), other.forecast(contexts_of(activity))
    )


def test_mean_of_many_frames_loses_no_digits():
    # In float32 the mean of these is off in its fourth digit: the first value swallows the others.
    activity = np.full((1, 256, 1), 1.0, np.float32)
    activity[0, 0] = 2.0**26
    assert Mean().forecast(contexts_of(activity))[0, 0, 0] == np.float32((2**26 + 255) / 256)


@pytest.mark.parametrize("window", [0, -1])
def test_window_below_one_is_refused(window):
    with pytest.raises(UsageError, match=f"window of {window} frames, expected at least 1"):
        Mean(window)


def test_parameters_say_what_sets_them_apart():
    assert dict(Mean().parameters) == {}
    assert dict(Mean(8).parameters) == {"window": 8}
    assert dict(Persistence().parameters) == {}


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3), horizon=st.integers(1, 6), seed=st.integers(0, 99)
)
def test_drift_adds_the_mean_change_at_each_step(shape, horizon, seed):
    activity = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    values = Drift().forecast(contexts_of(activity, horizon))
    assert (values.dtype, values.shape) == (np.float32, (shape[0], horizon, shape[2]))
    for window, step, neuron in np.ndindex(values.shape):
        seen = [float(x) for x in activity[window, :, neuron]]
        changes = [b - a for a, b in pairwise(seen)]
        slope = sum(changes) / len(changes) if changes else 0.0
        expected = seen[-1] + (step + 1) * slope
        assert values[window, step, neuron] == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_drift_goes_on_along_a_straight_line():
    frames = np.arange(10, dtype=np.float32)
    activity = (0.5 * frames[None, :6, None] + np.array([1, -2], np.float32)).astype(np.float32)
    values = Drift().forecast(contexts_of(activity, 4))
    np.testing.assert_array_equal(values[0], 0.5 * frames[6:, None] + np.array([1, -2]))


@given(
    period=st.none() | st.integers(1, 5),
    frames=st.integers(5, 9),
    horizon=st.integers(1, 17),
    seed=st.integers(0, 99),
)
def test_seasonal_naive_is_the_frame_a_period_ago_again_and_again(period, frames, horizon, seed):
    activity = np.random.default_rng(seed).normal(size=(2, frames, 3)).astype(np.float32)
    values = SeasonalNaive(period).forecast(contexts_of(activity, horizon))
    sequence = list(activity.transpose(1, 0, 2))
    for _ in range(horizon):
        sequence.append(sequence[-(period or frames)])
    np.testing.assert_array_equal(values, np.stack(sequence[frames:], axis=1))
    assert values.dtype == np.float32


def test_seasonal_naive_refuses_a_context_shorter_than_a_period():
    with pytest.raises(UsageError, match="context of 4 frames is shorter than a period of 66"):
        SeasonalNaive(66).forecast(contexts_of(np.zeros((1, 4, 2), np.float32)))


def test_seasonal_naive_refuses_a_period_below_one():
    with pytest.raises(UsageError, match="period of 0 frames, expected at least 1"):
        SeasonalNaive(0)


def test_seasonal_naive_tells_its_period():
    assert dict(SeasonalNaive().parameters) == {}
    assert dict(SeasonalNaive(66).parameters) == {"period": 66}
