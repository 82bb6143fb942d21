"""The memory that a training step needs, estimated before there is one."""

from __future__ import annotations

import math
import os

from baselines.volumetric.configuration import Configuration
from baselines.volumetric.sizes import Size, output_size
from baselines.volumetric.structure import Layer, layers, parameter_count

COPIES = 6
"""Of the parameters, float32: themselves, gradient, two moments, updates, and the best so far."""


def training_bytes(
    configuration: Configuration, volume: Size, windows: int = 1, parts: int = 1
) -> int:
    """Returns about how many bytes a training step needs on each device.

    For the way back, every convolution keeps what goes into it, and three volumes before that: as
    it came, normalised, and told by FiLM. With remat only each block's input is kept, and the
    largest block computed again. Borders that devices exchange are left out.

    Where convolutions go by planes, what goes into one is kept three times. Without remat this is
    within a fifth of what XLA sets aside on a CPU; with remat it may set aside more.

    Args:
        configuration: The configuration.
        volume: Size of the input in voxels.
        windows: Windows a step, on one part of the mesh's batch axis.
        parts: Into how many parts a volume is cut.
    """
    c = configuration
    voxels = math.prod(volume) * windows
    convolutions = [layer for layer in layers(c) if layer.kind == "conv"]
    kept = sum(_kept(c, layer, voxels) for layer in convolutions)
    if c.remat:
        largest = max(_kept(c, layer, voxels) for layer in convolutions)
        inputs = sum(_input(c, layer, voxels) for layer in convolutions) // 2
        kept = min(kept, 2 * largest + inputs)
    frames = voxels * c.context + math.prod(output_size(c, volume)) * windows * (c.steps + 1)
    return COPIES * 4 * parameter_count(c) + (kept + 4 * frames) // parts


def available_bytes(platform: str, stats: dict[str, int] | None) -> int | None:
    """Returns how many bytes a device has, or None where that is not known.

    Args:
        platform: ``cpu``, ``gpu`` or ``tpu``.
        stats: What the device says of its memory.
    """
    if stats and stats.get("bytes_limit"):
        return stats["bytes_limit"]
    if platform == "cpu" and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _kept(c: Configuration, layer: Layer, voxels: int) -> int:
    """Returns the bytes that the way back needs of what leads into a convolution."""
    from baselines.volumetric.convolution import by_planes

    into = _input(c, layer, voxels) * (3 if by_planes() else 1)
    return int(layer.scale * voxels) * layer.inputs * 3 * 4 + into


def _input(c: Configuration, layer: Layer, voxels: int) -> int:
    width = 2 if c.precision == "bfloat16" else 4
    return int(layer.scale * voxels) * layer.inputs * width
