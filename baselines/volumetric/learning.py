"""What is compiled: the losses of a training step, and the forecast of a window."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from baselines.batches import Batch
from baselines.training import Loss
from baselines.volumetric.anatomy import Anatomy, segment_means
from baselines.volumetric.configuration import Configuration
from baselines.volumetric.loss import loss_of
from baselines.volumetric.rollout import roll_out
from baselines.volumetric.sharding import Layout
from baselines.volumetric.unet import UNet


def split_model(configuration: Configuration, layout: Layout | None = None) -> tuple[Any, Any]:
    """Returns a model's definition, and the shapes of its parameters."""
    model = nnx.eval_shape(lambda: UNet(configuration, rngs=nnx.Rngs(0), layout=layout))
    definition, shapes = nnx.split(model)
    return definition, shapes


def new_parameters(configuration: Configuration, seed: int, layout: Layout) -> Any:
    """Returns drawn parameters on every device, the same for any number of them."""

    def draw() -> Any:
        return nnx.state(UNet(configuration, rngs=nnx.Rngs(seed)))

    return jax.jit(draw, out_shardings=layout.everywhere)()


def losses_of(configuration: Configuration, name: str, layout: Layout) -> tuple[Loss, Loss]:
    """Returns the loss of that name, to lower, and the error of traces, to validate by.

    Raises:
        NotFound: There is no loss of that name.
        UsageError: The model's head can't be trained with it.
    """
    definition, _ = split_model(configuration, layout)

    def of(name: str) -> Loss:
        measure = loss_of(name, configuration, layout)

        def loss(params: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
            drawn = batch.get("key")
            key = None if drawn is None else jax.random.wrap_key_data(drawn)
            told = batch.get("lead"), batch.get("past_stimulus"), batch.get("future_stimulus")
            outputs = nnx.merge(definition, params)(batch["frames"], *told, key=key)
            return measure(outputs, batch["truth"], batch["anatomy"], batch["windows"])

        return loss

    return of(name), of("trace")


def forecast_of(configuration: Configuration, layout: Layout) -> Callable[..., jax.Array]:
    """Returns what forecasts a window: ``(params, frames, anatomy, *stimuli) -> traces``.

    ``frames`` are the context, one copy for each part of the mesh's batch axis; ``stimuli`` are
    those that the configuration is told, past before future, else None, with as many copies. The
    traces of all steps, float32 ``[horizon, neurons]``, lie on every device. Lead times go through
    the model one after another, as many at once as there are copies.
    """
    c, copies = configuration, layout.batch
    definition, _ = split_model(c, layout)
    rounds = -(-c.horizon // copies)

    def traces(
        params: Any, frames: jax.Array, anatomy: Anatomy, *stimuli: jax.Array | None
    ) -> jax.Array:
        model = nnx.merge(definition, params)

        def some(leads: jax.Array | None) -> jax.Array:
            forecast = model.forecast(frames, leads, *stimuli)
            return segment_means(forecast, anatomy, layout)

        if c.head == "autoregression":
            fed_back = roll_out(model.forecast, frames, c.horizon)
            return segment_means(fed_back, anatomy, layout)[0]
        if not c.told_lead_time:
            return some(None)[0]
        leads = jnp.minimum(jnp.arange(1, rounds * copies + 1, dtype=jnp.int32), c.horizon)
        means = jax.lax.map(some, leads.reshape(rounds, copies))
        steps: jax.Array = means.reshape(rounds * copies, -1)[: c.horizon]
        return steps

    return jax.jit(traces, out_shardings=layout.everywhere)
