"""The worm paper's forecasters, as plugins.

Source: Simeon et al. 2024, sections 2.4 and 2.5. The paper's naive baseline is ``persistence``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from baselines.neural import NeuralForecaster, Shape
from zapeval.benchmarks.celegans.tasks import WINDOWS
from zapeval.errors import InvalidInput, UsageError
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecaster import NextStepForecaster
from zapeval.forecasting.training import Training

if TYPE_CHECKING:
    from flax import nnx

    from baselines.training import Loss, Params, Plan
    from baselines.worms.windows import WormBatches

EPOCHS = 500
"""Most epochs."""

BATCH = 128
"""Windows a training batch."""

THRESHOLD = 1e-4
"""What counts as a gain in validation loss, as a share of the loss at the last gain."""

FORECAST = 32
"""Windows that are forecast at a time."""

PUBLISHED = "the validation half is the tested half, as published"
"""What a forecaster that is chosen by tested frames says of itself."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """Where a training begins.

    Attributes:
        definition: The model without its parameters.
        loss: What is lowered.
        params: The first parameters.
        batches: The data.
        plan: How to train.
        shape: What the model is built for.
    """

    definition: Any
    loss: Loss
    params: Params
    batches: WormBatches
    plan: Plan
    shape: Shape


@dataclass(frozen=True, kw_only=True)
class _Compiled:
    """A model's two ways to forecast; each takes its parameters first."""

    next_steps: Callable[..., Any]
    generate: Callable[..., Any]


class WormForecaster(NeuralForecaster, NextStepForecaster):
    """Goes from each frame to the next; by default with about 580,000 parameters.

    Args:
        hidden: Width; by default as in the paper's comparison of architectures.
        epochs: Most epochs.
        steps: Most steps, whatever the epochs.
        every: Steps from one validation to the next; by default an epoch.
        batch: Windows a step.
        rate: Learning rate.
        windows: Windows of each worm that it learns from, and as many that it is chosen by.
        published: Whether it is chosen by validation frames that are tested on, as in the paper,
            and says that it leaks.
        clamp: Whether generated frames are held to the range of the window, neuron by neuron.
    """

    core: ClassVar[str]
    width: ClassVar[int | None] = None
    when_forecasting = ("clamp",)

    def __init__(
        self,
        hidden: int | None = None,
        epochs: int | None = None,
        batch: int | None = None,
        rate: float | None = None,
        published: bool = False,
        clamp: bool = False,
        steps: int | None = None,
        every: int | None = None,
        windows: int = WINDOWS,
    ) -> None:
        super().__init__(steps=steps, batch=batch, rate=rate)
        for what, value in (("hidden", hidden), ("epochs", epochs), ("every", every)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UsageError(f"{self.name}: {what} is {value!r}, expected a number above 0")
        for what, value in (("published", published), ("clamp", clamp)):
            if not isinstance(value, bool):
                raise UsageError(f"{self.name}: {what} is {value!r}, expected true or false")
        if not isinstance(windows, int) or windows < 2:
            raise UsageError(f"{self.name}: windows is {windows!r}, expected a number above 1")
        if hidden is not None and self.width is None:
            raise UsageError(f"{self.name}: hidden is {hidden}, but it is as wide as its input")
        self._hidden = hidden or self.width
        self._epochs, self._every, self._windows = epochs or EPOCHS, every, windows
        self._published, self._clamp = published, clamp
        self.leaks = PUBLISHED if published else ""

    @property
    def plan(self) -> Plan:
        """How it is trained, as if an epoch were one step."""
        from baselines.training import RelativePlan

        return RelativePlan(
            batch=self._batch or BATCH,
            learning_rate=self._rate or 1e-3,
            weight_decay=0.01,
            schedule="plateau",
            max_steps=self._epochs,
            validate_every=1,
            patience=100,
            min_delta=THRESHOLD,
            # The rate falls when the patience of ten is exceeded.
            plateau_patience=11,
        )

    @property
    def windows(self) -> int:
        """Windows of each worm that it learns from."""
        return self._windows

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its width, how it is trained and chosen, and how it generates."""
        usual = {"steps": None, "every": None, "windows": WINDOWS}
        said = {"steps": self._steps, "every": self._every, "windows": self._windows}
        return {
            "hidden": self._hidden,
            "epochs": self._epochs,
            "batch": self.plan.batch,
            "learning_rate": self.plan.learning_rate,
            "weight_decay": self.plan.weight_decay,
            "published": self._published,
            "clamp": self._clamp,
            **{key: value for key, value in said.items() if value != usual[key]},
        }

    def build(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Module:
        """Returns a new model."""
        from baselines.worms.shell import Shell

        hidden = self._hidden or shape.neurons
        return Shell(core=self.core, neurons=shape.neurons, hidden=hidden, rngs=rngs)

    def fit(self, training: Training) -> None:
        """Trains until the validation loss no longer falls; keeps the best epoch."""
        from baselines.training import train

        start = self.start(self.batches(training), training.seed)
        params, _ = train(start.loss, start.params, start.batches, start.plan, training)
        self.take_up(start.shape, params)

    def batches(self, training: Training) -> WormBatches:
        """Returns what it learns from.

        Raises:
            InvalidInput: Recordings differ in their number of neurons, or a value is not finite.
        """
        from baselines.worms.windows import WormBatches

        neurons = {series.neurons for series in training.series}
        if len(neurons) > 1:
            raise InvalidInput(
                f"{self.name}: needs recordings of one number of neurons, got {sorted(neurons)}"
            )
        return WormBatches(training, self.plan.batch, self._windows)

    def planned(self, batches: WormBatches) -> Plan:
        """Returns how it is trained on some batches."""
        longest = self._epochs * batches.steps
        return replace(
            self.plan,
            max_steps=min(longest, self._steps or longest),
            validate_every=self._every or batches.steps,
        )

    def start(self, batches: WormBatches, seed: int) -> Start:
        """Returns where a training begins."""
        from flax import nnx

        neurons = len(batches.worms[0].mask)
        shape = Shape(context=batches.length, horizon=batches.horizon, neurons=neurons, features=0)
        definition, params = nnx.split(self.build(shape, nnx.Rngs(seed)))
        return Start(
            definition=definition,
            loss=masked_squares(definition),
            params=params,
            batches=batches,
            plan=self.planned(batches),
            shape=shape,
        )

    def take_up(self, shape: Shape, params: Params) -> None:
        """Takes up parameters."""
        self._shape, self._params = shape, params
        self.__dict__.pop("_compiled", None)

    def load(self, folder: Path) -> None:
        """Takes up saved parameters."""
        super().load(folder)
        self.__dict__.pop("_compiled", None)

    @final
    def next_steps(self, contexts: Contexts) -> np.ndarray:
        """Returns the frame after each frame; zeros where nothing is labelled."""
        return self._in_parts(contexts, self._compiled.next_steps)

    @final
    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns generated frames: each is fed back into a window that slides."""
        compiled = self._compiled

        def generate(*given: Any) -> Any:
            return compiled.generate(*given, steps=contexts.horizon)

        return self._in_parts(contexts, generate)

    def _in_parts(self, contexts: Contexts, call: Callable[..., Any]) -> np.ndarray:
        """Forecasts a fixed number of windows at a time; copies of the last fill them up."""
        windows, _, neurons = contexts.activity.shape
        mask = np.ones(neurons, bool) if contexts.mask is None else contexts.mask
        if neurons != self._fitted().neurons:
            raise InvalidInput(
                f"{self.name}: was trained for {self._fitted().neurons} neurons, got {neurons}"
            )
        activity = np.where(mask, contexts.activity, np.float32(0))
        parts = []
        for start in range(0, windows, FORECAST):
            part = activity[start : start + FORECAST]
            filled = np.pad(part, ((0, FORECAST - len(part)), (0, 0), (0, 0)), mode="edge")
            values = np.asarray(call(self._params, filled, mask), dtype=np.float32)
            parts.append(values[: len(part)])
        return np.concatenate(parts)

    @cached_property
    def _compiled(self) -> _Compiled:
        import jax
        import jax.numpy as jnp
        from flax import nnx

        from baselines.worms.generation import generate

        shape = self._fitted()
        definition, _ = nnx.split(nnx.eval_shape(lambda: self.build(shape, nnx.Rngs(0))))

        def next_steps(params: Any, activity: Any, mask: Any) -> Any:
            return jnp.where(mask, nnx.merge(definition, params)(activity), 0.0)

        def generated(params: Any, activity: Any, mask: Any, steps: int) -> Any:
            model = nnx.merge(definition, params)
            length, clamp = shape.context, self._clamp
            return generate(model, activity, mask, steps=steps, length=length, clamp=clamp)

        return _Compiled(
            next_steps=jax.jit(next_steps),
            generate=jax.jit(generated, static_argnames="steps"),
        )


def masked_squares(definition: Any) -> Callable[[Any, dict[str, Any]], Any]:
    """Returns the loss: squared error over labelled neurons, each window's mean counting the same.

    Source: Simeon et al. 2024, Eq. 4.
    """
    import jax
    import jax.numpy as jnp
    from flax import nnx

    def loss(params: Any, batch: dict[str, Any]) -> Any:
        frames, weight = batch["frames"], batch["weight"]
        key = jax.random.wrap_key_data(batch["key"]) if "key" in batch else None
        ahead = nnx.merge(definition, params)(frames[:, :-1], key)
        errors = jnp.square(ahead - frames[:, 1:]).mean(axis=1)
        return (errors * weight).sum(), weight.sum()

    return loss


@final
class WormLinear(WormForecaster):
    """Two linear maps, of each frame to the next (worms)."""

    name = "worm-linear"
    version = "1"
    core = "linear"


@final
class WormFeedforward(WormForecaster):
    """A dense layer with a skip, of each frame by itself (worms)."""

    name = "worm-feedforward"
    version = "1"
    core = "feedforward"
    width = 516


@final
class WormCTRNN(WormForecaster):
    """A continuous-time recurrent network (worms)."""

    name = "worm-ctrnn"
    version = "1"
    core = "ctrnn"
    width = 408


@final
class WormLSTM(WormForecaster):
    """A long short-term memory (worms)."""

    name = "worm-lstm"
    version = "1"
    core = "lstm"
    width = 234


@final
class WormTransformer(WormForecaster):
    """A transformer of one layer (worms)."""

    name = "worm-transformer"
    version = "1"
    core = "transformer"
    width = 196


@final
class WormAttention(WormForecaster):
    """One causal attention (worms)."""

    name = "worm-attention"
    version = "1"
    core = "attention"
    width = 312
