"""A study, run: cells -> trained -> forecast -> scored, each once a seed; what is there stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from baselines.volumetric.studies.clock import Clock, Watch, Work, work_of
from baselines.volumetric.studies.document import document_of, enter
from baselines.volumetric.studies.grid import MODEL, Cell, Study
from baselines.volumetric.studies.windows import seen_by_all, thinned
from zapeval.cli.console import note, progress, steps
from zapeval.cli.forecasters import make_forecaster
from zapeval.errors import Refused
from zapeval.forecasting.contexts import data_mark
from zapeval.forecasting.forecast import forecast, manifest_of
from zapeval.forecasting.predictions import open_predictions
from zapeval.forecasting.train import train
from zapeval.recordings.lock import locked
from zapeval.scoring.scorecard import Scorecard, read_scorecard

if TYPE_CHECKING:
    from zapeval.benchmarks.benchmark import Benchmark
    from zapeval.forecasting.checkpoint import Checkpoint
    from zapeval.forecasting.forecaster import Forecaster
    from zapeval.recordings.recording import Recordings


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What a study stands on.

    Attributes:
        study: The study.
        whole: The benchmark, whose training frames are trained on.
        recordings: Its recordings.
        every: Each how many-th test window is scored.
        only: Labels of the cells to train; none for all. What is there of others is shown.
    """

    study: Study
    whole: Benchmark
    recordings: Recordings
    every: int = 16
    only: tuple[str, ...] = ()

    @cached_property
    def scored(self) -> Benchmark:
        """The windows, and the neurons that every cell has a voxel of."""
        models = [made(cell).parameters for cell in self.study.cells if cell.forecaster == MODEL]
        return thinned(self.whole, self.every, seen_by_all(models, self.whole, self.recordings))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a cell: a scorecard for each seed.

    Attributes:
        cell: The cell.
        cards: The scorecards, by seed.
    """

    cell: Cell
    cards: tuple[Scorecard, ...] = field(default=())


def run(
    ground: Ground,
    folder: Path,
    *,
    seeds: int,
    quiet: bool = False,
    after: Callable[[Sequence[Outcome]], None] = lambda outcomes: None,
) -> tuple[Outcome, ...]:
    """Does what is not done yet of a study, and returns all of it.

    Repeating an interrupted call goes on where it stopped, within a training too.

    Args:
        ground: What the study stands on.
        folder: Where everything goes: checkpoint, predictions and scorecard of each cell and seed.
        seeds: How many times each cell is trained.
        quiet: Whether to say nothing.
        after: Told all outcomes when one more is there.

    Raises:
        Refused: The folder holds another study or a cell with other settings, or another run is
            writing to it.
        UsageError: A context length is not allowed.
        InvalidInput: The recordings are not the benchmark's, or lack video or segmentation.
    """
    study = ground.study
    for cell in study.cells:
        ground.whole.check_context(cell.context)
    mark = data_mark(ground.scored, ground.recordings, 1)
    document = document_of(study, ground.scored, mark)
    with locked(folder, "study"):
        enter(folder, document)
        units = list(_units(ground, folder, seeds))
        clock = Clock(sum(_work(ground, cell).total for cell, seed in units))
        cards: dict[tuple[str, int], Scorecard] = {}
        for number, (cell, seed) in enumerate(units, start=1):
            unit = _Unit(ground, cell, seed, folder / cell.label, clock, quiet)
            place = f"{number} of {len(units)}"
            cards[cell.label, seed] = unit.card(place)
            after(_outcomes(study, cards, seeds))
    return _outcomes(study, cards, seeds)


def made(cell: Cell) -> Forecaster:
    """Returns a new forecaster of a cell."""
    words = [f"{key}={json.dumps(value)}" for key, value in cell.settings.items()]
    return make_forecaster(cell.forecaster, words)


class _Unit:
    """One cell with one seed."""

    def __init__(
        self, ground: Ground, cell: Cell, seed: int, folder: Path, clock: Clock, quiet: bool
    ) -> None:
        self._ground, self._cell, self._seed = ground, cell, seed
        self._folder, self._clock, self._quiet = folder, clock, quiet
        self._made = made(cell)
        self._name = f"seed-{seed}"

    def card(self, place: str) -> Scorecard:
        """Returns its scorecard, which is made if it is not there yet."""
        path = self._folder / f"{self._name}.json"
        work = _work(self._ground, self._cell)
        if path.exists():
            self._clock.passed(work.total)
            return self._checked(read_scorecard(path), path)
        left = f", about {self._clock.left} left in all" if self._clock.left else ""
        self._say(f"{place}{left}")
        trained = self._trained(work) if self._made.learns else None
        store = self._folder / f"{self._name}.zarr"
        begun = self._clock.now()
        if self._forecast(store, trained) and work.forecast:
            self._clock.spent(work.forecast, self._clock.now() - begun)
        else:
            self._clock.passed(work.forecast)
        _forget()
        return self._scored(store, path)

    def _trained(self, work: Work) -> Checkpoint:
        watch = Watch(self._clock, work)
        begun = not self._clock.left
        with steps(self._label, quiet=self._quiet) as report:

            def told(done: int, total: int, text: str) -> None:
                nonlocal begun
                watch.step(done)
                if begun and self._clock.left:
                    begun = False
                    self._say(f"by its first steps, about {self._clock.left} for all that is left")
                left = f"; all: {self._clock.left} left" if self._clock.left else ""
                report(done, total, text + left)

            checkpoint = train(
                self._made,
                self._ground.whole,
                self._ground.recordings,
                self._folder / self._name,
                context=self._cell.context,
                seed=self._seed,
                settings=self._cell.settings,
                report=told,
                note=self._say,
            )
        watch.end()
        return checkpoint

    def _forecast(self, store: Path, trained: Checkpoint | None) -> bool:
        """Forecasts what is not forecast yet, and returns whether there was anything."""
        scored, context = self._ground.scored, self._cell.context
        if store.exists():
            said = open_predictions(str(store)).manifest
            wanted = manifest_of(self._made, scored, context, trained)
            if said and (said.benchmark, said.forecaster) == (wanted.benchmark, wanted.forecaster):
                return False
            shutil.rmtree(store)
        with progress(self._label, scored.windows, "windows", quiet=self._quiet) as advance:
            forecast(
                self._made,
                scored,
                self._ground.recordings,
                store,
                context=context,
                trained=trained,
                progress=advance,
            )
        return True

    def _scored(self, store: Path, path: Path) -> Scorecard:
        from zapeval.cli.score import save
        from zapeval.scoring.score import score

        scored = self._ground.scored
        predictions = open_predictions(str(store))
        context = self._cell.context
        card, tally = score(
            predictions, scored, self._ground.recordings, context=context, intervals="none"
        )
        return save(card, tally, scored, path)

    def _checked(self, card: Scorecard, path: Path) -> Scorecard:
        """Returns a scorecard that was there, if it is this cell's."""
        said, digest = card.forecaster, self._ground.scored.digest
        parameters = json.loads(json.dumps(dict(self._made.parameters)))
        seed = self._seed if self._made.learns else None
        wanted = {"name": self._made.name, "parameters": parameters, "seed": seed}
        if {key: said.get(key) for key in wanted} != wanted or (
            card.benchmark["digest"],
            card.benchmark["context"],
        ) != (digest, self._cell.context):
            raise Refused(
                f"{path}: is no scorecard of {self._label} on {self._ground.scored.label} with "
                "these settings; remove it, or choose another --out"
            )
        return card

    @property
    def _label(self) -> str:
        return f"{self._cell.label}, seed {self._seed}"

    def _say(self, text: str) -> None:
        if not self._quiet:
            note(f"{self._label}: {text}")


def _units(ground: Ground, folder: Path, seeds: int) -> Iterator[tuple[Cell, int]]:
    """Yields cells with their seeds: every cell once, before any is trained again."""
    for seed in range(seeds):
        for cell in ground.study.cells:
            wanted = cell.reference or not ground.only or cell.label in ground.only
            there = (folder / cell.label / f"seed-{seed}.json").exists()
            if (wanted or there) and not (cell.reference and seed):
                yield cell, seed


def _outcomes(
    study: Study, cards: Mapping[tuple[str, int], Scorecard], seeds: int
) -> tuple[Outcome, ...]:
    found = []
    for cell in study.cells:
        own = [cards[cell.label, seed] for seed in range(seeds) if (cell.label, seed) in cards]
        found.append(Outcome(cell=cell, cards=tuple(own)))
    return tuple(one for one in found if one.cards)


def _forget() -> None:
    """Lets go of what was compiled: no cell needs another's, and many of them fill a memory."""
    import jax

    jax.clear_caches()


def _work(ground: Ground, cell: Cell) -> Work:
    if cell.forecaster != MODEL:
        return Work(steps=0, step=0.0, forecast=0.0)
    key = ground.whole.frames[0][0]
    labels = ground.recordings[key].segmentation
    x, y, z = labels.shape if labels is not None else (0, 0, 0)
    horizon, windows = ground.whole.horizon, ground.scored.windows
    return work_of(made(cell).parameters, cell.context, horizon, (x, y, z), windows)
