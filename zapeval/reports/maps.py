"""Opened maps: each neuron's own scores, read row by row and never without their identity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import final

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.benchmarks.recipe import check_recordings
from zapeval.errors import InvalidInput, NotFound, Refused, UsageError
from zapeval.recordings.arrays import ZarrArray
from zapeval.recordings.metadata import read_group_attributes
from zapeval.recordings.recording import Recordings
from zapeval.recordings.stores import open_store
from zapeval.reports.tables import enumerated, legible, shortened
from zapeval.scoring.metrics import METRICS

SCHEMA = "zapeval.maps/1"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Maps:
    """The maps of one predictions store, checked against their benchmark.

    Attributes:
        uri: Where they are.
        benchmark: What they are of.
        recordings: Its recordings.
    """

    uri: str
    benchmark: Benchmark
    recordings: Recordings
    _arrays: Mapping[tuple[str, str], ZarrArray]

    @property
    def name(self) -> str:
        """What to call them in a figure: the last part of the address, without its ending."""
        return legible(PurePosixPath(self.uri.rstrip("/")).stem or self.uri)

    def row(self, series: Series, metric: str, step: int) -> np.ndarray:
        """Returns each neuron's score, float32 ``[neurons]``; NaN where it has none.

        Raises:
            NotFound: There is no such metric; lists the known ones.
            UsageError: The benchmark has no such step.
            StorageError: It can't be read.
        """
        if metric not in METRICS:
            known = ", ".join(METRICS)
            raise NotFound(f"{self.uri}: has no map of {metric!r}; known: {known}")
        if not 1 <= step <= self.benchmark.steps:
            raise UsageError(f"step {step}: expected 1 to {self.benchmark.steps}")
        values: np.ndarray = self._arrays[series.array, metric].read((step - 1, step))[0]
        return values

    def members(self, name: str) -> tuple[Series, ...]:
        """Returns the series that a row is the mean over: ``average``, or one by its name.

        Raises:
            NotFound: No series is called that; lists the known ones.
        """
        if name == "average":
            return tuple(series for series in self.benchmark.series if not series.held_out)
        return (self.benchmark.one(name),)

    def mean(self, name: str, metric: str, steps: Sequence[int]) -> tuple[str, np.ndarray]:
        """Returns a recording's key, and each neuron's mean over series and steps.

        Args:
            name: A series, or ``average`` over those that are not held out.
            metric: The metric.
            steps: The steps.

        Returns:
            The key and float64 ``[neurons]``, NaN where a member has no value.

        Raises:
            UsageError: The series are of several recordings, whose neurons are not the same.
            NotFound: There is no such series or metric.
        """
        members = self.members(name)
        keys = list(dict.fromkeys(series.recording for series in members))
        if len(keys) > 1:
            raise UsageError(
                f"{self.uri}: {name} is over {len(keys)} recordings, whose neurons are not the "
                f"same; name one series: {enumerated([series.name for series in members])}"
            )
        total = np.zeros(self.recordings[keys[0]].neurons)
        for series in members:
            for step in steps:
                total += self.row(series, metric, step)
        return keys[0], total / (len(members) * len(steps))


def read_identity(uri: str) -> tuple[str, str]:
    """Returns the label and the digest of the benchmark that maps are of.

    Raises:
        NotFound: There is nothing.
        InvalidInput: It holds no maps.
    """
    store = open_store(uri)
    if store.path is not None and not store.path.is_dir():
        raise NotFound(f"{uri}: is no folder; expected maps that `zapeval score --maps` wrote")
    said = read_group_attributes(store)
    label, digest = said.get("benchmark"), said.get("digest")
    if said.get("schema") != SCHEMA or not isinstance(label, str) or not isinstance(digest, str):
        raise InvalidInput(f"{uri}: holds no maps; write them with `zapeval score --maps {uri}`")
    return label, digest


def open_maps(uri: str, benchmark: Benchmark, recordings: Recordings) -> Maps:
    """Opens maps, and checks that they are of this benchmark and these recordings.

    Raises:
        NotFound: There are none, or not of every series.
        InvalidInput: They are damaged, or the recordings are not the benchmark's.
        Refused: They are of another benchmark, or of other neurons.
    """
    label, digest = read_identity(uri)
    if digest != benchmark.digest:
        raise Refused(
            f"{uri}: is of {legible(label)} ({shortened(digest)}), expected {benchmark.label} "
            f"({shortened(benchmark.digest)}); score the predictions again"
        )
    check_recordings(benchmark, recordings)
    arrays = dict(_open_arrays(uri, benchmark, recordings))
    return Maps(uri=uri, benchmark=benchmark, recordings=recordings, _arrays=arrays)


def _open_arrays(
    uri: str, benchmark: Benchmark, recordings: Recordings
) -> Iterator[tuple[tuple[str, str], ZarrArray]]:
    store = open_store(uri)
    for series in benchmark.series:
        neurons = recordings[series.recording].neurons
        for metric in METRICS:
            array = ZarrArray(store.child(series.array).child(metric))
            if len(array.shape) != 2 or array.shape[0] != benchmark.steps:
                raise InvalidInput(
                    f"{array.uri}: has shape {list(array.shape)}, expected "
                    f"[{benchmark.steps}, {neurons}]; score the predictions again"
                )
            if array.shape[1] != neurons:
                raise Refused(
                    f"{array.uri}: is of {array.shape[1]} neurons, but "
                    f"{recordings[series.recording].uri} has {neurons}; give the recording that "
                    "was scored with --data"
                )
            yield (series.array, metric), array
