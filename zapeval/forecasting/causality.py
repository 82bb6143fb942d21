"""Causality: a next-step forecaster whose outputs hang on later inputs is found out.

The inputs after a cut, activity and stimulus, are drowned in noise; what was put out before the cut
must stay. A forecaster that looks ahead, by a forgotten attention mask or a padded convolution,
moves.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zapeval.errors import BrokenPlugin
from zapeval.forecasting.answer import ask
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
        BrokenPlugin: An output moved when only later inputs changed, or is none that the contract
            allows.
    """
    length = contexts.activity.shape[1]
    few = replace(_first(contexts, 2), horizon=length)
    windows = (0, len(few))
    before = ask(forecaster, forecaster.next_steps, few, windows)
    scale = _scale(few.activity)
    rng = np.random.default_rng(0)
    for cut in sorted({1, length // 2, length - 1} - {0, length}):
        after = ask(forecaster, forecaster.next_steps, _changed(few, cut, rng), windows)
        moved = np.abs(after[:, :cut] - before[:, :cut])
        # Neuron by neuron: a huge output of one must not excuse the others.
        allowed = _TOLERANCE * np.maximum(scale, np.abs(before).max(axis=(0, 1)))
        if (moved > allowed).any():
            worst = np.unravel_index(int(np.nanargmax(moved / allowed)), moved.shape)
            window, position, neuron = (int(i) for i in worst)
            raise BrokenPlugin(
                f"{forecaster.name}: {contexts.series}: is not causal: its output at position "
                f"{position + 1} (window {window}, neuron {neuron}) moved by "
                f"{moved[worst]:.3g} when only inputs from position {cut + 1} on changed; "
                "next steps may hang on earlier frames alone"
            )


def _changed(contexts: Contexts, cut: int, rng: np.random.Generator) -> Contexts:
    """Returns the contexts with noise on all that belongs to the positions after a cut."""

    def noisy(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        changed = values.copy()
        noise = rng.normal(0, _NOISE * _scale(values), changed[:, cut:].shape)
        changed[:, cut:] += noise.astype(np.float32)
        return changed

    activity = noisy(contexts.activity)
    assert activity is not None
    return replace(
        contexts,
        activity=activity,
        stimulus=noisy(contexts.stimulus),
        future_stimulus=noisy(contexts.future_stimulus),
    )


def _scale(values: np.ndarray) -> float:
    """Returns the standard deviation of what is finite, or 1 where nothing varies."""
    finite = values[np.isfinite(values)]
    spread = float(finite.std(dtype=np.float64)) if finite.size else 0.0
    return spread or 1.0


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
