"""Generation: each new frame is fed back into a sliding window."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

Carried: TypeAlias = tuple[jax.Array, jax.Array]
"""The window, and how many frames of it are there."""

Model = Callable[[jax.Array], jax.Array]
"""The frame after each frame, ``[windows, frames, neurons]``; causal."""


def generate(
    model: Model, seen: jax.Array, mask: jax.Array, *, steps: int, length: int, clamp: bool
) -> jax.Array:
    """Returns generated frames, float32 ``[windows, steps, neurons]``.

    Until the window is full it grows; what lies behind its frames then does no harm, for the model
    is causal.

    Source: Simeon et al. 2024, section 3.4 (Fig. 7).

    Args:
        model: What forecasts the next frame.
        seen: Frames to go on from, float32 ``[windows, frames, neurons]``, oldest first.
        mask: Which neurons are labelled, bool ``[neurons]``; the others stay zero.
        steps: Frames to generate.
        length: Longest window.
        clamp: Whether each neuron is held to its range in the window.
    """
    seen = seen[:, -length:]
    count = seen.shape[1]
    window = jnp.pad(seen, ((0, 0), (0, length - count), (0, 0)))

    def step(carried: Carried, _: None) -> tuple[Carried, jax.Array]:
        window, count = carried
        newest = jnp.where(mask, jnp.take(model(window), count - 1, axis=1), 0.0)
        if clamp:
            there = (jnp.arange(length) < count)[None, :, None]
            low = jnp.min(window, axis=1, where=there, initial=jnp.inf)
            high = jnp.max(window, axis=1, where=there, initial=-jnp.inf)
            newest = jnp.clip(newest, low, high)
        window = jnp.where(count == length, jnp.roll(window, -1, axis=1), window)
        window = window.at[:, jnp.minimum(count, length - 1)].set(newest)
        return (window, jnp.minimum(count + 1, length)), newest

    _, frames = jax.lax.scan(step, (window, jnp.asarray(count)), length=steps)
    return jnp.swapaxes(frames, 0, 1)
