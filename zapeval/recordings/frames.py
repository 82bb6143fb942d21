"""Frames: activity read in any order, with the blocks that were used last kept in memory."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np

from zapeval.errors import InvalidInput
from zapeval.recordings.arrays import Array, Span

_BLOCK = 512
FRAMES_BYTES = 5 << 29
"""Most that is kept: all blocks of ZAPBench's recording, of which 15 of 16 are trained on."""


class Frames:
    """The frames of an array; random windows of it cost a copy once its blocks are known.

    Args:
        array: Activity ``[frames, neurons]``.
        keep: Most bytes to keep; two blocks of 512 frames are kept in any case.
    """

    def __init__(self, array: Array, keep: int = FRAMES_BYTES) -> None:
        self._array = array
        self._blocks: OrderedDict[int, np.ndarray] = OrderedDict()
        self._most = max(2, keep // (_BLOCK * array.shape[1] * 4))
        self._lock = threading.Lock()

    def read(self, span: Span) -> np.ndarray:
        """Returns a copy of frames ``[start, stop)``, float32 ``[frames, neurons]``.

        Raises:
            InvalidInput: The range does not lie in the array.
            StorageError: They can't be read.
        """
        start, stop = span
        if not 0 <= start <= stop <= self._array.shape[0]:
            raise InvalidInput(
                f"{self._array.uri}: range [{start}, {stop}) of axis 0 of {self._array.shape[0]}"
            )
        values = np.empty((stop - start, self._array.shape[1]), np.float32)
        for number in range(start // _BLOCK, -(-stop // _BLOCK)):
            first = number * _BLOCK
            block = self._block(number)
            low, high = max(start, first), min(stop, first + len(block))
            values[low - start : high - start] = block[low - first : high - first]
        return values

    def _block(self, number: int) -> np.ndarray:
        with self._lock:
            if number in self._blocks:
                self._blocks.move_to_end(number)
                return self._blocks[number]
            first = number * _BLOCK
            stop = min(first + _BLOCK, self._array.shape[0])
            block = self._array.read((first, stop)).astype(np.float32, copy=False)
            self._blocks[number] = block
            while len(self._blocks) > self._most:
                self._blocks.popitem(last=False)
            return block
