"""The anatomy: which voxels are which neuron's, cut like the volumes, to take means over them."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from baselines.volumetric.sharding import Layout
from zapeval.errors import InvalidInput


@jax.tree_util.register_dataclass
@dataclass(frozen=True, kw_only=True, eq=False)
class Anatomy:
    """A segmentation on the devices.

    Attributes:
        labels: int32 ``[x, y, z]``; label ``i + 1`` is neuron ``i``, 0 is background.
        voxels: Voxels of each neuron, int32 ``[neurons]``.
        weight: 1 for each neuron that counts, 0 for those that are not scored or have no voxel,
            float32 ``[neurons]``.
    """

    labels: jax.Array
    voxels: jax.Array
    weight: jax.Array

    @property
    def missing(self) -> np.ndarray:
        """Neurons without a voxel, bool ``[neurons]``."""
        empty: np.ndarray = np.asarray(self.voxels) == 0
        return empty

    @property
    def counted(self) -> jax.Array:
        """1 in the voxels of neurons that count, else 0, float32 ``[x, y, z]``."""
        return jnp.concatenate([jnp.zeros(1), self.weight])[self.labels]


def anatomy_of(
    labels: np.ndarray | jax.Array,
    neurons: int,
    *,
    mask: np.ndarray | None = None,
    layout: Layout | None = None,
) -> Anatomy:
    """Returns the anatomy of a segmentation.

    Args:
        labels: Integers ``[x, y, z]``; or an array that lies on the devices already.
        neurons: Number of neurons of the recording.
        mask: Which neurons are scored, bool ``[neurons]``; None where all are.
        layout: Where volumes lie; None on one device.

    Raises:
        InvalidInput: A label names no neuron, no neuron that is scored has a voxel, or the
            segmentation can't be cut into equal parts.
    """
    if layout is not None and not layout.is_even((1, *labels.shape)):
        raise InvalidInput(
            f"segmentation {list(labels.shape)}: can't be cut into {layout.shards[0]} x "
            f"{layout.shards[1]} equal parts along x and y; crop it as the video"
        )
    where = None if layout is None else layout.labels
    placed = jax.device_put(labels.astype(np.int32), where)
    low, high = int(placed.min()), int(placed.max())
    if low < 0 or high > neurons:
        raise InvalidInput(
            f"segmentation: has labels {low} to {high}, expected 0 to {neurons}, the number of "
            "neurons of the recording"
        )
    voxels = _voxels(placed, neurons, layout)
    scored = jnp.ones(neurons, bool) if mask is None else jnp.asarray(mask)
    weight = ((voxels > 0) & scored).astype(jnp.float32)
    if not float(weight.sum()):
        raise InvalidInput(
            f"segmentation {list(placed.shape)}: none of the {neurons} neurons is scored and has a "
            "voxel in it; crop elsewhere, or use another segmentation"
        )
    return Anatomy(labels=placed, voxels=voxels, weight=weight)


def segment_means(frames: jax.Array, anatomy: Anatomy, layout: Layout | None = None) -> jax.Array:
    """Returns the mean over each neuron's voxels, ``[batch, frames, neurons]``; 0 without any.

    ``y_n = (1/|seg(n)|) sum_{s in seg(n)} Y_s``. Each device sums over its own voxels; only these
    sums travel.

    Source: Immer et al. 2025, Eq. 1.

    Args:
        frames: ``[batch, frames, x, y, z]``.
        anatomy: The segmentation, of the size of the frames.
        layout: Where volumes lie; None on one device.
    """
    sums = segment_sums(frames, anatomy.labels, len(anatomy.voxels), layout)
    return sums / jnp.maximum(anatomy.voxels, 1).astype(sums.dtype)


def _voxels(labels: jax.Array, neurons: int, layout: Layout | None) -> jax.Array:
    """Returns the voxels of each neuron, int32 ``[neurons]``, on every device."""

    def count(labels: jax.Array) -> jax.Array:
        copies = 1 if layout is None else layout.batch
        ones = jnp.ones((copies, 1, *labels.shape), jnp.int32)
        return segment_sums(ones, labels, neurons, layout)[0, 0]

    where = None if layout is None else layout.everywhere
    voxels: jax.Array = jax.jit(count, out_shardings=where)(labels)
    return voxels


def segment_sums(
    frames: jax.Array, labels: jax.Array, neurons: int, layout: Layout | None
) -> jax.Array:
    """Returns the sum over each neuron's voxels, ``[batch, frames, neurons]``."""
    if frames.shape[2:] != labels.shape:
        raise InvalidInput(
            f"frames {list(frames.shape[2:])}: the segmentation is {list(labels.shape)}, expected "
            "one of the frames' size"
        )

    def own(part: jax.Array, place: jax.Array) -> jax.Array:
        # Background goes to a neuron beyond the last, whose sum is dropped.
        owner = jnp.where(place > 0, place - 1, neurons).reshape(-1)
        flat = part.reshape(-1, owner.size).T
        sums = jax.ops.segment_sum(flat, owner, num_segments=neurons)
        by_neuron: jax.Array = sums.T.reshape(*part.shape[:2], neurons)
        return by_neuron

    def everybodys(part: jax.Array, place: jax.Array) -> jax.Array:
        total: jax.Array = jax.lax.psum(own(part, place), ("x", "y"))
        return total

    if layout is None:
        return own(frames, labels)
    specs = (layout.frames.spec, layout.labels.spec)
    sums: jax.Array = jax.shard_map(
        everybodys, mesh=layout.mesh, in_specs=specs, out_specs=PartitionSpec("batch")
    )(frames, labels)
    return sums
