"""The crop: which voxels of a video a model sees, and how coarsely."""

from __future__ import annotations

from dataclasses import dataclass

from baselines.volumetric.sizes import Size
from zapeval.errors import InvalidInput, UsageError
from zapeval.recordings.grid import Grid

Span = tuple[int, int]

RESOLUTIONS = (1, 2, 4)
"""How much coarser in x and y a model may see a video."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """The centre of a video's frames, coarsened along x and y.

    Attributes:
        frame: Size of the video's frames in voxels.
        kept: Size of their centre that is kept, in voxels of the video.
        resolution: How much coarser in x and y the model sees it: 1, 2 or 4.
    """

    frame: Size
    kept: Size
    resolution: int

    @property
    def size(self) -> Size:
        """Size in voxels of what the model sees."""
        return self.at(self.resolution)

    def at(self, factor: int) -> Size:
        """Returns the size in voxels that are coarser by a factor in x and y."""
        x, y, z = self.kept
        return x // factor, y // factor, z

    def grid(self, factor: int) -> Grid:
        """Returns where voxels that are coarser by a factor lie in the video's segmentation.

        Labels are those in the middle of these voxels; see zapeval/recordings/coarsening.py.
        """
        x, y, z = ((n - k) // 2 for n, k in zip(self.frame, self.kept, strict=True))
        middle = factor // 2
        return Grid(offset=(x + middle, y + middle, z), stride=(factor, factor, 1))

    def spans(self, index: tuple[slice, ...], factor: int) -> tuple[Span, Span, Span]:
        """Returns the voxels of the video under a part of a volume.

        Args:
            index: The part, slices of x, y and z in voxels of the volume.
            factor: How much coarser than the video the volume is in x and y.
        """
        found = []
        factors = (factor, factor, 1)
        for axis, (part, times) in enumerate(zip(index, factors, strict=True)):
            start, stop, _ = part.indices(self.at(factor)[axis])
            offset = (self.frame[axis] - self.kept[axis]) // 2
            found.append((offset + start * times, offset + stop * times))
        x, y, z = found
        return x, y, z


def crop_of(frame: Size, kept: Size | None, resolution: int) -> Crop:
    """Returns the crop of a video.

    Args:
        frame: Size of its frames in voxels.
        kept: Size of the centre to keep, None for all.
        resolution: How much coarser in x and y the model sees it: 1, 2 or 4.

    Raises:
        UsageError: There is no such resolution.
        InvalidInput: The centre is larger than a frame, or can't be made that much coarser.
    """
    if resolution not in RESOLUTIONS:
        raise UsageError(f"volumetric: resolution is {resolution!r}, expected 1, 2 or 4")
    size = frame if kept is None else kept
    whole = " x ".join(map(str, frame))
    for axis, (wanted, there) in enumerate(zip(size, frame, strict=True)):
        if not 1 <= wanted <= there:
            raise InvalidInput(
                f"volumetric: a crop of {wanted} along {'xyz'[axis]}, but the video's frames are "
                f"{whole}; expected 1 to {there}"
            )
        if axis < 2 and wanted % resolution:
            below = wanted // resolution * resolution
            raise InvalidInput(
                f"volumetric: {wanted} voxels along {'xyz'[axis]} can't be seen {resolution}x "
                f"coarser; crop to {below}, or choose another resolution"
            )
    return Crop(frame=frame, kept=size, resolution=resolution)
