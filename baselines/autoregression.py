"""Vector autoregression: what the population foretells, beyond what each neuron's past does.

Every neuron is forecast by the shared least squares map of linear.py. What that leaves is forecast
from the states of the population, its principal components in the last ``p`` frames: the error in
the direction of each component, at each step, by ridge regression on those states. So

    y(h) = W(h) x + b(h) + V' (A(h) [s(t), .., s(t - p + 1)] + a(h)),    s = V (x - mean)

This is a vector autoregression of low rank, fitted to each step directly rather than rolled out;
one step of it with ``p = 1`` is dynamic mode decomposition (Schmid 2010, J. Fluid Mech. 656; Tu et
al. 2014, J. Comput. Dyn. 1), and regression into few directions is that of Izenman 1975 (J.
Multivariate Anal. 5), with the principal ones chosen. Rank, order and ridge of each step are chosen
by validation windows (see regression.py). Everything is in closed form.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from baselines.components import Components, Population, components_of
from baselines.gram import lag_gram
from baselines.linear import SharedMap, check_context, fit_map
from baselines.regression import ORDERS, RANKS, Regression, Windows, chosen_weights, flat
from zapeval.errors import UsageError
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.training import Training

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
            last = seen[-(len(self.weights) // self.rank) :]
            states = (last if whole else last[:, self.kept]) @ vectors.T - resting
            added = (states.ravel() @ self.weights + self.bias).reshape(-1, self.rank) @ vectors
            values[:, slice(None) if whole else self.kept] += added


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
    population = Population(training, key)
    rng = np.random.default_rng([training.seed, *key.encode()])
    components, states = components_of(population, RANKS[-1], rng)
    order = min(ORDERS[-1], training.context)
    windows = Windows(states=states, shared=shared, order=order)
    regression = Regression(windows, _rows(population, training, validation=False))
    validation = _rows(population, training, validation=True)
    weights, bias, choices = chosen_weights(windows, regression, validation)
    rank = max(1, *(int(choice["rank"]) for choice in choices))
    correction = Correction(
        components=Components(vectors=components.vectors[:rank], means=components.means),
        kept=population.kept,
        weights=flat(weights[:, :rank, :, :rank]).astype(np.float32),
        bias=bias[:, :rank].ravel().astype(np.float32),
    )
    return correction, choices


def _rows(population: Population, training: Training, *, validation: bool) -> np.ndarray:
    """Returns the rows of the origins of those windows whose frames may all be learned from."""
    rows: list[int] = []
    for stretch in population.stretches:
        series, (start, stop) = stretch.series, stretch.span
        rows += [
            stretch.row(origin)
            for origin in (series.validation_origins if validation else series.train_origins)
            if start <= origin - training.context and origin + training.horizon <= stop
        ]
    return np.array(rows, np.int64)
