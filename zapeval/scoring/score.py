"""Main flow 2: predictions -> check -> tasks -> cells -> tally -> scorecard."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest

import blake3
import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series, Span, mask_array, target_span
from zapeval.errors import InvalidInput
from zapeval.forecasting.check import check, require_no_errors
from zapeval.forecasting.predictions import Predictions, predictions_digest
from zapeval.recordings.grid import Grid
from zapeval.recordings.recording import Recordings
from zapeval.recordings.stores import Store
from zapeval.scoring.columns import Missing
from zapeval.scoring.environment import environment
from zapeval.scoring.maps import create_maps
from zapeval.scoring.scorecard import Scorecard, SeriesLine
from zapeval.scoring.scores import scores_of, summary_of
from zapeval.scoring.tally import Cell, Tally
from zapeval.scoring.task import Task, forget, run_task
from zapeval.scoring.uncertainty import LEVEL, Intervals, with_intervals

Run = Callable[[Callable[[Task], tuple[Cell, ...]], Iterable[Task]], Iterable[tuple[Cell, ...]]]
"""What runs tasks and gives their results in order: ``map``, or the map of a pool."""

STEPS_A_TASK = 4
"""Steps that are scored side by side where chunks hold fewer; more costs memory, not digits."""

NO_INTERVALS = "left out on request"


def score(
    predictions: Predictions,
    benchmark: Benchmark,
    recordings: Recordings,
    *,
    context: int,
    missing: Missing = "strict",
    digest: bool = True,
    intervals: Intervals = "errors",
    maps: Store | None = None,
    run: Run = map,
    progress: Callable[[int], None] | None = None,
) -> tuple[Scorecard, Tally]:
    """Returns the scorecard of a predictions store, and the sums behind it.

    Args:
        predictions: The forecasts.
        benchmark: What they are for.
        recordings: Its recordings, which hold the targets.
        context: Context length that they were made with, in frames.
        missing: ``strict`` leaves missing neurons out and marks the card partial; ``official``
            gives them zero error, as the public ZAPBench code does.
        digest: Whether the predictions digest is taken.
        intervals: Which scores get intervals; ``all`` reads the predictions twice.
        maps: Where to write each neuron's scores.
        run: What runs the tasks; the results are the same bits whatever it is.
        progress: Told the bytes of each task when it is done.

    Raises:
        InvalidInput: The predictions or the recordings can't be scored; says all that is wrong.
        StorageError: A part of them is missing or cannot be read.
    """
    begun = time.monotonic()
    findings = check(predictions, benchmark, recordings, context=context)
    require_no_errors(predictions, findings)
    if maps is not None:
        create_maps(maps, benchmark, recordings)
    # Where series are sampled, what single windows do to a correlation is not needed.
    timed = benchmark.sampled == "time" and benchmark.protocol == "horizon"
    tasks = plan(
        predictions,
        benchmark,
        recordings,
        missing=missing,
        digest=digest,
        maps=maps,
        influence=intervals == "all" and timed,
    )
    tally = _run(tasks, run, progress)
    _check_cells(tally, benchmark, predictions, missing)
    lines = tuple(_line(tally, series, recordings) for series in benchmark.series)
    scores = scores_of(tally, benchmark)
    summary = summary_of(scores, benchmark)
    said: dict[str, object] = {"level": LEVEL, "method": None, "reason": NO_INTERVALS}
    if intervals != "none":
        scores, summary, said = with_intervals(scores, summary, tally, benchmark, intervals)
    card = Scorecard(
        benchmark={
            "id": benchmark.id,
            "version": benchmark.version,
            "protocol": benchmark.protocol,
            "context": context,
            "digest": benchmark.digest,
            "sampled": benchmark.sampled,
            "summary_steps": list(benchmark.summary_steps),
        },
        data={"digest": _data_digest(tally, benchmark)},
        predictions={
            "digest": _digest(tally, benchmark) if digest else None,
            "kind": predictions.kind,
        },
        forecaster=_forecaster(predictions),
        series=lines,
        missing=missing,
        partial=any(line.missing for line in lines),
        scored_set=_scored_set(tally, benchmark, recordings),
        scores=scores,
        summary=summary,
        intervals=said,
        notes=tuple(finding.message for finding in findings),
        environment=environment(),
        seconds=round(time.monotonic() - begun, 3),
    )
    return card, tally


def plan(
    predictions: Predictions,
    benchmark: Benchmark,
    recordings: Recordings,
    *,
    missing: Missing,
    digest: bool,
    maps: Store | None,
    influence: bool = False,
) -> list[Task]:
    """Returns the tasks of a run: two series side by side, a few steps each."""
    run = secrets.token_hex(8)
    grid = None
    if predictions.kind == "volume":
        said = predictions.manifest.grid if predictions.manifest else None
        grid = said.grid() if said else Grid()
    by_series = [
        [
            Task(
                run=run,
                array=predictions.arrays[series.array],
                benchmark=benchmark,
                series=series,
                recording=recordings[series.recording],
                steps=steps,
                missing=missing,
                digest=digest,
                grid=grid,
                maps=maps,
                influence=influence,
            )
            for steps in _steps(benchmark, predictions.arrays[series.array].chunk[1])
        ]
        for series in benchmark.series
    ]
    # While one worker reads the targets of a series, another reads those of its neighbour.
    pairs = (by_series[start : start + 2] for start in range(0, len(by_series), 2))
    return [task for pair in pairs for side in zip_longest(*pair) for task in side if task]


def _steps(benchmark: Benchmark, chunk: int) -> Iterator[Span]:
    """Yields the steps of each task: a few whole chunks, whose windows share most targets."""
    size = chunk * max(1, STEPS_A_TASK // chunk)
    if benchmark.protocol == "next-step":
        size = benchmark.horizon
    for start in range(0, benchmark.horizon, size):
        yield start, min(start + size, benchmark.horizon)


def _run(tasks: list[Task], run: Run, progress: Callable[[int], None] | None) -> Tally:
    cells: list[Cell] = []
    try:
        for task, found in zip(tasks, run(run_task, tasks), strict=True):
            cells += found
            if progress is not None:
                progress(task.nbytes)
    finally:
        forget(tasks[0].run)
    return Tally(cells)


def _check_cells(
    tally: Tally, benchmark: Benchmark, predictions: Predictions, missing: Missing
) -> None:
    """Checks what no task sees alone: the same neurons missing, the same targets, at every step.

    Raises:
        InvalidInput: A neuron is missing at some steps only, or the recording changed meanwhile.
    """
    for series in benchmark.series:
        first, *others = tally.of_series(series.name)
        for cell in others:
            if cell.targets != first.targets:
                raise InvalidInput(
                    f"{series.name}: its targets changed while they were scored; score again"
                )
            differ = cell.missing != first.missing
            if missing == "strict" and differ.any():
                raise InvalidInput(
                    f"{predictions.uri}/{series.array}: neuron {int(differ.argmax())} is NaN at "
                    f"some steps only (step {first.step} and step {cell.step} differ); a missing "
                    "neuron is NaN throughout: forecast it again, or make it so"
                )


def _line(tally: Tally, series: Series, recordings: Recordings) -> SeriesLine:
    neurons = recordings[series.recording].neurons
    missing = int(_missing(tally, series).sum())
    return SeriesLine(
        name=series.name,
        group=series.group,
        held_out=series.held_out,
        windows=series.windows,
        neurons=neurons,
        scored=int(_scored(tally, series, neurons).sum()),
        missing=missing,
    )


def _scored(tally: Tally, series: Series, neurons: int) -> np.ndarray:
    """Returns which neurons were scored on predictions of theirs, ``bool [neurons]``."""
    mask = mask_array(series, neurons)
    present = ~_missing(tally, series)
    return present if mask is None else present & mask


def _missing(tally: Tally, series: Series) -> np.ndarray:
    """Returns which neurons have no prediction at any step, ``bool [neurons]``."""
    every: np.ndarray = np.logical_and.reduce(
        [cell.missing for cell in tally.of_series(series.name)]
    )
    return every


def _scored_set(tally: Tally, benchmark: Benchmark, recordings: Recordings) -> str:
    total = hashlib.sha256()
    for series in benchmark.series:
        scored = _scored(tally, series, recordings[series.recording].neurons)
        total.update(f"{series.name} {len(scored)}\n".encode() + np.packbits(scored).tobytes())
    return f"sha256:{total.hexdigest()}"


def _digest(tally: Tally, benchmark: Benchmark) -> str:
    return predictions_digest(
        (series.array, cell.step, cell.leaf)
        for series in benchmark.series
        for cell in tally.of_series(series.name)
    )


def _data_digest(tally: Tally, benchmark: Benchmark) -> str:
    """Returns the digest over the target frames: one line for each series, then BLAKE3."""
    lines = []
    for series in benchmark.series:
        start, stop = target_span(benchmark, series)
        lines.append(f"{series.name} {start} {stop} {tally.of_series(series.name)[0].targets}\n")
    return "blake3:" + blake3.blake3("".join(lines).encode()).hexdigest()


def _forecaster(predictions: Predictions) -> dict[str, object]:
    if predictions.manifest is None:
        return {}
    return predictions.manifest.forecaster.model_dump(mode="json")
