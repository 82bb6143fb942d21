"""Brains: the error of single neurons where they lie, thinned to what a page can draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.recordings.recording import NeuronTable, Recordings
from zapeval.reports.maps import open_maps

MARKS = 5000
"""Most neurons that are drawn."""

REGIONS = 200
"""Most regions that are listed: those with the most neurons."""

_DIGITS = 5


def preview(maps: Path, benchmark: Benchmark, recordings: Recordings) -> dict[str, Any] | None:
    """Returns what a page draws: ``marks`` (x, y, z, value, lists alike) and ``regions``.

    Each neuron's value is the mean of its primary metric over the steps of the summary and the
    series that are not held out. None where these are of several recordings.

    Raises:
        ZapevalError: The maps or the recording can't be read.
    """
    keys = {series.recording for series in benchmark.series if not series.held_out}
    if len(keys) != 1:
        return None
    opened = open_maps(str(maps), benchmark, recordings)
    key, values = opened.mean("average", benchmark.primary, benchmark.summary_steps)
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return None
    table = recordings[key].table
    low, high = np.quantile(values[known], (0.01, 0.99))
    return {
        "metric": benchmark.primary,
        "steps": list(benchmark.summary_steps),
        "neurons": len(known),
        "low": _short(low),
        "high": _short(high),
        "marks": None if table is None else _marks(values, known, table.positions),
        "regions": [] if table is None else _regions(values, known, table),
        "histogram": _histogram(values[known], low, high),
    }


def _marks(values: np.ndarray, known: np.ndarray, positions: np.ndarray) -> dict[str, Any]:
    """Returns a sample of neurons, the same for every entry that scored the same neurons."""
    chosen = known
    if len(known) > MARKS:
        chosen = np.sort(np.random.default_rng(0).choice(known, MARKS, replace=False))
    where = {
        axis: [_short(value) for value in positions[chosen, i]] for i, axis in enumerate("xyz")
    }
    return where | {"value": [_short(value) for value in values[chosen]]}


def _regions(values: np.ndarray, known: np.ndarray, table: NeuronTable) -> list[dict[str, Any]]:
    names, place, counts = np.unique(
        np.array(table.regions)[known], return_inverse=True, return_counts=True
    )
    means = np.bincount(place, values[known]) / counts
    order = [i for i in np.argsort(-counts, kind="stable") if names[i]][:REGIONS]
    return [
        {"name": str(names[i])[:100], "neurons": int(counts[i]), "value": _short(means[i])}
        for i in order
    ]


def _histogram(values: np.ndarray, low: float, high: float) -> dict[str, Any]:
    """Returns counts of neurons between the two quantiles, what lies outside at the ends."""
    edges = np.linspace(low, high if high > low else low + 1e-9, 31)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return {"edges": [_short(edge) for edge in edges], "counts": counts.tolist()}


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
