"""Causality: a next-step forecaster whose outputs hang on later inputs is found out.

The inputs after a cut are replaced by strong noise; what was put out before the cut must stay. A
forecaster that looks ahead, by a forgotten attention mask or a padded convolution, moves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zapeval.errors import BrokenPlugin
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecaster import NextStepForecaster

_TOLERANCE = 1e-4
_NOISE = 5.0


def check_causal(forecaster: NextStepForecaster, contexts: Contexts) -> None:
    """Puts a few windows to the test, at an early, a middle and the last position.

    Args:
        forecaster: Whose outputs are compared.
        contexts: Sequences, at least one window of at least two frames.

    Raises:
        BrokenPlugin: An output moved when only later inputs changed.
    """
    length = contexts.activity.shape[1]
    few = _first(contexts, 2)
    scale = float(few.activity.std()) or 1.0
    before = forecaster.next_steps(_copy(few))
    rng = np.random.default_rng(0)
    for cut in sorted({1, length // 2, length - 1} - {0, length}):
        changed = few.activity.copy()
        shape = changed[:, cut:].shape
        changed[:, cut:] += rng.normal(0, _NOISE * scale, shape).astype(np.float32)
        after = forecaster.next_steps(replace(_copy(few), activity=changed))
        moved = np.abs(after[:, :cut] - before[:, :cut])
        allowed = _TOLERANCE * max(scale, float(np.abs(before).max()))
        if not moved.max() <= allowed:
            window, position, neuron = (
                int(i) for i in np.unravel_index(moved.argmax(), moved.shape)
            )
            raise BrokenPlugin(
                f"{forecaster.name}: {contexts.series}: is not causal: its output at position "
                f"{position + 1} (window {window}, neuron {neuron}) moved by "
                f"{moved.max():.3g} when only inputs from position {cut + 1} on changed; "
                "next steps may hang on earlier frames alone"
            )


def _first(contexts: Contexts, windows: int) -> Contexts:
    def some(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[:windows]

    return replace(
        contexts,
        activity=contexts.activity[:windows],
        origins=contexts.origins[:windows],
        stimulus=some(contexts.stimulus),
        future_stimulus=some(contexts.future_stimulus),
    )


def _copy(contexts: Contexts) -> Contexts:
    return replace(contexts, activity=contexts.activity.copy())
