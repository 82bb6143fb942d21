"""Writing predictions: blocks of windows into a store that appears when it is complete.

Blocks go to a folder beside, ``.NAME.part``; a block is one file, renamed into place by the storage
library when all its bytes are written, and then noted in a journal with its checksum. Repeating an
interrupted command verifies what is noted and writes the rest.
"""

from __future__ import annotations

import os
import shutil
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, final

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series, Span
from zapeval.errors import InvalidInput, StorageError
from zapeval.forecasting.manifest import Manifest
from zapeval.recordings.arrays import ZarrArray
from zapeval.recordings.journal import Journal
from zapeval.recordings.lock import emptied, lock
from zapeval.recordings.metadata import read_group_attributes
from zapeval.recordings.stores import Store, open_store
from zapeval.recordings.writer import ArrayWriter, Layout, create_array, reopen_array, write_group

Dtype = Literal["float32", "float16"]

WINDOWS_A_BLOCK = 32
"""Windows a file: with 32 steps of 71,721 neurons 294 MB, written in 5 to 11 ms a window."""

_COLUMNS = 8192
_MULTIPLE = 1024
_POOLED_BYTES = 8 << 20


def layout_of(benchmark: Benchmark, neurons: int, *, compressed: bool = True) -> Layout:
    """Returns how predictions are stored: fast to score step by step, few files.

    A file holds 32 windows. Its chunks hold one step (all positions that fit 8 MiB where the
    protocol pools them) of an even share of the neurons, in whole multiples of 1,024 where they are
    split: so 71,721 become nine parts of at most 8,192. BLAKE3 hashes rows that come in whole
    kilobytes 2.5 times as fast as such that do not.
    """
    parts = -(-neurons // _COLUMNS)
    columns = neurons if parts == 1 else -(-neurons // (parts * _MULTIPLE)) * _MULTIPLE
    steps = 1
    if benchmark.protocol == "next-step":
        steps = min(benchmark.horizon, max(1, _POOLED_BYTES // (WINDOWS_A_BLOCK * columns * 4)))
    chunk = (WINDOWS_A_BLOCK, steps, columns)
    shard = (WINDOWS_A_BLOCK, steps * -(-benchmark.horizon // steps), columns * parts)
    return Layout(chunk=chunk, shard=shard, compressed=compressed)


class StoreWriter(ABC):
    """Writes a store beside its place, file by file, and lets it appear when it is complete.

    Args:
        path: The store to make; must not exist.
        manifest: What it will say of itself.
        dtype: ``float32``, or ``float16`` at half the size.
        compressed: Whether to compress, without loss.

    Attributes:
        close: Lets go of the store, so that another run may take it up; it ends so by itself.

    Raises:
        InvalidInput: path exists.
        Refused: Another run is writing it.
    """

    def __init__(
        self, path: Path, manifest: Manifest, dtype: Dtype = "float32", *, compressed: bool = True
    ) -> None:
        if path.exists():
            raise InvalidInput(f"{path}: exists; remove it or choose another name")
        self._path = path
        self._dtype = dtype
        self._compressed = compressed
        self._partial = path.with_name(f".{path.name}.part")
        self._writers: dict[str, ArrayWriter] = {}
        self.close = weakref.finalize(self, os.close, lock(self._partial, "forecast"))
        _begin(self._partial, manifest)
        self._journal = Journal(self._partial)

    def finish(self) -> None:
        """Makes the store appear under its name.

        Raises:
            StorageError: It can't, such as where something else has come to be there.
        """
        try:
            for left in self._partial.rglob("*.__lock"):
                left.unlink()
            self._journal.remove()
            self._partial.rename(self._path)
        except OSError as error:
            raise StorageError(f"{self._path}: could not be written: {error.strerror}") from error
        self.close()

    @abstractmethod
    def _layout(self, benchmark: Benchmark, shape: tuple[int, ...]) -> Layout:
        """Returns how an array of that shape is stored."""

    def _open(self, benchmark: Benchmark, series: Series, *each: int) -> None:
        """Opens the array of a series, ``[windows, horizon, *each]``."""
        if series.array not in self._writers:
            shape = (series.windows, benchmark.horizon, *each)
            store = open_store(self._partial).child(series.array)
            self._writers[series.array] = self._array(store, benchmark, series, shape)

    def _store(self, series: Series, file: str, start: tuple[int, ...], values: np.ndarray) -> None:
        """Writes values that fill a file of the array of a series."""
        with np.errstate(over="ignore"):
            stored = values.astype(self._dtype, copy=False)
        if stored is not values and not np.isfinite(stored).all():
            raise InvalidInput(
                f"{self._path}/{series.array}: {np.abs(values).max():g} does not fit float16; "
                "store float32"
            )
        # A damaged block goes first: the storage library would read it to fill up its edge.
        self._journal.forget(file)
        self._writers[series.array].write(start, stored)
        self._journal.add(file)

    def _array(
        self, store: Store, benchmark: Benchmark, series: Series, shape: tuple[int, ...]
    ) -> ArrayWriter:
        if (self._partial / series.array / "zarr.json").is_file():
            if self._begun_alike(store, shape):
                return reopen_array(store)
            # Of another type, or from another recording: the manifest tells neither.
            shutil.rmtree(self._partial / series.array)
        return create_array(store, shape, self._dtype, self._layout(benchmark, shape))

    def _begun_alike(self, store: Store, shape: tuple[int, ...]) -> bool:
        try:
            begun = ZarrArray(store)
        except InvalidInput:
            return False
        alike = (begun.shape, begun.dtype.name) == (shape, self._dtype)
        return alike and bool(begun.metadata.codecs) == self._compressed


@final
class PredictionsWriter(StoreWriter):
    """Writes the predictions of one run: blocks of windows, a file each; see StoreWriter."""

    def todo(self, benchmark: Benchmark, series: Series, neurons: int) -> Iterator[Span]:
        """Yields the blocks of windows of a series that are not written yet."""
        self._open(benchmark, series, neurons)
        for block, start in enumerate(range(0, series.windows, WINDOWS_A_BLOCK)):
            if not self._journal.holds(_file_of(series, block)):
                yield start, min(start + WINDOWS_A_BLOCK, series.windows)

    def write(self, series: Series, start: int, values: np.ndarray) -> None:
        """Writes a block, float32 ``[windows, horizon, neurons]``, that todo gave.

        Raises:
            InvalidInput: A value is too large for float16.
            StorageError: The disk is full; what was written before stays for a repeat.
        """
        self._store(series, _file_of(series, start // WINDOWS_A_BLOCK), (start, 0, 0), values)

    def _layout(self, benchmark: Benchmark, shape: tuple[int, ...]) -> Layout:
        return layout_of(benchmark, shape[2], compressed=self._compressed)


@final
class VolumesWriter(StoreWriter):
    """Writes the predicted video of one run: a file a frame; see StoreWriter."""

    def todo(
        self, benchmark: Benchmark, series: Series, shape: tuple[int, int, int]
    ) -> dict[int, tuple[int, ...]]:
        """Returns the windows of a series that lack frames, and the steps, from 1, that they lack.

        Args:
            benchmark: The benchmark.
            series: The series.
            shape: Size of a frame, the same whenever it is asked for.
        """
        self._open(benchmark, series, *shape)
        lacking = {}
        for window in range(series.windows):
            steps = range(1, benchmark.horizon + 1)
            left = [s for s in steps if not self._journal.holds(_frame_of(series, window, s))]
            if left:
                lacking[window] = tuple(left)
        return lacking

    def write(self, series: Series, window: int, step: int, frame: np.ndarray) -> None:
        """Writes a frame, float32 ``[x, y, z]``, that todo gave.

        Raises:
            InvalidInput: A value is too large for float16.
            StorageError: The disk is full; what was written before stays for a repeat.
        """
        start = (window, step - 1, 0, 0, 0)
        self._store(series, _frame_of(series, window, step), start, frame[None, None])

    def _layout(self, benchmark: Benchmark, shape: tuple[int, ...]) -> Layout:
        return Layout(chunk=(1, 1, *shape[2:]), compressed=self._compressed)


def _file_of(series: Series, block: int) -> str:
    return f"{series.array}/c/{block}/0/0"


def _frame_of(series: Series, window: int, step: int) -> str:
    return f"{series.array}/c/{window}/{step - 1}/0/0/0"


def _begin(partial: Path, manifest: Manifest) -> None:
    """Begins a run, or takes up the unfinished one of the same manifest."""
    attributes = manifest.to_attributes()
    try:
        begun = read_group_attributes(open_store(partial))
    except InvalidInput:
        begun = {}
    if begun | {"created": ""} == attributes | {"created": ""}:
        return
    emptied(partial)
    write_group(open_store(partial), attributes)
