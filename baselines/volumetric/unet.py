"""The volumetric UNet: frames of context as channels of 3D convolutions, down and up again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import jax
import jax.numpy as jnp
from flax import nnx

from baselines.volumetric.blocks import Block, Head, Norm
from baselines.volumetric.configuration import LEAD_WIDTH, STIMULUS_WIDTH, Configuration
from baselines.volumetric.convolution import convolution
from baselines.volumetric.heads import frames_of
from baselines.volumetric.resampling import downsample, upsample
from baselines.volumetric.sharding import Layout, constrained
from baselines.volumetric.sizes import check_volume
from zapeval.errors import UsageError


@final
class UNet(nnx.Module):
    """Forecasts one frame at a lead time from the frames of a context.

    Source: Immer et al. 2025 (arXiv 2503.00073), section 4 and appendix.

    Args:
        configuration: What it is built of.
        rngs: Keys that the weights are drawn from.
        layout: Where its activations lie; None on one device. It is no part of the weights.
    """

    def __init__(
        self, configuration: Configuration, *, rngs: nnx.Rngs, layout: Layout | None = None
    ) -> None:
        c = self.configuration = configuration
        self.layout = layout
        told = {"past": c.past_stimulus * c.context, "future": c.future_stimulus * c.horizon}
        self.stimuli = nnx.Dict(
            {name: nnx.Linear(n, STIMULUS_WIDTH, rngs=rngs) for name, n in told.items() if n}
        )
        self.stem = convolution(c, c.context, c.features, rngs)
        self.levels = nnx.List([_blocks(c, level, rngs) for level in range(c.levels + 1)])
        self.narrow = _Narrow(c, rngs=rngs) if c.upsampling else None
        width = c.upsampled_features if c.upsampling else c.features
        count = c.upsampled_blocks
        self.finer = nnx.List(
            [
                nnx.List([Block(c, width, width, rngs=rngs) for _ in range(count)])
                for _ in c.upsampling
            ]
        )
        self.head = Head(c, width, c.outputs, rngs=rngs)

    def __call__(
        self,
        frames: jax.Array,
        lead: jax.Array | None = None,
        past_stimulus: jax.Array | None = None,
        future_stimulus: jax.Array | None = None,
        *,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the outputs for each voxel, float32 ``[batch, x, y, z, outputs]``.

        Args:
            frames: The context in df/f, float32 ``[batch, context, x, y, z]``, oldest first.
            lead: Lead time of each window in frames from 1, int32 ``[batch]``; None where the
                head gives all at once.
            past_stimulus: Stimulus of the context, float32 ``[batch, context, features]``, where
                the configuration has it.
            future_stimulus: Stimulus of the horizon, float32 ``[batch, horizon, features]``.
            key: Key of the dropout; None where nothing is dropped.

        Raises:
            UsageError: What is told, or the number of frames, is not that of the configuration.
            InvalidInput: The volume or the batch can't be cut or resampled; see check_volume.
        """
        c = self.configuration
        if frames.ndim != 5 or frames.shape[1] != c.context:
            raise UsageError(
                f"volumetric: frames are {list(frames.shape)}, expected [batch, {c.context}, x, y, "
                "z]"
            )
        self._check_places(frames)
        told = self._told(lead, {"past": past_stimulus, "future": future_stimulus})
        keys = _Keys(key)
        volumes = jnp.moveaxis(frames, 1, -1).astype(jnp.dtype(c.precision))
        volumes = self._through_levels(constrained(self.stem(volumes), self.layout), told, keys)
        if self.narrow is not None:
            volumes = constrained(self._applied(self.narrow, volumes), self.layout)
        for factor, blocks in zip(c.upsampling, self.finer, strict=True):
            volumes = upsample(volumes, factor, self.layout)
            volumes = self._through(blocks, volumes, told, keys)
        outputs = self._applied(self.head, volumes, told, keys.next())
        return constrained(outputs.astype(jnp.float32), self.layout)

    def forecast(
        self,
        frames: jax.Array,
        lead: jax.Array | None = None,
        past_stimulus: jax.Array | None = None,
        future_stimulus: jax.Array | None = None,
    ) -> jax.Array:
        """Returns the forecast in df/f, float32 ``[batch, steps, x, y, z]``; as when called."""
        outputs = self(frames, lead, past_stimulus, future_stimulus)
        return frames_of(self.configuration, outputs)

    def _check_places(self, frames: jax.Array) -> None:
        shards = (1, 1) if self.layout is None else self.layout.shards
        batch, _, x, y, z = frames.shape
        check_volume(self.configuration, (x, y, z), shards)
        if self.layout is not None:
            self.layout.check_batch(batch)

    def _through_levels(self, volumes: jax.Array, told: jax.Array | None, keys: _Keys) -> jax.Array:
        c = self.configuration
        skips = [volumes]
        for factor in c.resampling:
            skips.append(downsample(skips[-1], factor, self.layout))
        volumes = skips.pop()
        for level in range(c.levels, -1, -1):
            volumes = self._through(self.levels[level], volumes, told, keys)
            if level:
                volumes = upsample(volumes, c.resampling[level - 1], self.layout)
                skip = skips.pop()
                both = [skip, volumes]
                volumes = skip + volumes if c.skip == "add" else jnp.concatenate(both, axis=-1)
        return volumes

    def _through(
        self, blocks: nnx.List[Block], volumes: jax.Array, told: jax.Array | None, keys: _Keys
    ) -> jax.Array:
        for block in blocks:
            volumes = constrained(self._applied(block, volumes, told, keys.next()), self.layout)
        return volumes

    def _applied(self, part: Block | Head | _Narrow, *given: jax.Array | None) -> jax.Array:
        """Returns what a part gives; on the way back it is computed again where remat says so."""
        call: Callable[..., jax.Array] = part
        if not self.configuration.remat:
            return call(*given)
        definition, state = nnx.split(part)

        def again(state: Any, *given: Any) -> Any:
            return nnx.merge(definition, state)(*given)

        result: jax.Array = jax.checkpoint(again)(state, *given)
        return result

    def _told(
        self, lead: jax.Array | None, stimuli: dict[str, jax.Array | None]
    ) -> jax.Array | None:
        """Returns all that FiLM tells, float32 ``[batch, embedding]``."""
        c = self.configuration
        if (lead is not None) != c.told_lead_time:
            raise UsageError(
                f"volumetric: a {c.head} head is called {'with' if c.told_lead_time else 'without'}"
                " a lead time"
            )
        told = [] if lead is None else [sinusoids(lead, LEAD_WIDTH)]
        for name, stimulus in stimuli.items():
            if (stimulus is not None) != (name in self.stimuli):
                raise UsageError(
                    f"volumetric: the {name} stimulus is {'' if stimulus is not None else 'not '}"
                    "given, unlike the configuration says"
                )
            if stimulus is not None:
                flat = stimulus.reshape(len(stimulus), -1)
                told.append(nnx.swish(self.stimuli[name](flat)))
        return jnp.concatenate(told, axis=-1) if told else None


@final
class _Narrow(nnx.Module):
    """Norm, swish, convolution: from F features to the fewer ones of finer resolutions."""

    def __init__(self, c: Configuration, *, rngs: nnx.Rngs) -> None:
        self.norm = Norm(c, c.features, rngs=rngs)
        self.conv = convolution(c, c.features, c.upsampled_features, rngs)

    def __call__(self, volumes: jax.Array) -> jax.Array:
        return self.conv(nnx.swish(self.norm(volumes)))


class _Keys:
    """Gives a new key for each dropout, or None where nothing is dropped."""

    def __init__(self, key: jax.Array | None) -> None:
        self._key, self._count = key, 0

    def next(self) -> jax.Array | None:
        if self._key is None:
            return None
        self._count += 1
        return jax.random.fold_in(self._key, self._count)


def sinusoids(lead: jax.Array, width: int) -> jax.Array:
    """Returns an embedding of lead times, float32 ``[batch, width]``: cosines, then sines.

    Source: Vaswani et al. 2017 (arXiv 1706.03762), section 3.5.
    """
    periods = jnp.exp(-math.log(1e4) * jnp.arange(0, width, 2, dtype=jnp.float32) / width)
    angles = lead.astype(jnp.float32)[:, None] * periods
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def _blocks(c: Configuration, level: int, rngs: nnx.Rngs) -> nnx.List[Block]:
    joined = 2 * c.features if c.skip == "concat" and level < c.levels else c.features
    inputs = [joined] + [c.features] * (c.blocks_at(level) - 1)
    return nnx.List([Block(c, n, c.features, rngs=rngs) for n in inputs])
