"""Sums: what one task adds up, a cell for each step (or one for all pooled positions)."""

from __future__ import annotations

import blake3
import numpy as np

from zapeval.scoring import kernel


class Sums:
    """Sums a neuron, error sums a window, and the leaves of the predictions digest.

    Args:
        windows: Windows of the series.
        steps: Steps of the task.
        neurons: Scored neurons.
        pooled: Whether all steps share a cell: the positions of the next-step protocol.
        digest: Whether leaves are taken.

    Attributes:
        cells: Number of cells.
        samples: Samples of a neuron in a cell.
        neuron: The kernel's rows, float64 ``[cells, 9, neurons]``.
        window: Sums over neurons of absolute and squared errors, float64 ``[cells, 2, windows]``.
    """

    def __init__(
        self, *, windows: int, steps: int, neurons: int, pooled: bool, digest: bool
    ) -> None:
        self._pooled = pooled
        self.cells = 1 if pooled else steps
        self.samples = windows * (steps if pooled else 1)
        self.neuron = np.zeros((self.cells, kernel.ROWS, neurons))
        self.window = np.zeros((self.cells, 2, windows))
        self._leaves = [blake3.blake3() for _ in range(self.cells)] if digest else []

    def cell(self, step: int) -> int:
        """Returns the cell of a step, both counted from the task's first."""
        return 0 if self._pooled else step

    def shift(self, step: int, first: int, values: np.ndarray, targets: np.ndarray) -> None:
        """Sets the shifts of some neurons, float32 ``[columns]``, at a cell's first sample."""
        if self._pooled and step > 0:
            return
        columns = slice(first, first + len(values))
        self.neuron[self.cell(step), kernel.PREDICTION_SHIFT, columns] = values
        self.neuron[self.cell(step), kernel.TARGET_SHIFT, columns] = targets

    def hash(self, block: np.ndarray) -> None:
        """Adds a block ``[windows, steps, ..]`` to the leaves."""
        for cell, leaf in enumerate(self._leaves):
            part = block if self._pooled else np.ascontiguousarray(block[:, cell])
            leaf.update(part.data.cast("B"))

    @property
    def hashing(self) -> bool:
        """Whether leaves are taken."""
        return bool(self._leaves)

    def leaf(self, cell: int) -> str:
        """Returns the leaf of a cell in hex, "" where none was taken."""
        return self._leaves[cell].hexdigest() if self._leaves else ""
