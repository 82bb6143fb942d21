"""The convolution over 3 x 3 x 3 voxels, in the form that a device computes fast.

XLA's 3D convolutions on a CPU are slow, and their gradients more so: for 16 features, a forward
and backward pass takes some forty times as long as through 2D convolutions of as many products.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from baselines.volumetric.configuration import Configuration

_SIZE = (3, 3, 3)


def convolution(c: Configuration, inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Conv:
    """Returns a convolution over 3 x 3 x 3 voxels, zeros beyond the border."""
    dtype = jnp.dtype(c.precision)
    return nnx.Conv(inputs, outputs, _SIZE, dtype=dtype, rngs=rngs, conv_general_dilated=_convolved)


def by_planes() -> bool:
    """Returns whether convolutions go by planes: on one CPU.

    Several simulated devices compute as accelerators do.
    """
    return jax.default_backend() == "cpu" and jax.device_count() == 1


def in_planes(volumes: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns the convolution with zeros beyond the border, as one of planes.

    What lies above and below a voxel becomes further features of it, and each plane is convolved
    in x and y.

    Args:
        volumes: ``[batch, x, y, z, inputs]``.
        kernel: ``[3, 3, 3, inputs, outputs]``.

    Returns:
        ``[batch, x, y, z, outputs]``.
    """
    batch, x, y, z, inputs = volumes.shape
    padded = jnp.pad(volumes, ((0, 0), (0, 0), (0, 0), (1, 1), (0, 0)))
    stacked = jnp.concatenate([padded[:, :, :, above : above + z] for above in range(3)], axis=-1)
    planes = stacked.transpose(0, 3, 1, 2, 4).reshape(batch * z, x, y, 3 * inputs)
    flat = kernel.reshape(3, 3, 3 * inputs, -1)
    convolved = lax.conv_general_dilated(
        planes, flat, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return convolved.reshape(batch, z, x, y, -1).transpose(0, 2, 3, 1, 4)


def _convolved(volumes: jax.Array, kernel: jax.Array, *options: Any, **named: Any) -> jax.Array:
    """Is what a layer of Flax calls."""
    if by_planes():
        return in_planes(volumes, kernel)
    convolved: jax.Array = lax.conv_general_dilated(volumes, kernel, *options, **named)
    return convolved
