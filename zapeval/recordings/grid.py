"""A grid: where the voxels of a smaller or coarser volume lie in a segmentation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where the voxels of a smaller or coarser volume lie in the segmentation.

    Attributes:
        offset: Voxel of the segmentation under the volume's first voxel, per axis.
        stride: Voxels of the segmentation from one voxel of the volume to the next, per axis.
    """

    offset: tuple[int, int, int] = (0, 0, 0)
    stride: tuple[int, int, int] = (1, 1, 1)
