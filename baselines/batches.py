"""Batches: training and validation windows, read ahead and put on the devices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, final

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from zapeval.errors import InvalidInput
from zapeval.forecasting.training import Training, TrainingSeries

Batch = dict[str, Any]
"""Arrays by name; the first axis is windows. ``weight`` says what of ``targets`` counts."""

_AHEAD = 2
_VALIDATION_BYTES = 64 << 20


class Batches(ABC):
    """Where a training loop gets its data."""

    @abstractmethod
    def train(self, step: int) -> Batch:
        """Returns the batch of a step; it hangs on the seed and the step alone."""

    @abstractmethod
    def validation(self) -> Iterator[Batch]:
        """Yields every validation window once."""


@final
class WindowBatches(Batches):
    """Windows of all series, each as likely as any other; a batch is of one recording.

    Args:
        training: Where the windows are.
        size: Windows a training batch.
    """

    def __init__(self, training: Training, size: int) -> None:
        self._size = size
        self._seed = training.seed
        self._context, self._horizon = training.context, training.horizon
        by_recording: dict[str, list[TrainingSeries]] = {}
        for series in training.series:
            by_recording.setdefault(series.recording, []).append(series)
        self._recordings = tuple(tuple(series) for series in by_recording.values())
        counts = [sum(len(s.train_origins) for s in series) for series in self._recordings]
        self._shares = np.array(counts) / sum(counts)
        self._place = _placing()
        if not any(s.validation_origins for s in training.series):
            raise InvalidInput(
                f"{training.benchmark}: has no validation window of {training.context} + "
                f"{training.horizon} frames to choose a checkpoint by; give its series "
                "validation ranges"
            )

    def train(self, step: int) -> Batch:
        """Returns the batch of a step."""
        rng = np.random.default_rng([self._seed, step])
        recording = self._recordings[rng.choice(len(self._recordings), p=self._shares)]
        every = [(n, origin) for n, s in enumerate(recording) for origin in s.train_origins]
        drawn = [every[i] for i in rng.choice(len(every), self._size, replace=True)]
        return self._place(self._batch(recording, sorted(drawn), self._size))

    def validation(self) -> Iterator[Batch]:
        """Yields every validation window once."""
        for recording in self._recordings:
            every = [(n, o) for n, s in enumerate(recording) for o in s.validation_origins]
            size = self._validation_size(recording[0])
            for start in range(0, len(every), size):
                yield self._place(self._batch(recording, every[start : start + size], size))

    def _validation_size(self, series: TrainingSeries) -> int:
        """Returns as many windows as are worth a call where neurons are few."""
        frames = self._context + self._horizon
        return max(self._size, min(64, _VALIDATION_BYTES // (frames * series.neurons * 4)))

    def _batch(
        self, recording: tuple[TrainingSeries, ...], windows: list[tuple[int, int]], size: int
    ) -> Batch:
        """Returns windows in one batch; copies of the last one, without weight, fill it up."""
        parts: list[Batch] = []
        for number, series in enumerate(recording):
            origins = [origin for n, origin in windows if n == number]
            if origins:
                parts.append(_windows(series, origins))
        batch = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        missing = size - len(windows)
        if missing:
            batch = {name: np.pad(a, _behind(a, missing), mode="edge") for name, a in batch.items()}
            batch["weight"][-missing:] = 0
        return batch


def _windows(series: TrainingSeries, origins: list[int]) -> Batch:
    contexts, targets = series.contexts(origins), series.targets(origins)
    neurons = np.ones(series.neurons, bool) if series.mask is None else series.mask
    for values in (contexts.activity, targets):
        values[..., ~neurons] = 0  # Whatever lies there, NaN perhaps, teaches nothing.
        if not np.isfinite(values).all():
            raise InvalidInput(
                f"{series.name}: its training or validation frames hold values that are not "
                "finite in neurons that are scored; mask those neurons, or repair the recording"
            )
    weight = np.broadcast_to(neurons.astype(np.float32), (len(origins), 1, series.neurons))
    batch = {"activity": contexts.activity, "targets": targets, "weight": weight}
    for name in ("stimulus", "future_stimulus"):
        values = getattr(contexts, name)
        if values is not None:
            batch[name] = values
    return batch


def _behind(values: np.ndarray, count: int) -> list[tuple[int, int]]:
    return [(0, count)] + [(0, 0)] * (values.ndim - 1)


def _placing() -> Callable[[Batch], Batch]:
    """Returns what puts a batch on the devices, its windows shared out among them."""
    devices = jax.local_devices()
    mesh = Mesh(np.array(devices), ("windows",))
    split = NamedSharding(mesh, PartitionSpec("windows"))

    def place(batch: Batch) -> Batch:
        missing = -len(batch["targets"]) % len(devices)
        if missing:
            batch = {name: np.pad(a, _behind(a, missing), mode="edge") for name, a in batch.items()}
            batch["weight"][-missing:] = 0
        return {name: jax.device_put(values, split) for name, values in batch.items()}

    return place


def ahead(make: Callable[[int], Batch], first: int, stop: int) -> Iterator[Batch]:
    """Yields what is made for each step; the next ones are made on a thread meanwhile."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        coming: list[Future[Batch]] = []
        following = first
        for _ in range(first, stop):
            while following < stop and len(coming) < _AHEAD:
                coming.append(pool.submit(make, following))
                following += 1
            yield coming.pop(0).result()
