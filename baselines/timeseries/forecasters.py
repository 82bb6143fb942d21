"""The benchmark paper's trace forecasters, as plugins.

Source: Lueckmann et al. 2025 (arXiv 2503.02618), sections 4.1 and appendix. The linear variants of
Zeng et al. 2023 (arXiv 2205.13504) stand beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

from baselines.neural import NeuralForecaster, Shape
from zapeval.forecasting.contexts import FUTURE_STIMULUS

if TYPE_CHECKING:
    from flax import nnx

LONG = 256
"""Context length from which the paper normalises instances and mixes through fewer neurons."""


@final
class Linear(NeuralForecaster):
    """One linear map from context to horizon for all neurons, trained on absolute error."""

    name = "linear"
    version = "1"

    def build(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Module:
        """Returns a new model."""
        from baselines.timeseries.linear import Linear as Model

        return Model(**vars(shape), rngs=rngs)


@final
class NLinear(NeuralForecaster):
    """The shared linear map over contexts from which their last value is taken."""

    name = "nlinear"
    version = "1"

    def build(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Module:
        """Returns a new model."""
        from baselines.timeseries.linear import Linear as Model

        return Model(**vars(shape), normalise="last", rngs=rngs)


@final
class DLinear(NeuralForecaster):
    """Two shared linear maps, one of the context's trend, one of what is left."""

    name = "dlinear"
    version = "1"

    def build(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Module:
        """Returns a new model."""
        from baselines.timeseries.linear import DLinear as Model

        return Model(**vars(shape), rngs=rngs)


@final
class TimeMix(NeuralForecaster):
    """Five residual layers over time, shared by all neurons."""

    name = "time-mix"
    version = "1"

    def build(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Module:
        """Returns a new model."""
        from baselines.timeseries.time_mix import TimeMix as Model

        return Model(**vars(shape), instance_norm=shape.context >= LONG, rngs=rngs)


@final
class TSMixer(NeuralForecaster):
    """Mixes over time and over neurons in turns (Chen et al. 2023, arXiv 2303.06053)."""

    name = "tsmixer"
    version = "1"

    def build(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Module:
        """Returns a new model."""
        from baselines.timeseries.tsmixer import TSMixer as Model

        long = shape.context >= LONG
        return Model(**vars(shape), mixed=128 if long else 256, instance_norm=long, rngs=rngs)


@final
class TiDE(NeuralForecaster):
    """An encoder and decoder shared by all neurons, told the coming stimulus (Das et al. 2023).

    Args:
        stimulus: Whether it sees the stimulus of the horizon, or activity alone.
        steps: Most training steps.
        batch: Windows a step.
        rate: Learning rate.
    """

    name = "tide"
    version = "1"

    def __init__(
        self,
        stimulus: bool = True,
        steps: int | None = None,
        batch: int | None = None,
        rate: float | None = None,
    ) -> None:
        super().__init__(steps=steps, batch=batch, rate=rate)
        self.covariates = (FUTURE_STIMULUS,) if stimulus else ()

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The plan of its training, and whether it sees the stimulus."""
        return {**super().parameters, "stimulus": bool(self.covariates)}

    def build(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Module:
        """Returns a new model."""
        from baselines.timeseries.tide import TiDE as Model

        return Model(**vars(shape), rngs=rngs)
