"""The specimen: a recording's crop and anatomy, as a model sees them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Sharding

from baselines.volumetric.anatomy import Anatomy, anatomy_of
from baselines.volumetric.configuration import Configuration
from baselines.volumetric.crops import Crop, crop_of
from baselines.volumetric.sharding import Layout
from baselines.volumetric.sizes import Size, check_volume
from zapeval.errors import InvalidInput
from zapeval.recordings.arrays import Array, Span
from zapeval.recordings.coarsening import picked, pooled

ReadPart = Callable[[Span, Span, Span], np.ndarray]
"""Reads some frames of a window, float32 ``[frames, x, y, z]``, for spans of x, y and z."""

Index = Any
"""Slices of each axis, as JAX asks for a part of an array."""

_NAMED = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Specimen:
    """What all windows of a recording have in common.

    Attributes:
        crop: Which voxels are seen.
        output: How much coarser than the video, in x and y, the frames are that come out.
        anatomy: The segmentation under these.
    """

    crop: Crop
    output: int
    anatomy: Anatomy


def specimen_of(
    configuration: Configuration,
    layout: Layout,
    labels: Array,
    frame: Size,
    neurons: int,
    *,
    mask: np.ndarray | None,
    kept: Size | None,
    resolution: int,
) -> Specimen:
    """Returns a recording's crop and anatomy; each host reads the labels of its own parts.

    Args:
        configuration: The model's.
        layout: Where volumes lie.
        labels: The segmentation, integers ``[x, y, z]``.
        frame: Size of the video's frames.
        neurons: Number of neurons of the recording.
        mask: Which neurons are scored, bool ``[neurons]``; None where all are.
        kept: Size of the centre to keep, None for all.
        resolution: How much coarser in x and y the model sees the video.

    Raises:
        InvalidInput: The segmentation is no segmentation of the frames, the crop can't be cut or
            resampled, or no neuron that is scored has a voxel in it.
        UsageError: There is no such resolution.
    """
    if labels.shape != frame or labels.dtype.kind not in "iu":
        raise InvalidInput(
            f"{labels.uri}: {labels.dtype} {list(labels.shape)}, but the video's frames are "
            f"{list(frame)}; expected integer labels of that shape"
        )
    crop = crop_of(frame, kept, resolution)
    check_volume(configuration, crop.size, layout.shards)
    output = resolution // configuration.finest[0]

    def part(index: Index) -> np.ndarray:
        values = picked(labels.read(*crop.spans(index, output)), output)
        return np.ascontiguousarray(values, dtype=np.int32)

    placed = jax.make_array_from_callback(crop.at(output), layout.labels, part)
    anatomy = anatomy_of(placed, neurons, mask=mask, layout=layout)
    return Specimen(crop=crop, output=output, anatomy=anatomy)


def loss_of_neurons(specimen: Specimen) -> str:
    """Returns a sentence on the neurons without a voxel, "" where there are none."""
    missing = np.flatnonzero(specimen.anatomy.missing)
    if not len(missing):
        return ""
    named = ", ".join(map(str, missing[:_NAMED])) + (", .." if len(missing) > _NAMED else "")
    return (
        f"{len(missing)} of {len(specimen.anatomy.voxels)} neurons have no voxel in the crop at "
        f"this resolution, and will be missing from forecasts: {named}"
    )


class Loader:
    """Puts parts of a video on the devices that ask for them, and counts what it reads.

    Each host reads what its own devices hold, whatever the sharding says that is.

    Attributes:
        read_bytes: Bytes of the voxels that this host has read, as float32.
    """

    def __init__(self) -> None:
        self.read_bytes = 0

    def frames(
        self, reads: Sequence[ReadPart], count: int, crop: Crop, factor: int, sharding: Sharding
    ) -> jax.Array:
        """Returns frames on the devices, float32 ``[windows, frames, x, y, z]``.

        Args:
            reads: What reads the frames of each window.
            count: Frames of a window.
            crop: Which voxels.
            factor: How much coarser than the video in x and y.
            sharding: Where they shall lie.

        Raises:
            InvalidInput: A voxel is not finite.
            StorageError: They can't be read.
        """
        known: dict[Any, np.ndarray] = {}

        def part(index: Index) -> np.ndarray:
            windows, _, *space = index
            spans = crop.spans(tuple(space), factor)
            key = (windows.indices(len(reads)), spans)
            if key not in known:  # Devices that hold copies ask one by one.
                parts = [self._read(read, spans, factor) for read in reads[windows]]
                known[key] = np.stack(parts)
            return known[key]

        shape = (len(reads), count, *crop.at(factor))
        return jax.make_array_from_callback(shape, sharding, part)

    def _read(self, read: ReadPart, spans: tuple[Span, Span, Span], factor: int) -> np.ndarray:
        values = read(*spans)
        self.read_bytes += values.nbytes
        if not np.isfinite(values).all():
            raise InvalidInput(
                "video: holds values that are not finite in a window that is read; repair the "
                "recording, or crop them away"
            )
        return pooled(values, factor)


def placed(values: np.ndarray, sharding: Sharding) -> jax.Array:
    """Returns values that every host has, on the devices that hold their parts."""

    def part(index: Index) -> np.ndarray:
        return values[index]

    return jax.make_array_from_callback(values.shape, sharding, part)


def told_stimulus(
    series: str, stimuli: Sequence[np.ndarray | None], features: int
) -> np.ndarray | None:
    """Returns the stimuli of windows as a model is told of them, ``[windows, frames, features]``.

    Args:
        series: Whose they are, for messages.
        stimuli: Some of them, float32 ``[windows, frames, features]`` each.
        features: How many the model is told of; None is returned where it is 0.

    Raises:
        InvalidInput: There is none, it has another number of features, or values that are not
            finite.
    """
    if not features:
        return None
    given = [stimulus for stimulus in stimuli if stimulus is not None]
    found = {stimulus.shape[2] for stimulus in given}
    if len(given) < len(stimuli) or found != {features}:
        raise InvalidInput(
            f"{series}: its stimulus has {max(found, default=0)} features, but the model is told "
            f"of {features}; use recordings with the same stimulus features"
        )
    values = np.concatenate(given)
    if not np.isfinite(values).all():
        raise InvalidInput(f"{series}: its stimulus holds values that are not finite; repair it")
    return values
