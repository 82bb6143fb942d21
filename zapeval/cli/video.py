"""The video of ``zapeval data fetch``: its sizes told, agreed to, copied."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import amount, note
from zapeval.errors import Refused, UsageError

if TYPE_CHECKING:
    from zapeval.recordings.mirror import Mirror, Progress, PublicVideo
    from zapeval.recordings.video import VideoCopy


class Resolution(StrEnum):
    """How much coarser than recorded, in x and y, a video is copied."""

    full = "1x"
    half = "2x"
    quarter = "4x"

    @property
    def factor(self) -> int:
        """The factor as a number."""
        return int(self.value[:-1])


Video = Annotated[
    Resolution | None,
    typer.Option(
        "--video", help="The recording with its video, so much coarser in x and y than recorded."
    ),
]
Crop = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,Z",
        help="Centre of the video to keep, in recorded voxels; default: the paper's.",
    ),
]


def video_folder(name: str, mirror: Mirror, video: Resolution) -> Path:
    """Returns the folder of a recording with its video.

    Raises:
        Refused: It has no public video.
    """
    _public(name, mirror)
    return mirror.video_folder(video.factor)


def plan_video(
    name: str,
    mirror: Mirror,
    source: str,
    video: Resolution,
    *,
    crop: str | None,
    dtype: str,
    progress: Progress | None,
) -> tuple[VideoCopy, Path]:
    """Returns the copy that is asked for, and the folder that it goes to.

    Raises:
        Refused: There is no public video.
        UsageError: The crop is none.
    """
    from zapeval.recordings.video_plan import plan_copy

    copy = plan_copy(
        source,
        _public(name, mirror),
        factor=video.factor,
        kept=None if crop is None else _size(crop),
        dtype="float16" if dtype == "float16" else "float32",
        progress=progress,
    )
    return copy, video_folder(name, mirror, video)


def agree(copy: VideoCopy, folder: Path, *, yes: bool, quiet: bool) -> None:
    """Tells the sizes of a copy that is not whole yet, and asks whether to go on.

    Raises:
        Refused: The answer is no, or nobody can be asked.
        StorageError: The disk has no room for it.
    """
    left = copy.left(folder)
    if not left:
        return
    if not (quiet and yes):
        note(sizes(copy, left))
    copy.check_room(folder, left)
    if yes:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{folder}: nothing was fetched; add --yes to fetch that much")
    if not typer.confirm("Fetch it?", err=True):
        raise Refused(f"{folder}: nothing was fetched")


def sizes(copy: VideoCopy, left: int) -> str:
    """Returns a sentence on how much there is to download and to store."""
    size = " x ".join(map(str, copy.shape))
    most = "at most " if copy.compressed else ""
    how = f", averaged {copy.rest} x {copy.rest}" if copy.rest > 1 else ""
    return (
        f"{copy.video.uri}{how}: {left:,} of {copy.frames:,} frames to fetch, "
        f"{most}{amount(left * copy.source_bytes, 'bytes')} to download; as {size} {copy.dtype} "
        f"at most {amount(left * copy.frame_bytes, 'bytes')} on disk"
    )


def _public(name: str, mirror: Mirror) -> PublicVideo:
    if mirror.video is None:
        raise Refused(f"{name}: has no public video")
    return mirror.video


def _size(text: str) -> tuple[int, int, int]:
    try:
        x, y, z = map(int, text.split(","))
    except ValueError as error:
        raise UsageError(f"--crop {text!r}: expected three numbers, as 2048,1152,72") from error
    return x, y, z
