"""Cores: what the worm models differ in, from an embedded sequence to one of the same width.

Where the paper states no initialisation, it is that of PyTorch, in which the paper's models are
written.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, TypeVar, final

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

DROPOUT = 0.1
"""Share of values that dropout takes out."""

MOST_HEADS = 5
"""Most attention heads."""

INPUT_GAIN = 1.5
"""Gain of the LSTM's input weights (Xavier)."""

FIRST_PACE = 1.0
"""The CTRNN's ``p`` at first: a new state takes over ``sigmoid(1)``, 0.731, of the old one."""

LONGEST_WAVE = 10_000
"""Base of the sinusoidal positions (Vaswani et al. 2017, arXiv 1706.03762, section 3.5)."""

TOGETHER = 4
"""Windows whose attention is computed together, so that it stays in cache."""

_EPSILON = 1e-5

Carried = TypeVar("Carried")

Key = jax.Array | None
"""A key that dropout is drawn from; None where nothing is dropped."""


class Core(nnx.Module):
    """Turns an embedded sequence into another, causally.

    Attributes:
        normalised: Whether the shell's layer norm stands before it.
    """

    normalised: ClassVar[bool] = False

    def __init__(self, hidden: int, *, rngs: nnx.Rngs) -> None:
        del hidden, rngs

    @classmethod
    def spare(cls, hidden: int) -> int:
        """Returns how many parameters the paper's count has that its core holds and never uses."""
        del hidden
        return 0

    @abstractmethod
    def __call__(self, sequence: jax.Array, key: Key = None) -> jax.Array:
        """Returns float32 ``[windows, frames, hidden]`` for a sequence of that shape."""


@final
class Linear(Core):
    """Nothing: embedding and readout are linear, and so is the whole."""

    def __call__(self, sequence: jax.Array, key: Key = None) -> jax.Array:
        """Returns the sequence."""
        del key
        return sequence


@final
class Feedforward(Core):
    """Each frame by itself: ``z + dropout(relu(W z + b))``."""

    def __init__(self, hidden: int, *, rngs: nnx.Rngs) -> None:
        self.dense = dense(hidden, hidden, rngs)

    def __call__(self, sequence: jax.Array, key: Key = None) -> jax.Array:
        """Returns the sequence with what the layer adds to it."""
        return sequence + dropped(nnx.relu(self.dense(sequence)), key)


@final
class CTRNN(Core):
    """A continuous-time recurrent network in steps of one frame, from a state of zeros.

    ``h_t = (1 - a) h_{t-1} + a relu(W_i z_t + b_i + W_h h_{t-1} + b_h)`` with ``a = sigmoid(p)``,
    learned for each unit.
    """

    normalised = True

    def __init__(self, hidden: int, *, rngs: nnx.Rngs) -> None:
        self.input = dense(hidden, hidden, rngs)
        self.recurrent = dense(hidden, hidden, rngs)
        self.pace = nnx.Param(jnp.full(hidden, FIRST_PACE))

    def __call__(self, sequence: jax.Array, key: Key = None) -> jax.Array:
        """Returns the states."""
        del key
        pace = nnx.sigmoid(self.pace[...])
        kernel, bias = _joined(self.input, self.recurrent)

        def step(state: jax.Array, frame: jax.Array) -> tuple[jax.Array, jax.Array]:
            driven = jnp.concatenate([frame, state], axis=-1) @ kernel + bias
            state = (1 - pace) * state + pace * nnx.relu(driven)
            return state, state

        return _scanned(step, jnp.zeros_like(sequence[:, 0]), sequence)


@final
class LSTM(Core):
    """One long short-term memory layer with two bias vectors, from a state of zeros.

    The gates stand in the order input, forget, candidate, output.

    Source: Hochreiter & Schmidhuber 1997.
    """

    normalised = True

    def __init__(self, hidden: int, *, rngs: nnx.Rngs) -> None:
        xavier = nnx.initializers.variance_scaling(INPUT_GAIN**2, "fan_avg", "uniform")
        orthogonal = nnx.initializers.orthogonal()
        self.input = nnx.Linear(hidden, 4 * hidden, kernel_init=xavier, rngs=rngs)
        self.recurrent = nnx.Linear(hidden, 4 * hidden, kernel_init=orthogonal, rngs=rngs)

    def __call__(self, sequence: jax.Array, key: Key = None) -> jax.Array:
        """Returns the states."""
        del key
        kernel, bias = _joined(self.input, self.recurrent)

        def step(
            carried: tuple[jax.Array, jax.Array], frame: jax.Array
        ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
            state, cell = carried
            gates = jnp.concatenate([frame, state], axis=-1) @ kernel + bias
            state, cell = _gated(gates, cell)
            return (state, cell), state

        zeros = jnp.zeros_like(sequence[:, 0])
        return _scanned(step, (zeros, zeros), sequence)


@final
class Attention(Core):
    """Scaled embedding with positions, and one causal attention; no skip, no norm."""

    def __init__(self, hidden: int, *, rngs: nnx.Rngs) -> None:
        self.attention = CausalAttention(hidden, rngs=rngs)

    def __call__(self, sequence: jax.Array, key: Key = None) -> jax.Array:
        """Returns what is attended to."""
        first, second = _keys(key, 2)
        return self.attention(positioned(sequence, first), second)


@final
class Transformer(Core):
    """Scaled embedding with positions, and one encoder layer that normalises first.

    The paper's model stores its layer twice, and one copy never learns.

    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3; Xiong et al. 2020 (arXiv 2002.04745).
    """

    def __init__(self, hidden: int, *, rngs: nnx.Rngs) -> None:
        self.norms = nnx.List([norm(hidden, rngs) for _ in range(2)])
        self.attention = CausalAttention(hidden, rngs=rngs)
        self.widen = dense(hidden, hidden, rngs)
        self.narrow = dense(hidden, hidden, rngs)

    @classmethod
    def spare(cls, hidden: int) -> int:
        """Returns the size of the copy: attention, feed-forward layers and two norms."""
        return 6 * hidden**2 + 10 * hidden

    def __call__(self, sequence: jax.Array, key: Key = None) -> jax.Array:
        """Returns the encoded sequence."""
        keys = _keys(key, 5)
        values = positioned(sequence, keys[0])
        values = values + dropped(self.attention(self.norms[0](values), keys[1]), keys[2])
        wide = dropped(nnx.relu(self.widen(self.norms[1](values))), keys[3])
        return values + dropped(self.narrow(wide), keys[4])


@final
class CausalAttention(nnx.Module):
    """Attention of each frame to itself and to those before it."""

    def __init__(self, hidden: int, *, rngs: nnx.Rngs) -> None:
        self.heads = heads_of(hidden)
        # Query, key and value in one matrix, drawn as one.
        xavier = nnx.initializers.xavier_uniform()
        self.attended = nnx.Linear(hidden, 3 * hidden, kernel_init=xavier, rngs=rngs)
        self.output = nnx.Linear(hidden, hidden, kernel_init=_FAN_IN, rngs=rngs)

    def __call__(self, sequence: jax.Array, key: Key = None) -> jax.Array:
        """Returns float32 ``[windows, frames, hidden]``; dropout is of the attention's weights."""
        windows, frames, hidden = sequence.shape
        parts = self.attended(sequence).reshape(windows, frames, 3, self.heads, -1)
        keys = None if key is None else jax.random.split(key, windows)

        def mixed(given: tuple[jax.Array, Key]) -> jax.Array:
            own, key = given
            kept = None if key is None else drawn(key, (self.heads, frames, frames))
            values: jax.Array = _mixed(own, kept)
            return values

        # A few windows at a time on a CPU: the weights of all of them would go through memory.
        together = TOGETHER if jax.default_backend() == "cpu" else windows
        values = jax.lax.map(mixed, (parts, keys), batch_size=together)
        return self.output(values.reshape(windows, frames, hidden))


CORES: dict[str, type[Core]] = {
    "linear": Linear,
    "feedforward": Feedforward,
    "ctrnn": CTRNN,
    "lstm": LSTM,
    "transformer": Transformer,
    "attention": Attention,
}
"""The cores by name."""


def heads_of(hidden: int) -> int:
    """Returns the number of attention heads: the largest divisor of the width up to five."""
    return max(heads for heads in range(1, MOST_HEADS + 1) if hidden % heads == 0)


def positions(frames: int, hidden: int) -> np.ndarray:
    """Returns sinusoidal positions, float32 ``[frames, hidden]``; sines and cosines in turns.

    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.5.
    """
    unit = np.arange(hidden)
    angle = np.arange(frames)[:, None] / LONGEST_WAVE ** (unit // 2 * 2 / hidden)
    return np.where(unit % 2 == 0, np.sin(angle), np.cos(angle)).astype(np.float32)


def positioned(sequence: jax.Array, key: Key) -> jax.Array:
    """Returns a sequence times the root of its width, with positions, after dropout."""
    _, frames, hidden = sequence.shape
    return dropped(sequence * math.sqrt(hidden) + positions(frames, hidden), key)


def dropped(values: jax.Array, key: Key) -> jax.Array:
    """Returns values of which some are zero and the others larger, so that the mean stays."""
    return values if key is None else thinned(values, drawn(key, values.shape))


def drawn(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Returns which values dropout keeps, bool of that shape."""
    # Two draws of 16 bits from each word: drawing takes longer than all else in dropout.
    size = math.prod(shape)
    words = jax.random.bits(key, (-(-size // 2),), jnp.uint32)
    draws = jnp.concatenate([words & 0xFFFF, words >> 16])[:size]
    kept: jax.Array = draws.reshape(shape) >= round(DROPOUT * 2**16)
    return kept


def thinned(values: jax.Array, kept: jax.Array) -> jax.Array:
    """Returns the kept values, larger by what the others were, which are zero."""
    return jnp.where(kept, values / (1 - DROPOUT), 0.0)


def dense(inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    """Returns a dense layer, weights and biases uniform within one by the root of its inputs."""
    bound = 1 / math.sqrt(inputs)

    def within(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(inputs, outputs, kernel_init=_FAN_IN, bias_init=within, rngs=rngs)


def norm(hidden: int, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Returns a layer norm with scale and shift."""
    return nnx.LayerNorm(hidden, epsilon=_EPSILON, rngs=rngs)


_FAN_IN = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""Uniform within one by the root of the inputs."""


def _scanned(
    step: Callable[[Carried, jax.Array], tuple[Carried, jax.Array]],
    first: Carried,
    sequence: jax.Array,
) -> jax.Array:
    """Returns a recurrence's states in the order of frames, ``[windows, frames, hidden]``.

    A step takes one frame of all windows. Its product with the inputs is made in the loop, where
    it stays in cache; made for all frames at once, it goes through memory, and takes longer.
    """
    states: jax.Array = jax.lax.scan(step, first, jnp.swapaxes(sequence, 0, 1))[1]
    return jnp.swapaxes(states, 0, 1)


# Made again for its gradient: the weights of all windows would go through memory.
@jax.checkpoint
def _mixed(parts: jax.Array, kept: jax.Array | None) -> jax.Array:
    """Returns the values of one window by its attention, ``[frames, heads, size]``.

    Args:
        parts: Queries, keys and values, ``[frames, 3, heads, size]``.
        kept: Which weights dropout keeps, ``[heads, frames, frames]``, or None for all.
    """
    query, known, value = jnp.transpose(parts, (1, 2, 0, 3))
    frames, size = query.shape[1:]
    scores = jnp.einsum("hqd,hkd->hqk", query / math.sqrt(size), known)
    weights = jax.nn.softmax(jnp.where(np.tri(frames, dtype=bool), scores, -jnp.inf))
    if kept is not None:
        weights = thinned(weights, kept)
    return jnp.einsum("hqk,hkd->qhd", weights, value)


# Made again for its gradient: keeping what lies between costs more.
@jax.checkpoint
def _gated(gates: jax.Array, cell: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns an LSTM's state and cell after one frame."""
    taken, kept, new, given = jnp.split(gates, 4, axis=-1)
    cell = nnx.sigmoid(kept) * cell + nnx.sigmoid(taken) * jnp.tanh(new)
    return nnx.sigmoid(given) * jnp.tanh(cell), cell


def _joined(given: nnx.Linear, recurrent: nnx.Linear) -> tuple[jax.Array, jax.Array]:
    """Returns one layer of frame and state side by side, for the sum of a layer of each."""
    kernel = jnp.concatenate([given.kernel[...], recurrent.kernel[...]])
    return kernel, _bias(given) + _bias(recurrent)


def _keys(key: Key, count: int) -> list[Key]:
    return [None] * count if key is None else list(jax.random.split(key, count))


def _bias(layer: nnx.Linear) -> jax.Array:
    assert layer.bias is not None
    return layer.bias[...]
