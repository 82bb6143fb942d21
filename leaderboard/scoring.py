"""Scoring: the child process that opens a stranger's store; nothing else of the board does.

``python -m leaderboard.scoring`` reads an order from standard input and confines itself; then
check -> score -> forensics -> maps. It prints a JSON line for each phase, and writes a folder:
``scorecard.json`` with its sums, ``findings.json`` and ``maps.json``, or else ``failure.json``.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from leaderboard.redaction import redacted

if TYPE_CHECKING:
    from zapeval.benchmarks.benchmark import Benchmark
    from zapeval.forecasting.predictions import Predictions
    from zapeval.recordings.recording import Recordings
    from zapeval.scoring.scorecard import Scorecard
    from zapeval.scoring.tally import Tally
    from zapeval.scoring.task import Task

CARD, FINDINGS, MAPS, FAILURE = "scorecard.json", "findings.json", "maps.json", "failure.json"
"""Files of an outcome; the sums lie beside the scorecard."""

INVALID, PLATFORM = 3, 4
"""Exit status where the store is wrong, and where the server is."""

Fault = Literal["submission", "platform"]


class Order(BaseModel):
    """What to do.

    Attributes:
        store: The predictions store.
        name: What to call it where others read.
        benchmark: Id of its benchmark.
        digest: Digest that the benchmark must have.
        context: Context length.
        manifest: The manifest that was announced.
        data: Where the recording is; None is the default place.
        out: Folder of the outcome, which exists.
        again: Whether it was made for an earlier version of the benchmark.
        readable: What else it reads: recordings.
        network: Whether recordings are remote.
        memory: See Limits.
        cpu: See Limits.
        wall: See Limits.
        parent: Process without which it ends.
    """

    model_config = ConfigDict(extra="forbid")

    store: Path
    name: str
    benchmark: str
    digest: str
    context: int
    manifest: dict[str, Any]
    data: str | None = None
    out: Path
    again: bool = False
    readable: list[Path] = []
    network: bool = False
    memory: int
    cpu: float
    wall: float
    parent: int


class Refusal(Exception):
    """Says why nothing was scored, to its submitter."""

    def __init__(self, fault: Fault, reason: str, findings: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.fault: Fault = fault
        self.reason = reason
        self.findings = findings


def main() -> int:
    """Carries out the order on standard input; returns the exit status."""
    order = Order.model_validate_json(sys.stdin.buffer.read())
    try:
        _import()
        _confine(order)
        _carry_out(order)
    except Refusal as refusal:
        _refuse(order, refusal)
        return INVALID if refusal.fault == "submission" else PLATFORM
    return 0


def say(**what: object) -> None:
    """Prints a JSON line for the parent."""
    print(json.dumps(what), flush=True)


def _import() -> None:
    """Imports all that is heavy while there is one thread and the whole disk."""
    import zapeval.cli.score
    import zapeval.reports.maps
    import zapeval.scoring.score  # noqa: F401


def _confine(order: Order) -> None:
    from leaderboard.confinement import Limits, confine, of_the_program
    from zapeval.recordings.mirror import data_folder

    lacking = confine(
        Limits(memory=order.memory, cpu=order.cpu, wall=order.wall),
        readable=[*of_the_program(), data_folder(), *order.readable, order.store],
        writable=[order.out, Path(os.devnull)],
        network=order.network,
        parent=order.parent,
    )
    say(phase="checking", lacking=lacking)


def _carry_out(order: Order) -> None:
    from zapeval.errors import InvalidInput, ZapevalError

    benchmark, recordings = _task(order)
    try:
        predictions = _opened(order, benchmark)
        card, tally = _scored(order, predictions, benchmark, recordings)
        findings = list(_findings(predictions, benchmark, recordings))
    except Refusal:
        raise
    except MemoryError as error:
        raise Refusal("submission", _memory(order)) from error
    except ZapevalError as error:
        told = error.findings if isinstance(error, InvalidInput) else (str(error),)
        raise Refusal(_fault_of(error, order, recordings), str(error), told) from error
    _write(order, card, tally, benchmark, findings)
    maps = _maps(order, predictions, benchmark, recordings)
    (order.out / MAPS).write_text(json.dumps(maps))


def _task(order: Order) -> tuple[Benchmark, Recordings]:
    """Returns benchmark and recordings, which must be those that the board is about."""
    from zapeval.benchmarks.catalogue import find_recipe
    from zapeval.benchmarks.recipe import check_recordings
    from zapeval.errors import ZapevalError

    try:
        recipe = find_recipe(order.benchmark)
        recordings = recipe.recordings(order.data)
        benchmark = recipe.resolve(recordings)
        check_recordings(benchmark, recordings)
    except ZapevalError as error:
        reason = f"{order.benchmark}: the server can't read its recording; tell the operator"
        raise Refusal("platform", reason) from error
    if benchmark.digest != order.digest:
        raise Refusal(
            "platform",
            f"the server now has {benchmark.label} with digest {benchmark.digest[:19]}.., but this "
            f"is for {order.digest[:19]}..: forecast it again with this version",
        )
    return benchmark, recordings


def _opened(order: Order, benchmark: Benchmark) -> Predictions:
    """Returns the store, whose manifest must be the one that was announced."""
    from zapeval.forecasting.manifest import Manifest
    from zapeval.forecasting.predictions import open_predictions

    arrays = tuple(series.array for series in benchmark.series)
    predictions = open_predictions(str(order.store), arrays)
    announced = Manifest.model_validate(order.manifest)
    said = predictions.manifest
    if said is not None and said != announced:
        raise Refusal(
            "submission",
            f"{order.name}: its manifest is not the one that was announced; submit it again",
        )
    if order.again:
        known = {"id": benchmark.id, "version": benchmark.version, "digest": benchmark.digest}
        part = announced.benchmark.model_copy(update=known)
        announced = announced.model_copy(update={"benchmark": part})
    return replace(predictions, manifest=announced)


def _scored(
    order: Order, predictions: Predictions, benchmark: Benchmark, recordings: Recordings
) -> tuple[Scorecard, Tally]:
    from zapeval.cli.score import array_bytes
    from zapeval.cli.score import run_score as run
    from zapeval.cli.selection import Selection
    from zapeval.forecasting.check import check, require_no_errors

    checked = check(predictions, benchmark, recordings, context=order.context)
    require_no_errors(predictions, checked)
    say(phase="scoring", bytes=sum(array_bytes(predictions).values()))
    chosen = Selection(benchmark=benchmark, recordings=recordings, context=order.context)
    card, tally = run(predictions, chosen, quiet=True)
    notes = tuple(redacted(note, {order.store: order.name}) for note in card.notes)
    return replace(card, notes=notes), tally


def _findings(
    predictions: Predictions, benchmark: Benchmark, recordings: Recordings
) -> Iterator[dict[str, Any]]:
    from submissions.forensics import examine

    if predictions.kind == "traces":
        say(phase="examining")
        for finding in examine(predictions, benchmark, recordings):
            yield asdict(finding)


def _write(
    order: Order,
    card: Scorecard,
    tally: Tally,
    benchmark: Benchmark,
    findings: list[dict[str, Any]],
) -> None:
    from zapeval.cli.score import save
    from zapeval.errors import StorageError

    try:
        save(card, tally, benchmark, order.out / CARD)
        (order.out / FINDINGS).write_text(json.dumps(findings))
    except (StorageError, OSError) as error:
        raise Refusal(
            "platform", "the server could not keep the scores; try again later"
        ) from error


def _maps(
    order: Order, predictions: Predictions, benchmark: Benchmark, recordings: Recordings
) -> dict[str, Any] | None:
    """Returns what a page draws of single neurons; None where there is nothing to draw.

    The steps of the summary are read once more for it: scores that are made together with maps
    differ in their last digit from those that are made without.
    """
    from leaderboard.brains import preview
    from zapeval.errors import ZapevalError
    from zapeval.recordings.stores import open_store
    from zapeval.scoring.maps import create_maps
    from zapeval.scoring.score import plan
    from zapeval.scoring.task import forget, run_task

    say(phase="mapping")
    folder = order.out / "maps.zarr"
    maps = open_store(folder)
    folder.mkdir()
    try:
        create_maps(maps, benchmark, recordings)
        every = plan(predictions, benchmark, recordings, missing="strict", digest=False, maps=maps)
        tasks = [task for task in every if not task.series.held_out and _shown(task, benchmark)]
        try:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for _ in pool.map(run_task, tasks):
                    pass
        finally:
            forget(every[0].run)
        return preview(folder, benchmark, recordings)
    except ZapevalError as error:
        print(f"maps: {error}", file=sys.stderr)
        return None


def _shown(task: Task, benchmark: Benchmark) -> bool:
    return any(task.steps[0] < step <= task.steps[1] for step in benchmark.summary_steps)


def _fault_of(error: Exception, order: Order, recordings: Recordings) -> Fault:
    """Returns whose fault an error is: the server's where it speaks of its own files."""
    own = {str(order.out), *(recordings[key].activity_uri for key in recordings)}
    return "platform" if any(uri in str(error) for uri in own) else "submission"


def _memory(order: Order) -> str:
    return (
        f"{order.name}: needs more than the {order.memory >> 20:,} MiB of memory that scoring may "
        "use; write smaller chunks, e.g. of 32 windows and 1 step"
    )


def _refuse(order: Order, refusal: Refusal) -> None:
    names = {order.store: order.name}
    traceback.print_exception(refusal)
    document = {
        "fault": refusal.fault,
        "reason": redacted(refusal.reason, names),
        "findings": [redacted(one, names) for one in refusal.findings[:100]],
    }
    (order.out / FAILURE).write_text(json.dumps(document))


if __name__ == "__main__":
    sys.exit(main())
