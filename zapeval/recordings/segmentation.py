"""A segmentation: voxels to neurons.

The trace of neuron ``n`` is the mean over its voxels, ``y_n(t) = (1/|seg(n)|) sum_{s in seg(n)}
Y_s(t)`` (Immer et al. 2025, arXiv 2503.00073, Eq. 1). Label ``i + 1`` is column ``i`` of the
traces; label 0 is background.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from zapeval.errors import InvalidInput
from zapeval.recordings.arrays import Array
from zapeval.recordings.grid import Grid


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """Labels at the voxels of a volume.

    Attributes:
        labels: Label of each voxel, int32 ``[x * y * z]``.
        voxels: Voxels of each neuron, int64 ``[neurons]``.
        shape: Size of the volume.
    """

    labels: np.ndarray
    voxels: np.ndarray
    shape: tuple[int, int, int]

    @property
    def missing(self) -> np.ndarray:
        """Neurons without a voxel, ``bool [neurons]``."""
        empty: np.ndarray = self.voxels == 0
        return empty

    def means(self, volumes: np.ndarray) -> np.ndarray:
        """Returns Eq. 1 for each volume, float32 ``[volumes, neurons]``; NaN without a voxel.

        Args:
            volumes: float32 ``[volumes, x, y, z]``, C order.
        """
        flat = volumes.reshape(len(volumes), -1)
        sums = np.zeros((len(volumes), len(self.voxels) + 1))
        _sum_segments(flat, self.labels, sums)
        with np.errstate(invalid="ignore"):
            means: np.ndarray = sums[:, 1:] / self.voxels
        return means.astype(np.float32)


def open_segmentation(
    array: Array, neurons: int, shape: tuple[int, int, int], grid: Grid | None = None
) -> Segmentation:
    """Reads the labels under a volume's voxels.

    Args:
        array: Labels, integers ``[x, y, z]``.
        neurons: Columns of the recording's traces.
        shape: Size of the volume.
        grid: Where its voxels lie; by default voxel on voxel.

    Raises:
        InvalidInput: The volume reaches beyond the segmentation, or a label names no neuron.
    """
    grid = grid or Grid()
    if len(array.shape) != 3 or array.dtype.kind not in "iu":
        raise InvalidInput(
            f"{array.uri}: {array.dtype} {array.shape}, expected integer labels [x, y, z]"
        )
    spans = []
    for axis, (o, s, n, size) in enumerate(
        zip(grid.offset, grid.stride, shape, array.shape, strict=True)
    ):
        last = o + s * (n - 1)
        if n < 1 or o < 0 or s < 1 or last >= size:
            raise InvalidInput(
                f"{array.uri}: a volume of {n} voxels at offset {o}, stride {s} needs voxel {last} "
                f"of axis {axis}, which has {size}; mend the manifest's grid"
            )
        spans.append((o, last + 1))
    sx, sy, sz = grid.stride
    labels = np.ascontiguousarray(array.read(*spans)[::sx, ::sy, ::sz]).reshape(-1)
    if labels.size and int(labels.max()) > neurons:
        raise InvalidInput(
            f"{array.uri}: label {int(labels.max())}, but the recording has {neurons} neurons"
        )
    if labels.size and int(labels.min()) < 0:
        raise InvalidInput(f"{array.uri}: label {int(labels.min())} is negative")
    labels = labels.astype(np.int32)
    voxels = np.bincount(labels, minlength=neurons + 1)[1:]
    return Segmentation(labels=labels, voxels=voxels, shape=shape)


@numba.njit("(f4[:,::1],i4[::1],f8[:,::1])", nogil=True, cache=True)
def _sum_segments(volumes, labels, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for v in range(volumes.shape[0]):
        for i in range(labels.shape[0]):
            if labels[i] > 0:
                sums[v, labels[i]] += volumes[v, i]
