"""Sums: what one task adds up, a cell for each step (or one for all pooled positions).

Neurons come in parts, each over all windows: the sums of a part stay in the processor's cache, and
its correlations are finished before the next part begins.
"""

from __future__ import annotations

import numpy as np

from zapeval.benchmarks.benchmark import Span
from zapeval.scoring import kernel
from zapeval.scoring.leaves import Leaf
from zapeval.scoring.metrics import neuron_correlation


class Sums:
    """Error sums a window, what is left of each neuron's sums, and the digest's leaves.

    Args:
        windows: Windows of the series.
        steps: Steps of the task.
        neurons: Scored neurons.
        pooled: Whether all steps share a cell: the positions of the next-step protocol.
        digest: Whether leaves are taken.
        per_neuron: Whether each neuron's own errors are kept too.
        influence: Whether influences on the correlation are summed too, in a second pass.

    Attributes:
        cells: Number of cells.
        samples: Samples of a neuron in a cell.
        window: Sums over neurons of absolute and squared errors, float64 ``[cells, 2, windows]``.
        correlation: Pearson's r of each neuron, float64 ``[cells, neurons]``.
        errors: Mean absolute and squared error of each neuron, float64 ``[cells, 2, neurons]``;
            without neurons unless they are kept.
        influence: Sums over neurons of each window's influence on their correlation,
            float64 ``[cells, windows]``; without windows unless they are summed.
    """

    def __init__(
        self,
        *,
        windows: int,
        steps: int,
        neurons: int,
        pooled: bool,
        digest: bool,
        per_neuron: bool,
        influence: bool = False,
    ) -> None:
        self._accumulate = kernel.accumulate_per_neuron if per_neuron else kernel.accumulate
        self._pooled = pooled
        self._stride = steps if pooled else 1
        self.cells = 1 if pooled else steps
        self.samples = windows * self._stride
        self.window = np.zeros((self.cells, 2, windows))
        self.correlation = np.empty((self.cells, neurons))
        self.errors = np.empty((self.cells, 2, neurons if per_neuron else 0))
        self.influence = np.zeros((self.cells, windows if influence else 0))
        self._leaves = [Leaf(self.samples) for _ in range(self.cells)] if digest else []
        self._part: Span = (0, 0)
        self._sums = np.empty((self.cells, kernel.ROWS, 0))
        self._standard = np.empty((self.cells, kernel.STANDARD_ROWS, 0))

    def begin(self, part: Span) -> None:
        """Begins a part: neurons ``[start, stop)``, over all windows."""
        self._part = part
        count = part[1] - part[0]
        if self._sums.shape[2] < count:
            self._sums = np.empty((self.cells, kernel.ROWS, count))
        self._sums[:, :, :count] = 0

    def add(
        self,
        block: np.ndarray,
        index: int,
        *,
        step: int,
        window: int,
        targets: np.ndarray,
        rows: np.ndarray,
    ) -> None:
        """Adds one step of a block to the part that was begun.

        Args:
            block: Predictions, float32 ``[>= windows, > index, >= columns]``, C order.
            index: Which of the block's steps.
            step: That step, counted from the task's first.
            window: First window of the block.
            targets: Target rows, float32 ``[rows, neurons]``.
            rows: Target row of each window, int64 ``[windows]``.
        """
        cell = 0 if self._pooled else step
        sums = self._sums[cell]
        first, stop = self._part
        if window == 0 and not (self._pooled and step):
            # The first sample of a neuron is its shift.
            sums[kernel.PREDICTION_SHIFT, : stop - first] = block[0, index, : stop - first]
            sums[kernel.TARGET_SHIFT, : stop - first] = targets[rows[0], first:stop]
        errors = self.window[cell, :, window : window + len(rows)]
        self._accumulate(block, index, len(rows), stop - first, targets, rows, first, sums, errors)

    def end(self) -> None:
        """Ends the part: finishes the correlations of its neurons."""
        columns = slice(*self._part)
        found = self._sums[:, :, : self._part[1] - self._part[0]]
        for cell, sums in enumerate(found):
            moments = sums[kernel.PREDICTION : kernel.PRODUCT + 1]
            self.correlation[cell, columns] = neuron_correlation(moments, self.samples)
        if self.errors.size:
            kept = found[:, kernel.ABSOLUTE : kernel.SQUARED + 1]
            self.errors[:, :, columns] = kept / self.samples
        if self.influence.size:
            self._standard = np.stack(
                [
                    standardising(sums, r, self.samples)
                    for sums, r in zip(found, self.correlation[:, columns], strict=True)
                ]
            )

    def again(
        self,
        block: np.ndarray,
        index: int,
        *,
        step: int,
        window: int,
        targets: np.ndarray,
        rows: np.ndarray,
    ) -> None:
        """Adds one step of a block to the influences, once the part has ended; as in add."""
        first, stop = self._part
        kernel.influence(
            block,
            index,
            len(rows),
            stop - first,
            targets,
            rows,
            first,
            self._standard[step],
            self.influence[step, window : window + len(rows)],
        )

    def hash(self, parts: np.ndarray, *, step: int, window: int) -> None:
        """Adds the next columns of one step's rows, float32 ``[windows, ..]``, to its leaf."""
        if not self._leaves:
            return
        if self._pooled:
            self._leaves[0].add(window * self._stride + step, self._stride, parts)
        else:
            self._leaves[step].add(window, 1, parts)

    @property
    def finite(self) -> bool:
        """Whether every prediction so far was finite, given finite targets."""
        return bool(np.isfinite(self.window).all())

    def leaf(self, cell: int) -> str:
        """Returns the leaf of a cell in hex, "" where none was taken."""
        return self._leaves[cell].hexdigest() if self._leaves else ""


def standardising(sums: np.ndarray, r: np.ndarray, samples: int) -> np.ndarray:
    """Returns what standardises the values of neurons, for kernel.influence.

    Args:
        sums: The kernel's sums of those neurons, float64 ``[9, neurons]``.
        r: Their correlations, float64 ``[neurons]``, NaN where undefined.
        samples: Samples of a neuron.

    Returns:
        float64 ``[5, neurons]``; zeros where r is undefined, so that such neurons add nothing.
    """
    rows = np.zeros((kernel.STANDARD_ROWS, len(r)))
    known = ~np.isnan(r)
    for side, (shift, total, square) in enumerate(
        (
            (kernel.PREDICTION_SHIFT, kernel.PREDICTION, kernel.PREDICTION2),
            (kernel.TARGET_SHIFT, kernel.TARGET, kernel.TARGET2),
        )
    ):
        found = sums[total, known]
        # As in metrics.py, to the last bit: where r is defined this is above zero.
        deviations = sums[square, known] - found * found / samples
        rows[2 * side, known] = sums[shift, known] + found / samples
        rows[2 * side + 1, known] = np.sqrt(samples / deviations)
    rows[4, known] = r[known] / 2
    return rows
