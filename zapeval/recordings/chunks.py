"""Chunk files of a plain local zarr array, read and decoded without a storage library.

Plain means no codec but blosc and CRC32C, sharded or not: the layouts that the public ZAPBench code
and zapeval write. One copy from the page cache and one decode is all that happens to a value, which
is what makes scoring run at the speed of the disk. It is also why a blosc header that lies costs
nothing: storage libraries inflate first and compare afterwards.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Sequence
from operator import floordiv, mod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zapeval.errors import StorageError
from zapeval.recordings.metadata import ArrayMetadata

Span = tuple[int, int]
_ABSENT = 2**64 - 1
_BLOSC_HEADER = 16
_WORTH_A_SEEK = 16 << 10
_NOWAIT = getattr(os, "RWF_NOWAIT", 0)
_CAN_READ_AHEAD = hasattr(os, "posix_fadvise")
_THREAD = threading.local()


class _File(NamedTuple):
    path: str
    position: tuple[int, ...]
    descriptor: int
    size: int


class ChunkFiles:
    """Reads chunks into the thread's buffer, which its next read reuses; one instance a thread.

    Args:
        folder: Folder of the array.
        array: Its checked, plain metadata.
    """

    def __init__(self, folder: Path, array: ArrayMetadata) -> None:
        self.folder = folder
        self.array = array
        # The buffer lies as values are stored; the chunk is a view of it with its axes in order.
        shape = [array.chunk[axis] for axis in array.order]
        self._stored = np.ndarray(shape, array.dtype, _room(array.chunk_bytes))
        self.chunk = self._stored.transpose(np.argsort(array.order))
        self._bytes = self._stored.data.cast("B")
        self._encoded = bytearray()
        self._file: _File | None = None
        self._cold = False
        self._shards: dict[tuple[int, ...], np.ndarray] = {}
        self._per_shard = tuple(s // c for s, c in zip(array.shard, array.chunk, strict=True))

    def read(self, index: Sequence[int], wanted: Span | None = None) -> np.ndarray:
        """Returns the decoded chunk at a chunk-grid index, in the shape of a whole chunk.

        Chunks at the edge of the array are padded; the padding means nothing. The buffer is
        overwritten by the thread's next read, of whichever array.

        Args:
            index: Which chunk.
            wanted: Range along the chunk's first axis whose values are asked for; the others then
                mean nothing, and are not read where values lie as they are.

        Raises:
            StorageError: The chunk is absent, no plain file, damaged, or ends early.
        """
        position = tuple(map(floordiv, index, self._per_shard))
        file = self._open(position)
        offset, size = 0, file.size
        if self.array.index_at:
            within = tuple(map(mod, index, self._per_shard))
            offset, size = self._index_of(file)[within].tolist()
            if offset == size == _ABSENT:
                raise StorageError(
                    f"{file.path}: inner chunk {list(within)} is missing; write it again"
                )
        shape, chunk = self.array.shape, self.array.chunk
        rows = min(chunk[0], shape[0] - index[0] * chunk[0])
        columns = min(chunk[-1], shape[-1] - index[-1] * chunk[-1])
        self._decode(file, offset, size, wanted or (0, rows), columns)
        return np.ascontiguousarray(self.chunk)

    def expect(self, index: Sequence[int]) -> None:
        """Asks the operating system to read a chunk ahead, if chunks have had to come from disk.

        Raises:
            StorageError: Its file is absent or no plain file.
        """
        if not self._cold:
            return
        position = tuple(map(floordiv, index, self._per_shard))
        file = self._file
        if file is None or file.position != position:
            file = _open(self._path(position), position)
        try:
            offset, size = 0, file.size
            if self.array.index_at:
                within = tuple(map(mod, index, self._per_shard))
                offset, size = self._index_of(file)[within].tolist()
            if offset + size <= file.size:
                os.posix_fadvise(file.descriptor, offset, size, os.POSIX_FADV_WILLNEED)
        finally:
            if file is not self._file:
                os.close(file.descriptor)

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
            self._file = _open(self._path(position), position)
        return self._file

    def _path(self, position: tuple[int, ...]) -> str:
        # Text: a Path costs as much as opening the file does.
        return f"{self.folder}/{self.array.key(position)}"

    def shard_index(self, position: tuple[int, ...]) -> np.ndarray:
        """Returns offset and size of every inner chunk of a shard, ``uint64 [.., 2]``.

        Raises:
            StorageError: The shard is absent or its index is damaged.
        """
        return self._index_of(self._open(position))

    def _index_of(self, file: _File) -> np.ndarray:
        if file.position not in self._shards:
            self._shards[file.position] = self._read_index(file)
        return self._shards[file.position]

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

    def _decode(self, file: _File, offset: int, size: int, wanted: Span, columns: int) -> None:
        if size > 2 * self.array.chunk_bytes + 4096 or offset + size > file.size:
            raise StorageError(
                f"{file.path}: a chunk of {size:,} bytes at {offset:,} fits neither the file of "
                f"{file.size:,} bytes nor a declared chunk of {self.array.chunk_bytes:,} bytes; "
                "write it again"
            )
        encoded = self._buffer(size)
        if encoded is self._bytes and self.array.order[0] == 0:
            self._read_plain(file, offset, wanted, columns)
            return
        self._read(file, encoded, offset)
        self._undo(encoded, file.path)

    def _read_plain(self, file: _File, offset: int, wanted: Span, columns: int) -> None:
        """Reads values that lie as they are; leaves padding where a seek costs less than a copy."""
        first = len(self._bytes) // self.array.chunk[0]
        last = self.array.chunk[-1] * self.array.dtype.itemsize
        start, stop = wanted[0] * first, wanted[1] * first
        useful = columns * self.array.dtype.itemsize
        if last - useful < _WORTH_A_SEEK:
            self._read(file, self._bytes[start:stop], offset + start)
            return
        for row in range(start, stop, last):
            self._read(file, self._bytes[row : row + useful], offset + row)

    def _read(self, file: _File, into: memoryview, offset: int) -> None:
        got = 0
        try:
            if not self._cold:
                # What is in the page cache comes at once; what is not tells to read ahead.
                got = _read_cached(file, into, offset)
                self._cold = got < len(into) and _CAN_READ_AHEAD
            while got < len(into):
                more = os.preadv(file.descriptor, [into[got:]], offset + got)
                if not more:
                    raise _ends_early(file.path, file.size, offset + len(into))
                got += more
        except OSError as error:
            raise StorageError(f"{file.path}: could not be read: {error.strerror}") from error

    def _buffer(self, size: int) -> memoryview:
        if not self.array.codecs and size == len(self._bytes):
            return self._bytes
        if size > len(self._encoded):
            self._encoded = bytearray(size)
        return memoryview(self._encoded)[:size]

    def _undo(self, encoded: memoryview, path: str) -> None:
        """Undoes the codecs, last first, into the chunk buffer."""
        for codec in reversed(self.array.codecs):
            if codec == "crc32c":
                encoded = _check_crc(encoded, path)
            else:
                self._unblosc(encoded, path)
                encoded = self._bytes
        if encoded is not self._bytes:
            if len(encoded) != len(self._bytes):
                raise _ends_early(path, len(encoded), len(self._bytes))
            self._bytes[:] = encoded

    def _unblosc(self, encoded: memoryview, path: str) -> None:
        # The header is compared before decoding: a lying one would inflate without bound.
        header = np.frombuffer(bytes(encoded[:_BLOSC_HEADER]).ljust(_BLOSC_HEADER, b"\0"), "<u4")
        if header[1] != len(self._bytes) or header[3] != len(encoded):
            raise StorageError(
                f"{path}: its blosc header says {header[1]:,} bytes from {header[3]:,}, expected "
                f"{len(self._bytes):,} from {len(encoded):,}; write it again"
            )
        try:
            _blosc().decompress_ptr(encoded, self._stored.ctypes.data)
        except Exception as error:
            raise StorageError(f"{path}: blosc data is damaged; write it again") from error


def _room(size: int) -> np.ndarray:
    """Returns the thread's buffer, uint8 ``[>= size]``: one for all arrays stays in the cache."""
    room: np.ndarray | None = getattr(_THREAD, "room", None)
    if room is None or room.size < size:
        room = _THREAD.room = np.empty(size, np.uint8)
    return room


def _open(path: str, position: tuple[int, ...]) -> _File:
    """Opens a plain file; links are not followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise StorageError(f"{path}: chunk is missing; write it again") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StorageError(f"{path}: is a symbolic link, expected a chunk file") from error
        raise StorageError(f"{path}: could not be opened: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise StorageError(f"{path}: is a folder or a device, expected a chunk file")
    return _File(path=path, position=position, descriptor=descriptor, size=status.st_size)


def _read_cached(file: _File, into: memoryview, offset: int) -> int:
    """Reads what the page cache holds and returns its number of bytes."""
    try:
        return os.preadv(file.descriptor, [into], offset, _NOWAIT)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL):
            return 0  # Nothing is cached, or the file system can't tell.
        raise


def _check_crc(data: memoryview, where: str) -> memoryview:
    import google_crc32c

    body, end = data[:-4], data[-4:]
    if google_crc32c.value(np.frombuffer(body, np.uint8)) != int.from_bytes(end, "little"):
        raise StorageError(f"{where}: its CRC32C does not fit; the file is damaged, write it again")
    return body


def _ends_early(path: str, got: int, expected: int) -> StorageError:
    return StorageError(f"{path}: has {got:,} bytes, expected {expected:,}; write it again")


def _blosc() -> Any:
    import blosc

    # Each chunk decodes on the thread that asked for it, so that chunks decode side by side; blosc
    # would start and end threads of its own for every chunk.
    blosc.set_releasegil(True)
    blosc.set_nthreads(1)
    return blosc
