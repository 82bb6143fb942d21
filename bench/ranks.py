"""Comparing many entries: rank intervals, tie groups, skill and every paired difference.

    python bench/ranks.py                 50 entries over ZAPBench's 1,557 windows x 32 steps

Scorecards and sums of made-up errors are written, read and compared; errors of neighbouring windows
resemble each other, and all entries share what is hard. Prints seconds for each part, and the peak
of resident memory.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from zapeval.benchmarks.zapbench import ZAPBENCH
from zapeval.reports.comparison import compare
from zapeval.reports.entries import read_entries
from zapeval.scoring.scorecard import Scorecard, SeriesLine, write_scorecard
from zapeval.scoring.scores import scores_of, summary_of
from zapeval.scoring.tally import Cell, Tally, write_window_sums

NEURONS = 100
LEVEL = 0.03

Result = TypeVar("Result")


def main() -> None:
    """Writes, reads and compares; prints what took how long."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-ranks-") as folder:
        rng = np.random.default_rng(0)
        hard = {one.name: _walk(rng, one.windows) for one in ZAPBENCH.series}
        files = [_write(Path(folder), i, hard, rng) for i in range(options.entries)]
        entries = _timed("read and check", lambda: read_entries(files))
        made = _timed("compare", lambda: compare(entries, baseline="entry-00"))
        _timed("every interval of a difference (--json)", made.to_json)
    widths = [row.ranks.high - row.ranks.low + 1 for row in made.rows if row.ranks is not None]
    groups = max(row.group or 0 for row in made.rows)
    windows, steps = ZAPBENCH.windows, ZAPBENCH.steps
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(entries)} entries, {windows:,} windows x {steps} steps, {len(made.pairs):,} pairs")
    print(f"{groups} tie groups, rank intervals of {min(widths)} to {max(widths)} ranks")
    print(f"resident {peak:,.0f} MB")


def _timed(what: str, work: Callable[[], Result]) -> Result:
    begun = time.monotonic()
    result = work()
    print(f"{time.monotonic() - begun:6.2f} s  {what}", flush=True)
    return result


def _walk(rng: np.random.Generator, windows: int) -> np.ndarray:
    """Returns AR(1) errors around 0, float64 ``[windows, steps]``."""
    shocks = rng.standard_normal((windows, ZAPBENCH.steps))
    for window in range(1, windows):
        shocks[window] += 0.8 * shocks[window - 1]
    return 0.05 * LEVEL * shocks


def _write(folder: Path, index: int, hard: dict[str, np.ndarray], rng: np.random.Generator) -> Path:
    """Writes one entry's scorecard and sums."""
    level = LEVEL * (1 + 0.002 * index)
    cells = []
    for series in ZAPBENCH.series:
        errors = level + hard[series.name] + 0.3 * _walk(rng, series.windows)
        cells += [
            Cell(
                series=series.name,
                step=step + 1,
                absolute=NEURONS * errors[:, step],
                squared=NEURONS * np.square(errors[:, step]),
                counts=NEURONS,
                correlation=None,
                defined=0,
                undefined=0,
                missing=np.zeros(NEURONS, bool),
                leaf="",
                targets="",
            )
            for step in range(ZAPBENCH.steps)
        ]
    tally = Tally(cells)
    path = folder / f"entry-{index:02d}.json"
    sums = path.with_suffix(".windows.npz")
    digest = write_window_sums(tally, ZAPBENCH, sums)
    write_scorecard(_card(tally, path.stem), path, {"file": sums.name, "digest": digest})
    return path


def _card(tally: Tally, name: str) -> Scorecard:
    scores = scores_of(tally, ZAPBENCH)
    return Scorecard(
        benchmark={
            "id": ZAPBENCH.id,
            "version": ZAPBENCH.version,
            "protocol": ZAPBENCH.protocol,
            "context": 4,
            "digest": ZAPBENCH.digest,
            "sampled": ZAPBENCH.sampled,
            "summary_steps": list(ZAPBENCH.summary_steps),
        },
        data={"digest": "none"},
        predictions={"digest": "none", "kind": "traces"},
        forecaster={"name": name},
        series=tuple(
            SeriesLine(
                name=one.name,
                group=one.group,
                held_out=one.held_out,
                windows=one.windows,
                neurons=NEURONS,
                scored=NEURONS,
                missing=0,
            )
            for one in ZAPBENCH.series
        ),
        missing="strict",
        partial=False,
        scored_set="none",
        scores=scores,
        summary=summary_of(scores, ZAPBENCH),
        intervals={"level": None, "reason": "made up"},
    )


if __name__ == "__main__":
    main()
