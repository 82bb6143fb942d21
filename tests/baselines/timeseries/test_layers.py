import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from baselines.timeseries.layers import ReversibleInstanceNorm, over_time, parameter_count


@pytest.fixture
def norm():
    norm = ReversibleInstanceNorm(7)
    rng = np.random.default_rng(0)
    norm.scale[...] = jnp.asarray(rng.uniform(0.5, 2, 7).astype(np.float32))
    norm.shift[...] = jnp.asarray(rng.normal(size=7).astype(np.float32))
    return norm


def test_normalising_twin_by_loops(norm, seen):
    activity = seen[0]
    normalised, moments = norm.normalise(activity)
    for window, frames in enumerate(activity.astype(np.float64)):
        for neuron, series in enumerate(frames.T):
            mean = sum(series) / len(series)
            deviation = np.sqrt(sum((series - mean) ** 2) / len(series) + 1e-5)
            expected = (series - mean) / deviation * norm.scale[neuron] + norm.shift[neuron]
            np.testing.assert_allclose(normalised[window, :, neuron], expected, atol=1e-5)
            np.testing.assert_allclose(moments.mean[window, 0, neuron], mean, atol=1e-6)
            np.testing.assert_allclose(moments.deviation[window, 0, neuron], deviation, rtol=1e-5)


def test_restoring_inverts_normalising(norm, seen):
    activity = 0.02 * seen[0] + 0.3
    np.testing.assert_allclose(norm.restore(*norm.normalise(activity)), activity, atol=1e-6)


def test_a_constant_neuron_is_restored(norm):
    activity = np.full((2, 6, 7), 0.4, np.float32)
    normalised, moments = norm.normalise(activity)
    # The mean's last bit, divided by the root of epsilon.
    shift = jnp.broadcast_to(norm.shift[...], activity.shape)
    np.testing.assert_allclose(normalised, shift, atol=1e-4)
    np.testing.assert_allclose(norm.restore(normalised, moments), activity, rtol=1e-6)


def test_a_model_inside_follows_level_and_scale(norm, seen):
    activity = 100 * seen[0]

    def steps(normalised):
        return jnp.sin(normalised[:, -2:])

    plain = norm.around(steps, activity)
    changed = norm.around(steps, 3 * activity + 50)
    np.testing.assert_allclose(changed, 3 * plain + 50, rtol=1e-4)


def test_no_gradient_flows_through_the_moments(norm, seen):
    gradient = jax.grad(lambda activity: norm.normalise(activity)[0].sum())(jnp.asarray(seen[0]))
    slope = norm.scale[...] / norm.normalise(seen[0])[1].deviation
    np.testing.assert_allclose(gradient, jnp.broadcast_to(slope, gradient.shape), rtol=1e-6)


def test_over_time_takes_each_neuron_through_the_same_layer(seen, dense):
    layer = nnx.Linear(6, 4, rngs=nnx.Rngs(0))
    result = over_time(layer, seen[0])
    for window, neuron in np.ndindex(3, 7):
        expected = dense(layer, seen[0][window, :, neuron])
        np.testing.assert_allclose(result[window, :, neuron], expected, atol=1e-6)


def test_parameters_of_a_model_and_of_its_shapes_are_counted_alike():
    def build():
        return nnx.Linear(6, 4, rngs=nnx.Rngs(0))

    assert parameter_count(build()) == parameter_count(nnx.eval_shape(build)) == 6 * 4 + 4


def test_counting_shapes_takes_no_memory():
    huge = nnx.eval_shape(lambda: nnx.Linear(10**7, 10**7, rngs=nnx.Rngs(0)))
    assert parameter_count(huge) == 10**14 + 10**7
