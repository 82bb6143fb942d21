"""TiDE: dense encoder and decoder of one neuron's context, told the stimulus to come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias, final

import jax
import jax.numpy as jnp
from flax import nnx

from zapeval.errors import UsageError

POSITION_EMBEDDING = 192
"""Numbers of a neuron's position for which the published models hold weights: the width of
ZAPBench's position embedding."""

Part: TypeAlias = jax.Array | int
"""Some of a layer's inputs ``[.., inputs]``; a number stands for that many zeros."""


@final
class ResidualBlock(nnx.Module):
    """A dense layer, ReLU, a dense layer, plus a dense layer that goes around them.

    Source: Das et al. 2023 (arXiv 2304.08424), section 4, without dropout and layer norm.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, *, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(inputs, hidden, rngs=rngs)
        self.output = nnx.Linear(hidden, outputs, rngs=rngs)
        self.skip = nnx.Linear(inputs, outputs, rngs=rngs)

    def __call__(self, *parts: Part) -> jax.Array:
        """Returns ``[.., outputs]`` for inputs given in parts, one behind the other."""
        hidden = nnx.relu(_over_parts(self.hidden, parts))
        return self.output(hidden) + _over_parts(self.skip, parts)


@final
class TiDE(nnx.Module):
    """Encodes context and stimulus, decodes each step with the stimulus there; shared by neurons.

    The published 0.67 M and 2.8 M parameters are 668,130 and 2,805,090, for 4 and 256 frames, 32
    steps and 26 features: the published models hold weights for the projected stimulus of the
    context and for an embedding of the neuron's position, and were fed zeros in their place. Such
    weights never learn; they are part of the count and of how wide the first weights are drawn,
    so they are kept here unless ``reserved`` says otherwise. 577,762 and 650,338 are at work.

    Source: Das et al. 2023 (arXiv 2304.08424), section 4; sizes of Lueckmann et al. 2025.

    Args:
        context: Context length in frames.
        horizon: Steps ahead.
        neurons: Number of neurons; the weights don't hang on it.
        features: Number of stimulus features; 0 leaves out all that has to do with a stimulus.
        rngs: Keys that the weights are drawn from.
        hidden: Width of all hidden layers and of the encoding.
        projection: Width of a frame's projected stimulus.
        decoded: Width of a decoded step.
        past_stimulus: Whether it looks at the stimulus of the context too.
        reserved: Whether it keeps weights for the published models' unfed inputs.
    """

    def __init__(
        self,
        *,
        context: int,
        horizon: int,
        neurons: int,
        features: int,
        rngs: nnx.Rngs,
        hidden: int = 128,
        projection: int = 32,
        decoded: int = 32,
        past_stimulus: bool = False,
        reserved: bool = True,
    ) -> None:
        keep = bool(features) and reserved
        self.horizon = horizon
        self.sees_past = bool(features) and past_stimulus
        self.embedding = POSITION_EMBEDDING if keep else 0
        self.past_inputs = context * projection if keep or self.sees_past else 0
        stimulus = (features, hidden, projection)
        self.past = ResidualBlock(*stimulus, rngs=rngs) if self.past_inputs else None
        self.future = ResidualBlock(*stimulus, rngs=rngs) if features else None
        projected = projection if features else 0
        inputs = context + self.embedding + self.past_inputs + horizon * projected
        self.encoder = ResidualBlock(inputs, hidden, hidden, rngs=rngs)
        self.decoder = ResidualBlock(hidden, hidden, horizon * decoded, rngs=rngs)
        self.temporal = ResidualBlock(decoded + projected, hidden, 1, rngs=rngs)
        self.linear = nnx.Linear(context, horizon, rngs=rngs)

    def __call__(
        self,
        activity: jax.Array,
        stimulus: jax.Array | None = None,
        future_stimulus: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the forecast, float32 ``[windows, horizon, neurons]``.

        Raises:
            UsageError: It was built for a stimulus that is not given.
        """
        contexts = jnp.swapaxes(activity, 1, 2)
        past: Part = self.past_inputs
        if self.past is not None and self.sees_past:
            past = _of_windows(self.past(_given("stimulus", stimulus)))
        if self.future is None:
            decoded = self._decoded(self.encoder(contexts), None)
        else:
            future = self.future(_given("future_stimulus", future_stimulus))
            encoding = self.encoder(contexts, self.embedding, past, _of_windows(future))
            decoded = self._decoded(encoding, jnp.swapaxes(future, 0, 1)[:, :, None])
        return decoded + jnp.swapaxes(self.linear(contexts), 1, 2)

    def _decoded(self, encoding: jax.Array, future: jax.Array | None) -> jax.Array:
        """Returns the decoder's forecast, ``[windows, horizon, neurons]``.

        Args:
            encoding: ``[windows, neurons, hidden]``.
            future: The projected stimulus, ``[horizon, windows, 1, projection]``.
        """
        hidden = nnx.relu(self.decoder.hidden(encoding))

        # A step at a time, and again on the way back: all steps at once would hold
        # [windows, horizon, neurons, hidden], 9.4 GB for a batch of 8 at 71,721 neurons.
        @jax.checkpoint
        def step(at: tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]) -> jax.Array:
            output, skip, bias, stimulus = at
            decoded = hidden @ output + encoding @ skip + bias
            parts = (decoded,) if stimulus is None else (decoded, stimulus)
            return self.temporal(*parts)[..., 0]

        steps: jax.Array = jax.lax.map(step, (*self._steps(), future))
        return jnp.swapaxes(steps, 0, 1)

    def _steps(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns the decoder's last weights apart for each step: output, skip and bias."""
        output, skip = (
            jnp.swapaxes(dense.kernel[...].reshape(dense.in_features, self.horizon, -1), 0, 1)
            for dense in (self.decoder.output, self.decoder.skip)
        )
        bias = _bias(self.decoder.output) + _bias(self.decoder.skip)
        return output, skip, bias.reshape(self.horizon, -1)


def _over_parts(dense: nnx.Linear, parts: Iterable[Part]) -> jax.Array:
    """Returns a dense layer of inputs in parts, which broadcast against each other.

    What is equal for all neurons of a window is so multiplied once for all of them.
    """
    total, start = _bias(dense), 0
    for part in parts:
        size = part if isinstance(part, int) else part.shape[-1]
        if not isinstance(part, int):
            total = total + part @ dense.kernel[start : start + size]
        start += size
    return total


def _bias(dense: nnx.Linear) -> jax.Array:
    assert dense.bias is not None
    return dense.bias[...]


def _of_windows(projected: jax.Array) -> jax.Array:
    """Returns a projected stimulus as inputs of its window, ``[windows, 1, frames * width]``."""
    return projected.reshape(len(projected), 1, -1)


def _given(name: str, stimulus: jax.Array | None) -> jax.Array:
    if stimulus is None:
        raise UsageError(
            f"tide: was built to see {name}, got none; hand it over, or build with 0 features"
        )
    return stimulus
