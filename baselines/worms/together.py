"""Together: several trainings of one shape at once, to what they come to one by one.

Parameters are stacked, and a step of all is one call. That pays where one model leaves a device
idle; what is validated by is read once for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from baselines.batches import Batch, ahead
from baselines.curves import Curves
from baselines.keeping import Keeper
from baselines.training import Counters, Params, Plan, check_finite, step_of
from baselines.worms.forecasters import Start
from zapeval.errors import UsageError
from zapeval.forecasting.training import Training


@dataclass(kw_only=True)
class _State:
    params: Params
    memory: Any
    best: Params
    counters: list[Counters]
    done: int = 0

    def tree(self) -> dict[str, Any]:
        return {"params": self.params, "memory": self.memory, "best": self.best}

    def said(self) -> dict[str, Any]:
        return {"step": self.done, "runs": [vars(one) for one in self.counters]}


@dataclass(frozen=True, kw_only=True)
class _Calls:
    step: Callable[..., Any]
    judge: Callable[..., Any]
    better: Callable[..., Any]


def train_together(
    starts: Sequence[Start], trainings: Sequence[Training], folder: Path
) -> list[tuple[Params, Counters]]:
    """Returns the best parameters of each training, and where it ended.

    One that stops early stays as it was; the others go on. Repeating an interrupted call goes on
    where it last kept something. Each comes to what ``baselines.training.train`` makes of it, up
    to round-off.

    Args:
        starts: Where each begins; of one shape and plan, chosen by the same windows.
        trainings: Record and seed of each; the first is told of progress.
        folder: Where what outlives an interruption is kept, of all of them.

    Raises:
        UsageError: They differ in shape, plan, or what they are chosen by.
        InvalidInput: A loss is no longer finite.
    """
    _check_alike(starts)
    plan, optimizer = starts[0].plan, starts[0].plan.optimizer()
    params = _stacked([start.params for start in starts])
    state = _State(
        params=params,
        memory=jax.jit(jax.vmap(optimizer.init))(params),
        best=jax.tree.map(jnp.copy, params),
        counters=[Counters() for _ in starts],
    )
    keeper = Keeper(folder, plan.save_seconds)
    found = keeper.restore(state.tree())
    if found is not None:
        tree, said = found
        counters = [Counters(**one) for one in said["runs"]]
        state = _State(**tree, counters=counters, done=said["step"])
        trainings[0].note(f"goes on at step {state.done:,}, from what was kept")
    curves = [Curves(training.record) for training in trainings]
    for one in curves:
        one.cut(state.done)
    _loop(state, _compiled(starts[0], optimizer), starts, trainings, keeper, curves)
    keeper.close()
    return [
        (jax.tree.map(lambda leaf, at=number: leaf[at], state.best), counters)
        for number, counters in enumerate(state.counters)
    ]


def _loop(
    state: _State,
    calls: _Calls,
    starts: Sequence[Start],
    trainings: Sequence[Training],
    keeper: Keeper,
    curves: Sequence[Curves],
) -> None:
    plan = starts[0].plan
    total: Any = np.zeros(len(starts))
    count = 0
    if _ended(state, plan):
        return
    batches = ahead(lambda step: _batch(starts, step), state.done, plan.max_steps)
    for number, batch in enumerate(batches, start=state.done):
        rates = [plan.rate(number, one.drops) for one in state.counters]
        given = jnp.asarray(rates, jnp.float32)
        state.params, state.memory, value = calls.step(state.params, state.memory, batch, given)
        total, count = total + value, count + 1
        state.done = number + 1
        if state.done % plan.validate_every == 0 or state.done == plan.max_steps:
            losses = _validate(calls.judge, state.params, starts[0])
            trained = np.asarray(total, np.float64) / count
            _count(state, plan, losses, trained, rates, calls, trainings, curves)
            total, count = np.zeros(len(starts)), 0
            last = _ended(state, plan)
            keeper.keep(state.tree(), state.said(), last=last or state.done == plan.max_steps)
            if last:
                break
        trainings[0].report(state.done, plan.max_steps, _word(state))
    trainings[0].report(plan.max_steps, plan.max_steps, _word(state))


def _count(
    state: _State,
    plan: Plan,
    losses: np.ndarray,
    trained: np.ndarray,
    rates: Sequence[float],
    calls: _Calls,
    trainings: Sequence[Training],
    curves: Sequence[Curves],
) -> None:
    """Takes a validation into account, for those that have not stopped."""
    better = np.zeros(len(losses), bool)
    for number, counters in enumerate(state.counters):
        if counters.waited >= plan.patience:
            continue
        loss, before = float(losses[number]), float(trained[number])
        check_finite(before, loss, state.done, trainings[number])
        better[number] = loss < counters.best
        state.counters[number] = counters.after(state.done, loss, plan)
        curves[number].add(state.done, before, loss, rates[number], 0.0)
    state.best = calls.better(better, state.params, state.best)


def _compiled(start: Start, optimizer: Any) -> _Calls:
    def better(which: jax.Array, new: Params, old: Params) -> Params:
        def one(a: jax.Array, b: jax.Array) -> jax.Array:
            return jnp.where(which.reshape(-1, *[1] * (a.ndim - 1)), a, b)

        return jax.tree.map(one, new, old)

    return _Calls(
        step=jax.jit(jax.vmap(step_of(start.loss, optimizer)), donate_argnums=(0, 1)),
        judge=jax.jit(jax.vmap(start.loss, in_axes=(0, None))),
        better=jax.jit(better),
    )


def _batch(starts: Sequence[Start], step: int) -> Batch:
    batches = [start.batches.train(step) for start in starts]
    return {name: jnp.stack([batch[name] for batch in batches]) for name in batches[0]}


def _validate(judge: Callable[..., Any], params: Params, start: Start) -> np.ndarray:
    sums = [np.stack(judge(params, batch)) for batch in start.batches.validation()]
    whole: np.ndarray = np.sum(np.asarray(sums, np.float64), axis=0)
    losses: np.ndarray = whole[0] / whole[1]
    return losses


def _stacked(trees: Sequence[Params]) -> Params:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _ended(state: _State, plan: Plan) -> bool:
    return all(one.waited >= plan.patience for one in state.counters)


def _word(state: _State) -> str:
    best = [one.best for one in state.counters]
    return f"validation {min(best):.5f} to {max(best):.5f}"


def _check_alike(starts: Sequence[Start]) -> None:
    first = starts[0]
    for other in starts[1:]:
        if (other.shape, other.plan) != (first.shape, first.plan):
            raise UsageError("trained together: they differ in shape or plan; train them apart")
        if other.batches.chosen_by is not first.batches.chosen_by:
            raise UsageError("trained together: they are chosen by different windows")
