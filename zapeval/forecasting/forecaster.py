"""The forecaster: contexts in, forecast out; the contract of every plugin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class Contexts:
    """What a forecaster sees of some windows of one series: copies, and nothing of the future.

    Attributes:
        activity: Context frames in df/f, float32 ``[windows, context, neurons]``, oldest first.
        horizon: Number of steps wanted.
        series: Name of the series.
        origins: Frame that the first step of each window predicts.
    """

    activity: np.ndarray
    horizon: int
    series: str
    origins: tuple[int, ...]


class Forecaster(ABC):
    """Forecasts activity; subclass it, name it, and write one method.

    Attributes:
        name: Name in manifests and tables.
        version: Version of the forecaster.
    """

    name: ClassVar[str]
    version: ClassVar[str] = ""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What sets this forecaster apart from others of its name; goes into the manifest."""
        return {}

    @abstractmethod
    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the forecast in df/f, float32 ``[windows, horizon, neurons]``.

        Each window is forecast from its own context alone, and equally in any batch.
        """
