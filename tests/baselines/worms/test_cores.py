"""Each core against a twin in NumPy: float64, one window and one frame at a time."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from flax import nnx

from baselines.worms.cores import (
    CORES,
    CTRNN,
    DROPOUT,
    LSTM,
    TOGETHER,
    CausalAttention,
    dense,
    dropped,
    heads_of,
    positions,
)

pytestmark = pytest.mark.usefixtures("strict_promotion")


def weights(layer):
    return (np.asarray(part[...], np.float64) for part in (layer.kernel, layer.bias))


def applied(layer, values):
    kernel, bias = weights(layer)
    return values @ kernel + bias


def normalised(layer, values):
    scale, shift = (np.asarray(part[...], np.float64) for part in (layer.scale, layer.bias))
    return (values - values.mean()) / np.sqrt(values.var() + 1e-5) * scale + shift


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def ctrnn(core, sequence):
    pace = sigmoid(np.asarray(core.pace[...], np.float64))
    state = np.zeros(sequence.shape[1])
    for frame in sequence:
        driven = np.maximum(applied(core.input, frame) + applied(core.recurrent, state), 0)
        state = (1 - pace) * state + pace * driven
        yield state


def lstm(core, sequence):
    state = cell = np.zeros(sequence.shape[1])
    for frame in sequence:
        gates = applied(core.input, frame) + applied(core.recurrent, state)
        taken, kept, new, given = gates.reshape(4, -1)
        cell = sigmoid(kept) * cell + sigmoid(taken) * np.tanh(new)
        state = sigmoid(given) * np.tanh(cell)
        yield state


def attended(layer, sequence):
    width = sequence.shape[1]
    query, known, value = (
        part.T for part in applied(layer.attended, sequence).T.reshape(3, width, -1)
    )
    size = width // layer.heads
    for now in range(len(sequence)):
        mixed = np.empty(width)
        for start in range(0, width, size):
            one = slice(start, start + size)
            scores = [query[now, one] @ known[then, one] / np.sqrt(size) for then in range(now + 1)]
            share = np.exp(scores) / np.exp(scores).sum()
            mixed[one] = share @ value[: now + 1, one]
        yield applied(layer.output, mixed)


def scaled(sequence):
    """Returns a sequence times the root of its width, with positions as the paper writes them."""
    frames, width = sequence.shape
    added = np.empty((frames, width))
    for frame in range(frames):
        for pair in range(0, width, 2):
            angle = frame / 10000 ** (pair / width)
            added[frame, pair : pair + 2] = np.sin(angle), np.cos(angle)
    return sequence * np.sqrt(width) + added


def transformer(core, sequence):
    values = scaled(sequence)
    before = np.stack([normalised(core.norms[0], frame) for frame in values])
    values = values + np.stack(list(attended(core.attention, before)))
    for frame in values:
        wide = np.maximum(applied(core.widen, normalised(core.norms[1], frame)), 0)
        yield frame + applied(core.narrow, wide)


TWINS = {
    "linear": lambda core, sequence: sequence,
    "feedforward": lambda core, sequence: [
        frame + np.maximum(applied(core.dense, frame), 0) for frame in sequence
    ],
    "ctrnn": ctrnn,
    "lstm": lstm,
    "transformer": transformer,
    "attention": lambda core, sequence: attended(core.attention, scaled(sequence)),
}


@pytest.mark.parametrize("name", CORES)
def test_a_model_equals_its_twin_by_loops(drawn, seen, name):
    model = drawn(name)
    ahead = model(seen)
    assert ahead.dtype == np.float32
    for window, activity in enumerate(seen.astype(np.float64)):
        embedded = applied(model.embedding, activity)
        if name in ("ctrnn", "lstm"):
            embedded = np.stack([normalised(model.norm, frame) for frame in embedded])
        states = np.stack(list(TWINS[name](model.core, embedded)))
        expected = applied(model.readout, states)
        np.testing.assert_allclose(ahead[window], expected, rtol=1e-4, atol=1e-4)


def test_windows_that_do_not_fill_a_part_are_attended_to_as_alone(drawn):
    layer, windows = drawn("attention").core.attention, 2 * TOGETHER + 1
    sequence = np.random.default_rng(3).normal(size=(windows, 6, 8)).astype(np.float32)
    alone = np.concatenate([layer(sequence[number : number + 1]) for number in range(windows)])
    np.testing.assert_allclose(layer(sequence), alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("hidden", "heads"), [(300, 5), (196, 4), (312, 4), (8, 4), (58, 2), (13, 1), (9, 3)]
)
def test_heads_are_the_largest_divisor_up_to_five(hidden, heads):
    assert heads_of(hidden) == heads


def test_positions_of_an_odd_width_are_those_of_a_wider_one_cut_off():
    assert positions(5, 7).shape == (5, 7)
    np.testing.assert_array_equal(positions(5, 7)[0], [0, 1, 0, 1, 0, 1, 0])


def test_a_new_lstm_is_drawn_as_the_paper_says():
    core, hidden = LSTM(40, rngs=nnx.Rngs(0)), 40
    given, recurrent = (np.asarray(layer.kernel[...]) for layer in (core.input, core.recurrent))
    bound = 1.5 * np.sqrt(6 / (hidden + 4 * hidden))
    assert 0.97 * bound < np.abs(given).max() <= bound
    np.testing.assert_allclose(given.std(), bound / np.sqrt(3), rtol=0.03)
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(hidden), atol=1e-5)
    for layer in (core.input, core.recurrent):
        assert not np.asarray(layer.bias[...]).any()


def test_a_new_ctrnn_takes_over_most_of_a_new_state():
    np.testing.assert_allclose(
        sigmoid(np.asarray(CTRNN(8, rngs=nnx.Rngs(0)).pace[...])), 0.731, atol=5e-4
    )


def test_a_dense_layer_is_uniform_within_one_by_the_root_of_its_inputs():
    for part in weights(dense(400, 300, nnx.Rngs(0))):
        assert 0.0485 < np.abs(part).max() <= 0.05
        np.testing.assert_allclose(part.std(), 0.05 / np.sqrt(3), rtol=0.06)


def test_attention_is_drawn_as_one_matrix():
    kernel = np.asarray(CausalAttention(60, rngs=nnx.Rngs(0)).attended.kernel[...])
    bound = np.sqrt(6 / (60 + 180))
    assert 0.97 * bound < np.abs(kernel).max() <= bound


def test_dropout_takes_a_tenth_and_keeps_the_mean():
    values = np.ones((100, 1000), np.float32)
    left = np.asarray(dropped(values, jax.random.key(0)))
    assert set(np.unique(left)) == {np.float32(0), np.float32(1) / np.float32(1 - DROPOUT)}
    assert np.mean(left == 0) == pytest.approx(0.1, abs=0.005)
    np.testing.assert_array_equal(dropped(values, None), values)


@pytest.mark.parametrize("name", CORES)
def test_only_the_cores_with_dropout_hang_on_a_key(drawn, seen, name):
    model = drawn(name)
    one, same, other = (np.asarray(model(seen, jax.random.key(seed))) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    moved = np.abs(one - other).max() > 0
    assert moved == (name in ("feedforward", "transformer", "attention"))
