import numpy as np
import pytest
from flax import nnx

from baselines.timeseries.layers import parameter_count
from baselines.timeseries.linear import DLinear, Linear
from zapeval.errors import UsageError


@pytest.mark.parametrize(("context", "count"), [(4, 160), (256, 8_224)])
def test_linear_has_the_published_number_of_parameters(published, context, count):
    assert parameter_count(published(Linear, context)) == count
    assert parameter_count(published(DLinear, context)) == 2 * count


@pytest.mark.parametrize("normalise", ["none", "last"])
def test_linear_twin_by_loops(drawn, dense, seen, normalise):
    model = drawn(Linear, normalise=normalise)
    forecast = model(*seen)
    for window, neuron in np.ndindex(3, 7):
        series = seen[0][window, :, neuron].astype(np.float64)
        last = series[-1] if normalise == "last" else 0.0
        expected = dense(model.dense, series - last) + last
        np.testing.assert_allclose(forecast[window, :, neuron], expected, atol=1e-5)


def averaged(series, length):
    """The moving average, ends repeated, frame by frame."""
    result = np.zeros_like(series)
    for frame in range(len(series)):
        for offset in range(-(length // 2), length // 2 + 1):
            result[frame] += series[min(max(frame + offset, 0), len(series) - 1)] / length
    return result


@pytest.mark.parametrize(("context", "length"), [(6, 5), (40, 25)])
def test_dlinear_twin_by_loops(drawn, dense, context, length):
    model = drawn(DLinear, context=context)
    activity = np.random.default_rng(0).normal(size=(2, context, 7)).astype(np.float32)
    forecast = model(activity)
    for window, neuron in np.ndindex(2, 7):
        series = activity[window, :, neuron].astype(np.float64)
        trend = averaged(series, length)
        expected = dense(model.trend, trend) + dense(model.remainder, series - trend)
        np.testing.assert_allclose(forecast[window, :, neuron], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("context", "length"), [(1, 1), (2, 1), (3, 3), (4, 3), (24, 23), (25, 25), (26, 25), (256, 25)]
)
def test_dlinear_averages_over_25_frames_or_the_longest_odd_number(drawn, context, length):
    model = drawn(DLinear, context=context)
    assert model.average == length
    assert model(np.ones((1, context, 7), np.float32)).shape == (1, 4, 7)


@pytest.mark.parametrize(
    ("model", "sizes"), [(Linear, {}), (Linear, {"normalise": "last"}), (DLinear, {})]
)
def test_a_new_model_forecasts_the_mean_of_the_context(seen, model, sizes):
    new = model(context=6, horizon=4, neurons=7, features=0, rngs=nnx.Rngs(0), **sizes)
    mean = np.repeat(seen[0].mean(axis=1, keepdims=True), 4, axis=1)
    np.testing.assert_allclose(new(seen[0]), mean, atol=1e-6)


def test_nlinear_follows_the_level_of_the_context(drawn, seen):
    model = drawn(Linear, normalise="last")
    np.testing.assert_allclose(model(seen[0] + 2), model(seen[0]) + 2, atol=1e-5)


def test_unknown_normalise_lists_the_known():
    with pytest.raises(UsageError, match="'first', expected none or last"):
        Linear(context=4, horizon=4, neurons=7, features=0, rngs=nnx.Rngs(0), normalise="first")
