"""Layers that the time series models share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
from flax import nnx


class Moments(NamedTuple):
    """Mean and standard deviation of each neuron over a context, ``[windows, 1, neurons]``."""

    mean: jax.Array
    deviation: jax.Array


@final
class ReversibleInstanceNorm(nnx.Module):
    """Takes level and scale of each context out before a model, and puts them back behind it.

    ``normalised = scale * (activity - mean) / sqrt(variance + epsilon) + shift`` with a learned
    scale and shift for each neuron; ``restore`` is its inverse.

    Source: Kim et al. 2022 (ICLR), Eq. 1 to 3.
    """

    def __init__(self, neurons: int, epsilon: float = 1e-5) -> None:
        self.epsilon = epsilon
        self.scale = nnx.Param(jnp.ones(neurons))
        self.shift = nnx.Param(jnp.zeros(neurons))

    def around(self, model: Callable[[jax.Array], jax.Array], activity: jax.Array) -> jax.Array:
        """Returns the forecast of a model that sees normalised activity, in units of activity."""
        normalised, moments = self.normalise(activity)
        return self.restore(model(normalised), moments)

    def normalise(self, activity: jax.Array) -> tuple[jax.Array, Moments]:
        """Returns normalised activity ``[windows, context, neurons]`` and what was taken out."""
        fixed = jax.lax.stop_gradient(activity)
        mean = jnp.mean(fixed, axis=1, keepdims=True)
        variance = jnp.var(fixed, axis=1, keepdims=True)
        moments = Moments(mean, jnp.sqrt(variance + self.epsilon))
        normalised = (activity - mean) / moments.deviation
        return normalised * self.scale[...] + self.shift[...], moments

    def restore(self, forecast: jax.Array, moments: Moments) -> jax.Array:
        """Returns a normalised forecast ``[windows, horizon, neurons]`` in units of activity."""
        plain = (forecast - self.shift[...]) / self.scale[...]
        return plain * moments.deviation + moments.mean


def over_time(dense: nnx.Linear, activity: jax.Array) -> jax.Array:
    """Returns a dense layer along time: ``[windows, time, neurons]``, the same for all neurons."""
    return jnp.swapaxes(dense(jnp.swapaxes(activity, 1, 2)), 1, 2)


def parameter_count(model: nnx.Module) -> int:
    """Returns the number of learned parameters.

    Args:
        model: A model, or the shapes of one: what ``nnx.eval_shape`` gives takes no memory.
    """
    parameters: list[Any] = jax.tree.leaves(nnx.state(model, nnx.Param))
    return sum(math.prod(parameter.shape) for parameter in parameters)
