"""Resampling of volumes: average pooling and nearest upsampling, over equal and unequal parts.

There are two ways to compute each. Reshaping is fast and stays on each device, but only where all
parts of the coarser volume are equal: elsewhere XLA would gather the volume. Sliding windows,
which XLA partitions like convolutions, then exchange border rows instead.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from baselines.volumetric.configuration import Factor
from baselines.volumetric.sharding import Layout, constrained


def downsample(volumes: jax.Array, factor: Factor, layout: Layout | None = None) -> jax.Array:
    """Returns averages over blocks of voxels, in the type of the volumes.

    Args:
        volumes: ``[batch, x, y, z, features]``, sizes divisible by the factor.
        factor: Size of the blocks.
        layout: Where the volumes lie; None on one device.
    """
    batch, x, y, z, features = volumes.shape
    fx, fy, fz = factor
    coarse = (batch, x // fx, y // fy, z // fz, features)
    precise = volumes.astype(jnp.float32)
    if layout is None or layout.is_even(coarse):
        means = precise.reshape(batch, x // fx, fx, y // fy, fy, z // fz, fz, -1).mean((2, 4, 6))
    else:
        window = (1, *factor, 1)
        sums: jax.Array = jax.lax.reduce_window(precise, 0.0, jax.lax.add, window, window, "valid")
        means = sums / math.prod(factor)
    return constrained(means.astype(volumes.dtype), layout)


def upsample(volumes: jax.Array, factor: Factor, layout: Layout | None = None) -> jax.Array:
    """Returns each voxel repeated into a block of voxels.

    Args:
        volumes: ``[batch, x, y, z, features]``.
        factor: Size of the blocks.
        layout: Where the volumes lie; None on one device.
    """
    batch, x, y, z, features = volumes.shape
    fx, fy, fz = factor
    if layout is None or layout.is_even(volumes.shape):
        blocks = (batch, x, fx, y, fy, z, fz, features)
        repeated = jnp.broadcast_to(volumes[:, :, None, :, None, :, None], blocks)
        fine = repeated.reshape(batch, x * fx, y * fy, z * fz, features)
    else:
        # Zeros between the voxels and around them: a window holds one voxel, and zeros.
        none = (0, 0, 0)
        between = [none, *((n - 1, n - 1, n - 1) for n in factor), none]
        spread = jax.lax.pad(volumes, jnp.zeros((), volumes.dtype), between)
        zero = volumes.dtype.type(0)
        fine = jax.lax.reduce_window(
            spread, zero, jax.lax.add, (1, *factor, 1), (1, 1, 1, 1, 1), "valid"
        )
    return constrained(fine, layout)
