"""Maps: each neuron's own scores, ``float32 [steps, neurons]`` a series and metric, in zarr.

``OUT.zarr/<series array>/<metric>``; NaN where a neuron is missing, masked, or its correlation
undefined. (Under ``official`` a missing neuron has the errors that it is given: none.)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.recordings.recording import Recordings
from zapeval.recordings.stores import Store
from zapeval.recordings.writer import Layout, create_array, reopen_array, write_group
from zapeval.scoring.metrics import METRICS


def create_maps(store: Store, benchmark: Benchmark, recordings: Recordings) -> None:
    """Creates the group and its empty arrays, one row of which a task owns.

    Raises:
        StorageError: It could not be written.
    """
    identity = {"schema": "zapeval.maps/1", "benchmark": benchmark.label}
    write_group(store, identity | {"digest": benchmark.digest})
    for series in benchmark.series:
        write_group(store.child(series.array), {"series": series.name})
        shape = (benchmark.steps, recordings[series.recording].neurons)
        for metric in METRICS:
            layout = Layout(chunk=(1, shape[1]))
            create_array(store.child(series.array).child(metric), shape, "float32", layout)


def write_maps(
    store: Store, array: str, first: int, scored: np.ndarray, maps: Mapping[str, np.ndarray]
) -> None:
    """Writes the rows of one task.

    Args:
        store: The maps.
        array: Name of the series' array.
        first: Index of the first row.
        scored: Neurons that the columns of maps are, int64 ``[scored]``.
        maps: Metric to values, float64 ``[steps, scored]``.

    Raises:
        StorageError: They could not be written.
    """
    for metric, values in maps.items():
        target = store.child(array).child(metric)
        writer = reopen_array(target)
        rows = np.full((len(values), writer.shape[1]), np.nan, np.float32)
        rows[:, scored] = values
        writer.write((first, 0), rows)
