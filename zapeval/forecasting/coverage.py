"""Coverage: whether every chunk of an array is stored, and stored as a plain file.

A storage library fills a missing chunk with the fill value, and follows links: an incomplete
submission would score as if it had forecast zeros. So presence is checked before scoring.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from zapeval.errors import StorageError, ZapevalError
from zapeval.recordings.arrays import ZarrArray
from zapeval.recordings.chunks import ChunkFiles

_SHOWN, _COUNTED = 3, 10_000


def uncovered(array: ZarrArray) -> Iterator[str]:
    """Yields what is missing or damaged, a sentence each; after the first few only their number."""
    path = array.store.path
    bad = iter(_bad_remote(array) if path is None else _bad_local(array, path))
    yield from islice(bad, _SHOWN)
    # Metadata can declare millions of chunks that are not there: counting them all takes minutes.
    more = sum(1 for _ in islice(bad, _COUNTED))
    if more:
        least = "at least " if more == _COUNTED else ""
        yield f"{array.uri}: {least}{more:,} more chunks are missing or damaged"


def _bad_remote(array: ZarrArray) -> Iterator[str]:
    try:
        present = set(array.store.keys())
    except StorageError:
        return  # A store that can't be listed tells of a missing chunk when it is read.
    for key in array.metadata.stored_keys():
        if key not in present:
            yield f"{array.uri}/{key}: chunk is missing; write it again"


def _bad_local(array: ZarrArray, root: Path) -> Iterator[str]:
    if root.is_symlink():
        yield f"{root}: is a symbolic link; expected the array's own folder"
        return
    metadata = array.metadata
    exact = metadata.chunk_bytes if not metadata.codecs and not metadata.index_at else None
    folders: dict[str, str] = {}
    for key in metadata.stored_keys():
        path = f"{root}/{key}"
        fault = _folder_fault(root, key, folders) or _file_fault(path, exact)
        if fault:
            yield f"{path}: {fault}; write it again"
        elif metadata.index_at:
            yield from _bad_shard(array, root, key)


def _folder_fault(root: Path, key: str, seen: dict[str, str]) -> str:
    """Returns what is wrong with a folder on the way to a chunk, "" where nothing is."""
    parts = key.split("/")[:-1]
    for end in range(1, len(parts) + 1):
        folder = "/".join(parts[:end])
        if folder not in seen:
            try:
                linked = (root / folder).is_symlink()
            except OSError:
                linked = False  # what keeps it from being read is said of the chunk
            seen[folder] = f"lies behind {folder}, a symbolic link" if linked else ""
        if seen[folder]:
            return seen[folder]
    return ""


def _file_fault(path: str, exact: int | None) -> str:
    """Returns what is wrong with a chunk file, "" where nothing is."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "chunk is missing"
    except OSError as error:
        return f"could not be read: {error.strerror}"
    if not stat.S_ISREG(status.st_mode):
        kinds = {stat.S_IFDIR: "folder", stat.S_IFLNK: "symbolic link"}
        kind = kinds.get(stat.S_IFMT(status.st_mode), "pipe or device")
        return f"is a {kind}, expected a chunk file"
    if exact is not None and status.st_size != exact:
        return f"has {status.st_size:,} bytes, expected {exact:,}"
    return "" if status.st_size else "is empty"


def _bad_shard(array: ZarrArray, root: Path, key: str) -> Iterator[str]:
    """Yields the inner chunks that a shard's index lacks, or that reach beyond the file."""
    path = root / key
    position = tuple(int(n) for n in key.split(array.metadata.separator) if n != "c")
    try:
        index = ChunkFiles(root, array.metadata).shard_index(position)
    except ZapevalError as error:
        yield str(error)
        return
    needed = _needed(array, position)
    offset, size = index[needed][..., 0], index[needed][..., 1]
    length = path.stat().st_size
    absent = int((offset == np.iinfo(np.uint64).max).sum())
    if absent:
        yield f"{path}: {absent} of its {offset.size} inner chunks are missing; write it again"
    elif bool(((offset > length) | (size > length) | (offset + size > length)).any()):
        yield f"{path}: its index reaches beyond the file of {length:,} bytes; write it again"


def _needed(array: ZarrArray, position: tuple[int, ...]) -> tuple[slice, ...]:
    """Returns which inner chunks of a shard hold values of the array; the rest is padding."""
    return tuple(
        slice(0, -(-(min(n, (p + 1) * s) - p * s) // c))
        for p, s, c, n in zip(position, array.metadata.shard, array.chunk, array.shape, strict=True)
    )
