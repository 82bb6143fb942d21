"""A published table, and the recording that it was computed from, in the public bucket's layout.

The numbers are computed here with loops over windows from the papers' definitions; nothing of
zapeval takes part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from builders import StoreLayout, write_zarr

FRAMES, NEURONS, HORIZON, CONTEXT = 7879, 60, 32, 4
TRACES = "volumes/20240930/traces"
COMBINED = "dataframes/20250131/combined.json"

TARGETS = {
    "gain": (519, 98),
    "dots": (2067, 323),
    "flash": (2947, 99),
    "taxis": (3335, 368),
    "turning": (4784, 231),
    "position": (5520, 86),
    "open loop": (6426, 165),
    "rotation": (7148, 99),
    "dark": (7759, 88),
}
"""First target frame and number of test windows of conditions 0 to 8."""

ORDER = (0, 1, 2, 4, 5, 6, 7, 8, 3)
"""How the public code orders its conditions elsewhere."""

Row = dict[str, Any]


@cache
def activity() -> np.ndarray:
    """Returns traces that wander, float32 ``[frames, neurons]``."""
    rng = np.random.default_rng(20240930)
    steps = rng.normal(0, 0.02, (FRAMES, NEURONS)).cumsum(axis=0)
    return (np.sin(steps) * 0.3 + rng.normal(0, 0.02, (FRAMES, NEURONS))).astype(np.float32)


def errors_of_mean(traces: np.ndarray, first: int, windows: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns MAE and MSE of the mean of the last frames, float64 ``[horizon]`` each."""
    absolute, squared = np.zeros(HORIZON), np.zeros(HORIZON)
    for origin in range(first, first + windows):
        recent = traces[origin - CONTEXT : origin].astype(np.float64)
        forecast = recent.mean(axis=0).astype(np.float32).astype(np.float64)
        for step in range(HORIZON):
            error = forecast - traces[origin + step].astype(np.float64)
            absolute[step] += np.abs(error).mean()
            squared[step] += (error**2).mean()
    return absolute / windows, squared / windows


def rows_of_mean(traces: np.ndarray, xid: int = 101) -> list[Row]:
    """Returns the rows of ``mean`` at context 4, conditions in order."""
    rows = []
    for name, (first, windows) in TARGETS.items():
        mae, mse = errors_of_mean(traces, first, windows)
        rows += [
            {
                "method": "mean",
                "context": CONTEXT,
                "condition": name,
                "steps_ahead": step + 1,
                "MAE": float(mae[step]),
                "MSE": float(mse[step]),
                "xid": xid,
            }
            for step in range(HORIZON)
        ]
    return rows


@cache
def _mean() -> tuple[Row, ...]:
    return tuple(rows_of_mean(activity()))


def rows() -> list[Row]:
    """Returns a whole table: ``mean`` at 4 in two runs and at 256, and a learned method."""
    mean = [dict(row) for row in _mean()]
    again = [row | {"xid": 102} for row in mean]
    longer = [row | {"context": 256, "MAE": 0.5, "xid": 103} for row in mean]
    learned = [
        row | {"method": "linear", "MAE": row["MAE"] * (1 + seed / 100), "xid": seed}
        for seed in (201, 202, 203)
        for row in mean
    ]
    return [*learned, *longer, *mean, *again]


def changed(change: Callable[[Row], Row | None], *only: tuple[str, object]) -> list[Row]:
    """Returns the table with a change to the rows of ``mean`` at 4 that match; None drops one."""
    table: list[Row] = []
    for row in rows():
        ours = (row["method"], row["context"]) == ("mean", CONTEXT)
        hit = ours and all(row[name] == value for name, value in only)
        new = change(row) if hit else row
        table += [] if new is None else [new]
    return table


def oriented(table: Sequence[Row], orient: str) -> Any:
    """Returns a table as ``DataFrame.to_json`` orients it."""
    names = list(table[0])
    values = [list(row.values()) for row in table]
    if orient == "columns":
        return {name: {str(i): row[name] for i, row in enumerate(table)} for name in names}
    if orient == "index":
        return {str(i): row for i, row in enumerate(table)}
    if orient == "split":
        return {"columns": names, "index": list(range(len(table))), "data": values}
    if orient == "table":
        schema = {"fields": [{"name": name} for name in names], "pandas_version": "1.4.0"}
        return {"schema": schema, "data": [{"index": i} | row for i, row in enumerate(table)]}
    return values if orient == "values" else list(table)


def encoded(table: Iterable[Row], orient: str = "columns") -> str:
    """Returns a table as it is published: JSON in a JSON string."""
    return json.dumps(json.dumps(oriented(list(table), orient)))


def write_bucket(folder: Path, table: str | None = None) -> Path:
    """Writes recording and table as they lie in the public bucket; returns the folder."""
    chunk = StoreLayout(zarr_format=3, chunk=(512, 32), separator="/")
    (folder / TRACES).parent.mkdir(parents=True)
    write_zarr(folder / TRACES, activity(), chunk)
    (folder / COMBINED).parent.mkdir(parents=True)
    (folder / COMBINED).write_text(encoded(rows()) if table is None else table)
    return folder
