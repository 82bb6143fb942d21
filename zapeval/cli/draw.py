"""``zapeval draw``: figures about neurons, for print and for the web."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zapeval.cli.console import Quiet, say
from zapeval.cli.outputs import check_output
from zapeval.cli.selection import BenchmarkName, ContextLength, Data
from zapeval.cli.slices import By, Metric, open_all_maps
from zapeval.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from zapeval.cli.selection import Selection
    from zapeval.reports.figures.excerpts import Contender

app = typer.Typer(no_args_is_help=True, help="Draw neurons: brain maps, regions and traces.")

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the figures.")]
SeriesName = Annotated[str, typer.Option(metavar="NAME", help="A series, or average.")]
Step = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="One step; default: the summary's mean.")
]


@app.command("brain")
def brain(
    maps: Annotated[str, typer.Argument(metavar="MAPS.zarr")],
    out: Out,
    benchmark: BenchmarkName = None,
    data: Data = None,
    metric: Metric = None,
    step: Step = None,
    series: SeriesName = "average",
    quiet: Quiet = False,
) -> None:
    """Draw each neuron's own score at its place in the brain, seen from three sides."""
    _check_folder(out, [maps])
    from zapeval.reports.figures import brain as figures

    (opened,) = open_all_maps([maps], benchmark, data)
    chosen = str(metric or opened.benchmark.primary)
    steps = None if step is None else [step]
    made = figures.brain_map(opened, metric=chosen, series=series, steps=steps)
    name = f"{chosen}_brain"
    _save(
        out,
        {name: figures.brain_figure(made)},
        {name: figures.brain_chart(made)},
        title=f"{made.label} on {opened.benchmark.label}",
        about=made.title,
        quiet=quiet,
    )


@app.command("regions")
def regions(
    maps: Annotated[list[str], typer.Argument(metavar="MAPS.zarr [MORE.zarr ..]")],
    out: Out,
    by: By = "region",
    benchmark: BenchmarkName = None,
    data: Data = None,
    metric: Metric = None,
    step: Step = None,
    series: SeriesName = "average",
    quiet: Quiet = False,
) -> None:
    """Draw the scores of groups of neurons as bars, several forecasters side by side."""
    _check_folder(out, maps)
    from zapeval.reports.figures import regions as figures
    from zapeval.reports.groups import group
    from zapeval.reports.slicing import slice_maps

    opened = open_all_maps(maps, benchmark, data)
    task = opened[0].benchmark
    chosen, steps = str(metric or task.primary), task.summary_steps if step is None else (step,)
    grouping = group(by, task, opened[0].recordings)
    slices = [
        (one.name, slice_maps(one, grouping, metrics=[chosen], series=series, steps=steps))
        for one in opened
    ]
    made = figures.bars_of(
        slices, metric=chosen, series=series, steps=steps, ranked=grouping.ranked
    )
    name = f"{chosen}_regions"
    _save(
        out,
        {name: figures.regions_figure(made)},
        {name: figures.regions_chart(made)},
        title=f"{made.label} on {task.label}",
        about=made.title,
        quiet=quiet,
    )


@app.command("traces")
def traces(
    predictions: Annotated[list[str], typer.Argument(metavar="A.zarr [B.zarr ..]")],
    out: Out,
    series: Annotated[str, typer.Option(metavar="NAME", help="A series.")],
    windows: Annotated[
        str, typer.Option(metavar="I,J,..", help="Which windows of it, from 0.")
    ] = "0",
    neurons: Annotated[
        str, typer.Option(metavar="N,M,..", help="Their names, or indices from 0.")
    ] = "0",
    benchmark: BenchmarkName = None,
    context: ContextLength = None,
    data: Data = None,
    quiet: Quiet = False,
) -> None:
    """Draw forecasts beside what came, for single neurons and windows."""
    _check_folder(out, predictions)
    from zapeval.reports.figures import excerpts
    from zapeval.reports.figures import traces as figures

    wanted = [_window(text) for text in windows.split(",")]
    contenders, chosen = _contenders(predictions, benchmark, context, data)
    made = excerpts.traces_of(
        contenders,
        chosen.benchmark,
        chosen.recordings,
        series=series,
        windows=wanted,
        neurons=[text.strip() for text in neurons.split(",")],
    )
    _save(
        out,
        {"traces": figures.traces_figure(made)},
        {"traces": figures.traces_chart(made)},
        title=made.title,
        about=", ".join(made.contexts),
        quiet=quiet,
    )


def _contenders(
    uris: Sequence[str], benchmark: str | None, context: int | None, data: str | None
) -> tuple[list[Contender], Selection]:
    """Opens predictions of one benchmark, and calls them by forecaster and seed."""
    from zapeval.cli.selection import select_for
    from zapeval.reports.figures.excerpts import Contender

    contenders, selections = [], []
    for uri in uris:
        opened, selection = select_for(uri, benchmark, context, data)
        name = Path(uri).stem
        if opened.manifest is not None:
            said = opened.manifest.forecaster
            name = said.name if said.seed is None else f"{said.name}, seed {said.seed}"
        contenders.append(Contender(name=name, predictions=opened, context=selection.context))
        selections.append(selection)
        if selection.benchmark.digest != selections[0].benchmark.digest:
            raise UsageError(
                f"{uri}: is for {selection.benchmark.label}, but {uris[0]} is for "
                f"{selections[0].benchmark.label}; draw them apart"
            )
    return contenders, selections[0]


def _window(text: str) -> int:
    if not text.strip().isdecimal():
        raise UsageError(f"--windows: {text!r:.40} is no number; expected such as 0,40")
    return int(text)


def _check_folder(out: Path, sources: Sequence[str]) -> None:
    """Checks before the work that figures can be drawn, and written apart from what is read."""
    from zapeval.recordings.stores import open_store
    from zapeval.reports.figures import look

    for source in sources:
        check_output(out, "folder", open_store(source).path)
    look.require("matplotlib", "altair")


def _save(
    out: Path,
    printed: Mapping[str, Figure],
    specs: Mapping[str, dict[str, Any]],
    *,
    title: str,
    about: str,
    quiet: bool,
) -> None:
    """Writes every figure as PNG, PDF and Vega-Lite, or none."""
    from zapeval.recordings.writer import files_into
    from zapeval.reports.figures import look
    from zapeval.reports.figures.vega import as_text

    with files_into(out) as folder:
        files = look.save(printed, folder, title=title, about=about)
        for name, spec in specs.items():
            files.append(folder / f"{name}.vl.json")
            files[-1].write_text(as_text(spec), encoding="utf-8")
    if not quiet:
        for file in files:
            say(str(out / file.name))
