"""Principal components of a recording, streamed: a few numbers that stand for all its neurons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from baselines.columns import columns_of
from zapeval.benchmarks.benchmark import Span
from zapeval.forecasting.training import Training, TrainingSeries

_OVERSAMPLED = 10
_POWERS = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Stretch:
    """Neighbouring frames of one series that its windows hold.

    Attributes:
        series: The series.
        parts: Frames ``[start, stop)`` that are read at once, each in one range; they adjoin.
        trained: Which frames a training window holds, bool ``[frames]``.
        first: Row of its first frame among those of all stretches.
    """

    series: TrainingSeries
    parts: tuple[Span, ...]
    trained: np.ndarray
    first: int

    @property
    def span(self) -> Span:
        """Frames of the whole stretch."""
        return self.parts[0][0], self.parts[-1][1]

    def row(self, frame: int) -> int:
        """Returns the row of a frame among those of all stretches."""
        return self.first + frame - self.span[0]


class Population:
    """The frames of a recording that may be learned from, read a block of neurons at a time.

    Args:
        training: What is learned from.
        recording: Key of the recording.

    Attributes:
        stretches: Where its rows come from.
        trained: Which rows a training window holds, bool ``[rows]``.
        kept: Neurons that every series scores, sorted.
    """

    def __init__(self, training: Training, recording: str) -> None:
        every = [series for series in training.series if series.recording == recording]
        others = [series for series in training.held_out if series.recording == recording]
        found: list[Stretch] = []
        for series in every:
            first = found[-1].first + len(found[-1].trained) if found else 0
            found += _stretches(training, series, first)
        self.stretches = tuple(found)
        self.trained = np.concatenate([stretch.trained for stretch in self.stretches])
        self._scored = np.ones(every[0].neurons, bool)
        for series in every + others:
            if series.mask is not None:
                self._scored &= series.mask
        self.kept = np.flatnonzero(self._scored)

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
            stretch.series.activity(part, columns)
            for stretch in self.stretches
            for part in stretch.parts
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


def _stretches(training: Training, series: TrainingSeries, rows: int) -> Iterator[Stretch]:
    """Yields the stretches of a series, whose first row is given."""
    ranges = series.train + series.validation
    held = np.zeros(max(stop for _, stop in ranges) + 1, bool)
    allowed, trained = held.copy(), held.copy()
    for start, stop in ranges:
        allowed[start:stop] = True
    for origins, into in ((series.train_origins, trained), (series.validation_origins, held)):
        for origin in origins:
            into[origin - training.context : origin + training.horizon] = True
    # What a validation window holds before its range is left out: it may belong to anyone.
    held = (held | trained) & allowed
    for start, stop in np.flatnonzero(np.diff(held, prepend=False)).reshape(-1, 2).tolist():
        parts, read = [], start
        while read < stop:
            end = max(b for a, b in ranges if a <= read < b)
            parts.append((read, min(end, stop)))
            read = parts[-1][1]
        yield Stretch(series=series, parts=tuple(parts), trained=trained[start:stop], first=rows)
        rows += stop - start


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
