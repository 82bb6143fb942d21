"""Vector autoregression: what the population foretells, beyond what each neuron's past does.

Every neuron is forecast by the shared least squares map of linear.py. What that leaves is forecast
from the states of the population, its principal components in the last ``p`` frames: the error in
the direction of each component, at each step, by ridge regression on those states. So

    y(h) = W(h) x + b(h) + V' (A(h) [s(t), .., s(t - p + 1)] + a(h)),    s = V (x - mean)

This is a vector autoregression of low rank, fitted to each step directly rather than rolled out;
one step of it with ``p = 1`` is dynamic mode decomposition (Schmid 2010, J. Fluid Mech. 656; Tu et
al. 2014, J. Comput. Dyn. 1), and regression into few directions is that of Izenman 1975 (J.
Multivariate Anal. 5), with the principal ones chosen. Each step has the rank, order and ridge of the
least squared error over the validation windows, which components of orthonormal rows tell without a
look at the neurons. Everything is in closed form.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import final

import numpy as np

from baselines.components import Components, Population, components_of
from baselines.gram import lag_gram
from baselines.linear import SharedMap, check_context, fit_map
from zapeval.errors import UsageError
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.training import Training

RANKS = (8, 16, 32, 64)
"""Numbers of components to choose from."""

ORDERS = (1, 2, 4, 8)
"""Numbers of frames whose states are looked at, to choose from."""

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Penalties to choose from, in mean variances of a state."""

_UNCHOSEN = (16, 4, 1e-1)
_BATCH = 256
_FILE, _CHOICE = "var.npz", "choice.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Correction:
    """What the population of one recording adds to the shared map.

    Attributes:
        components: Its directions.
        kept: The neurons that they are made of, sorted.
        weights: From states, oldest first, to each step's error, float32
            ``[order * rank, horizon * rank]``.
        bias: float32 ``[horizon * rank]``.
    """

    components: Components
    kept: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    @property
    def rank(self) -> int:
        """Number of components."""
        return len(self.components.vectors)

    @property
    def size(self) -> int:
        """Number of learned values."""
        parts = (self.components.vectors, self.components.means, self.weights, self.bias)
        return sum(part.size for part in parts)

    def add(self, activity: np.ndarray, forecast: np.ndarray) -> None:
        """Adds itself to a forecast ``[windows, horizon, neurons]`` of some contexts."""
        vectors = self.components.vectors
        whole = len(self.kept) == activity.shape[2]
        resting = vectors @ self.components.means
        for seen, values in zip(activity, forecast, strict=True):
            # One window at a time: so its forecast is the same bits in any batch.
            last = seen[-len(self.weights) // self.rank :]
            states = (last if whole else last[:, self.kept]) @ vectors.T - resting
            added = (states.ravel() @ self.weights + self.bias).reshape(-1, self.rank) @ vectors
            if whole:
                values += added
            else:
                values[:, self.kept] += added


@final
class VectorAutoregression(Forecaster):
    """Maps the context to the horizon, and adds what principal components foretell of the error."""

    name = "var"
    version = "1"

    def __init__(self) -> None:
        self._map: SharedMap | None = None
        self._corrections: dict[str, Correction] = {}

    @property
    def size(self) -> int | None:
        """Number of weights, biases, components and means."""
        if self._map is None:
            return None
        shared = self._map.kernel.size + self._map.bias.size
        return shared + sum(correction.size for correction in self._corrections.values())

    def fit(self, training: Training) -> None:
        """Fits the shared map, then for each recording its components and their regression.

        Raises:
            InvalidInput: The benchmark's protocol is not ``horizon``, or values are not finite.
        """
        self._map = fit_map(lag_gram(training), training.context)
        self._corrections = {}
        choices = {}
        for key in sorted({series.recording for series in training.series}):
            correction, choice = _correct(training, key, self._map)
            self._corrections[key] = correction
            choices[key] = choice
        text = json.dumps(choices, indent=1) + "\n"
        (training.record / _CHOICE).write_text(text, encoding="utf-8")

    def save(self, folder: Path) -> None:
        """Writes the map, and the correction of each recording."""
        fitted = self._fitted()
        arrays = {
            "kernel": fitted.kernel,
            "bias": fitted.bias,
            "keys": np.array([*self._corrections]),
        }
        for number, one in enumerate(self._corrections.values()):
            arrays |= {
                f"{number}-vectors": one.components.vectors,
                f"{number}-means": one.components.means,
                f"{number}-kept": one.kept,
                f"{number}-weights": one.weights,
                f"{number}-bias": one.bias,
            }
        np.savez(folder / _FILE, **arrays)  # type: ignore[arg-type]

    def load(self, folder: Path) -> None:
        """Reads the map and the corrections."""
        with np.load(folder / _FILE, allow_pickle=False) as archive:
            self._map = SharedMap(archive["kernel"], archive["bias"])
            self._corrections = {
                str(key): Correction(
                    components=Components(
                        vectors=archive[f"{number}-vectors"], means=archive[f"{number}-means"]
                    ),
                    kept=archive[f"{number}-kept"],
                    weights=archive[f"{number}-weights"],
                    bias=archive[f"{number}-bias"],
                )
                for number, key in enumerate(archive["keys"])
            }

    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the corrected forecast; a recording that was not trained on is not corrected.

        Raises:
            UsageError: It was not fitted, or to contexts of another length.
        """
        fitted = self._fitted()
        check_context(self.name, contexts, fitted.kernel.shape[1])
        forecast = fitted(contexts.activity)
        if contexts.recording in self._corrections:
            self._corrections[contexts.recording].add(contexts.activity, forecast)
        return forecast

    def _fitted(self) -> SharedMap:
        if self._map is None:
            raise UsageError(f"{self.name}: has not been fitted; call fit or load first")
        return self._map


def _correct(
    training: Training, key: str, shared: SharedMap
) -> tuple[Correction, list[dict[str, float]]]:
    """Returns what the population of one recording adds, and what was chosen for each step."""
    every = [series for series in training.series if series.recording == key]
    others = [series for series in training.held_out if series.recording == key]
    population = Population(every, others)
    rng = np.random.default_rng([training.seed, *key.encode()])
    components, states = components_of(population, RANKS[-1], rng)
    order = min(ORDERS[-1], training.context)
    windows = _Windows(states=states, shared=shared, order=order)
    regression = _Regression(windows, _rows(population, training, validation=False))
    validation = _rows(population, training, validation=True)
    weights, bias, choices = _choose(windows, regression, validation)
    rank = max(1, *(int(choice["rank"]) for choice in choices))
    correction = Correction(
        components=Components(vectors=components.vectors[:rank], means=components.means),
        kept=population.kept,
        weights=_flat(weights[:, :rank, :, :rank]).astype(np.float32),
        bias=bias[:, :rank].ravel().astype(np.float32),
    )
    return correction, choices


def _rows(population: Population, training: Training, *, validation: bool) -> np.ndarray:
    """Returns the rows of the origins of those windows whose frames may all be learned from."""
    rows = []
    for stretch in population.stretches:
        series, (start, stop) = stretch.series, stretch.span
        origins = series.validation_origins if validation else series.train_origins
        for origin in origins:
            if start <= origin - training.context and origin + training.horizon <= stop:
                rows.append(stretch.row(origin))
    return np.array(rows, np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Windows:
    """States before an origin, and how the shared map errs after it, as components."""

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


class _Regression:
    """Sums from which the regression of any rank and order is solved."""

    def __init__(self, windows: _Windows, rows: np.ndarray) -> None:
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


def _choose(
    windows: _Windows, regression: _Regression, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, list[dict[str, float]]]:
    """Returns the weights and bias of the best rank, order and ridge at each step.

    They are laid out for the largest rank and order, zero where a step uses less. A step at which
    none helps has none: it is left to the shared map.
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
            given = seen[:, -order:, :rank].reshape(len(seen), -1) @ _flat(some)
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


def _flat(weights: np.ndarray) -> np.ndarray:
    """Returns weights as a matrix ``[order * rank, horizon * rank]``."""
    order, rank, horizon, _ = weights.shape
    return weights.reshape(order * rank, horizon * rank)


def _up_to(sizes: Sequence[int], most: int) -> list[int]:
    """Returns the sizes that there is room for, or all the room."""
    return [size for size in sizes if size <= most] or [most]
