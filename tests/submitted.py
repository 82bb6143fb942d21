"""Submitted: scorecards with sums from a seed, and entries of them, over a registered benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.benchmarks.catalogue import find_recipe
from zapeval.scoring.scorecard import Scorecard, SeriesLine, write_scorecard
from zapeval.scoring.scores import scores_of, summary_of
from zapeval.scoring.tally import Cell, Tally, write_window_sums
from zapeval.scoring.uncertainty import with_intervals

NEURONS = 3
SHEET: dict[str, Any] = {
    "name": "A model",
    "authors": ["A. Author"],
    "training_data": "training frames",
    "future_stimulus": False,
    "model_per_step": False,
    "leakage": "none",
}


def benchmark(name: str = "zapbench-smoke") -> Benchmark:
    """Returns a registered benchmark; none of its frames is read."""
    recipe = find_recipe(name)
    return recipe.resolve(recipe.recordings())


def tally_of(task: Benchmark, number: int) -> Tally:
    """Returns sums as a scored run leaves them; their squares exceed what the means allow."""
    rng = np.random.default_rng(number)
    cells = []
    for series in task.series:
        for step in range(1, task.steps + 1):
            absolute = NEURONS * rng.uniform(0.01, 0.05, series.windows)
            cells.append(
                Cell(
                    series=series.name,
                    step=step,
                    absolute=absolute,
                    squared=absolute**2 * rng.uniform(1, 2, series.windows),
                    counts=NEURONS,
                    correlation=float(rng.uniform(-1, 1)),
                    defined=NEURONS,
                    undefined=0,
                    missing=np.zeros(NEURONS, bool),
                    leaf="",
                    targets="",
                )
            )
    return Tally(cells)


def write_card(
    path: Path,
    number: int = 0,
    *,
    seed: int | None = None,
    context: int = 4,
    task: Benchmark | None = None,
    forecaster: str = "model",
) -> Path:
    """Writes a scorecard and its sums, all numbers from one number; returns the scorecard."""
    task = task or benchmark()
    tally = tally_of(task, number)
    scores = scores_of(tally, task)
    scores, summary, intervals = with_intervals(scores, summary_of(scores, task), tally, task)
    said: dict[str, Any] = {"name": forecaster, "version": "1", "parameters": {}, "seed": seed}
    lines = tuple(
        SeriesLine(
            name=one.name,
            group=one.group,
            held_out=one.held_out,
            windows=one.windows,
            neurons=NEURONS,
            scored=NEURONS,
            missing=0,
        )
        for one in task.series
    )
    card = Scorecard(
        benchmark={
            "id": task.id,
            "version": task.version,
            "protocol": task.protocol,
            "context": context,
            "digest": task.digest,
        },
        data={"digest": "blake3:" + "0" * 64},
        predictions={"digest": f"blake3:{number:064x}", "kind": "traces"},
        forecaster=said,
        series=lines,
        missing="strict",
        partial=False,
        scored_set="sha256:" + "1" * 64,
        scores=scores,
        summary=summary,
        intervals=intervals,
        environment={"zapeval": "0.1.0"},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    sums = path.with_suffix(".windows.npz")
    digest = write_window_sums(tally, task, sums)
    write_scorecard(card, path, {"file": sums.name, "digest": digest})
    return path


def write_sheet(path: Path, **changes: Any) -> Path:
    """Writes a fact sheet; a change to None leaves the key out."""
    said = {key: value for key, value in (SHEET | changes).items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items()))
    return path


def write_entry(folder: Path, number: int = 0, **options: Any) -> Path:
    """Writes an entry of one scorecard, ``card.json``; returns its folder."""
    seed = options.get("seed")
    name = options.pop("name", f"Model {folder.name}")
    write_sheet(folder / "fact-sheet.toml", name=name, seeds=[] if seed is None else [seed])
    write_card(folder / "card.json", number, **options)
    return folder


def change(path: Path, edit: Callable[[Any], None]) -> None:
    """Changes a JSON file in place."""
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
