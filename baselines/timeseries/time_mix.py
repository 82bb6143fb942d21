"""Time-mix: TSMixer without its mixing of neurons."""

from __future__ import annotations

from typing import final

import jax
from flax import nnx

from baselines.timeseries.layers import ReversibleInstanceNorm, over_time


@final
class TimeMixing(nnx.Module):
    """Adds to a series what a dense layer over time and a ReLU make of it."""

    def __init__(self, time: int, *, rngs: nnx.Rngs) -> None:
        self.dense = nnx.Linear(time, time, rngs=rngs)

    def __call__(self, series: jax.Array) -> jax.Array:
        """Returns the mixed series, ``[windows, time, neurons]``."""
        return series + nnx.relu(over_time(self.dense, series))


@final
class TimeMix(nnx.Module):
    """Blocks of time mixing, then a dense layer over time; its weights are shared by all neurons.

    260 parameters for 4 frames and 32 steps; 480,626 for 256 frames with instance norm over 71,721
    neurons.

    Source: Lueckmann et al. 2025 (time-mix baseline); Chen et al. 2023 (arXiv 2303.06053).

    Args:
        context: Context length in frames.
        horizon: Steps ahead.
        neurons: Number of neurons.
        features: Number of stimulus features; it looks at none.
        rngs: Keys that the weights are drawn from.
        blocks: Number of blocks.
        instance_norm: Whether the level and scale of each context are taken out and put back; the
            published models do so at 256 frames, and not at 4.
    """

    def __init__(
        self,
        *,
        context: int,
        horizon: int,
        neurons: int,
        features: int,
        rngs: nnx.Rngs,
        blocks: int = 5,
        instance_norm: bool = False,
    ) -> None:
        self.norm = ReversibleInstanceNorm(neurons) if instance_norm else None
        self.blocks = nnx.List([TimeMixing(context, rngs=rngs) for _ in range(blocks)])
        self.head = nnx.Linear(context, horizon, rngs=rngs)

    def __call__(
        self,
        activity: jax.Array,
        stimulus: jax.Array | None = None,
        future_stimulus: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the forecast, float32 ``[windows, horizon, neurons]``."""
        return self.norm.around(self._mixed, activity) if self.norm else self._mixed(activity)

    def _mixed(self, series: jax.Array) -> jax.Array:
        for block in self.blocks:
            series = block(series)
        return over_time(self.head, series)
