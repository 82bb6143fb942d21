"""Leaves of the predictions digest: a hash that no chunk size, codec or zarr version can move.

The leaf of a step of a series is the BLAKE3 of the BLAKE3s of its rows, window by window; a row is
what is forecast for one window at one step, as little-endian float32. (For ``next-step`` a series
has one leaf, over the rows of all positions of all windows.) Rows grow from the left as their
columns are read, whatever the order in which rows are visited.
"""

from __future__ import annotations

import blake3
import numpy as np


class Leaf:
    """Hashes rows that come in parts.

    Args:
        rows: Number of rows.
    """

    def __init__(self, rows: int) -> None:
        self._rows = [blake3.blake3() for _ in range(rows)]

    def add(self, first: int, stride: int, parts: np.ndarray) -> None:
        """Adds the next columns of some rows.

        Args:
            first: The first row.
            stride: Distance between the rows.
            parts: float32 ``[rows, ..]``, each row contiguous.
        """
        values = parts.reshape(len(parts), -1).view(np.uint8)
        for row, part in zip(self._rows[first::stride], values, strict=False):
            row.update(part.data)

    def hexdigest(self) -> str:
        """Returns the leaf in hex."""
        return blake3.blake3(b"".join(row.digest() for row in self._rows)).hexdigest()
