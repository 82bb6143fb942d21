"""``zapeval slices``: the scores of groups of neurons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import Quiet, say, show_table
from zapeval.cli.outputs import check_output
from zapeval.cli.selection import BenchmarkName, Data
from zapeval.errors import NotFound, UsageError

if TYPE_CHECKING:
    from zapeval.reports.maps import Maps


class MapMetric(StrEnum):
    """Metrics that maps hold."""

    mae = "mae"
    mse = "mse"
    correlation = "correlation"


By = Annotated[
    str,
    typer.Option(metavar="region|activity:N|FILE.csv", help="What makes the groups."),
]
Metric = Annotated[MapMetric | None, typer.Option(help="The metric; default: the benchmark's.")]


def slices(
    maps: Annotated[str, typer.Argument(metavar="MAPS.zarr")],
    by: By = "region",
    benchmark: BenchmarkName = None,
    data: Data = None,
    metric: Metric = None,
    series: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One series, average (the default) or pooled."),
    ] = None,
    card: Annotated[
        Path | None, typer.Option(metavar="A.json", help="Scorecard that was written with them.")
    ] = None,
    csv: Annotated[
        str | None, typer.Option("--csv", metavar="FILE|-", help="Write a row a score.")
    ] = None,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write everything.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Score groups of neurons from maps, without another pass over the predictions.

    The table has one metric of one series; files have all of them, unless options say which.
    """
    from zapeval.recordings.writer import files_into
    from zapeval.reports import slices as reports
    from zapeval.reports.groups import group
    from zapeval.reports.slicing import slice_maps
    from zapeval.scoring.metrics import METRICS
    from zapeval.scoring.scorecard import read_scorecard

    asked = {option: to for option, to in {"--csv": csv, "--json": json}.items() if to}
    _check_outputs(asked, maps, [path for path in (card, Path(by)) if path is not None])
    read = None if card is None else read_scorecard(card)
    (opened,) = open_all_maps([maps], benchmark, data)
    grouping = group(by, opened.benchmark, opened.recordings)
    steps = opened.benchmark.summary_steps
    chosen, row = metric or opened.benchmark.primary, series or "average"

    def made(metrics: Sequence[str], of: str | None, at: Sequence[int] | None) -> reports.Slices:
        return slice_maps(opened, grouping, metrics=metrics, series=of, steps=at, card=read)

    if not quiet and "-" not in asked.values():
        show_table(reports.slices_table(made([chosen], row, steps), chosen, row, steps))
    if not asked:
        return
    everything = made(METRICS if metric is None else [metric], series, None)
    makers: dict[str, Callable[[], str]] = {
        "--csv": everything.to_csv,
        "--json": everything.to_json,
    }
    for option, to in asked.items():
        if to == "-":
            say(makers[option]().rstrip("\n"))
            continue
        with files_into(Path(to).parent) as folder:
            (folder / Path(to).name).write_text(makers[option](), encoding="utf-8")


def open_all_maps(uris: Sequence[str], benchmark: str | None, data: str | None) -> list[Maps]:
    """Opens maps of one benchmark: the one that is named, else the one that the first names.

    Raises:
        NotFound: There are no such maps, or no such benchmark.
        InvalidInput: One holds no maps, or the recordings don't fit.
        Refused: They are of another benchmark or recording.
    """
    from zapeval.benchmarks.catalogue import find_recipe
    from zapeval.reports.maps import open_maps, read_identity

    label, _ = read_identity(uris[0])
    try:
        recipe = find_recipe(benchmark or label)
    except NotFound as error:
        if benchmark is not None:
            raise
        raise NotFound(
            f"{uris[0]}: {error}; where a TOML file defines it, give the file with -b"
        ) from error
    recordings = recipe.recordings(data)
    resolved = recipe.resolve(recordings)
    return [open_maps(uri, resolved, recordings) for uri in uris]


def _check_outputs(asked: dict[str, str], maps: str, read: Sequence[Path]) -> None:
    """Checks before the work that everything can be written, each to a place of its own."""
    from zapeval.recordings.stores import open_store

    if len({to if to == "-" else str(Path(to).resolve()) for to in asked.values()}) < len(asked):
        raise UsageError(f"{asked['--csv']}: --csv and --json would both write it")
    for option, to in asked.items():
        if to == "-":
            continue
        if Path(to).resolve() in [path.resolve() for path in read]:
            raise UsageError(f"{to}: is read; {option} would replace it, choose another name")
        check_output(Path(to), "file", open_store(maps).path)
