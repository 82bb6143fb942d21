"""TSMixer: mixes over time and over neurons, in turns."""

from __future__ import annotations

from typing import final

import jax
from flax import nnx

from baselines.timeseries.layers import ReversibleInstanceNorm, over_time
from baselines.timeseries.time_mix import TimeMixing


@final
class NeuronMixing(nnx.Module):
    """Adds to each frame what two dense layers over neurons make of it, through a bottleneck."""

    def __init__(self, neurons: int, mixed: int, *, rngs: nnx.Rngs) -> None:
        self.gather = nnx.Linear(neurons, mixed, rngs=rngs)
        self.spread = nnx.Linear(mixed, neurons, rngs=rngs)

    def __call__(self, series: jax.Array) -> jax.Array:
        """Returns the mixed series, ``[windows, time, neurons]``."""
        return series + self.spread(nnx.relu(self.gather(series)))


@final
class TSMixer(nnx.Module):
    """Blocks of time mixing and neuron mixing, then a dense layer over time.

    At 32 steps and 71,721 neurons: 73,586,458 parameters for 4 frames mixed through 256, 37,148,100
    for 256 frames mixed through 128 with instance norm.

    Source: Chen et al. 2023 (arXiv 2303.06053), without dropout and layer norms as in Lueckmann et
    al. 2025.

    Args:
        context: Context length in frames.
        horizon: Steps ahead.
        neurons: Number of neurons.
        features: Number of stimulus features; it looks at none.
        rngs: Keys that the weights are drawn from.
        blocks: Number of blocks.
        mixed: Width of the bottleneck between neurons; published 256 at 4 frames, 128 at 256.
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
        blocks: int = 2,
        mixed: int = 256,
        instance_norm: bool = False,
    ) -> None:
        self.norm = ReversibleInstanceNorm(neurons) if instance_norm else None
        self.time = nnx.List([TimeMixing(context, rngs=rngs) for _ in range(blocks)])
        self.neurons = nnx.List([NeuronMixing(neurons, mixed, rngs=rngs) for _ in range(blocks)])
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
        for time, neurons in zip(self.time, self.neurons, strict=True):
            series = neurons(time(series))
        return over_time(self.head, series)
