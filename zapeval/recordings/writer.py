"""A writer of zarr v3 arrays and groups, local or remote, through TensorStore."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zapeval.errors import InvalidInput, StorageError
from zapeval.recordings.stores import Store, first_sentence

_BLOSC = {
    "name": "blosc",
    # The fastest codec to decode of those that shrink float32 noise at all (see bench/).
    "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "blocksize": 16384},
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How an array is stored.

    Attributes:
        chunk: Shape of the smallest piece that decodes alone.
        shard: Shape of a file of many chunks; None stores each chunk in a file.
        compressed: Whether chunks go through blosc (lz4, bitshuffle).
    """

    chunk: tuple[int, ...]
    shard: tuple[int, ...] | None = None
    compressed: bool = True


class ArrayWriter:
    """A zarr v3 array that is written region by region; made by create_array or reopen_array.

    Attributes:
        uri: Where it is.
        shape: Size of each axis.
    """

    def __init__(self, store: Store, spec: dict[str, Any], *, create: bool) -> None:
        import tensorstore as ts

        self.uri = store.uri
        spec = {"driver": "zarr3", "kvstore": store.spec} | spec
        # A chunk of zeros must exist: absent chunks are errors when they are read.
        spec["store_data_equal_to_fill_value"] = True
        try:
            self._array = ts.open(
                spec, read=True, write=True, create=create, open=not create
            ).result()
        except ValueError as error:
            raise _storage_error(store.uri, error) from error
        self.shape: tuple[int, ...] = tuple(self._array.shape)

    def write(self, start: tuple[int, ...], values: np.ndarray) -> None:
        """Writes a block of values at a position; returns when it is stored.

        Raises:
            StorageError: The disk is full or the store refused.
        """
        region = tuple(slice(s, s + n) for s, n in zip(start, values.shape, strict=False))
        try:
            self._array[region].write(values).result()
        except ValueError as error:
            raise _storage_error(self.uri, error) from error


def create_array(store: Store, shape: tuple[int, ...], dtype: str, layout: Layout) -> ArrayWriter:
    """Creates an array where there is none yet.

    Raises:
        StorageError: It could not be created.
    """
    return ArrayWriter(store, {"metadata": _metadata(shape, np.dtype(dtype), layout)}, create=True)


def reopen_array(store: Store) -> ArrayWriter:
    """Opens an array of ours to write more of it.

    Raises:
        StorageError: It could not be opened.
    """
    return ArrayWriter(store, {}, create=False)


def write_group(store: Store, attributes: dict[str, Any]) -> None:
    """Writes the metadata of a zarr v3 group."""
    document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    data = json.dumps(document, indent=1, allow_nan=False).encode()
    if store.path is not None:
        partial = store.path / ".zarr.json.part"
        with _space(store.path, store.path):
            try:
                partial.write_bytes(data)
                partial.replace(store.path / "zarr.json")
            finally:
                partial.unlink(missing_ok=True)
        return
    import tensorstore as ts

    try:
        ts.KvStore.open(store.spec).result().write("zarr.json", data).result()
    except ValueError as error:
        raise _storage_error(store.uri, error) from error


def write_array(store: Store, values: np.ndarray, layout: Layout) -> None:
    """Writes a whole array.

    Raises:
        StorageError: It could not be written.
    """
    writer = create_array(store, values.shape, values.dtype.name, layout)
    writer.write((0,) * values.ndim, values)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Gives a folder to write in, which becomes path when the block ends well.

    Where it ends in an error, what was written is removed and path is as it was.

    Raises:
        InvalidInput: path exists.
        StorageError: It could not be written.
    """
    if os.path.lexists(path):
        raise InvalidInput(f"{path}: exists; remove it or choose another name")
    partial = path.with_name(f".{path.name}.part")
    with _space(path, path.parent):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            yield partial
            partial.rename(path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def files_into(folder: Path) -> Iterator[Path]:
    """Gives a folder to write files in, which move into folder when the block ends well.

    Files of the same names are replaced. Where it ends in an error, folder is as it was.

    Raises:
        StorageError: They could not be written.
    """
    with _space(folder, folder):
        partial = Path(tempfile.mkdtemp(prefix=".", suffix=".part", dir=folder))
        try:
            yield partial
            files = sorted(partial.iterdir())
            taken = [file.name for file in files if (folder / file.name).is_dir()]
            if taken:
                raise StorageError(f"{folder / taken[0]}: is a folder, expected a file")
            for file in files:
                file.replace(folder / file.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _space(path: Path, folder: Path) -> Iterator[None]:
    """Makes a folder, removes it again after an error, and says what went wrong with path."""
    made: list[Path] = []
    try:
        made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()
        if not isinstance(error, OSError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(str(path)) from error
        raise StorageError(f"{path}: could not be written: {error.strerror}") from error


def _metadata(shape: tuple[int, ...], dtype: np.dtype[Any], layout: Layout) -> dict[str, Any]:
    codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    if layout.compressed:
        codecs.append(_BLOSC)
    if layout.shard is not None:
        index = [codecs[0], {"name": "crc32c"}]
        sharding = {"chunk_shape": layout.chunk, "codecs": codecs, "index_codecs": index}
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    return {
        "shape": shape,
        "data_type": dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": layout.shard or layout.chunk},
        },
        "codecs": codecs,
    }


def _storage_error(uri: str, error: Exception) -> StorageError:
    sentence = first_sentence(error)
    if "No space left" in sentence or "RESOURCE_EXHAUSTED" in sentence:
        return _disk_full(uri)
    return StorageError(f"{uri}: could not be written: {sentence}")


def _disk_full(uri: str) -> StorageError:
    return StorageError(f"{uri}: the disk is full; free some space and repeat the command")
