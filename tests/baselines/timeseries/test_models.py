"""What all time series models keep."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from baselines.timeseries.linear import DLinear, Linear
from baselines.timeseries.tide import TiDE
from baselines.timeseries.time_mix import TimeMix
from baselines.timeseries.tsmixer import TSMixer

SMALL = {"hidden": 8, "projection": 3, "decoded": 2}
SHARED = {
    "linear": (Linear, {}),
    "nlinear": (Linear, {"normalise": "last"}),
    "dlinear": (DLinear, {}),
    "time-mix": (TimeMix, {}),
    "tide": (TiDE, SMALL),
    "tide, past stimulus": (TiDE, {**SMALL, "past_stimulus": True}),
    "tide, no stimulus": (TiDE, {**SMALL, "features": 0}),
}
MODELS = SHARED | {
    "time-mix, instance norm": (TimeMix, {"instance_norm": True}),
    "tsmixer": (TSMixer, {"mixed": 5}),
    "tsmixer, instance norm": (TSMixer, {"mixed": 5, "instance_norm": True}),
}
each_model = pytest.mark.parametrize(("model", "sizes"), MODELS.values(), ids=MODELS)
each_shared_model = pytest.mark.parametrize(("model", "sizes"), SHARED.values(), ids=SHARED)


@each_model
def test_forecasts_are_float32_windows_by_horizon_by_neurons(drawn, seen, model, sizes):
    forecast = drawn(model, **sizes)(*seen)
    assert forecast.shape == (3, 4, 7)
    assert forecast.dtype == jnp.float32


@each_model
def test_a_batch_is_forecast_as_its_windows_one_by_one(drawn, seen, model, sizes):
    built = drawn(model, **sizes)
    alone = [built(*(values[i : i + 1] for values in seen)) for i in range(3)]
    np.testing.assert_allclose(built(*seen), np.concatenate(alone), rtol=1e-5, atol=1e-5)


@each_model
def test_compiled_and_plain_forecasts_agree(drawn, seen, model, sizes):
    built = drawn(model, **sizes)
    compiled = nnx.jit(lambda m, *values: m(*values))(built, *seen)
    np.testing.assert_allclose(compiled, built(*seen), rtol=1e-5, atol=1e-5)


@each_model
def test_the_gradient_is_finite_even_where_a_neuron_is_constant(drawn, seen, model, sizes):
    activity, *stimuli = seen
    activity[:, :, 2] = 0.25
    gradient = nnx.jit(nnx.grad(lambda m, *values: jnp.abs(m(*values)).sum()))
    leaves = jax.tree.leaves(gradient(drawn(model, **sizes), activity, *stimuli))
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert any(np.abs(leaf).max() > 0 for leaf in leaves)


@each_model
def test_everything_that_a_model_holds_is_learned(drawn, model, sizes):
    built = drawn(model, **sizes)
    assert len(jax.tree.leaves(nnx.state(built))) == len(
        jax.tree.leaves(nnx.state(built, nnx.Param))
    )


@each_model
def test_a_seed_decides_a_new_model(model, sizes):
    def new(seed):
        arguments = {"context": 6, "horizon": 4, "neurons": 7, "features": 5, **sizes}
        return jax.tree.leaves(nnx.state(model(**arguments, rngs=nnx.Rngs(seed))))

    for one, again in zip(new(3), new(3), strict=True):
        np.testing.assert_array_equal(one, again)


@each_shared_model
def test_shared_weights_follow_the_order_of_the_neurons(drawn, seen, model, sizes):
    built = drawn(model, **sizes)
    activity, *stimuli = seen
    order = np.random.default_rng(0).permutation(7)
    permuted = built(activity[:, :, order], *stimuli)
    np.testing.assert_allclose(permuted, built(*seen)[:, :, order], rtol=1e-5, atol=1e-5)


@each_shared_model
def test_with_shared_weights_a_neuron_hears_of_no_other(drawn, seen, model, sizes):
    built = drawn(model, **sizes)
    activity, *stimuli = seen
    other = activity.copy()
    other[:, :, 0] += 1
    before, after = built(*seen), built(other, *stimuli)
    np.testing.assert_allclose(after[:, :, 1:], before[:, :, 1:], rtol=1e-6, atol=1e-6)
    assert (np.abs(after[:, :, 0] - before[:, :, 0]) > 1e-6).any()
