"""Principal components of a recording, streamed: a few numbers that stand for all its neurons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from baselines.columns import columns_of
from zapeval.benchmarks.benchmark import Span
from zapeval.forecasting.training import TrainingSeries

_OVERSAMPLED = 10
_POWERS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretch:
    """Neighbouring ranges of one series, read as one.

    Attributes:
        series: The series.
        ranges: Training and validation ranges, each beginning where the one before ends.
        first: Row of its first frame among those of all stretches.
    """

    series: TrainingSeries
    ranges: tuple[Span, ...]
    first: int

    @property
    def span(self) -> Span:
        """Frames of the whole stretch."""
        return self.ranges[0][0], self.ranges[-1][1]

    def row(self, frame: int) -> int:
        """Returns the row of a frame among those of all stretches."""
        return self.first + frame - self.span[0]


def stretches_of(every: Sequence[TrainingSeries]) -> tuple[Stretch, ...]:
    """Returns all training and validation frames of some series, neighbours joined."""
    found: list[Stretch] = []
    first = 0
    for series in every:
        joined: list[list[Span]] = []
        for span in sorted(series.train + series.validation):
            if joined and joined[-1][-1][1] == span[0]:
                joined[-1].append(span)
            else:
                joined.append([span])
        for ranges in joined:
            found.append(Stretch(series=series, ranges=tuple(ranges), first=first))
            first += ranges[-1][1] - ranges[0][0]
    return tuple(found)


class Population:
    """The frames of a recording that may be learned from, read a block of neurons at a time.

    Args:
        every: Series of one recording.

    Attributes:
        stretches: Where its rows come from.
        trained: Which rows are training frames, bool ``[rows]``.
        kept: Neurons that every series scores, sorted.
    """

    def __init__(self, every: Sequence[TrainingSeries], others: Sequence[TrainingSeries]) -> None:
        self.stretches = stretches_of(every)
        self.trained = np.concatenate(
            [
                np.full(stop - start, (start, stop) in stretch.series.train)
                for stretch in self.stretches
                for start, stop in stretch.ranges
            ]
        )
        scored = np.ones(every[0].neurons, bool)
        for series in (*every, *others):
            if series.mask is not None:
                scored &= series.mask
        self.kept = np.flatnonzero(scored)
        self._scored = scored

    def blocks(self) -> list[tuple[Span, Span]]:
        """Returns, for each block, its neurons in the recording and its place among the kept."""
        counts = np.concatenate([[0], np.cumsum(self._scored)])
        return [
            (columns, (int(counts[columns[0]]), int(counts[columns[1]])))
            for columns in columns_of(len(self._scored))
        ]

    def read(self, columns: Span) -> np.ndarray:
        """Returns all rows of the kept among some neurons, float32 ``[rows, kept]``."""
        parts = [
            stretch.series.activity(span, columns)
            for stretch in self.stretches
            for span in stretch.ranges
        ]
        return np.concatenate(parts)[:, self._scored[slice(*columns)]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Components:
    """The directions in which neurons vary most together.

    Attributes:
        vectors: Orthonormal rows, float32 ``[components, neurons kept]``, the strongest first.
        means: Mean of each neuron over the training frames, float32 ``[neurons kept]``.
    """

    vectors: np.ndarray
    means: np.ndarray


def components_of(
    population: Population, count: int, rng: np.random.Generator
) -> tuple[Components, np.ndarray]:
    """Returns the principal components of the training frames, and every row in their terms.

    A randomised range finder with power iterations (Halko, Martinsson & Tropp 2011, SIAM Review
    53(2), algorithms 4.4 and 5.1), which reads the recording once a pass and keeps ``[rows,
    components]`` and ``[components, neurons]``.

    Args:
        population: The frames.
        count: Most components to find.
        rng: What the range finder starts from.

    Returns:
        The components, and states float64 ``[rows, components]``.
    """
    blocks = population.blocks()
    neurons = len(population.kept)
    means = np.empty(neurons, np.float32)
    size = min(count + _OVERSAMPLED, neurons, int(population.trained.sum()))
    sample = np.zeros((int(population.trained.sum()), size))
    for columns, place in blocks:
        values = population.read(columns)[population.trained]
        means[slice(*place)] = values.mean(axis=0, dtype=np.float64)
        values -= means[slice(*place)]
        sample += values @ rng.standard_normal((values.shape[1], size), np.float32)
    for _ in range(_POWERS):
        basis = _orthonormal(sample)
        sample = np.zeros_like(sample)
        for columns, place in blocks:
            values = population.read(columns)[population.trained] - means[slice(*place)]
            sample += values @ (values.T @ basis)
    basis = _orthonormal(sample)
    projected = np.empty((size, neurons))
    for columns, place in blocks:
        values = population.read(columns)[population.trained] - means[slice(*place)]
        projected[:, slice(*place)] = basis.T @ values
    vectors = _right_vectors(projected)[:count]
    components = Components(vectors=vectors.astype(np.float32), means=means)
    return components, _states(population, components)


def _orthonormal(sample: np.ndarray) -> np.ndarray:
    return np.linalg.qr(sample)[0].astype(np.float32)


def _right_vectors(projected: np.ndarray) -> np.ndarray:
    """Returns the right singular vectors as rows, without those of vanishing strength."""
    values, left = np.linalg.eigh(projected @ projected.T)
    kept = values > len(values) * np.finfo(np.float32).eps * max(values[-1], 0.0)
    vectors: np.ndarray = (left[:, kept] / np.sqrt(values[kept])).T @ projected
    return vectors[::-1]


def _states(population: Population, components: Components) -> np.ndarray:
    states = np.zeros((len(population.trained), len(components.vectors)))
    for columns, place in population.blocks():
        values = population.read(columns) - components.means[slice(*place)]
        states += values @ components.vectors[:, slice(*place)].T
    return states
