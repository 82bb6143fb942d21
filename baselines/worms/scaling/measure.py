"""Measuring: losses of a trained model over the whole validation set, and what it generates."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from baselines.training import Params
from baselines.worms.forecasters import Start
from baselines.worms.generation import generate
from baselines.worms.scaling.cells import Generation, SourceLoss, Trace
from baselines.worms.scaling.pool import Pool
from baselines.worms.windows import Packed, naive_loss
from zapeval.benchmarks.celegans.names import NAMES
from zapeval.benchmarks.celegans.tasks import LENGTH
from zapeval.errors import InvalidInput

TRACES = 4
"""Neurons that are kept as traces."""

DIGITS = 5
"""Decimals of a trace."""

ErrorOf = Callable[[Params, Any], jax.Array]
"""Returns the loss of each window of a batch (Eq. 4)."""


def error_of(start: Start) -> ErrorOf:
    """Returns what measures the models of a shape, compiled once."""

    def errors(params: Params, batch: Any) -> jax.Array:
        frames = batch["frames"]
        ahead = nnx.merge(start.definition, params)(frames[:, :-1])
        squares = jnp.square(ahead - frames[:, 1:]).mean(axis=1)
        return jnp.sum(squares * batch["weight"], axis=1)

    compiled: ErrorOf = jax.jit(errors)
    return compiled


def losses_of(
    errors: ErrorOf, params: Params, start: Start, sources: Mapping[str, str]
) -> tuple[SourceLoss, ...]:
    """Returns a model's validation losses: of all worms, then by source.

    Source: Simeon et al. 2024, Eq. 4; the pooled loss is that of its public code.

    Args:
        errors: What measures it.
        params: Its parameters.
        start: What it was trained from.
        sources: The source of each worm.
    """
    chosen_by = start.batches.chosen_by
    every = [np.asarray(errors(params, batch)) for batch in start.batches.validation()]
    windows = np.concatenate(every).astype(np.float64)
    losses, first = {}, 0
    for name, worm in chosen_by.items():
        losses[name] = float(windows[first : first + len(worm.frames)].mean())
        first += len(worm.frames)
    named = {source: [n for n in chosen_by if sources[n] == source] for source in sources.values()}
    parts = {"": list(chosen_by), **{s: n for s, n in sorted(named.items()) if s and n}}
    return tuple(_loss(source, names, losses, chosen_by) for source, names in parts.items())


def _loss(
    source: str, names: list[str], losses: Mapping[str, float], worms: Mapping[str, Packed]
) -> SourceLoss:
    own = [losses[name] for name in names]
    naive = [naive_loss(worms[name]) for name in names]
    # Every window has as many positions, so an entry counts by its worm's neurons and windows.
    entries = [worms[name].frames[:, 0].size for name in names]
    return SourceLoss(
        source=source,
        worms=len(names),
        loss=float(np.mean(own)),
        pooled=float(np.average(own, weights=entries)),
        naive=float(np.mean(naive)),
        naive_pooled=float(np.average(naive, weights=entries)),
    )


def generation_of(params: Params, start: Start, pool: Pool, worms: int) -> Generation:
    """Returns how far a model goes astray that is fed its own frames, 180 after 180.

    The first worms whose validation frames hold both are taken, one window each; nothing is
    clamped.

    Source: Simeon et al. 2024, section 3.4 (Fig. 7).

    Raises:
        InvalidInput: No worm is long enough.
    """
    frames, mask, names = _seen(pool, worms)
    model = nnx.merge(start.definition, params)
    seen, followed = frames[:, :LENGTH], frames[:, LENGTH:]

    @jax.jit
    def run(seen: jax.Array, mask: jax.Array) -> jax.Array:
        return generate(model, seen, mask, steps=LENGTH, length=LENGTH, clamp=False)

    generated = np.asarray(run(seen, mask), np.float64)
    share = mask / mask.sum(axis=1, keepdims=True)
    # What runs away runs far: no sum overflows in float64 that did not in the model.
    astray, still = generated - followed, seen[:, -1:] - followed
    loss, naive = (
        np.einsum("wsn,wn->s", np.square(off), share) / len(frames) for off in (astray, still)
    )
    traces = tuple(
        Trace(
            worm=names[0],
            neuron=NAMES[neuron],
            seen=tuple(seen[0, :, neuron].round(DIGITS).tolist()),
            followed=tuple(followed[0, :, neuron].round(DIGITS).tolist()),
            generated=finite(generated[0, :, neuron].round(DIGITS)),
        )
        for neuron in np.flatnonzero(mask[0])[:TRACES]
    )
    return Generation(
        worms=len(frames), loss=finite(loss), naive=tuple(naive.tolist()), traces=traces
    )


def _seen(pool: Pool, worms: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Returns the first 360 validation frames of some worms, their masks and names."""
    frames: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    names: list[str] = []
    for series in pool.training.series:
        start, stop = series.validation[0]
        if stop - start >= 2 * LENGTH and len(frames) < worms:
            mask = np.ones(series.neurons, bool) if series.mask is None else series.mask
            values = series.every_frame().read((start, start + 2 * LENGTH)).astype(np.float32)
            frames.append(np.where(mask, values, np.float32(0)))
            masks.append(mask)
            names.append(series.name)
    if not frames:
        raise InvalidInput(
            f"{pool.benchmark.label}: no worm has {2 * LENGTH} validation frames to generate in; "
            "leave out --generate"
        )
    return np.stack(frames), np.stack(masks), names


def finite(values: np.ndarray) -> tuple[float | None, ...]:
    """Returns numbers, None for those that are not finite."""
    return tuple(value if math.isfinite(value) else None for value in values.tolist())
