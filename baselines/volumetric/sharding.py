"""The layout of a volumetric model's arrays over devices: a mesh (batch, x, y).

Volumes are cut along x and y. XLA's partitioner then exchanges the rows that convolutions need at
the borders, and sums the statistics of group norms over all parts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from zapeval.errors import InvalidInput, UsageError

AXES = ("batch", "x", "y")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where arrays lie.

    Attributes:
        mesh: Devices along the axes ``batch``, ``x`` and ``y``.
    """

    mesh: Mesh

    @property
    def batch(self) -> int:
        """Number of parts of a batch."""
        return int(self.mesh.shape["batch"])

    @property
    def shards(self) -> tuple[int, int]:
        """Number of parts of a volume along x and y."""
        return int(self.mesh.shape["x"]), int(self.mesh.shape["y"])

    @property
    def frames(self) -> NamedSharding:
        """Of frames ``[batch, frames, x, y, z]``: the context, targets, forecasts."""
        return self._sharding("batch", None, "x", "y")

    @property
    def activations(self) -> NamedSharding:
        """Of activations and outputs ``[batch, x, y, z, features]``."""
        return self._sharding("batch", "x", "y")

    @property
    def labels(self) -> NamedSharding:
        """Of a segmentation ``[x, y, z]``."""
        return self._sharding("x", "y")

    @property
    def windows(self) -> NamedSharding:
        """Of what each window has, ``[batch, ..]``: lead times, stimulus, weights, traces."""
        return self._sharding("batch")

    @property
    def everywhere(self) -> NamedSharding:
        """Of what each device has whole: parameters."""
        return self._sharding()

    def is_even(self, shape: Sequence[int]) -> bool:
        """Says whether activations ``[batch, x, y, z, features]`` are cut into equal parts."""
        x, y = self.shards
        return shape[1] % x == 0 and shape[2] % y == 0

    def check_batch(self, size: int) -> None:
        """Refuses a batch that can't be cut into equal parts.

        Raises:
            InvalidInput: Its size is no multiple of the mesh's.
        """
        if size < 1 or size % self.batch:
            raise InvalidInput(
                f"batch of {size}: expected a multiple of {self.batch}, the mesh's axis batch"
            )

    def _sharding(self, *axes: str | None) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec(*axes))


def layout_over(
    *, batch: int = 1, x: int = 1, y: int = 1, devices: Sequence[jax.Device] | None = None
) -> Layout:
    """Returns a layout over devices, by default over those of all hosts.

    Args:
        batch: Parts of a batch.
        x: Parts of a volume along x.
        y: Parts along y.
        devices: The devices, as many as there are parts.

    Raises:
        UsageError: There are more or fewer devices than parts.
    """
    devices = jax.devices() if devices is None else devices
    shape = (batch, x, y)
    if min(shape) < 1 or math.prod(shape) != len(devices):
        raise UsageError(
            f"mesh {batch} x {x} x {y} (batch, x, y): has {math.prod(shape)} parts for "
            f"{len(devices)} devices; choose three numbers from 1 whose product is {len(devices)}"
        )
    # Mesh, not jax.make_mesh: the partitioner is to choose whatever is not said here.
    return Layout(mesh=Mesh(np.array(devices).reshape(shape), AXES))


def default_layout() -> Layout:
    """Returns a layout that cuts volumes over all devices of all hosts, as squarely as it goes."""
    count = len(jax.devices())
    y = max(n for n in range(1, math.isqrt(count) + 1) if count % n == 0)
    return layout_over(x=count // y, y=y)


def constrained(activations: jax.Array, layout: Layout | None) -> jax.Array:
    """Returns activations ``[batch, x, y, z, features]``, cut as the layout says.

    The parts of coarse volumes may differ in size.
    """
    if layout is None:
        return activations
    placed: jax.Array = jax.lax.with_sharding_constraint(activations, layout.activations)
    return placed
