"""Neural forecasters: a model, a plan, and what the contract asks for, once for all of them."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zapeval.errors import InvalidInput, UsageError
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.training import Training

if TYPE_CHECKING:
    from flax import nnx

    from baselines.training import Plan

_SHAPE, _PARAMS = "shape.json", "params"


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a model is built for.

    Attributes:
        context: Context length in frames.
        horizon: Steps ahead.
        neurons: Number of neurons.
        features: Number of stimulus features, 0 where it sees none.
    """

    context: int
    horizon: int
    neurons: int
    features: int


class NeuralForecaster(Forecaster):
    """Trains a Flax model by gradients, on mean absolute error over all steps at once.

    Args:
        steps: Most training steps; by default as many as its plan says.
        batch: Windows a step; by default as many as its plan says.
        rate: Learning rate; by default that of its plan.
    """

    def __init__(
        self, steps: int | None = None, batch: int | None = None, rate: float | None = None
    ) -> None:
        for what, value in (("steps", steps), ("batch", batch)):
            if value is not None and (not isinstance(value, int) or value < 1):
                raise UsageError(f"{self.name}: {what} is {value!r}, expected a number above 0")
        if rate is not None and not (isinstance(rate, int | float) and rate > 0):
            raise UsageError(f"{self.name}: rate is {rate!r}, expected a number above 0")
        self._steps, self._batch, self._rate = steps, batch, rate
        self._shape: Shape | None = None
        self._params: Any = None

    @abstractmethod
    def build(self, shape: Shape, rngs: nnx.Rngs) -> nnx.Module:
        """Returns a new model, called as ``model(activity, stimulus, future_stimulus)``."""

    @property
    def plan(self) -> Plan:
        """How it is trained; the paper's way unless it says otherwise."""
        from baselines.training import Plan

        plan = Plan()
        if self._steps is not None:
            plan = replace(plan, max_steps=self._steps)
        if self._rate is not None:
            plan = replace(plan, learning_rate=self._rate)
        return plan if self._batch is None else replace(plan, batch=self._batch)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The plan of its training."""
        return asdict(self.plan)

    @property
    def size(self) -> int | None:
        """Number of learned parameters."""
        if self._params is None:
            return None
        import jax

        return sum(int(leaf.size) for leaf in jax.tree.leaves(self._params))

    def fit(self, training: Training) -> None:
        """Trains until the validation loss no longer falls; keeps the best parameters."""
        from flax import nnx

        from baselines.batches import WindowBatches
        from baselines.training import train

        if training.protocol != "horizon":
            raise InvalidInput(
                f"{self.name}: forecasts a horizon from a context of fixed length, but "
                f"{training.benchmark} has the protocol {training.protocol!r}"
            )
        shape = _shape_of(self.name, training, self.covariates)
        model = self.build(shape, nnx.Rngs(training.seed))
        definition, params = nnx.split(model)
        batches = WindowBatches(training, self.plan.batch)
        loss = _mean_absolute(definition)
        self._params, _ = train(loss, params, batches, self.plan, training)
        self._shape = shape
        self.__dict__.pop("_call", None)

    def save(self, folder: Path) -> None:
        """Writes the parameters, a file each, and the shape that they are for.

        Equal parameters give equal files, and so equal digests of checkpoints.
        """
        from baselines.keeping import flat

        shape = self._fitted()
        (folder / _SHAPE).write_text(json.dumps(asdict(shape)), encoding="utf-8")
        (folder / _PARAMS).mkdir()
        for name, values in flat(self._params).items():
            np.save(folder / _PARAMS / f"{name}.npy", np.asarray(values), allow_pickle=False)

    def load(self, folder: Path) -> None:
        """Takes up saved parameters."""
        import jax.numpy as jnp
        from flax import nnx

        from baselines.keeping import flat, unflat

        self._shape = shape = Shape(**json.loads((folder / _SHAPE).read_text(encoding="utf-8")))
        abstract = nnx.state(nnx.eval_shape(lambda: self.build(shape, nnx.Rngs(0))))
        files = {name: folder / _PARAMS / f"{name}.npy" for name in flat(abstract)}
        leaves = {n: jnp.asarray(np.load(p, allow_pickle=False)) for n, p in files.items()}
        self._params = unflat(abstract, leaves)
        self.__dict__.pop("_call", None)

    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the model's forecast, a fixed number of windows at a time."""
        shape = self._fitted()
        _, context, neurons = contexts.activity.shape
        asked = (context, contexts.horizon, neurons)
        if asked != (shape.context, shape.horizon, shape.neurons):
            raise InvalidInput(
                f"{self.name}: was trained for {shape.context} frames of context, {shape.horizon} "
                f"steps and {shape.neurons} neurons, asked for {list(asked)}"
            )
        size = self.plan.batch
        parts = [self._part(contexts, start, size) for start in range(0, len(contexts), size)]
        return np.concatenate(parts)

    def _part(self, contexts: Contexts, start: int, size: int) -> np.ndarray:
        """Forecasts some windows; copies of the last one fill a batch, so shapes stay the same."""

        def some(values: np.ndarray | None) -> np.ndarray | None:
            if values is None:
                return None
            part = values[start : start + size]
            behind = [(0, size - len(part))] + [(0, 0)] * (values.ndim - 1)
            return np.pad(part, behind, mode="edge")

        stimulus = contexts.stimulus, contexts.future_stimulus
        activity = some(contexts.activity)
        if contexts.mask is not None and activity is not None:
            activity[..., ~contexts.mask] = 0  # as in training: what lies there is not looked at
        values = self._call(self._params, activity, *map(some, stimulus))
        count = min(size, len(contexts) - start)
        return np.asarray(values, dtype=np.float32)[:count]

    @cached_property
    def _call(self) -> Callable[..., Any]:
        import jax
        from flax import nnx

        shape = self._fitted()
        definition, _ = nnx.split(nnx.eval_shape(lambda: self.build(shape, nnx.Rngs(0))))

        def call(params: Any, *seen: Any) -> Any:
            return nnx.merge(definition, params)(*seen)

        return jax.jit(call)

    def _fitted(self) -> Shape:
        if self._shape is None:
            raise UsageError(f"{self.name}: is not trained yet; fit it or load a checkpoint")
        return self._shape


def _shape_of(name: str, training: Training, covariates: tuple[str, ...]) -> Shape:
    neurons = {series.neurons for series in training.series}
    if len(neurons) > 1:
        raise InvalidInput(
            f"{name}: needs recordings of one number of neurons, got {sorted(neurons)}; train one "
            "for each number"
        )
    features = 0
    if covariates:
        first = training.series[0]
        contexts = first.contexts(first.train_origins[:1])
        seen = [s for s in (contexts.stimulus, contexts.future_stimulus) if s is not None]
        features = seen[0].shape[2] if seen else 0
    return Shape(
        context=training.context,
        horizon=training.horizon,
        neurons=neurons.pop(),
        features=features,
    )


def _mean_absolute(definition: Any) -> Callable[[Any, dict[str, Any]], Any]:
    """Returns the loss: mean absolute error over windows, steps and scored neurons."""
    import jax.numpy as jnp
    from flax import nnx

    def loss(params: Any, batch: dict[str, Any]) -> Any:
        model = nnx.merge(definition, params)
        forecast = model(batch["activity"], batch.get("stimulus"), batch.get("future_stimulus"))
        errors = jnp.abs(forecast - batch["targets"]) * batch["weight"]
        return errors.sum(), batch["weight"].sum() * batch["targets"].shape[1]

    return loss
