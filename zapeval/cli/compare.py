"""``zapeval compare``: scorecards side by side, and which differences are real."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import Quiet, note, say, show_table
from zapeval.cli.outputs import check_output
from zapeval.errors import UsageError

if TYPE_CHECKING:
    from zapeval.reports.comparison import Comparison


_ENDINGS = (".png", ".pdf", ".vl.json")


class ErrorMetric(StrEnum):
    """Metrics whose sums a window are kept."""

    mae = "mae"
    mse = "mse"


def compare(
    scorecards: Annotated[list[Path], typer.Argument(metavar="A.json B.json ...")],
    baseline: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Entry that skill is relative to; else persistence."),
    ] = None,
    metric: Annotated[
        ErrorMetric | None, typer.Option(help="Error to compare; default: the summary's.")
    ] = None,
    series: Annotated[
        str | None, typer.Option(metavar="NAME", help="One series, average:GROUP or pooled.")
    ] = None,
    step: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="One step; default: the summary's.")
    ] = None,
    pairs: Annotated[bool, typer.Option("--pairs", help="Show every paired difference.")] = False,
    latex: Annotated[
        str | None, typer.Option("--latex", metavar="FILE|-", help="Write a LaTeX table.")
    ] = None,
    markdown: Annotated[
        str | None, typer.Option("--markdown", metavar="FILE|-", help="Write a Markdown table.")
    ] = None,
    csv: Annotated[
        str | None, typer.Option("--csv", metavar="FILE|-", help="Write a row an entry.")
    ] = None,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write everything.")
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option("--figures", metavar="DIR", help="Draw ranking, skill, cost and curves."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Compare scorecards: ranks with intervals, ties, paired differences, skill."""
    from zapeval.recordings.writer import files_into
    from zapeval.reports import comparison as comparisons
    from zapeval.reports import latex as papers
    from zapeval.reports import standings
    from zapeval.reports.entries import read_entries

    makers: dict[str, tuple[str | None, Callable[[Comparison], str]]] = {
        "--latex": (latex, papers.to_latex),
        "--markdown": (markdown, lambda made: standings.to_markdown(made, pairs=pairs)),
        "--csv": (csv, standings.to_csv),
        "--json": (json, lambda made: made.to_json()),
    }
    wanted = {option: (to, make) for option, (to, make) in makers.items() if to is not None}
    printed = [option for option, (to, _) in wanted.items() if to == "-"]
    _check_outputs({option: to for option, (to, _) in wanted.items()}, scorecards)
    if figures is not None:
        _check_figures(figures, [*scorecards, *(Path(to) for to, _ in wanted.values())])
    made = comparisons.compare(
        read_entries(scorecards),
        metric=None if metric is None else metric.value,
        series=series,
        step=step,
        baseline=baseline,
    )
    if not quiet and not printed:
        show_table(standings.standings_table(made))
        if pairs:
            say()
            show_table(standings.pairs_table(made))
    for to, make in wanted.values():
        if to == "-":
            say(make(made).rstrip("\n"))
            continue
        path = Path(to)
        with files_into(path.parent) as folder:
            (folder / path.name).write_text(make(made), encoding="utf-8")
    if figures is not None:
        _draw(made, figures, quiet=quiet)


def _check_figures(folder: Path, files: list[Path]) -> None:
    """Checks before the work that figures can be drawn, and that they replace none of the files.

    Raises:
        UsageError: What draws is not installed, or a file is called as a figure might be.
        StorageError: Nothing can be written there.
    """
    from zapeval.reports.figures import look

    look.require(*look.LIBRARIES)
    check_output(folder, "folder")
    for file in files:
        if file.resolve().parent == folder.resolve() and file.name.endswith(_ENDINGS):
            raise UsageError(f"{file}: lies where --figures writes; choose another folder")


def _draw(comparison: Comparison, folder: Path, *, quiet: bool) -> None:
    from zapeval.recordings.writer import files_into
    from zapeval.reports.figures import gallery

    with files_into(folder) as partial:
        names = {path.name.partition(".")[0] for path in gallery.draw(comparison, partial)}
    if not quiet and "skill" not in names:
        note("no figure of skill: there is no persistence to compare with; name a --baseline")
    if not quiet and "cost" not in names:
        note("no figure of cost: no scorecard names parameters or training seconds")


def _check_outputs(wanted: dict[str, str], scorecards: list[Path]) -> None:
    """Checks before the work that everything can be written, each to a place of its own.

    Raises:
        UsageError: Two outputs share a place, or one would replace a scorecard or its sums.
        StorageError: Nothing can be written there.
    """
    places: dict[object, str] = {}
    read = {path.resolve() for path in scorecards}
    read |= {path.with_suffix(".windows.npz") for path in read}
    for option, to in wanted.items():
        place: object = to if to == "-" else Path(to).resolve()
        if place in places:
            raise UsageError(f"{to}: {places[place]} and {option} would both write it")
        places[place] = option
        if place in read:
            raise UsageError(f"{to}: is read; {option} would replace it, choose another name")
        if to != "-":
            check_output(Path(to), "file")
