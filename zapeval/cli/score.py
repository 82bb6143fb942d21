"""``zapeval score``: the scorecard of saved predictions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import Quiet, amount, note, progress, say, show_table
from zapeval.cli.outputs import check_output
from zapeval.cli.selection import BenchmarkName, ContextLength, Data, select_for
from zapeval.errors import UsageError

if TYPE_CHECKING:
    from zapeval.benchmarks.benchmark import Benchmark
    from zapeval.cli.selection import Selection
    from zapeval.forecasting.predictions import Predictions
    from zapeval.scoring.score import Run
    from zapeval.scoring.scorecard import Scorecard
    from zapeval.scoring.tally import Tally


class IntervalMode(StrEnum):
    """Which scores get intervals."""

    errors = "errors"
    all = "all"
    none = "none"


class MissingMode(StrEnum):
    """What a neuron without predictions costs."""

    strict = "strict"
    official = "official"


Json = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE|-", help="Write the scorecard and, beside it, sums a window."
    ),
]


def score(
    predictions: Annotated[str, typer.Argument(metavar="PREDICTIONS.zarr")],
    benchmark: BenchmarkName = None,
    context: ContextLength = None,
    data: Data = None,
    json: Json = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write every score.")
    ] = None,
    maps: Annotated[
        Path | None, typer.Option("--maps", metavar="OUT.zarr", help="Write each neuron's scores.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="DIR", help="Draw error against step.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads; default: one a CPU.")
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option("--dask", metavar="ADDRESS", help="Score on the Dask cluster of a scheduler."),
    ] = None,
    missing: Annotated[
        MissingMode, typer.Option(help="Neurons without predictions: left out, or zero error.")
    ] = MissingMode.strict,
    intervals: Annotated[
        IntervalMode,
        typer.Option(help="95 % intervals: of errors, also of correlations (slower), or none."),
    ] = IntervalMode.errors,
    quiet: Quiet = False,
) -> None:
    """Score predictions: MAE, MSE and correlation for every series and step, and the summary."""
    from zapeval.recordings.stores import open_store
    from zapeval.recordings.writer import beside, files_into

    if workers is not None and dask is not None:
        raise UsageError("--workers counts threads of this machine; leave it out with --dask")
    file = None if json in (None, "-") else Path(str(json))
    _check_outputs(file, csv, maps, figures, open_store(predictions).path)
    opened, chosen = select_for(predictions, benchmark, context, data)
    begun = time.monotonic()
    with beside(maps) if maps is not None else nullcontext() as made:
        card, tally = run_score(
            opened,
            chosen,
            missing=missing,
            intervals=intervals,
            maps=made,
            workers=workers,
            dask=dask,
            quiet=quiet,
        )
    total = sum(array_bytes(opened).values())
    seconds = time.monotonic() - begun
    # Shown before it is written: a full disk must not cost what has been computed.
    if json == "-":
        say(card.to_json().rstrip())
        if not quiet:
            note("window sums are not kept with --json -; give a file for later comparisons")
    elif not quiet:
        show(card, chosen.benchmark)
        speed = amount(total / max(seconds, 1e-9), "bytes")
        note(f"{amount(total, 'bytes')} in {seconds:.1f} s, {speed}/s")
    if file is not None:
        card = save(card, tally, chosen.benchmark, file)
    if csv is not None:
        with files_into(csv.parent) as folder:
            (folder / csv.name).write_text(card.to_csv(), encoding="utf-8")
    if figures is not None:
        _draw(card, chosen.benchmark, figures)


def save(card: Scorecard, tally: Tally, benchmark: Benchmark, path: Path) -> Scorecard:
    """Writes ``A.json`` and ``A.windows.npz``; returns the card that names its sums."""
    from zapeval.recordings.writer import files_into
    from zapeval.scoring.scorecard import write_scorecard
    from zapeval.scoring.tally import write_window_sums

    sums = path.with_suffix(".windows.npz").name
    with files_into(path.parent) as folder:
        digest = write_window_sums(tally, benchmark, folder / sums)
        return write_scorecard(card, folder / path.name, {"file": sums, "digest": digest})


def show(card: Scorecard, benchmark: Benchmark) -> None:
    """Prints the table of a scorecard, plain where standard output is no terminal."""
    from zapeval.reports import tables

    show_table(tables.scorecard_table(card, benchmark.summary_steps))


def array_bytes(predictions: Predictions) -> dict[str, int]:
    """Returns the size of each array before compression, in bytes."""
    import math

    return {
        name: math.prod(array.shape) * array.dtype.itemsize
        for name, array in predictions.arrays.items()
    }


def run_score(
    predictions: Predictions,
    chosen: Selection,
    *,
    missing: MissingMode = MissingMode.strict,
    intervals: IntervalMode = IntervalMode.errors,
    maps: Path | None = None,
    workers: int | None = None,
    dask: str | None = None,
    quiet: bool = False,
) -> tuple[Scorecard, Tally]:
    """Scores opened predictions on threads or a Dask cluster, with a progress bar."""
    from zapeval.recordings.stores import open_store
    from zapeval.scoring.score import score as run

    total = sum(array_bytes(predictions).values())
    with (
        _on_threads(workers) if dask is None else _on_cluster(dask) as run_tasks,
        progress("scoring", total, "bytes", quiet=quiet) as advance,
    ):
        return run(
            predictions,
            chosen.benchmark,
            chosen.recordings,
            context=chosen.context,
            missing=missing.value,
            intervals=intervals.value,
            maps=None if maps is None else open_store(maps),
            run=run_tasks,
            progress=advance,
        )


@contextmanager
def _on_threads(workers: int | None) -> Iterator[Run]:
    import os

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        try:
            yield pool.map
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextmanager
def _on_cluster(address: str) -> Iterator[Run]:
    from zapeval.scoring.cluster import Cluster

    with Cluster(address) as cluster:
        yield cluster.map


def _check_outputs(
    json: Path | None,
    csv: Path | None,
    maps: Path | None,
    figures: Path | None,
    source: Path | None,
) -> None:
    if csv is not None and (csv.suffix not in (".csv", ".txt", "") or str(csv) == "-"):
        raise UsageError(f"{csv}: expected a name that ends in .csv")
    for path in (json, csv):
        if path is not None:
            check_output(path, "file", source)
    if maps is not None:
        check_output(maps, "new", source)
    if figures is not None:
        check_output(figures, "folder", source)
        from zapeval.reports.figures.look import require

        require("matplotlib")


def _draw(card: Scorecard, benchmark: Benchmark, folder: Path) -> None:
    from zapeval.recordings.writer import files_into
    from zapeval.reports.figures.curves import error_by_step

    with files_into(folder) as partial:
        error_by_step(
            [card],
            partial,
            frame_seconds=benchmark.frame_seconds,
            benchmark_steps=benchmark.summary_steps,
        )
