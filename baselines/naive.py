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
        if window is not None and not (isinstance(window, int) and window >= 1):
            raise UsageError(f"mean: a window of {window!r} frames, expected at least 1")
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


@final
class Drift(Forecaster):
    """Goes on along the line from the first to the last context frame.

    That is the last value and, for each step, the mean change between neighbouring frames (the
    drift method: Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd edition,
    section 5.2). One frame has no change: it is repeated.
    """

    name = "drift"
    version = "1"

    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the line, continued."""
        activity = contexts.activity
        first, last = activity[:, :1].astype(np.float64), activity[:, -1:].astype(np.float64)
        slope = (last - first) / max(1, activity.shape[1] - 1)
        steps = np.arange(1, contexts.horizon + 1)[:, None]
        line: np.ndarray = (last + steps * slope).astype(np.float32)
        return line


@final
class SeasonalNaive(Forecaster):
    """Repeats the last period of the context.

    Step ``h`` is the frame ``m`` frames earlier, again and again (the seasonal naive method:
    Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, section 5.2).

    Args:
        period: Length ``m`` of a period in frames; None takes the whole context for one.
    """

    name = "seasonal-naive"
    version = "1"

    def __init__(self, period: int | None = None) -> None:
        if period is not None and period < 1:
            raise UsageError(f"seasonal-naive: a period of {period} frames, expected at least 1")
        self._period = period

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The period."""
        return {} if self._period is None else {"period": self._period}

    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the last period, repeated.

        Raises:
            UsageError: The context is shorter than a period.
        """
        frames = contexts.activity.shape[1]
        period = self._period or frames
        if frames < period:
            raise UsageError(
                f"seasonal-naive: a context of {frames} frames is shorter than a period of "
                f"{period}; take a longer context or a shorter period"
            )
        steps = np.arange(contexts.horizon) % period
        return contexts.activity[:, frames - period + steps]
