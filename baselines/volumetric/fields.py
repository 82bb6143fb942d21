"""Receptive fields: the paper's formula, and the exact one by interval arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from baselines.volumetric.configuration import Configuration

Interval = tuple[int, int]
"""First and last voxel along an axis."""

Step = tuple[Literal["conv", "up", "pool"], int]
"""A convolution, or a resampling by a factor."""

Size = tuple[int, int, int]


def receptive_field(configuration: Configuration) -> Size:
    """Returns the receptive field by the paper's formula, in voxels of the input (x, y, z).

    Four voxels for each block at the coarsest level (two convolutions of three), times how much
    coarser it is; five more where nothing is resampled. It leaves out the convolutions of the other
    levels, and names the paper's configurations: S = 21, 64, 256.

    Source: Immer et al. 2025, section 4.
    """
    field = 4 * configuration.blocks_at(configuration.levels)
    x, y, z = (field * n + (0 if configuration.levels else 5) for n in configuration.coarsest)
    return x, y, z


def exact_field(configuration: Configuration) -> Size:
    """Returns the largest number of input voxels along each axis that one output voxel hangs on.

    Through convolutions and resampling alone: group norms let every voxel count a little. Output
    voxels differ by where they lie in a coarse one; this is the largest field among them.
    """
    x, y, z = (_largest(configuration, axis) for axis in range(3))
    return x, y, z


def seen_from(configuration: Configuration, axis: int, voxel: int) -> Interval:
    """Returns the input voxels along an axis that an output voxel hangs on, beyond borders too.

    The way through the coarsest level reaches the farthest, so the skips add nothing.
    """
    low = high = voxel
    for kind, factor in _backwards(configuration, axis):
        if kind == "conv":
            low, high = low - 1, high + 1
        elif kind == "up":
            low, high = low // factor, high // factor
        else:
            low, high = low * factor, high * factor + factor - 1
    return low, high


def _largest(configuration: Configuration, axis: int) -> int:
    period = configuration.coarsest[axis] * configuration.finest[axis]
    intervals = (seen_from(configuration, axis, voxel) for voxel in range(period))
    return max(high - low + 1 for low, high in intervals)


def _backwards(c: Configuration, axis: int) -> Iterator[Step]:
    """Yields what lies between output and input, by way of the coarsest level."""
    yield "conv", 1
    for factor in reversed(c.upsampling):
        yield from _convolutions(c.upsampled_blocks)
        yield "up", factor[axis]
    if c.upsampling:
        yield "conv", 1
    for level in range(c.levels + 1):
        yield from _convolutions(c.blocks_at(level))
        if level < c.levels:
            yield "up", c.resampling[level][axis]
    for factor in reversed(c.resampling):
        yield "pool", factor[axis]
    yield "conv", 1


def _convolutions(blocks: int) -> list[Step]:
    return [("conv", 1)] * (2 * blocks)
