import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from baselines.timeseries.layers import parameter_count
from baselines.timeseries.tide import ResidualBlock, TiDE
from zapeval.errors import UsageError

SMALL = {"hidden": 8, "projection": 3, "decoded": 2}


@pytest.mark.parametrize(
    ("context", "rounded", "count", "working"),
    [(4, "0.67", 668_130, 577_762), (256, "2.81", 2_805_090, 650_338)],
)
def test_tide_has_the_published_number_of_parameters(published, context, rounded, count, working):
    assert parameter_count(published(TiDE, context)) == count
    assert f"{count / 1e6:.2f}" == rounded
    assert parameter_count(published(TiDE, context, reserved=False)) == working


def test_parameters_beyond_those_at_work_belong_to_the_unfed_inputs(published):
    kept, working = (published(TiDE, 4, reserved=reserved) for reserved in (True, False))
    past_projection = (26 * 128 + 128) + (128 * 32 + 32) + (26 * 32 + 32)
    rows = (192 + 4 * 32) * (128 + 128)
    assert parameter_count(kept) - parameter_count(working) == past_projection + rows


@pytest.mark.parametrize("reserved", [True, False])
@pytest.mark.parametrize("past", [True, False])
@pytest.mark.parametrize("features", [5, 0])
def test_tide_twin_by_loops(drawn, dense, seen, features, past, reserved):
    model = drawn(TiDE, features=features, past_stimulus=past, reserved=reserved, **SMALL)
    forecast = model(*seen) if features else model(seen[0])
    for window, neuron in np.ndindex(3, 7):
        activity, stimulus, future = (values[window].astype(np.float64) for values in seen)
        expected = twin(model, dense, activity[:, neuron], stimulus, future)
        np.testing.assert_allclose(forecast[window, :, neuron], expected, rtol=1e-4, atol=1e-5)


def twin(model, dense, series, stimulus, future):
    """The forecast of one neuron from all inputs laid side by side, zeros where nothing is fed."""

    def block(layers: ResidualBlock, inputs):
        hidden = np.maximum(dense(layers.hidden, inputs), 0)
        return dense(layers.output, hidden) + dense(layers.skip, inputs)

    def projected(layers, frames):
        return [] if layers is None else [block(layers, frame) for frame in frames]

    to_come = projected(model.future, future)
    past = projected(model.past, stimulus)
    if not model.sees_past:
        past = [np.zeros_like(frame) for frame in past]
    inputs = np.concatenate([series, np.zeros(model.embedding), *past, *to_come])
    decoded = block(model.decoder, block(model.encoder, inputs)).reshape(model.horizon, -1)
    if to_come:
        decoded = np.concatenate([decoded, np.stack(to_come)], axis=1)
    steps = np.array([block(model.temporal, step)[0] for step in decoded])
    return steps + dense(model.linear, series)


def gradient(model, seen):
    return nnx.jit(nnx.grad(lambda m, *values: (m(*values) ** 2).sum()))(model, *seen)


def test_weights_of_unfed_inputs_never_learn_and_all_others_do(drawn, seen):
    model = drawn(TiDE, **SMALL)
    learning = gradient(model, seen)
    for layer in ("hidden", "skip"):
        rows = np.abs(learning["encoder"][layer]["kernel"][...]).max(axis=1)
        unfed = slice(6, 6 + 192 + 6 * 3)
        assert not rows[unfed].any()
        assert np.delete(rows, unfed).all()
    for name, layers in learning.items():
        largest = [np.abs(leaf).max() for leaf in jax.tree.leaves(layers)]
        assert not any(largest) if name == "past" else all(largest)


def test_only_the_future_stimulus_is_seen_by_default(drawn, seen):
    model = drawn(TiDE, **SMALL)
    activity, stimulus, future = seen
    np.testing.assert_array_equal(model(activity, stimulus + 1, future), model(*seen))
    np.testing.assert_array_equal(model(activity, None, future), model(*seen))
    assert (np.abs(model(activity, stimulus, future + 1) - model(*seen)) > 1e-6).all()


def test_the_stimulus_of_the_context_is_seen_where_asked_for(drawn, seen):
    model = drawn(TiDE, past_stimulus=True, **SMALL)
    activity, stimulus, future = seen
    assert (np.abs(model(activity, stimulus + 1, future) - model(*seen)) > 1e-6).all()


def test_without_features_no_weight_has_to_do_with_a_stimulus(published):
    block = (32 * 128 + 128) + (128 * 1 + 1) + (32 * 1 + 1)
    encoder = (4 * 128 + 128) + (128 * 128 + 128) + (4 * 128 + 128)
    decoder = (128 * 128 + 128) + 2 * (128 * 1024 + 1024)
    model = published(TiDE, 4, features=0, past_stimulus=True)
    assert parameter_count(model) == encoder + decoder + block + (4 * 32 + 32)


def test_a_missing_stimulus_is_named(drawn, seen):
    with pytest.raises(UsageError, match="built to see future_stimulus, got none"):
        drawn(TiDE)(seen[0])
    with pytest.raises(UsageError, match="built to see stimulus, got none"):
        drawn(TiDE, past_stimulus=True)(seen[0], None, seen[2])


def test_a_gradient_over_71721_neurons_never_holds_all_steps_at_once(published):
    windows, context, horizon, neurons = 8, 4, 32, 71_721
    definition, params = nnx.split(published(TiDE, context))

    def loss(params, activity, future):
        return nnx.merge(definition, params)(activity, None, future).sum()

    activity = jax.ShapeDtypeStruct((windows, context, neurons), jnp.float32)
    future = jax.ShapeDtypeStruct((windows, horizon, 26), jnp.float32)
    compiled = jax.jit(jax.grad(loss)).lower(params, activity, future).compile()
    held = compiled.memory_analysis().temp_size_in_bytes
    assert held < windows * horizon * neurons * 128 * 4 / 2
