"""``zapeval compare``: scorecards side by side, and which differences are real."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import Quiet, has_room, say
from zapeval.cli.outputs import check_output
from zapeval.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from zapeval.reports.comparison import Comparison


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
    made = comparisons.compare(
        read_entries(scorecards),
        metric=None if metric is None else metric.value,
        series=series,
        step=step,
        baseline=baseline,
    )
    if not quiet and not printed:
        _show(standings.standings_table(made))
        if pairs:
            say()
            _show(standings.pairs_table(made))
    for to, make in wanted.values():
        if to == "-":
            say(make(made).rstrip("\n"))
            continue
        path = Path(to)
        with files_into(path.parent) as folder:
            (folder / path.name).write_text(make(made), encoding="utf-8")


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


def _show(table: Table) -> None:
    """Prints a table, plain where standard output is no terminal or too narrow for it."""
    from rich.console import Console

    from zapeval.reports.tables import as_plain

    console = Console()
    if has_room() and fits(table, console):
        console.print(table)
    else:
        say(as_plain(table).rstrip("\n"))


def fits(table: Table, console: Console) -> bool:
    """Tells whether a console is wide enough for all cells of a table, the prose apart."""
    prose = table.title, table.caption
    table.title = table.caption = None
    try:
        return console.measure(table).maximum < console.width
    finally:
        table.title, table.caption = prose
