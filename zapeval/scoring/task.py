"""A scoring task: one series at a few steps, over all windows in order, to cells.

A task owns what it computes: per-neuron sums are finished inside it and never merged, so results do
not depend on how many tasks run at once, nor where. The usual pass feeds the kernel straight from
decoded chunks. Where neurons are masked, missing or seen through a segmentation, rows of chunks are
put together first and the scored columns taken out of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series, Span, mask_array
from zapeval.errors import InvalidInput
from zapeval.recordings.arrays import ZarrArray
from zapeval.recordings.grid import Grid
from zapeval.recordings.recording import Recording
from zapeval.recordings.segmentation import Segmentation, open_segmentation
from zapeval.recordings.stores import Store
from zapeval.scoring.blocks import Blocks
from zapeval.scoring.columns import Columns, Missing
from zapeval.scoring.maps import write_maps
from zapeval.scoring.metrics import mean_correlation
from zapeval.scoring.shelf import Shelf
from zapeval.scoring.sums import Sums
from zapeval.scoring.tally import Cell
from zapeval.scoring.targets import Targets, check_finite, load_targets

_TARGETS: Shelf[Targets] = Shelf()
_SEGMENTATIONS: Shelf[Segmentation] = Shelf()


@dataclass(frozen=True, kw_only=True)
class Task:
    """What one task scores; can be sent to another process.

    Attributes:
        run: Token of the run: tasks of one run share the targets that they read.
        array: Predictions of the series.
        benchmark: The benchmark.
        series: The series.
        recording: The recording that holds its targets.
        steps: Indices ``[start, stop)`` into the array's second axis.
        missing: What a neuron without predictions costs (see columns.py).
        digest: Whether to take the leaves of the predictions digest.
        grid: Where the voxels of predicted volumes lie; None for traces.
        maps: Where to write each neuron's scores, or None.
        influence: Whether to sum each window's influence on the correlations (``horizon`` only).
    """

    run: str
    array: ZarrArray
    benchmark: Benchmark
    series: Series
    recording: Recording
    steps: Span
    missing: Missing
    digest: bool
    grid: Grid | None
    maps: Store | None
    influence: bool = False

    @property
    def nbytes(self) -> int:
        """Size of the predictions that it reads, before compression."""
        values = self.array.shape[0] * int(np.prod(self.array.shape[2:], dtype=np.int64))
        return values * (self.steps[1] - self.steps[0]) * self.array.dtype.itemsize

    @property
    def pooled(self) -> bool:
        """Whether its steps share one cell."""
        return self.benchmark.protocol == "next-step"


def run_task(task: Task) -> tuple[Cell, ...]:
    """Returns the cells of a task.

    Raises:
        InvalidInput: A value of a scored neuron is not finite.
        StorageError: A chunk is missing or cannot be read.
    """
    key = (task.run, task.series.name)
    with _TARGETS.lend(key, lambda spare: _targets(task, spare)) as targets:
        return _run(task, targets)


def _run(task: Task, targets: Targets) -> tuple[Cell, ...]:
    mask = mask_array(task.series, task.recording.neurons)
    kept = None if mask is None else np.flatnonzero(mask)
    if task.missing == "strict":
        check_finite(targets, kept, task.recording.activity.uri)
    if kept is None and task.grid is None:
        cells = _direct_pass(task, targets)
        if cells is not None:
            return cells
    return _assembled_pass(
        task, targets, np.arange(task.recording.neurons) if kept is None else kept
    )


def forget(run: str) -> None:
    """Lets go of what the tasks of a run shared in this process."""
    _TARGETS.clear(run)
    _SEGMENTATIONS.clear(run)


def _targets(task: Task, spare: Targets | None) -> Targets:
    return load_targets(task.benchmark, task.series, task.recording.activity, spare)


def _direct_pass(task: Task, targets: Targets) -> tuple[Cell, ...] | None:
    """Feeds the kernel chunk by chunk; returns None where a value turns out not to be finite."""
    neurons = task.recording.neurons
    sums = _sums(task, neurons)
    first_rows = _first_rows(task, targets)
    blocks = Blocks(array=task.array, steps=task.steps)
    for columns in blocks.columns():
        sums.begin(columns)
        for piece in blocks.pieces(columns):
            for k in range(piece.steps):
                step = piece.step + k
                rows = first_rows[piece.window : piece.window + piece.windows] + step
                sums.add(
                    piece.values, k, step=step, window=piece.window, targets=targets.rows, rows=rows
                )
                parts = piece.values[: piece.windows, k, : piece.columns[0]]
                sums.hash(parts, step=step, window=piece.window)
        # Targets were checked, so a sum of |p - t| is finite exactly if every prediction is.
        if not sums.finite:
            return None
        sums.end()
        for piece in blocks.pieces(columns) if task.influence else ():
            for k in range(piece.steps):
                step = piece.step + k
                rows = first_rows[piece.window : piece.window + piece.windows] + step
                sums.again(
                    piece.values, k, step=step, window=piece.window, targets=targets.rows, rows=rows
                )
    return _cells(task, targets, sums, np.arange(neurons), np.zeros(neurons, bool))


class _Assembled(NamedTuple):
    """A row of chunks put together.

    Attributes:
        window: Its first window.
        block: The predictions, float32 ``[windows, steps, ..]``.
        values: Traces of the scored neurons, float32 ``[windows, steps, scored neurons]``.
        truth: Their targets, of the same shape.
        columns: Which neurons are scored.
    """

    window: int
    block: np.ndarray
    values: np.ndarray
    truth: np.ndarray
    columns: Columns


def _assembled_pass(task: Task, targets: Targets, kept: np.ndarray) -> tuple[Cell, ...]:
    """Scores whole rows of chunks: masked, missing or volumetric neurons."""
    sums, columns = _sums(task, 0), None
    steps = range(task.steps[1] - task.steps[0])
    for part in _assembled(task, targets, kept):
        if columns is None:
            columns = part.columns
            sums = _sums(task, len(columns.scored))
            sums.begin((0, len(columns.scored)))
        rows = np.arange(len(part.values))
        for step in steps:
            truth = np.ascontiguousarray(part.truth[:, step])
            sums.add(part.values, step, step=step, window=part.window, targets=truth, rows=rows)
            sums.hash(part.block[:, step], step=step, window=part.window)
    if columns is None:
        raise InvalidInput(f"{task.array.uri}: has no window")
    sums.end()
    for part in _assembled(task, targets, kept) if task.influence else ():
        rows = np.arange(len(part.values))
        for step in steps:
            truth = np.ascontiguousarray(part.truth[:, step])
            sums.again(part.values, step, step=step, window=part.window, targets=truth, rows=rows)
    return _cells(task, targets, sums, columns.scored, columns.missing)


def _assembled(task: Task, targets: Targets, kept: np.ndarray) -> Iterator[_Assembled]:
    """Yields the rows of chunks, with what of them is scored."""
    columns: Columns | None = None
    first_rows = _first_rows(task, targets)
    blocks = Blocks(array=task.array, steps=task.steps)
    steps = np.arange(task.steps[1] - task.steps[0])
    for windows in blocks.windows():
        block = blocks.whole(windows)
        traces = _traces(task, block)
        if columns is None:
            columns = _columns(task, traces, kept)
            rows = targets.of_neurons(columns.scored).rows
        at = first_rows[windows[0] : windows[1], None] + steps
        values, truth = columns.take(traces, rows[at], windows)
        yield _Assembled(windows[0], block, values, truth, columns)


def _sums(task: Task, neurons: int) -> Sums:
    return Sums(
        windows=task.series.windows,
        steps=task.steps[1] - task.steps[0],
        neurons=neurons,
        pooled=task.pooled,
        digest=task.digest,
        per_neuron=task.maps is not None,
        influence=task.influence,
    )


def _columns(task: Task, first: np.ndarray, kept: np.ndarray) -> Columns:
    return Columns(
        missing=task.missing,
        kept=kept,
        first=first,
        where=task.array.uri,
        first_step=task.steps[0],
    )


def _traces(task: Task, block: np.ndarray) -> np.ndarray:
    """Returns a block as traces ``[windows, steps, neurons]``, through the segmentation if any."""
    if task.grid is None:
        return block
    labels = task.recording.segmentation
    if labels is None:
        raise InvalidInput(
            f"{task.array.uri}: holds volumes, but {task.recording.uri} has no segmentation"
        )
    x, y, z = task.array.shape[2:]
    segmentation = _SEGMENTATIONS.get(
        (task.run, f"{task.series.recording} {x} {y} {z}"),
        lambda: open_segmentation(labels, task.recording.neurons, (x, y, z), task.grid),
    )
    means = segmentation.means(block.reshape(-1, x, y, z))
    return means.reshape(*block.shape[:2], -1)


def _first_rows(task: Task, targets: Targets) -> np.ndarray:
    """Returns the target row that each window predicts first in a task, int64 ``[windows]``."""
    origins = np.array(task.series.origins, dtype=np.int64)
    return origins + (task.steps[0] - targets.first_frame)


def _cells(
    task: Task, targets: Targets, sums: Sums, scored: np.ndarray, missing: np.ndarray
) -> tuple[Cell, ...]:
    cells = []
    for index, correlation in enumerate(sums.correlation):
        mean, defined, undefined = mean_correlation(correlation)
        cells.append(
            Cell(
                series=task.series.name,
                step=1 if task.pooled else task.steps[0] + index + 1,
                absolute=sums.window[index, 0].copy(),
                squared=sums.window[index, 1].copy(),
                counts=len(scored) * (sums.samples // task.series.windows),
                correlation=mean,
                defined=defined,
                undefined=undefined,
                missing=missing,
                leaf=sums.leaf(index),
                targets=targets.digest,
                influence=sums.influence[index] / defined if task.influence and defined else None,
            )
        )
    if task.maps is not None:
        maps = {
            "mae": sums.errors[:, 0],
            "mse": sums.errors[:, 1],
            "correlation": sums.correlation,
        }
        write_maps(task.maps, task.series.array, task.steps[0], scored, maps)
    return tuple(cells)
