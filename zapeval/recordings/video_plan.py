"""The plan of a video copy: which level of a public video is read, and which voxels of it."""

from __future__ import annotations

from contextlib import suppress

from zapeval.errors import InvalidInput, NotFound, UsageError
from zapeval.recordings.arrays import Span, ZarrArray
from zapeval.recordings.mirror import Progress, PublicVideo
from zapeval.recordings.recording import SEGMENTATION, VIDEO
from zapeval.recordings.stores import Store, open_store
from zapeval.recordings.video import WORKERS, Dtype, Size, VideoCopy

FACTORS = (1, 2, 4)
"""How much coarser in x and y a copy may be."""


def plan_copy(
    source: str,
    public: PublicVideo,
    *,
    factor: int,
    kept: Size | None = None,
    dtype: Dtype = "float32",
    progress: Progress | None = None,
    workers: int = WORKERS,
) -> VideoCopy:
    """Returns the copy of a public video; reads metadata and nothing else.

    Of the levels that the source has, the coarsest that is no coarser than asked for is read: the
    rest is averaged.

    Args:
        source: URI that its keys lie below.
        public: Where it is.
        factor: How much coarser in x and y, of FACTORS.
        kept: Size of the centre to keep, in voxels of the finest level; None as public says.
        dtype: Stored type of the frames.
        progress: Is told how many frames are done, and how many there are.
        workers: Frames under way at a time.

    Raises:
        UsageError: There is no such factor, or no worker.
        NotFound: The source has no such video or segmentation.
        InvalidInput: They do not fit each other, or the crop does not fit them.
    """
    if factor not in FACTORS:
        raise UsageError(f"video {factor}x: expected {', '.join(f'{f}x' for f in FACTORS)}")
    if workers < 1:
        raise UsageError(f"video: {workers} workers, expected at least 1")
    store = open_store(source)
    labels = ZarrArray(store.child(public.segmentation))
    level, video = _level(store, public, factor)
    copy = VideoCopy(
        items={VIDEO: public.levels[level], SEGMENTATION: public.segmentation},
        video=video,
        labels=labels,
        factor=factor,
        rest=factor // level,
        kept=_centre(labels, kept or public.kept, factor),
        dtype=dtype,
        progress=progress,
        workers=workers,
    )
    _check_fit(copy, level)
    return copy


def _level(store: Store, public: PublicVideo, factor: int) -> tuple[int, ZarrArray]:
    """Returns the coarsest level of the video that is there and fine enough."""
    fine = [level for level in public.levels if factor % level == 0]
    for level in sorted(fine, reverse=True):
        with suppress(NotFound):
            return level, ZarrArray(store.child(public.levels[level]))
    tried = ", ".join(public.levels[level] for level in sorted(fine))
    raise NotFound(f"{store}: holds no video at {tried}")


def _centre(labels: ZarrArray, kept: Size, factor: int) -> tuple[Span, Span, Span]:
    if len(labels.shape) != 3 or labels.dtype.kind not in "iu":
        raise InvalidInput(
            f"{labels.uri}: {labels.dtype} {list(labels.shape)}, expected integer labels [x, y, z]"
        )
    spans = []
    for axis, (wanted, there) in enumerate(zip(kept, labels.shape, strict=True)):
        by = factor if axis < 2 else 1
        start = (there - wanted) // 2
        if not 1 <= wanted <= there or wanted % by or start % by:
            raise InvalidInput(
                f"{labels.uri}: a crop of {wanted} along {'xyz'[axis]} of {there}; expected a "
                f"multiple of {by}, at most {there}, that begins at one: it would at {start}"
            )
        spans.append((start, start + wanted))
    x, y, z = spans
    return x, y, z


def _check_fit(copy: VideoCopy, level: int) -> None:
    video, labels = copy.video, copy.labels
    x, y, z = labels.shape
    expected = [x // level, y // level, z]
    if len(video.shape) != 4 or video.dtype.kind != "f" or list(video.shape[:3]) != expected:
        raise InvalidInput(
            f"{video.uri}: {video.dtype} {list(video.shape)}, expected floats [{x // level}, "
            f"{y // level}, {z}, frames], {level}x coarser in x and y than {labels.uri}"
        )
