"""Linear models: each step is a weighted sum of the context, with weights that neurons share."""

from __future__ import annotations

from typing import Literal, final

import jax
import jax.numpy as jnp
from flax import nnx

from baselines.timeseries.layers import over_time
from zapeval.errors import UsageError

LONGEST_AVERAGE = 25
"""Frames of DLinear's moving average (Zeng et al. 2023, section 4)."""

NORMALISE = ("none", "last")


@final
class Linear(nnx.Module):
    """One dense layer over time; a new one forecasts the mean of the context.

    160 parameters for 4 frames and 32 steps, 8,224 for 256.

    Source: Lueckmann et al. 2025 (linear baseline); Zeng et al. 2023 (arXiv 2205.13504), section 4.

    Args:
        context: Context length in frames.
        horizon: Steps ahead.
        neurons: Number of neurons; the weights don't hang on it.
        features: Number of stimulus features; it looks at none.
        rngs: Keys; it draws nothing.
        normalise: ``none``, or ``last`` (NLinear): the last frame is subtracted from the context
            and added to the forecast.

    Raises:
        UsageError: ``normalise`` is neither.
    """

    def __init__(
        self,
        *,
        context: int,
        horizon: int,
        neurons: int,
        features: int,
        rngs: nnx.Rngs,
        normalise: Literal["none", "last"] = "none",
    ) -> None:
        if normalise not in NORMALISE:
            known = " or ".join(NORMALISE)
            raise UsageError(f"linear: normalise is {normalise!r}, expected {known}")
        self.normalise = normalise
        self.dense = _mean_of_context(context, horizon, rngs)

    def __call__(
        self,
        activity: jax.Array,
        stimulus: jax.Array | None = None,
        future_stimulus: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the forecast, float32 ``[windows, horizon, neurons]``."""
        if self.normalise == "none":
            return over_time(self.dense, activity)
        last = activity[:, -1:]
        return over_time(self.dense, activity - last) + last


@final
class DLinear(nnx.Module):
    """One dense layer for the trend and one for the remainder, summed.

    The trend is a moving average over 25 frames, centred, the ends of the context repeated beyond
    it; over the longest odd number of frames that a shorter context holds (3 of 4). A new one
    forecasts the mean of the context.

    Source: Zeng et al. 2023 (arXiv 2205.13504), section 4.

    Args:
        context: Context length in frames.
        horizon: Steps ahead.
        neurons: Number of neurons; the weights don't hang on it.
        features: Number of stimulus features; it looks at none.
        rngs: Keys; it draws nothing.
    """

    def __init__(
        self, *, context: int, horizon: int, neurons: int, features: int, rngs: nnx.Rngs
    ) -> None:
        # Odd, so that the average has as many frames before a frame as behind it.
        self.average = min(LONGEST_AVERAGE, context - 1 + context % 2)
        self.trend = _mean_of_context(context, horizon, rngs)
        self.remainder = _mean_of_context(context, horizon, rngs)

    def __call__(
        self,
        activity: jax.Array,
        stimulus: jax.Array | None = None,
        future_stimulus: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the forecast, float32 ``[windows, horizon, neurons]``."""
        trend = self._trend(activity)
        return over_time(self.trend, trend) + over_time(self.remainder, activity - trend)

    def _trend(self, activity: jax.Array) -> jax.Array:
        beyond, window = self.average // 2, (1, self.average, 1)
        longer = jnp.pad(activity, ((0, 0), (beyond, beyond), (0, 0)), mode="edge")
        sums: jax.Array = jax.lax.reduce_window(
            longer, 0.0, jax.lax.add, window, (1, 1, 1), "valid"
        )
        return sums / self.average


def _mean_of_context(context: int, horizon: int, rngs: nnx.Rngs) -> nnx.Linear:
    equal = nnx.initializers.constant(1 / context)
    return nnx.Linear(context, horizon, kernel_init=equal, rngs=rngs)
