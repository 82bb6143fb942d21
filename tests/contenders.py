"""Contenders: scorecards with their sums, of forecasters whose errors are made here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.scoring.scorecard import Scorecard, SeriesLine, write_scorecard
from zapeval.scoring.scores import scores_of, summary_of
from zapeval.scoring.tally import Cell, Tally, write_window_sums
from zapeval.scoring.uncertainty import with_intervals

NEURONS = 50
STEPS = (1, 2, 4)
HORIZON = 4
Errors = Mapping[str, np.ndarray]
"""Series to the mean errors of each window and step, float64 ``[windows, steps]``."""


def field(
    windows: Sequence[int] = (60, 45, 30),
    *,
    held_out: Sequence[int] = (2,),
    groups: Mapping[int, str] | None = None,
    sampled: str = "time",
    protocol: str = "horizon",
    names: Sequence[str] = (),
    context: int = 4,
) -> Benchmark:
    """Returns a benchmark with a series of so many windows each."""
    series, start = [], 8
    for index, count in enumerate(windows):
        series.append(
            Series(
                name=names[index] if names else f"series {index}",
                array=f"array_{index}",
                recording="fish",
                origins=tuple(range(start, start + count)),
                group=(groups or {}).get(index, ""),
                held_out=index in held_out,
            )
        )
        start += count + HORIZON + 8
    return Benchmark(
        id="arena",
        version=1,
        protocol=protocol,
        context_lengths=(context,),
        max_context=context,
        horizon=HORIZON,
        series=tuple(series),
        frames=(("fish", start + HORIZON),),
        summary_steps=STEPS if protocol == "horizon" else (1,),
        sampled=sampled,
    )


def noise(
    benchmark: Benchmark, rng: np.random.Generator, *, level: float = 1.0, spread: float = 0.1
) -> dict[str, np.ndarray]:
    """Returns errors that are independent from window to window."""
    return {
        one.name: level + spread * rng.uniform(-1, 1, (one.windows, benchmark.steps))
        for one in benchmark.series
    }


def moved(errors: Errors, by: float) -> dict[str, np.ndarray]:
    """Returns errors that are all larger by so much."""
    return {name: values + by for name, values in errors.items()}


def card_of(benchmark: Benchmark, errors: Errors, *, missing: int = 0, **said: Any) -> Contender:
    """Returns a scorecard as the scorer makes it of such errors, and its tally."""
    cells = [
        Cell(
            series=one.name,
            step=step,
            absolute=NEURONS * errors[one.name][:, step - 1],
            squared=NEURONS * np.square(errors[one.name][:, step - 1]),
            counts=NEURONS,
            correlation=0.5,
            defined=NEURONS,
            undefined=0,
            missing=np.arange(NEURONS) < missing,
            leaf="",
            targets="",
        )
        for one in benchmark.series
        for step in range(1, benchmark.steps + 1)
    ]
    tally = Tally(cells)
    scores = scores_of(tally, benchmark)
    scores, summary, intervals = with_intervals(
        scores, summary_of(scores, benchmark), tally, benchmark
    )
    card = Scorecard(
        benchmark={
            "id": benchmark.id,
            "version": benchmark.version,
            "protocol": benchmark.protocol,
            "context": benchmark.max_context,
            "digest": benchmark.digest,
            "sampled": benchmark.sampled,
            "summary_steps": list(benchmark.summary_steps),
        },
        data={"digest": "blake3:" + "d" * 64},
        predictions={"digest": "blake3:" + "e" * 64, "kind": "traces"},
        forecaster=said,
        series=tuple(
            SeriesLine(
                name=one.name,
                group=one.group,
                held_out=one.held_out,
                windows=one.windows,
                neurons=NEURONS,
                scored=NEURONS - missing,
                missing=missing,
            )
            for one in benchmark.series
        ),
        missing="strict",
        partial=missing > 0,
        scored_set="sha256:" + f"{missing:064d}",
        scores=scores,
        summary=summary,
        intervals=intervals,
    )
    return card, tally


Contender = tuple[Scorecard, Tally]


def keep(
    folder: Path,
    file: str,
    benchmark: Benchmark,
    errors: Errors,
    *,
    change: Mapping[str, Any] | None = None,
    **said: Any,
) -> Path:
    """Writes a scorecard beside its sums and returns its path.

    Args:
        folder: Where.
        file: Stem of both files.
        benchmark: The benchmark.
        errors: The errors.
        change: Fields of the scorecard that are to be others.
        said: What the manifest says of the forecaster; ``missing`` counts neurons.
    """
    card, tally = card_of(benchmark, errors, **said)
    folder.mkdir(parents=True, exist_ok=True)
    sums = folder / f"{file}.windows.npz"
    digest = write_window_sums(tally, benchmark, sums)
    path = folder / f"{file}.json"
    write_scorecard(replace(card, **(change or {})), path, {"file": sums.name, "digest": digest})
    return path
