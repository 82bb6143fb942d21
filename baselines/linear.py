"""Linear forecasters: one map from context to horizon that all neurons share, in closed form.

The map is that of the linear baseline of Lueckmann et al. 2025 (arXiv 2503.02618), a dense layer
over time with a bias; theirs is trained for the mean absolute error, this is the least squares
solution over all training windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from baselines.gram import LagGram, lag_gram
from zapeval.errors import UsageError
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.training import Training

Normalise = Literal["none", "last"]
_FILE = "map.npz"


class SharedMap:
    """A map from contexts to forecasts, the same for every neuron.

    Attributes:
        kernel: Weights, float64 ``[horizon, context]``.
        bias: float64 ``[horizon]``.
    """

    def __init__(self, kernel: np.ndarray, bias: np.ndarray) -> None:
        self.kernel = kernel
        self.bias = bias
        self._kernel = kernel.astype(np.float32)
        self._bias = bias.astype(np.float32)[:, None]

    def __call__(self, activity: np.ndarray) -> np.ndarray:
        """Returns forecasts, float32 ``[windows, horizon, neurons]``."""
        forecast: np.ndarray = np.matmul(self._kernel, activity)
        forecast += self._bias
        return forecast


def fit_map(
    gram: LagGram, context: int, *, normalise: Normalise = "none", ridge: float = 0.0
) -> SharedMap:
    """Returns the map that errs least in squares over all windows.

    Sums are centred, so the bias is free of the ridge. Directions in which contexts do not vary, to
    rounding, take no weight: the solution of least norm (a pseudo-inverse).

    Args:
        gram: Sums over all windows.
        context: How many of the lags are context.
        normalise: ``last`` fits what comes relative to the last context value (NLinear, Zeng et al.
            2023, arXiv 2205.13504): a map whose weights sum to one.
        ridge: Penalty on squared weights, in mean variances of a context frame.
    """
    products = gram.products / gram.count
    means = gram.sums / gram.count
    if normalise == "last":
        relative = np.eye(len(means))
        relative[:, context - 1] -= 1
        products, means = relative @ products @ relative.T, relative @ means
    covariance = products - np.outer(means, means)
    inputs = covariance[:context, :context]
    values, vectors = np.linalg.eigh(inputs)
    values += ridge * np.trace(inputs) / context
    kept = values > context * np.finfo(np.float64).eps * max(values[-1], 0.0)
    inverse = (vectors[:, kept] / values[kept]) @ vectors[:, kept].T
    kernel = covariance[context:, :context] @ inverse
    bias = means[context:] - kernel @ means[:context]
    if normalise == "last":
        # The last value stands in for itself: what the others leave of a weight of one.
        kernel[:, -1] = 1 - kernel[:, :-1].sum(axis=1)
    return SharedMap(kernel, bias)


class _LeastSquares(Forecaster):
    """One linear map over time for all neurons, with a bias.

    Args:
        ridge: Penalty on squared weights, in mean variances of a context frame.
    """

    version = "1"
    _normalise: Normalise

    def __init__(self, ridge: float = 0.0) -> None:
        if not ridge >= 0:
            raise UsageError(f"{self.name}: a ridge of {ridge}, expected 0 or more")
        self._ridge = ridge
        self._map: SharedMap | None = None

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The ridge."""
        return {"ridge": self._ridge} if self._ridge else {}

    @property
    def size(self) -> int | None:
        """Number of free weights and biases."""
        if self._map is None:
            return None
        # Relative to the last value, its weight follows from the others.
        kernel, bias = self._map.kernel, self._map.bias
        return kernel.size + (bias.size if self._normalise == "none" else 0)

    def fit(self, training: Training) -> None:
        """Solves for the map, over all training windows and scored neurons.

        Raises:
            InvalidInput: The benchmark's protocol is not ``horizon``, or values are not finite.
        """
        gram = lag_gram(training)
        self._map = fit_map(gram, training.context, normalise=self._normalise, ridge=self._ridge)

    def save(self, folder: Path) -> None:
        """Writes the map."""
        fitted = self._fitted()
        np.savez(folder / _FILE, kernel=fitted.kernel, bias=fitted.bias)

    def load(self, folder: Path) -> None:
        """Reads the map."""
        with np.load(folder / _FILE, allow_pickle=False) as archive:
            self._map = SharedMap(archive["kernel"], archive["bias"])

    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the mapped contexts.

        Raises:
            UsageError: It was not fitted, or to contexts of another length.
        """
        fitted = self._fitted()
        check_context(self.name, contexts, fitted.kernel.shape[1])
        return fitted(contexts.activity)

    def _fitted(self) -> SharedMap:
        if self._map is None:
            raise UsageError(f"{self.name}: has not been fitted; call fit or load first")
        return self._map


@final
class LeastSquares(_LeastSquares):
    """Maps the context to the horizon, alike for all neurons: linear least squares.

    Args:
        ridge: Penalty on squared weights, in mean variances of a context frame.
    """

    name = "least-squares"
    _normalise = "none"


@final
class LeastSquaresLast(_LeastSquares):
    """Maps the context, relative to its last value, to the horizon: NLinear in closed form.

    Zeng et al. 2023, "Are Transformers Effective for Time Series Forecasting?", arXiv 2205.13504.

    Args:
        ridge: Penalty on squared weights, in mean variances of a context frame.
    """

    name = "least-squares-last"
    _normalise = "last"


def check_context(who: str, contexts: Contexts, expected: int) -> None:
    """Checks that contexts have the length that was fitted.

    Raises:
        UsageError: They have another.
    """
    got = contexts.activity.shape[1]
    if got != expected:
        raise UsageError(
            f"{who}: {contexts.series}: was fitted to contexts of {expected} frames, got {got}; "
            "train it for that length"
        )
