"""The parts of a volumetric UNet: norm, FiLM, residual block.

Convolutions compute in the configuration's precision. Parameters, the statistics of norms, and
what comes between a norm and the next convolution are float32.
"""

from __future__ import annotations

from typing import final

import jax
import jax.numpy as jnp
from flax import nnx

from baselines.volumetric.configuration import Configuration
from baselines.volumetric.convolution import convolution


@final
class Norm(nnx.Module):
    """Group norm (Wu & He 2018, arXiv 1803.08494): statistics over the whole volume.

    Args:
        c: The configuration.
        features: Features in and out.
        rngs: Keys; it draws nothing.
    """

    def __init__(self, c: Configuration, features: int, *, rngs: nnx.Rngs) -> None:
        self.norm = nnx.GroupNorm(features, c.groups, dtype=jnp.float32, rngs=rngs)

    def __call__(self, volumes: jax.Array) -> jax.Array:
        """Returns normalised volumes, float32 ``[batch, x, y, z, features]``."""
        normalised: jax.Array = self.norm(volumes.astype(jnp.float32))
        return normalised


@final
class Film(nnx.Module):
    """Shifts and scales features by what the whole volume is told: ``shift + x (scale + 1)``.

    A new one changes nothing: its weights begin at zero.

    Source: Perez et al. 2018 (arXiv 1709.07871); Immer et al. 2025, section 4.

    Args:
        inputs: Width of what is told.
        features: Features in and out.
        rngs: Keys; it draws nothing.
    """

    def __init__(self, inputs: int, features: int, *, rngs: nnx.Rngs) -> None:
        zeros = nnx.initializers.zeros_init()
        self.dense = nnx.Linear(inputs, 2 * features, kernel_init=zeros, rngs=rngs)

    def __call__(self, volumes: jax.Array, told: jax.Array) -> jax.Array:
        """Returns ``[batch, x, y, z, features]`` for what is told, ``[batch, inputs]``."""
        shift, scale = jnp.split(self.dense(told)[:, None, None, None], 2, axis=-1)
        return shift + volumes * (scale + 1)


@final
class Head(nnx.Module):
    """Norm, FiLM, swish, dropout and a convolution: what a block ends with, and the network too.

    Args:
        c: The configuration.
        inputs: Features in.
        outputs: Features out.
        rngs: Keys that the weights are drawn from.
    """

    def __init__(self, c: Configuration, inputs: int, outputs: int, *, rngs: nnx.Rngs) -> None:
        self.dropout = c.dropout
        self.norm = Norm(c, inputs, rngs=rngs)
        self.film = Film(c.embedding, inputs, rngs=rngs) if c.embedding else None
        self.conv = convolution(c, inputs, outputs, rngs)

    def __call__(
        self, volumes: jax.Array, told: jax.Array | None, key: jax.Array | None
    ) -> jax.Array:
        """Returns ``[batch, x, y, z, outputs]``; see Block."""
        volumes = self.norm(volumes)
        if self.film is not None and told is not None:
            volumes = self.film(volumes, told)
        volumes = nnx.swish(volumes)
        if key is not None and self.dropout:
            volumes = drop_channels(volumes, self.dropout, key)
        return self.conv(volumes)


@final
class Block(nnx.Module):
    """A pre-activation residual block (He et al. 2016, arXiv 1603.05027) that FiLM tells of.

    Norm, swish, convolution; norm, FiLM, swish, dropout of channels, convolution; plus what came
    in, through a dense layer where the widths differ.

    Source: Immer et al. 2025, section 4.

    Args:
        c: The configuration.
        inputs: Features in.
        features: Features out.
        rngs: Keys that the weights are drawn from.
    """

    def __init__(self, c: Configuration, inputs: int, features: int, *, rngs: nnx.Rngs) -> None:
        dtype = jnp.dtype(c.precision)
        self.norm = Norm(c, inputs, rngs=rngs)
        self.conv = convolution(c, inputs, features, rngs)
        self.second = Head(c, features, features, rngs=rngs)
        same = inputs == features
        self.shortcut = None if same else nnx.Linear(inputs, features, dtype=dtype, rngs=rngs)

    def __call__(
        self, volumes: jax.Array, told: jax.Array | None, key: jax.Array | None
    ) -> jax.Array:
        """Returns ``[batch, x, y, z, features]``.

        Args:
            volumes: ``[batch, x, y, z, inputs]``.
            told: What FiLM tells, float32 ``[batch, embedding]``; None where it tells nothing.
            key: Key of the dropout; None where nothing is dropped.
        """
        change = self.second(self.conv(nnx.swish(self.norm(volumes))), told, key)
        return change + (volumes if self.shortcut is None else self.shortcut(volumes))


def drop_channels(volumes: jax.Array, share: float, key: jax.Array) -> jax.Array:
    """Returns volumes in which whole channels are zero, the others larger to make up for it."""
    batch, features = volumes.shape[0], volumes.shape[-1]
    kept = jax.random.bernoulli(key, 1 - share, (batch, 1, 1, 1, features))
    return jnp.where(kept, volumes / (1 - share), jnp.zeros((), volumes.dtype))
