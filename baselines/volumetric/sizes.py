"""Sizes of volumes: which ones a configuration and a mesh can take."""

from __future__ import annotations

import math

from baselines.volumetric.configuration import Configuration
from zapeval.errors import InvalidInput

Size = tuple[int, int, int]

Shards = tuple[int, int]
"""Into how many parts a volume is cut along x and y."""


def multiples(configuration: Configuration, shards: Shards = (1, 1)) -> Size:
    """Returns what the size of the input must be a multiple of, per axis.

    The parts of the input must be equal, and so must the coarse voxels; the parts of a coarse
    level need not.
    """
    x, y, z = configuration.coarsest
    return math.lcm(x, shards[0]), math.lcm(y, shards[1]), z


def check_volume(configuration: Configuration, volume: Size, shards: Shards = (1, 1)) -> None:
    """Refuses a volume that doesn't divide by the mesh and by the resampling.

    Args:
        configuration: The configuration.
        volume: Size of the input in voxels.
        shards: Parts along x and y.

    Raises:
        InvalidInput: It doesn't; the message names the nearest sizes that do.
    """
    parts = (*shards, 1)
    wrong = []
    for axis, step in enumerate(multiples(configuration, shards)):
        size = volume[axis]
        if size < 1 or size % step:
            below = size // step * step
            works = f"{below} or {below + step}" if below > 0 else str(step)
            wrong.append(
                f"{'xyz'[axis]} is {size}, expected a multiple of {step} ({parts[axis]} parts, "
                f"resampled by {configuration.coarsest[axis]}): {works}"
            )
    if wrong:
        whole = " x ".join(map(str, volume))
        raise InvalidInput(
            f"volume {whole}: {'; '.join(wrong)}; crop or pad it, or change the mesh"
        )


def output_size(configuration: Configuration, volume: Size) -> Size:
    """Returns the size of a frame that comes out, in voxels."""
    x, y, z = (n * factor for n, factor in zip(volume, configuration.finest, strict=True))
    return x, y, z
