"""A video copy: the centre of a public video, coarser in x and y, as the video of a recording.

The source holds frames last, ``[x, y, z, frames]``, at several resolutions; the copy is ``video``
``[frames, x, y, z]``, a file a frame, and the ``segmentation`` under it. Frames stream through: a
few are in memory at a time, and each is noted in the mirror's ledger when its file is whole.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, final

import numpy as np

from zapeval.errors import Refused, StorageError
from zapeval.recordings.arrays import Span, ZarrArray
from zapeval.recordings.coarsening import picked, pooled
from zapeval.recordings.ledger import Entry, Ledger, checksum_of, read_record
from zapeval.recordings.mirror import Derived, Progress
from zapeval.recordings.recording import SEGMENTATION, VIDEO
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import ArrayWriter, Layout, create_array, reopen_array

WORKERS = 4
"""Frames under way at a time; at 4x each takes about 0.2 GB of memory."""

Size = tuple[int, int, int]
Dtype = Literal["float32", "float16"]

_PART = (128, 72)
"""Voxels in x and y of a chunk: at 4x, what one of 4 x 4 devices holds."""

_RESUME = "repeat the command: it resumes"


@final
@dataclass(frozen=True, kw_only=True)
class VideoCopy(Derived):
    """A copy that is to be made; see video_plan.py.

    Attributes:
        items: Path below the folder -> key below the source.
        video: The source's video ``[x, y, z, frames]``.
        labels: The source's segmentation ``[x, y, z]``.
        factor: How much coarser than the segmentation the copy is, in x and y.
        rest: How much of that is left to average: the source's video may be coarser already.
        kept: Voxels of the segmentation that are kept, along each axis.
        dtype: Stored type of the frames.
        progress: Is told how many frames are done, and how many there are.
        workers: Frames under way at a time.
    """

    items: Mapping[str, str]
    video: ZarrArray
    labels: ZarrArray
    factor: int
    rest: int
    kept: tuple[Span, Span, Span]
    dtype: Dtype = "float32"
    progress: Progress | None = None
    workers: int = WORKERS

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.video.shape[3]

    @property
    def shape(self) -> Size:
        """Size of a frame of the copy, in voxels."""
        (x, x_end), (y, y_end), (z, z_end) = self.kept
        return (x_end - x) // self.factor, (y_end - y) // self.factor, z_end - z

    @property
    def frame_bytes(self) -> int:
        """Size of a stored frame in bytes, before compression."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    @property
    def source_bytes(self) -> int:
        """Size in bytes of what is read of the source for a frame, before compression."""
        chunk = self.video.chunk
        touched = [
            -(-stop // c) - start // c
            for (start, stop), c in zip(self._spans, chunk[:3], strict=True)
        ]
        return int(np.prod(touched)) * self.video.metadata.chunk_bytes // chunk[3]

    @property
    def compressed(self) -> bool:
        """Whether the source is compressed, so that less than source_bytes is read."""
        return bool({"blosc", "gzip", "zlib", "zstd"} & set(self.video.metadata.codecs))

    def left(self, folder: Path) -> int:
        """Returns the number of frames that a folder lacks."""
        entries = read_record(folder).entries
        return sum(_file(frame) not in entries for frame in range(self.frames))

    def check_room(self, folder: Path, frames: int) -> None:
        """Checks that the disk has room for so many frames.

        Raises:
            StorageError: It has not.
        """
        free = shutil.disk_usage(_existing(folder)).free
        if frames * self.frame_bytes > free:
            raise StorageError(
                f"{folder}: the disk is too full: {frames * self.frame_bytes:,} bytes of video to "
                f"store, {free:,} bytes free; make room or choose another folder"
            )

    def write(self, folder: Path, ledger: Ledger) -> tuple[Entry, ...]:
        """Writes the frames that are not there yet, and the labels under them.

        Raises:
            Refused: The folder holds a video of another shape or type.
            StorageError: The source lacks a chunk, has a damaged one or did not answer, or the disk
                is full.
        """
        todo = [
            frames
            for start in range(0, self.frames, self.video.chunk[3])
            for frames in _lacking(ledger, start, min(start + self.video.chunk[3], self.frames))
        ]
        count = sum(stop - start for start, stop in todo)
        self.check_room(folder, count)
        made = list(self._write_labels(folder, ledger))
        writer = self._writer(folder, VIDEO, (self.frames, *self.shape), self.dtype)
        done = self.frames - count
        tell = self.progress or (lambda done, total: None)
        tell(done, self.frames)
        for entries in self._written(folder, writer, todo):
            for entry in entries:
                ledger.add(entry)
            made += entries
            done += len(entries)
            tell(done, self.frames)
        for left in folder.rglob("*.__lock"):  # of a run that was killed
            left.unlink()
        return (*made, *_noted(folder, ledger, f"{VIDEO}/zarr.json"))

    @property
    def _spans(self) -> tuple[Span, Span, Span]:
        """The voxels of the source's video that are read."""
        by = self.factor // self.rest
        (x, x_end), (y, y_end), z = self.kept
        return (x // by, x_end // by), (y // by, y_end // by), z

    def _written(
        self, folder: Path, writer: ArrayWriter, todo: Sequence[Span]
    ) -> Iterator[list[Entry]]:
        """Writes runs of frames, a few at a time, and yields the entries of each that is done."""
        stop = threading.Event()
        with ThreadPoolExecutor(self.workers) as pool:
            runs = [pool.submit(self._copy, folder, writer, frames, stop) for frames in todo]
            try:
                for run in as_completed(runs):
                    yield run.result()
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _copy(
        self, folder: Path, writer: ArrayWriter, frames: Span, stop: threading.Event
    ) -> list[Entry]:
        try:
            values = self._read(frames, stop)
        except StorageError as error:
            raise StorageError(f"{error}; {_RESUME}") from error
        entries = []
        for frame, voxels in enumerate(values, start=frames[0]):
            file = folder / _file(frame)
            # What a run before left goes first: the storage library would read it.
            file.unlink(missing_ok=True)
            writer.write((frame, 0, 0, 0), voxels[None])
            entries.append(_entry(folder, _file(frame)))
        return entries

    def _read(self, frames: Span, stop: threading.Event) -> np.ndarray:
        """Returns frames of the copy, ``[frames, x, y, z]``, read in slabs along x."""
        x, y, z = self._spans
        found = np.empty((frames[1] - frames[0], *self.shape), self.dtype)
        for (low, high), to in _slabs(x, self.video.chunk[0], self.rest):
            if stop.is_set():
                raise StorageError("stopped")
            slab = np.moveaxis(self.video.read((low, high), y, z, frames), 3, 0)
            found[:, to] = pooled(slab.astype(np.float32, copy=False), self.rest)
        return found

    def _write_labels(self, folder: Path, ledger: Ledger) -> Iterator[Entry]:
        files = (f"{SEGMENTATION}/zarr.json", f"{SEGMENTATION}/c/0/0/0")
        if all(ledger.finished(file) for file in files):
            return
        shutil.rmtree(folder / SEGMENTATION / "c", ignore_errors=True)
        with suppress(FileNotFoundError):
            (folder / files[0]).unlink()
        try:
            labels = self._read_labels()
        except StorageError as error:
            raise StorageError(f"{error}; {_RESUME}") from error
        writer = self._writer(folder, SEGMENTATION, self.shape, labels.dtype.name)
        writer.write((0, 0, 0), labels)
        for file in files:
            entry = _entry(folder, file)
            ledger.add(entry)
            yield entry

    def _read_labels(self) -> np.ndarray:
        """Returns the labels of the copy, ``[x, y, z]``, read in slabs along x."""
        x, y, z = self.kept
        found = np.empty(self.shape, self.labels.dtype)
        for slab, to in _slabs(x, self.labels.chunk[0], self.factor):
            found[to] = picked(self.labels.read(slab, y, z), self.factor)
        return found

    def _writer(self, folder: Path, name: str, shape: tuple[int, ...], dtype: str) -> ArrayWriter:
        store = open_store(folder).child(name)
        if not (folder / name / "zarr.json").is_file():
            return create_array(store, shape, dtype, _layout(shape))
        begun = ZarrArray(store)
        if (begun.shape, begun.dtype.name) != (shape, dtype):
            raise Refused(
                f"{store}: holds {begun.dtype} {list(begun.shape)}, but {dtype} {list(shape)} is "
                "asked for; choose another folder, or delete this one"
            )
        return reopen_array(store)


def _existing(folder: Path) -> Path:
    return next(one for one in (folder, *folder.parents) if one.exists())


def _slabs(span: Span, chunk: int, by: int) -> Iterator[tuple[Span, slice]]:
    """Yields parts of a span that begin at whole coarse voxels, a chunk each, and where they go."""
    start, end = span
    inner = range((start // chunk + 1) * chunk, end, chunk)
    edges = {start, *(start + (at - start) // by * by for at in inner), end}
    for low, high in pairwise(sorted(edges)):
        yield (low, high), slice((low - start) // by, (high - start) // by)


def _layout(shape: tuple[int, ...]) -> Layout:
    """Returns how a volume is stored: one file, of chunks that parts of a mesh read alone."""
    *before, x, y, z = shape
    part = [min(n, most) for n, most in zip((x, y), _PART, strict=True)]
    whole = [-(-n // p) * p for n, p in zip((x, y), part, strict=True)]
    one = [1] * len(before)
    return Layout(chunk=(*one, *part, z), shard=(*one, *whole, z))


def _lacking(ledger: Ledger, start: int, stop: int) -> list[Span]:
    """Returns the run of frames from the first to the last that is not finished."""
    frames = [frame for frame in range(start, stop) if not ledger.finished(_file(frame))]
    return [(frames[0], frames[-1] + 1)] if frames else []


def _noted(folder: Path, ledger: Ledger, file: str) -> list[Entry]:
    if ledger.finished(file):
        return []
    entry = _entry(folder, file)
    ledger.add(entry)
    return [entry]


def _entry(folder: Path, file: str) -> Entry:
    path = folder / file
    return Entry(path=file, size=path.stat().st_size, blake3=checksum_of(path))


def _file(frame: int) -> str:
    return f"{VIDEO}/c/{frame}/0/0/0"
