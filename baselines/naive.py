"""Naive forecasters: what any model has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np

from zapeval.errors import UsageError
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecaster import Forecaster


@final
class Persistence(Forecaster):
    """Repeats the last context frame at every step."""

    name = "persistence"
    version = "1"

    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the last frame, repeated."""
        return np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1)


@final
class Mean(Forecaster):
    """Repeats the mean of the last context frames (Lueckmann et al. 2025, section 4.1).

    Args:
        window: How many frames to average; None takes the whole context.
    """

    name = "mean"
    version = "1"

    def __init__(self, window: int | None = None) -> None:
        if window is not None and window < 1:
            raise UsageError(f"mean: a window of {window} frames, expected at least 1")
        self._window = window

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The window."""
        return {} if self._window is None else {"window": self._window}

    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the mean of the last frames, repeated."""
        last = contexts.activity[:, -(self._window or 0) :]
        mean = last.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
        return np.repeat(mean, contexts.horizon, axis=1)
