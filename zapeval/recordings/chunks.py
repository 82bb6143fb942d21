"""Chunk files of a plain local zarr array, read and decoded without a storage library.

Plain means C order with no codec but blosc and CRC32C, sharded or not: the layouts that the public
ZAPBench code and zapeval write. One copy from the page cache and one decode is all that happens to
a value, which is what makes scoring run at the speed of the disk.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zapeval.errors import InvalidInput, StorageError
from zapeval.recordings.metadata import ArrayMetadata

_ABSENT = 2**64 - 1
_BLOSC_HEADER = 16


@dataclass(frozen=True, kw_only=True)
class _File:
    path: Path
    position: tuple[int, ...]
    descriptor: int
    size: int


class ChunkFiles:
    """Reads chunks into one buffer that the next read reuses; one instance a thread.

    Args:
        folder: Folder of the array.
        array: Its checked, plain metadata.
    """

    def __init__(self, folder: Path, array: ArrayMetadata) -> None:
        self.folder = folder
        self.array = array
        self.chunk = np.empty(array.chunk, array.dtype)
        self._bytes = self.chunk.data.cast("B")
        self._encoded = bytearray()
        self._file: _File | None = None
        self._shards: dict[tuple[int, ...], np.ndarray] = {}
        self._per_shard = tuple(s // c for s, c in zip(array.shard, array.chunk, strict=True))

    def read(self, index: Sequence[int]) -> np.ndarray:
        """Returns the decoded chunk at a chunk-grid index, in the shape of a whole chunk.

        Chunks at the edge of the array are padded; the padding means nothing. The buffer is
        overwritten by the next read.

        Raises:
            StorageError: The chunk is absent, no plain file, damaged, or ends early.
        """
        position = tuple(i // n for i, n in zip(index, self._per_shard, strict=True))
        file = self._open(position)
        if not self.array.index_at:
            self._decode(file, 0, file.size)
            return self.chunk
        within = tuple(i % n for i, n in zip(index, self._per_shard, strict=True))
        offset, size = self.shard_index(position)[within].tolist()
        if offset == size == _ABSENT:
            raise StorageError(
                f"{file.path}: inner chunk {list(within)} is missing; write it again"
            )
        self._decode(file, offset, size)
        return self.chunk

    def close(self) -> None:
        """Closes the file that was read last."""
        if self._file is not None:
            os.close(self._file.descriptor)
            self._file = None

    def __del__(self) -> None:
        self.close()

    def _open(self, position: tuple[int, ...]) -> _File:
        """Returns the opened file of a grid position; the last one stays open for its chunks."""
        if self._file is None or self._file.position != position:
            self.close()
            self._file = _open(self.folder / self.array.key(position), position)
        return self._file

    def shard_index(self, position: tuple[int, ...]) -> np.ndarray:
        """Returns offset and size of every inner chunk of a shard, ``uint64 [.., 2]``.

        Raises:
            StorageError: The shard is absent or its index is damaged.
        """
        found = self._shards.get(position)
        if found is None:
            found = self._shards[position] = self._read_index(self._open(position))
        return found

    def _read_index(self, file: _File) -> np.ndarray:
        count = int(np.prod(self._per_shard))
        size = 16 * count + (4 if self.array.index_checked else 0)
        start = 0 if self.array.index_at == "start" else file.size - size
        data = os.pread(file.descriptor, size, start) if start >= 0 else b""
        if len(data) < size:
            raise _ends_early(file.path, file.size, size)
        if self.array.index_checked:
            _check_crc(memoryview(data), f"{file.path}: shard index")
        return np.frombuffer(data, "<u8", 2 * count).reshape(*self._per_shard, 2)

    def _decode(self, file: _File, offset: int, size: int) -> None:
        if size > 2 * self.array.chunk_bytes + 4096 or offset + size > file.size:
            raise InvalidInput(
                f"{file.path}: a chunk of {size:,} bytes at {offset:,} does not fit the file of "
                f"{file.size:,} bytes or the declared {self.array.chunk_bytes:,}; write it again"
            )
        encoded = self._buffer(size)
        try:
            got = os.preadv(file.descriptor, [encoded], offset)
        except OSError as error:
            raise StorageError(f"{file.path}: could not be read: {error.strerror}") from error
        if got < size:
            raise _ends_early(file.path, file.size, offset + size)
        self._undo(encoded, file.path)

    def _buffer(self, size: int) -> memoryview:
        if not self.array.codecs and size == len(self._bytes):
            return self._bytes
        if size > len(self._encoded):
            self._encoded = bytearray(size)
        return memoryview(self._encoded)[:size]

    def _undo(self, encoded: memoryview, path: Path) -> None:
        """Undoes the codecs, last first, into the chunk buffer."""
        for codec in reversed(self.array.codecs):
            if codec == "crc32c":
                encoded = _check_crc(encoded, str(path))
            else:
                self._unblosc(encoded, path)
                encoded = self._bytes
        if encoded is not self._bytes:
            if len(encoded) != len(self._bytes):
                raise _ends_early(path, len(encoded), len(self._bytes))
            self._bytes[:] = encoded

    def _unblosc(self, encoded: memoryview, path: Path) -> None:
        # The header is compared before decoding: a lying one would inflate without bound.
        header = np.frombuffer(bytes(encoded[:_BLOSC_HEADER]).ljust(_BLOSC_HEADER, b"\0"), "<u4")
        if header[1] != len(self._bytes) or header[3] != len(encoded):
            raise StorageError(
                f"{path}: its blosc header says {header[1]:,} bytes from {header[3]:,}, expected "
                f"{len(self._bytes):,} from {len(encoded):,}; write it again"
            )
        try:
            _blosc().decompress_ptr(encoded, self.chunk.ctypes.data)
        except Exception as error:
            raise StorageError(f"{path}: blosc data is damaged; write it again") from error


def _open(path: Path, position: tuple[int, ...]) -> _File:
    """Opens a plain file; links are not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise StorageError(f"{path}: chunk is missing; write it again") from error
    except OSError as error:
        raise StorageError(f"{path}: could not be opened: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise StorageError(f"{path}: is a folder, a link or a device; expected a chunk file")
    return _File(path=path, position=position, descriptor=descriptor, size=status.st_size)


def _check_crc(data: memoryview, where: str) -> memoryview:
    import google_crc32c

    body, end = data[:-4], data[-4:]
    if google_crc32c.value(np.frombuffer(body, np.uint8)) != int.from_bytes(end, "little"):
        raise StorageError(f"{where}: its CRC32C does not fit; the file is damaged, write it again")
    return body


def _ends_early(path: Path, got: int, expected: int) -> StorageError:
    return StorageError(f"{path}: has {got:,} bytes, expected {expected:,}; write it again")


def _blosc() -> Any:
    import blosc

    # Each chunk decodes on the thread that asked for it, so that chunks decode side by side.
    blosc.set_releasegil(True)
    return blosc
