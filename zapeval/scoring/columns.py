"""Columns: which neurons of a series are scored, and what becomes of the others.

A neuron that is NaN in every window and at every step is missing. Under ``strict`` it is left out
and counted; under ``official`` it costs nothing, as in the public ZAPBench code, which sets
non-finite values of prediction and target to zero. Any other non-finite value is an error under
``strict``.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from zapeval.benchmarks.benchmark import Span
from zapeval.errors import InvalidInput

Missing = Literal["strict", "official"]


class Columns:
    """Takes the scored neurons out of blocks ``[windows, steps, neurons]``, block after block.

    Args:
        missing: ``strict`` or ``official``.
        kept: Neurons that the benchmark scores, int64.
        first: The first block, from which missing neurons are told.
        where: Name of the predictions in messages.
        first_step: Index of the blocks' first step in the array.
    """

    def __init__(
        self, *, missing: Missing, kept: np.ndarray, first: np.ndarray, where: str, first_step: int
    ) -> None:
        self._mode = missing
        self._where = where
        self._first_step = first_step
        self._neurons = first.shape[2]
        absent = np.isnan(first[0]).all(axis=0)[kept]
        self._absent = kept[absent]
        self.scored = kept[~absent] if missing == "strict" else kept

    @property
    def missing(self) -> np.ndarray:
        """Neurons without predictions, ``bool [neurons]``, as far as blocks were taken."""
        missing = np.zeros(self._neurons, bool)
        missing[self._absent] = True
        return missing

    def take(
        self, block: np.ndarray, targets: np.ndarray, windows: Span
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns predictions and targets of the scored neurons, both of the block's shape.

        Args:
            block: float32 ``[windows, steps, neurons]``.
            targets: float32 ``[windows, steps, scored neurons]``.
            windows: Which windows the block holds.

        Raises:
            InvalidInput: Under ``strict``, a value is not finite, or a missing neuron has one.
        """
        scored = np.ascontiguousarray(block[:, :, self.scored])
        finite = np.isfinite(scored)
        if self._mode == "official":
            self._absent = self._absent[~np.isfinite(block[:, :, self._absent]).any(axis=(0, 1))]
            finite &= np.isfinite(targets)
            return np.where(finite, scored, np.float32(0)), np.where(finite, targets, np.float32(0))
        if not finite.all():
            raise self._not_finite(scored, finite, windows)
        present = ~np.isnan(block[:, :, self._absent])
        if present.any():
            raise self._half_missing(present, windows)
        return scored, targets

    def _not_finite(self, scored: np.ndarray, finite: np.ndarray, windows: Span) -> InvalidInput:
        window, step, column = np.unravel_index(int((~finite).argmax()), finite.shape)
        index = [
            windows[0] + int(window),
            self._first_step + int(step),
            int(self.scored[column]),
        ]
        return InvalidInput(
            f"{self._where}{index}: is {scored[window, step, column]}, expected a finite number; "
            f"{int((~finite).sum()):,} such values in windows [{windows[0]}, {windows[1]}); "
            "forecast it again (only a neuron that is NaN throughout counts as missing)"
        )

    def _half_missing(self, present: np.ndarray, windows: Span) -> InvalidInput:
        window, step, column = np.unravel_index(int(present.argmax()), present.shape)
        index = [
            windows[0] + int(window),
            self._first_step + int(step),
            int(self._absent[column]),
        ]
        return InvalidInput(
            f"{self._where}[0, {self._first_step}, {index[2]}]: is NaN, but {index} is not; a "
            "missing neuron is NaN throughout: forecast it again, or make it so"
        )
