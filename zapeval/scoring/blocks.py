"""Blocks: predictions of one series, read chunk by chunk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import mul, sub
from typing import NamedTuple

import numpy as np

from zapeval.benchmarks.benchmark import Span
from zapeval.recordings.arrays import ZarrArray, chunks_in

_AHEAD = 8


class Piece(NamedTuple):
    """What of some steps comes out of one chunk.

    Attributes:
        window: Its first window.
        windows: How many windows of values count.
        step: Its first step, counted from the task's first.
        steps: How many steps of values count.
        first: Its first column (or first index of each remaining axis).
        columns: How many columns of values count.
        values: float32 ``[>= windows, >= steps, >= columns]``; overwritten by the next piece.
    """

    window: int
    windows: int
    step: int
    steps: int
    first: tuple[int, ...]
    columns: tuple[int, ...]
    values: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """The chunks of an array ``[windows, steps, ..]`` at some steps.

    Attributes:
        array: The predictions.
        steps: Indices ``[start, stop)`` into its second axis, whole chunks or up to its end.
    """

    array: ZarrArray
    steps: Span

    def windows(self) -> Iterator[Span]:
        """Yields the windows of each row of chunks, in order."""
        return _parts(self.array.shape[0], self.array.chunk[0])

    def columns(self) -> Iterator[Span]:
        """Yields the columns of each column of chunks, in order."""
        return _parts(self.array.shape[2], self.array.chunk[2])

    def pieces(self, columns: Span) -> Iterator[Piece]:
        """Yields the pieces of some columns: windows before steps.

        So the sums of a few neurons stay in the processor's cache over all windows, and the targets
        of a window, which are those of the next window one step earlier, over the task's steps.

        Raises:
            StorageError: A chunk is missing or cannot be read.
        """
        spans = ((windows, self.steps, columns) for windows in self.windows())
        yield from self._pieces(i for span in spans for i in chunks_in(span, self.array.chunk))

    def whole(self, windows: Span) -> np.ndarray:
        """Returns all that is forecast for some windows, float32 ``[windows, steps, ..]``.

        Raises:
            StorageError: A chunk is missing or cannot be read.
        """
        rest = self.array.shape[2:]
        shape = (windows[1] - windows[0], self.steps[1] - self.steps[0], *rest)
        block = np.empty(shape, np.float32)
        spans = (windows, self.steps, *((0, n) for n in rest))
        for piece in self._pieces(chunks_in(spans, self.array.chunk)):
            columns = zip(piece.first, piece.columns, strict=True)
            to = tuple(slice(first, first + count) for first, count in columns)
            of = tuple(slice(0, count) for count in piece.columns)
            steps = slice(piece.step, piece.step + piece.steps)
            values = piece.values[(slice(0, piece.windows), slice(0, piece.steps), *of)]
            block[(slice(None), steps, *to)] = values
        return block

    def _pieces(self, indices: Iterable[tuple[int, ...]]) -> Iterator[Piece]:
        array = self.array
        for index in _expecting(array, iter(indices)):
            start = tuple(map(mul, index, array.chunk))
            extent = tuple(map(min, array.chunk, map(sub, array.shape, start)))
            yield Piece(
                window=start[0],
                windows=extent[0],
                step=start[1] - self.steps[0],
                steps=extent[1],
                first=start[2:],
                columns=extent[2:],
                values=_as_float32(array.read_chunk(index)),
            )


def _parts(count: int, size: int) -> Iterator[Span]:
    for start in range(0, count, size):
        yield start, min(start + size, count)


def _expecting(array: ZarrArray, indices: Iterator[tuple[int, ...]]) -> Iterator[tuple[int, ...]]:
    """Yields the indices, and says of each a few before that it will be read."""
    ahead: deque[tuple[int, ...]] = deque()
    for index in indices:
        array.expect_chunk(index)
        ahead.append(index)
        if len(ahead) > _AHEAD:
            yield ahead.popleft()
    yield from ahead


def _as_float32(values: np.ndarray) -> np.ndarray:
    if values.dtype == np.float32:
        return values
    # A float64 beyond float32 becomes infinite, which the pass reports as any other infinity.
    with np.errstate(over="ignore"):
        return values.astype(np.float32)
