"""The film of a window: its forecast frames, one lead time after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from baselines.volumetric.configuration import Configuration
from baselines.volumetric.learning import split_model
from baselines.volumetric.rollout import roll_out
from baselines.volumetric.sharding import Layout

Film = Callable[..., Iterator[tuple[int, np.ndarray]]]


def film_of(configuration: Configuration, layout: Layout) -> Film:
    """Returns what films a window: ``(params, frames, *stimuli) -> (step, frame), ..``.

    Arguments are those of learning.forecast_of, without the anatomy. Frames are float32 ``[x, y,
    z]``, steps count from 1; as many frames are in memory as there are copies of the context, or
    all, where the head gives all at once or is fed back.
    """
    c, copies = configuration, layout.batch
    definition, _ = split_model(c, layout)

    @jax.jit
    def forecast(
        params: Any, frames: jax.Array, leads: jax.Array | None, *stimuli: jax.Array | None
    ) -> jax.Array:
        model = nnx.merge(definition, params)
        if c.head == "autoregression":
            return roll_out(model.forecast, frames, c.horizon)
        found: jax.Array = model.forecast(frames, leads, *stimuli)
        return found

    def film(
        params: Any, frames: jax.Array, *stimuli: jax.Array | None
    ) -> Iterator[tuple[int, np.ndarray]]:
        if not c.told_lead_time:
            found = forecast(params, frames, None, *stimuli)[0]
            yield from ((step + 1, np.asarray(found[step])) for step in range(c.horizon))
            return
        for first in range(1, c.horizon + 1, copies):
            leads = jnp.minimum(jnp.arange(first, first + copies, dtype=jnp.int32), c.horizon)
            found = forecast(params, frames, leads, *stimuli)
            for number, step in enumerate(range(first, min(first + copies, c.horizon + 1))):
                yield step, np.asarray(found[number, 0])

    return film
