"""The run of an experiment: grid -> groups -> training -> losses -> one file a cell.

Cells that are finished are passed over, and an unfinished group goes on where it last kept
something, so that an interrupted run is repeated.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from baselines.worms.scaling import cells
from baselines.worms.scaling.cells import Cell, Result
from baselines.worms.scaling.pool import Pool, train_steps
from zapeval.forecasting.training import Note, Report, Training
from zapeval.recordings.lock import locked

if TYPE_CHECKING:
    from baselines.training import Counters, Params
    from baselines.worms.forecasters import Start, WormForecaster
    from baselines.worms.windows import WormBatches

UNFINISHED = "unfinished"

Make = Callable[[str, Mapping[str, Any]], "WormForecaster"]
"""Makes a worm model of a name with some settings."""


@final
@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A model of an experiment.

    Attributes:
        name: Name of its forecaster.
        settings: What it is made with, but for the width.
    """

    name: str
    settings: Mapping[str, Any]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Experiment:
    """What is run.

    Attributes:
        pool: The worms.
        make: Makes a forecaster.
        folder: Where everything goes.
        together: Most cells that are trained at once.
        generate: Worms that the cells of the first seed generate, 0 for none.
    """

    pool: Pool
    make: Make
    folder: Path
    together: int = 1
    generate: int = 0

    def cell(self, entrant: Entrant, hidden: int | None, worms: int, seed: int) -> Cell:
        """Returns a cell of the grid."""
        made = self.model(entrant, hidden)
        said = {
            "benchmark": self.pool.benchmark.digest,
            "data": self.pool.mark,
            "forecaster": f"{made.name} {made.version}",
            **made.parameters,
            "worms": worms,
            "seed": seed,
            "generate": self.generate if seed == 0 else 0,
        }
        width = said["hidden"]
        return Cell(model=made.name, hidden=width, worms=worms, seed=seed, configuration=said)

    def model(self, entrant: Entrant, hidden: int | None) -> WormForecaster:
        """Returns a new forecaster of a width, by default its own."""
        width = {} if hidden is None else {"hidden": hidden}
        return self.make(entrant.name, {"published": True, **entrant.settings, **width})


Row = tuple[Entrant, Cell]


def run(experiment: Experiment, rows: Sequence[Row], *, report: Report, note: Note) -> None:
    """Trains what is not finished, and writes a file for each cell.

    Args:
        experiment: What is run.
        rows: The cells, those that may be trained together side by side.
        report: Told of progress, in training steps.
        note: Told what a user should know.

    Raises:
        InvalidInput: A finished cell is of other settings, or a loss is no longer finite.
        StorageError: A file can't be written.
        Refused: Another run works in the folder.
    """
    folder = experiment.folder
    (folder / cells.FOLDER).mkdir(parents=True, exist_ok=True)
    with locked(folder, "experiment"):
        # All are looked at before any is trained: a wrong setting is said at once.
        missing = [row for row in rows if not cells.done(folder, row[1])]
        if len(missing) < len(rows):
            note(f"{len(rows) - len(missing)} of {len(rows)} cells are finished already")
        progress = _Progress(report=report, count=len(missing))
        data = _Data(pool=experiment.pool)
        groups = groups_of(missing, experiment.together)
        progress.total = sum(_longest(experiment, data, group) for group in groups)
        for group in groups:
            _train_group(experiment, data, group, progress, note)
        shutil.rmtree(folder / UNFINISHED, ignore_errors=True)


def groups_of(rows: Sequence[Row], most: int) -> list[list[Row]]:
    """Returns the cells that are trained at once: seeds of one model, width and number of worms."""
    found = []
    for _, same in groupby(rows, lambda row: (row[1].model, row[1].hidden, row[1].worms)):
        every = list(same)
        found += [every[start : start + most] for start in range(0, len(every), most)]
    return found


@dataclass(kw_only=True)
class _Data:
    """The windows of the pool, cut once for all models that see them alike."""

    pool: Pool
    said: tuple[int, int] | None = None
    batches: WormBatches | None = None

    def of(self, made: WormForecaster) -> WormBatches:
        said = (made.plan.batch, made.windows)
        if self.batches is None or self.said != said:
            self.said, self.batches = said, made.batches(self.pool.training)
        return self.batches


@dataclass(kw_only=True)
class _Progress:
    """Steps done of all steps, with a word on the cell."""

    report: Report
    count: int
    total: int = 0
    before: int = 0
    finished: int = 0

    def told(self, name: str) -> Report:
        """Returns what a training tells."""

        def report(done: int, most: int, text: str) -> None:
            del most
            cell = f"cell {self.finished + 1} of {self.count}, {name}: {text}"
            self.report(self.before + done, self.total, cell)

        return report


def _longest(experiment: Experiment, data: _Data, group: Sequence[Row]) -> int:
    """Returns the most steps of a group; it may stop early."""
    entrant, cell = group[0]
    made = experiment.model(entrant, cell.hidden)
    some = data.of(made).part(experiment.pool.drawn(cell.worms, cell.seed), cell.seed)
    return made.planned(some).max_steps


def _train_group(
    experiment: Experiment, data: _Data, group: Sequence[Row], progress: _Progress, note: Note
) -> None:
    import jax

    pool, (entrant, first) = experiment.pool, group[0]
    made = experiment.model(entrant, first.hidden)
    every = data.of(made)
    starts = [
        made.start(every.part(pool.drawn(cell.worms, cell.seed), cell.seed), cell.seed)
        for _, cell in group
    ]
    partial = experiment.folder / UNFINISHED / first.digest[:16]
    label = first.name + (f" and {len(group) - 1} more seeds" if len(group) > 1 else "")
    told = progress.told(label)
    trainings = [_training(pool, partial / cell.digest[:16], cell, told, note) for _, cell in group]
    begun = time.monotonic()
    ends = _trained(starts, trainings, partial)
    seconds = (time.monotonic() - begun) / len(group)
    _measure(experiment, group, starts, trainings, ends, seconds)
    progress.before += starts[0].plan.max_steps
    progress.finished += len(group)
    shutil.rmtree(partial, ignore_errors=True)
    # Every width and number of worms is compiled anew, and none is needed again.
    jax.clear_caches()


def _training(pool: Pool, folder: Path, cell: Cell, report: Report, note: Note) -> Training:
    folder.mkdir(parents=True, exist_ok=True)
    return replace(
        pool.training, seed=cell.seed, folder=folder, record=folder, report=report, note=note
    )


def _trained(
    starts: Sequence[Start], trainings: Sequence[Training], folder: Path
) -> list[tuple[Params, Counters]]:
    from baselines.training import train
    from baselines.worms.together import train_together

    if len(starts) > 1:
        return train_together(starts, trainings, folder)
    one = starts[0]
    return [train(one.loss, one.params, one.batches, one.plan, trainings[0])]


def _measure(
    experiment: Experiment,
    group: Sequence[Row],
    starts: Sequence[Start],
    trainings: Sequence[Training],
    ends: Sequence[tuple[Params, Counters]],
    seconds: float,
) -> None:
    """Measures what was trained, and writes its files."""
    from baselines.curves import Curves
    from baselines.worms.scaling.measure import error_of, generation_of, losses_of
    from baselines.worms.shell import parameter_count

    pool = experiment.pool
    errors = error_of(starts[0])
    for (entrant, cell), start, training, (params, counters) in zip(
        group, starts, trainings, ends, strict=True
    ):
        core = experiment.model(entrant, cell.hidden).core
        neurons = start.shape.neurons
        size = parameter_count(core, cell.hidden or neurons, neurons)
        lines = Curves(training.record).read()
        asked = experiment.generate if cell.seed == 0 else 0
        result = Result(
            train_steps=train_steps(start.batches),
            counted=size.counted,
            live=size.live,
            losses=losses_of(errors, params, start, pool.sources),
            steps=counters.step,
            best_step=counters.best_step,
            seconds=round(seconds, 3),
            drawn=tuple(pool.training.series[n].name for n in pool.drawn(cell.worms, cell.seed)),
            curve=tuple((int(one["step"]), one["train"], one["validation"]) for one in lines),
            generation=generation_of(params, start, pool, asked) if asked else None,
        )
        cells.write(experiment.folder, cell, result)
