"""Autoregression of frames: a model of one frame, fed back what it forecast."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp


def roll_out(step: Callable[[jax.Array], jax.Array], frames: jax.Array, horizon: int) -> jax.Array:
    """Returns the forecast of a horizon by forecasts of one frame, ``[batch, horizon, x, y, z]``.

    Each forecast takes the place of the newest frame, and the oldest one is forgotten. Put to the
    test by Immer et al. 2025, who found it worse than a lead time.

    Args:
        step: Gives the next frame, ``[batch, 1, x, y, z]``, of the size of the context's.
        frames: The context, float32 ``[batch, context, x, y, z]``, oldest first.
        horizon: Frames to forecast.
    """

    def following(context: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        frame = step(context)
        return jnp.concatenate([context[:, 1:], frame], axis=1), frame[:, 0]

    _, forecast = jax.lax.scan(following, frames, length=horizon)
    return jnp.moveaxis(forecast, 0, 1)
