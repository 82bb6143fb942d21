from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.naive import Mean, Persistence
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
