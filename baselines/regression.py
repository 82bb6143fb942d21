"""Regression on the states of a population: weights for each step, chosen by validation windows.

Components have orthonormal rows, so what a squared error over all neurons gains from them is what
their own squared errors gain: ranks, orders and ridges are compared without a look at the neurons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from baselines.linear import SharedMap

RANKS = (8, 16, 32, 64)
"""Numbers of components to choose from."""

ORDERS = (1, 2, 4, 8)
"""Numbers of frames whose states are looked at, to choose from."""

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Penalties to choose from, in mean variances of a state."""

_UNCHOSEN = (16, 4, 1e-1)
_BATCH = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """States before an origin, and how the shared map errs after it, as components.

    Attributes:
        states: Rows of frames in terms of components, float64 ``[rows, components]``.
        shared: The map.
        order: How many states before an origin are looked at.
    """

    states: np.ndarray
    shared: SharedMap
    order: int

    def batches(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields ``[windows, order, components]`` and ``[windows, horizon, components]``."""
        horizon, context = self.shared.kernel.shape
        for start in range(0, len(rows), _BATCH):
            origins = rows[start : start + _BATCH, None]
            seen = self.states[origins + np.arange(-context, 0)]
            targets = self.states[origins + np.arange(horizon)]
            yield seen[:, -self.order :], targets - self.shared.kernel @ seen


class Regression:
    """Sums from which the regression of any rank and order is solved.

    Args:
        windows: States and errors.
        rows: Row of the origin of each window to fit.
    """

    def __init__(self, windows: Windows, rows: np.ndarray) -> None:
        components = windows.states.shape[1]
        horizon = len(windows.shared.bias)
        inputs, outputs = windows.order * components, horizon * components
        self._order, self._horizon, self._components = windows.order, horizon, components
        self._products = np.zeros((inputs, inputs))
        self._crossed = np.zeros((inputs, outputs))
        self._inputs, self._outputs = np.zeros(inputs), np.zeros(outputs)
        for seen, errors in windows.batches(rows):
            flat, wanted = seen.reshape(len(seen), -1), errors.reshape(len(seen), -1)
            self._products += flat.T @ flat
            self._crossed += flat.T @ wanted
            self._inputs += flat.sum(axis=0)
            self._outputs += wanted.sum(axis=0)
        self._inputs /= len(rows)
        self._outputs /= len(rows)
        self._products -= len(rows) * np.outer(self._inputs, self._inputs)
        self._crossed -= len(rows) * np.outer(self._inputs, self._outputs)

    def solve(self, rank: int, order: int, ridge: float) -> tuple[np.ndarray, np.ndarray]:
        """Returns weights ``[order, rank, horizon, rank]`` and bias ``[horizon, rank]``."""
        first = self._order - order
        of = np.arange(self._order * self._components).reshape(self._order, -1)[first:, :rank]
        to = np.arange(self._horizon * self._components).reshape(self._horizon, -1)[:, :rank]
        products = self._products[np.ix_(of.ravel(), of.ravel())]
        penalty = ridge * np.trace(products) / len(products)
        products[np.diag_indices_from(products)] += penalty
        weights = np.linalg.solve(products, self._crossed[np.ix_(of.ravel(), to.ravel())])
        bias = self._outputs[to.ravel()] - self._inputs[of.ravel()] @ weights
        return weights.reshape(*of.shape, *to.shape), bias.reshape(to.shape)


def chosen_weights(
    windows: Windows, regression: Regression, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[dict[str, float]]]:
    """Returns the weights and bias of the best rank, order and ridge at each step.

    They are laid out for the largest rank and order, zero where a step uses less. A step at which
    none helps has none: it is left to the shared map. Without validation windows all steps take one
    rank, order and ridge.

    Args:
        windows: States and errors.
        regression: The sums over training windows.
        rows: Row of the origin of each validation window.

    Returns:
        Weights ``[order, components, horizon, components]``, bias ``[horizon, components]``, and
        the choice of each step.
    """
    components, horizon = windows.states.shape[1], len(windows.shared.bias)
    batches = list(windows.batches(rows))
    total = sum((_squared(errors) for _, errors in batches), np.zeros(horizon))
    best = total.copy()
    weights = np.zeros((windows.order, components, horizon, components))
    bias = np.zeros((horizon, components))
    choices: list[dict[str, float]] = [{"rank": 0, "order": 0, "ridge": 0.0}] * horizon
    for rank, order, ridge in _candidates(components, windows.order, chosen=len(rows) > 0):
        some, offset = regression.solve(rank, order, ridge)
        left = total.copy()
        for seen, errors in batches:
            wanted = errors[:, :, :rank]
            given = seen[:, -order:, :rank].reshape(len(seen), -1) @ flat(some)
            left += _squared(wanted - given.reshape(wanted.shape) - offset) - _squared(wanted)
        for step in np.flatnonzero(left < best) if len(rows) else range(horizon):
            weights[:, :, step], bias[step] = 0, 0
            weights[-order:, :rank, step, :rank] = some[:, :, step]
            bias[step, :rank] = offset[step]
            best[step] = left[step]
            choices[step] = {"rank": rank, "order": order, "ridge": ridge}
    return weights, bias, choices


def _candidates(components: int, order: int, *, chosen: bool) -> Iterator[tuple[int, int, float]]:
    """Yields ranks, orders and ridges for which there is room; one, where none can be chosen."""
    if not chosen:
        yield min(_UNCHOSEN[0], components), min(_UNCHOSEN[1], order), _UNCHOSEN[2]
        return
    yield from product(_up_to(RANKS, components), _up_to(ORDERS, order), RIDGES)


def _squared(errors: np.ndarray) -> np.ndarray:
    """Returns the squared error of each step, summed over windows and components."""
    squared: np.ndarray = np.square(errors).sum(axis=(0, 2))
    return squared


def flat(weights: np.ndarray) -> np.ndarray:
    """Returns weights as a matrix ``[order * rank, horizon * rank]``."""
    order, rank, horizon, _ = weights.shape
    return weights.reshape(order * rank, horizon * rank)


def _up_to(sizes: Sequence[int], most: int) -> list[int]:
    """Returns the sizes that there is room for, or all the room."""
    return [size for size in sizes if size <= most] or [most]
