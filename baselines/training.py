"""The training loop: one for all that learn by gradients.

It takes a loss, parameters and batches; it validates, stops early, keeps the best parameters, and
goes on where an interruption left it, to the same bits. Several hosts train as one where the
parameters lie on the devices of all and the folder is one that all of them see.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, final

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from baselines.batches import Batch, Batches, ahead
from baselines.curves import Curves
from baselines.keeping import Keeper, is_first_host
from zapeval.errors import InvalidInput
from zapeval.forecasting.training import Training

Params = Any
"""A pytree of arrays."""

Loss = Callable[[Params, Batch], tuple[jax.Array, jax.Array]]
"""Returns the weighted sum of a batch's errors, and the sum of the weights."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to train; by default as the benchmark paper (Lueckmann et al. 2025, appendix).

    Attributes:
        batch: Windows a step.
        learning_rate: Learning rate, at first.
        weight_decay: Decoupled weight decay of AdamW (Loshchilov & Hutter 2019).
        schedule: ``constant``; ``cosine`` to ``floor`` over max_steps; ``plateau``, divided by ten
            after ``plateau_patience`` validations without gain.
        floor: Learning rate at the end of a cosine.
        warmup: Steps over which the rate rises from zero.
        max_steps: Most steps.
        validate_every: Steps from one validation to the next.
        patience: Validations without gain before it stops.
        min_delta: What counts as a gain in validation loss.
        plateau_patience: See schedule.
        clip: Largest norm of a gradient, or None.
        save_seconds: Least time from one kept state to the next; the first is kept at once.
    """

    batch: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    floor: float = 0.0
    warmup: int = 0
    max_steps: int = 50_000
    validate_every: int = 250
    patience: int = 20
    min_delta: float = 1e-4
    plateau_patience: int = 5
    clip: float | None = None
    save_seconds: float = 30.0

    def optimizer(self) -> optax.GradientTransformationExtraArgs:
        """Returns AdamW whose learning rate is set from outside, step by step."""

        def make(learning_rate: float) -> optax.GradientTransformation:
            adamw = optax.adamw(learning_rate, weight_decay=self.weight_decay)
            if self.clip is None:
                return adamw
            return optax.chain(optax.clip_by_global_norm(self.clip), adamw)

        return optax.inject_hyperparams(make)(learning_rate=self.learning_rate)

    def rate(self, step: int, drops: int) -> float:
        """Returns the learning rate of a step, counted from 0.

        Args:
            step: The step.
            drops: How many plateaus there have been.
        """
        rate = self.learning_rate
        if self.schedule == "cosine":
            share = 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.max_steps)))
            rate = self.floor + (rate - self.floor) * share
        if self.schedule == "plateau":
            rate *= 0.1**drops
        return rate * min(1.0, (step + 1) / self.warmup) if self.warmup else rate

    def gains(self, loss: float, last: float) -> bool:
        """Tells whether a validation loss counts as a gain over that of the last gain."""
        return loss < last - self.min_delta


@final
@dataclass(frozen=True, kw_only=True)
class RelativePlan(Plan):
    """A plan whose min_delta is a share of the loss at the last gain.

    Source: PyTorch, ``torch.optim.lr_scheduler.ReduceLROnPlateau`` with ``threshold_mode="rel"``.
    """

    def gains(self, loss: float, last: float) -> bool:
        """Tells whether a validation loss lies below that of the last gain by more than a share."""
        return loss < last * (1 - self.min_delta)


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Where the loop stands.

    Attributes:
        step: Steps done.
        best: Lowest validation loss so far.
        best_step: Steps done when it was reached.
        gained: Validation loss at the last gain of more than min_delta.
        waited: Validations since that gain.
        flat: Validations since that gain or the last drop of the learning rate.
        drops: Drops of the learning rate.
    """

    step: int = 0
    best: float = math.inf
    best_step: int = 0
    gained: float = math.inf
    waited: int = 0
    flat: int = 0
    drops: int = 0

    def after(self, step: int, loss: float, plan: Plan) -> Counters:
        """Returns where the loop stands after a validation."""
        gain = plan.gains(loss, self.gained)
        flat = 0 if gain else self.flat + 1
        dropped = flat >= plan.plateau_patience
        return Counters(
            step=step,
            best=min(loss, self.best),
            best_step=step if loss < self.best else self.best_step,
            gained=loss if gain else self.gained,
            waited=0 if gain else self.waited + 1,
            flat=0 if dropped else flat,
            drops=self.drops + dropped,
        )


@dataclass(kw_only=True)
class _State:
    params: Params
    memory: Any
    best: Params
    counters: Counters = field(default_factory=Counters)

    def tree(self) -> dict[str, Any]:
        return {"params": self.params, "memory": self.memory, "best": self.best}


def train(
    loss: Loss,
    params: Params,
    batches: Batches,
    plan: Plan,
    training: Training,
    *,
    where: Sharding | None = None,
    judge: Loss | None = None,
) -> tuple[Params, Counters]:
    """Returns the parameters with the lowest validation loss, and where the loop ended.

    What is random in a loss hangs on its batch, where the batches put a key for each step.

    Args:
        loss: What to lower.
        params: Where to begin.
        batches: The data.
        plan: How to train.
        training: Seed, folders, and who is told of progress.
        where: Where parameters lie; by default on every device of this host.
        judge: What validation measures; by default the loss.

    Raises:
        InvalidInput: The loss is no longer finite.
    """
    optimizer = plan.optimizer()
    where = where or _on_this_host()
    params = jax.device_put(jax.tree.map(jnp.copy, params), where)
    memory = jax.jit(optimizer.init, out_shardings=where)(params)
    state = _State(params=params, memory=memory, best=jax.tree.map(jnp.copy, params))
    keeper = Keeper(training.folder, plan.save_seconds)
    curves = Curves(training.record) if is_first_host() else None
    found = keeper.restore(state.tree())
    if found is not None:
        tree, counters = found
        state = _State(**tree, counters=Counters(**counters))
        training.note(f"goes on at step {state.counters.step:,}, from what was kept")
    step, evaluate = _compiled(loss, judge or loss, optimizer)
    if curves:
        curves.cut(state.counters.step)
    _loop(state, step, evaluate, batches, plan, training, keeper, curves)
    keeper.close()
    if curves:
        curves.draw()
    return state.best, state.counters


def _loop(
    state: _State,
    step: Callable[..., Any],
    evaluate: Callable[..., Any],
    batches: Batches,
    plan: Plan,
    training: Training,
    keeper: Keeper,
    curves: Curves | None,
) -> None:
    first, begun = state.counters.step, time.monotonic()
    total: Any = 0.0
    count = 0
    if state.counters.waited >= plan.patience:
        return
    for number, batch in enumerate(ahead(batches.train, first, plan.max_steps), start=first):
        rate = plan.rate(number, state.counters.drops)
        state.params, state.memory, value = step(state.params, state.memory, batch, rate)
        total, count = total + value, count + 1
        done = number + 1
        if done % plan.validate_every and done < plan.max_steps:
            training.report(done, plan.max_steps, _word(state.counters))
            continue
        validation = _validate(evaluate, state.params, batches)
        trained = float(total) / count
        check_finite(trained, validation, done, training)
        if validation < state.counters.best:
            # A copy: the next step's buffers take the place of these.
            state.best = jax.tree.map(jnp.copy, state.params)
        state.counters = state.counters.after(done, validation, plan)
        if curves:
            curves.add(done, trained, validation, rate, time.monotonic() - begun)
        total, count = 0.0, 0
        stop = state.counters.waited >= plan.patience
        keeper.keep(state.tree(), vars(state.counters), last=stop or done == plan.max_steps)
        training.report(done, plan.max_steps, _word(state.counters))
        if stop:
            break


def _compiled(
    loss: Loss, judge: Loss, optimizer: optax.GradientTransformationExtraArgs
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return jax.jit(step_of(loss, optimizer), donate_argnums=(0, 1)), jax.jit(judge)


def step_of(loss: Loss, optimizer: optax.GradientTransformationExtraArgs) -> Callable[..., Any]:
    """Returns one step of a training, not yet compiled.

    It takes parameters, the optimiser's memory, a batch and a learning rate, and returns new
    parameters, new memory and the batch's mean error.
    """

    def mean(params: Params, batch: Batch) -> jax.Array:
        total, weight = loss(params, batch)
        return total / jnp.maximum(weight, 1e-12)

    def step(params: Params, memory: Any, batch: Batch, rate: float) -> Any:
        value, gradient = jax.value_and_grad(mean)(params, batch)
        rates = memory.hyperparams | {"learning_rate": jnp.asarray(rate, jnp.float32)}
        memory = memory._replace(hyperparams=rates)
        updates, memory = optimizer.update(gradient, memory, params)
        return optax.apply_updates(params, updates), memory, value

    return step


def _validate(evaluate: Callable[..., Any], params: Params, batches: Batches) -> float:
    total = weight = 0.0
    for batch in batches.validation():
        one, many = evaluate(params, batch)
        total, weight = total + float(one), weight + float(many)
    return total / weight


def _on_this_host() -> Sharding:
    """Returns the sharding of what each device of this host has whole."""
    return NamedSharding(Mesh(jax.local_devices(), ("windows",)), PartitionSpec())


def check_finite(trained: float, validation: float, step: int, training: Training) -> None:
    """Checks that a training has not come apart.

    Raises:
        InvalidInput: A loss is not finite.
    """
    if not (math.isfinite(trained) and math.isfinite(validation)):
        raise InvalidInput(
            f"training: the loss is {trained:g}, validation {validation:g} at step {step:,} "
            f"(seed {training.seed}); lower the learning rate"
        )


def _word(counters: Counters) -> str:
    if not counters.step:
        return "no validation yet"
    return f"validation {counters.best:.5f} at step {counters.best_step:,}"
