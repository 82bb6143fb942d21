"""Arrays by URI: opened lazily behind the metadata gate, read by ranges, written atomically.

A URI names a zarr array (v2 or v3; see stores.py for the schemes), a local ``.npy`` file, or a
dataset in a local HDF5 file (``file.h5:/path/to/dataset``).
"""

from __future__ import annotations

import os
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, final

import numpy as np

from zapeval.errors import InvalidInput, NotFound, StorageError
from zapeval.recordings.chunks import ChunkFiles
from zapeval.recordings.metadata import ArrayMetadata, read_array_metadata
from zapeval.recordings.stores import Store, first_sentence, open_store

Span = tuple[int, int]
_HDF5 = re.compile(r"^(?P<file>.+\.(?:h5|hdf5|nwb)):(?P<dataset>/.+)$")


class Array(ABC):
    """A stored array that is read in parts.

    Attributes:
        uri: Where it is.
        shape: Size of each axis.
        dtype: NumPy dtype of its values.
        chunk: Shape of the pieces in which it is stored.
    """

    uri: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: tuple[int, ...]

    def read(self, *spans: Span, out: np.ndarray | None = None) -> np.ndarray:
        """Returns the values in ``[start, stop)`` of each leading axis, the others whole.

        Args:
            spans: The ranges.
            out: Where to put the values, converted to its dtype; None makes an array.

        Raises:
            InvalidInput: A range does not lie in the array.
            StorageError: A part of the array is missing or cannot be read.
        """
        whole = tuple((0, n) for n in self.shape)
        spans = spans + whole[len(spans) :]
        for axis, ((start, stop), n) in enumerate(zip(spans, self.shape, strict=True)):
            if not 0 <= start <= stop <= n:
                raise InvalidInput(f"{self.uri}: range [{start}, {stop}) of axis {axis} of {n}")
        if out is None:
            out = np.empty([stop - start for start, stop in spans], self.dtype)
        self._read(spans, out)
        return out

    @abstractmethod
    def _read(self, spans: tuple[Span, ...], out: np.ndarray) -> None: ...


@final
class ZarrArray(Array):
    """A zarr array; plain local ones are read chunk by chunk, others through TensorStore."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.uri = store.uri
        self.metadata: ArrayMetadata = read_array_metadata(store)
        self.shape = self.metadata.shape
        self.dtype = self.metadata.dtype
        self.chunk = self.metadata.chunk
        self._threads = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        return ZarrArray, (self.store,)

    def read_chunk(self, index: tuple[int, ...]) -> np.ndarray:
        """Returns the chunk at a chunk-grid index: ``[chunk shape]`` padded, or cut at the edge.

        The values may be overwritten by the same thread's next read, of whichever array.

        Raises:
            StorageError: The chunk is missing, damaged or cannot be read.
        """
        if self._files is not None:
            return self._files.read(index)
        return self._tensorstore_read(
            tuple(
                (i * c, min((i + 1) * c, n))
                for i, c, n in zip(index, self.chunk, self.shape, strict=True)
            )
        )

    def expect_chunk(self, index: tuple[int, ...]) -> None:
        """Says that a chunk will be read soon, so that it may be read ahead from disk."""
        if self._files is not None:
            self._files.expect(index)

    def _read(self, spans: tuple[Span, ...], out: np.ndarray) -> None:
        if self._files is None:
            out[...] = self._tensorstore_read(spans)
            return
        for index in chunks_in(spans, self.chunk):
            start = index[0] * self.chunk[0]
            wanted = (max(0, spans[0][0] - start), min(self.chunk[0], spans[0][1] - start))
            values = self._files.read(index, wanted)
            to, of = [], []
            for i, c, (start, stop) in zip(index, self.chunk, spans, strict=True):
                low, high = max(start, i * c), min(stop, (i + 1) * c)
                to.append(slice(low - start, high - start))
                of.append(slice(low - i * c, high - i * c))
            out[tuple(to)] = values[tuple(of)]

    @property
    def _files(self) -> ChunkFiles | None:
        # Asked for several times a chunk, so the common case comes first.
        files: ChunkFiles | None = getattr(self._threads, "files", None)
        if files is None and self.store.path is not None and self.metadata.plain:
            files = self._threads.files = ChunkFiles(self.store.path, self.metadata)
        return files

    @cached_property
    def _tensorstore(self) -> Any:
        import tensorstore as ts

        spec = {
            "driver": f"zarr{3 if self.metadata.zarr_format == 3 else ''}",
            "kvstore": self.store.spec,
            # Without this a missing chunk would read as a forecast of the fill value.
            "fill_missing_data_reads": False,
            "recheck_cached_data": "open",
        }
        if self.metadata.zarr_format == 2:
            # What was checked is what is opened; and TensorStore refuses members that it does not
            # know, such as the checksum flag of zstd that newer writers add.
            spec["metadata"] = _known_members(self.metadata.document)
        try:
            assume = self.metadata.zarr_format == 2
            return ts.open(spec, open=True, assume_metadata=assume, read=True).result()
        except ValueError as error:
            raise StorageError(
                f"{self.uri}: could not be opened: {first_sentence(error)}"
            ) from error

    def _tensorstore_read(self, spans: tuple[Span, ...]) -> np.ndarray:
        region = tuple(slice(start, stop) for start, stop in spans)
        try:
            values: np.ndarray = self._tensorstore[region].read(order="C").result()
        except ValueError as error:
            place = ", ".join(f"{start}:{stop}" for start, stop in spans)
            raise StorageError(
                f"{self.uri}[{place}]: could not be read: {first_sentence(error)}"
            ) from error
        return values


@final
class NpyArray(Array):
    """A NumPy file, mapped rather than loaded."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        try:
            self._values = np.load(uri, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise NotFound(f"{uri}: does not exist") from error
        except Exception as error:  # its header is read as Python source: that fails in many ways
            raise InvalidInput(f"{uri}: is no NumPy file of plain numbers: {error}") from error
        if not isinstance(self._values, np.ndarray):
            raise InvalidInput(f"{uri}: is an archive of NumPy files, expected a single one")
        self.shape = self.chunk = self._values.shape
        self.dtype = self._values.dtype

    def _read(self, spans: tuple[Span, ...], out: np.ndarray) -> None:
        out[...] = self._values[tuple(slice(*span) for span in spans)]


@final
class Hdf5Array(Array):
    """A dataset of an HDF5 file."""

    def __init__(self, uri: str, file: str, dataset: str) -> None:
        import h5py

        self.uri = uri
        if not Path(file).exists():
            raise NotFound(f"{file}: does not exist")
        try:
            values = h5py.File(file, "r")[dataset]
        except KeyError as error:
            raise NotFound(f"{uri}: the file holds no {dataset}") from error
        except (OSError, RuntimeError) as error:
            raise InvalidInput(f"{file}: is no HDF5 file: {error}") from error
        if not isinstance(values, h5py.Dataset) or values.shape is None:
            raise InvalidInput(f"{uri}: is a group or empty, expected a dataset of numbers")
        self._values = values
        self.shape = values.shape
        self.dtype = values.dtype
        self.chunk = values.chunks or values.shape

    def _read(self, spans: tuple[Span, ...], out: np.ndarray) -> None:
        try:
            out[...] = self._values[tuple(slice(*span) for span in spans)]
        except (OSError, RuntimeError) as error:
            raise StorageError(f"{self.uri}: could not be read: {error}") from error


@final
class Transposed(Array):
    """An array with its axes in reverse, such as ``[neurons, frames]`` as ``[frames, neurons]``."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self.uri = array.uri
        self.shape = array.shape[::-1]
        self.dtype = array.dtype
        self.chunk = array.chunk[::-1]

    def _read(self, spans: tuple[Span, ...], out: np.ndarray) -> None:
        self._array.read(*spans[::-1], out=out.T)


def open_array(uri: str | os.PathLike[str]) -> Array:
    """Opens an array for reading; reads its metadata and nothing else.

    Raises:
        NotFound: There is no such array.
        InvalidInput: It is no array that passes the metadata gate.
    """
    text = os.fspath(uri)
    hdf5 = _HDF5.match(text)
    if hdf5 and "://" not in text:
        return Hdf5Array(text, hdf5["file"], hdf5["dataset"])
    if text.endswith(".npy") and "://" not in text:
        return NpyArray(text)
    return ZarrArray(open_store(text))


def chunks_in(spans: tuple[Span, ...], chunk: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yields the chunk-grid indices that touch a region, last axis fastest."""
    ranges = (
        range(start // c, -(-stop // c)) if stop > start else range(0)
        for (start, stop), c in zip(spans, chunk, strict=True)
    )
    return product(*ranges)


def _known_members(document: dict[str, Any]) -> dict[str, Any]:
    """Returns zarr v2 metadata without the one compressor option that TensorStore lacks."""
    compressor = document.get("compressor")
    if not isinstance(compressor, dict):
        return document
    return document | {"compressor": {k: v for k, v in compressor.items() if k != "checksum"}}
