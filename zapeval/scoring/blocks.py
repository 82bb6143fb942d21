"""Blocks: predictions of one series read in rows of chunks, some windows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zapeval.benchmarks.benchmark import Span
from zapeval.recordings.arrays import ZarrArray, chunks_in


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Part of a block, as it comes out of one chunk.

    Attributes:
        step: Its first step, counted from the block's first.
        steps: How many steps of values count.
        first: Its first column.
        columns: How many columns of values count (or the extent of the remaining axes).
        values: float32 ``[>= windows, >= steps, >= columns]``; overwritten by the next piece.
    """

    step: int
    steps: int
    first: tuple[int, ...]
    columns: tuple[int, ...]
    values: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """The blocks of an array ``[windows, steps, ..]`` at some steps.

    Attributes:
        array: The predictions.
        steps: Indices ``[start, stop)`` into its second axis, whole chunks or the axis' end.
    """

    array: ZarrArray
    steps: Span

    def windows(self) -> Iterator[Span]:
        """Yields the windows of each block, in order."""
        count, size = self.array.shape[0], self.array.chunk[0]
        for start in range(0, count, size):
            yield start, min(start + size, count)

    def pieces(self, windows: Span) -> Iterator[Piece]:
        """Yields the pieces of a block: steps before columns.

        Raises:
            StorageError: A chunk is missing or cannot be read.
        """
        array = self.array
        rest = tuple((0, n) for n in array.shape[2:])
        for index in chunks_in((windows, self.steps, *rest), array.chunk):
            start = tuple(i * c for i, c in zip(index, array.chunk, strict=True))
            extent = tuple(
                min(c, n - s) for c, n, s in zip(array.chunk, array.shape, start, strict=True)
            )
            yield Piece(
                step=start[1] - self.steps[0],
                steps=extent[1],
                first=start[2:],
                columns=extent[2:],
                values=_as_float32(array.read_chunk(index)),
            )

    def empty(self, windows: Span) -> np.ndarray:
        """Returns room for a block, float32 ``[windows, steps, ..]``."""
        shape = (windows[1] - windows[0], self.steps[1] - self.steps[0], *self.array.shape[2:])
        return np.empty(shape, np.float32)

    def whole(self, windows: Span) -> np.ndarray:
        """Returns a block put together, float32 ``[windows, steps, ..]``."""
        block = self.empty(windows)
        for piece in self.pieces(windows):
            place(block, piece)
        return block


def place(block: np.ndarray, piece: Piece) -> None:
    """Copies a piece to where it lies in its block."""
    columns = tuple(slice(f, f + c) for f, c in zip(piece.first, piece.columns, strict=True))
    of = tuple(slice(0, c) for c in piece.columns)
    steps = slice(piece.step, piece.step + piece.steps)
    block[(slice(None), steps, *columns)] = piece.values[
        (slice(0, len(block)), slice(0, piece.steps), *of)
    ]


def _as_float32(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.float32:
        return values
    # A float64 beyond float32 becomes infinite, which the pass reports as any other infinity.
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
