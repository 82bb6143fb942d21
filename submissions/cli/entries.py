"""``zapeval entries``: list, check, add and import entries of boards, and examine predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import Quiet, note, progress, say
from zapeval.cli.outputs import check_output
from zapeval.cli.selection import BenchmarkName, ContextLength, Data, select_for

if TYPE_CHECKING:
    from submissions.forensics import Finding

app = typer.Typer(
    help="List, check, add and import entries of boards, and examine predictions.",
    add_completion=False,
    no_args_is_help=True,
)

Folder = Annotated[
    Path | None,
    typer.Argument(metavar="[DIR]", help="Folder of entries; default: those that come along."),
]


@app.command("list")
def list_(folder: Folder = None) -> None:
    """List entries: name, authors, benchmarks and context lengths, seeds."""
    from submissions.entries import ENTRIES, read_entries

    entries, findings = read_entries(folder or ENTRIES)
    width = max((len(entry.name) for entry in entries), default=0)
    for entry in entries:
        boards = {f"{card.label} C={card.context}" for card in entry.cards}
        if entry.reported is not None:
            label = entry.reported.benchmark
            boards |= {f"{label} C={context} (reported)" for context in entry.reported.contexts}
        seeds = f"; seeds {', '.join(entry.seeds)}" if entry.seeds else ""
        what = f"{entry.sheet.name} by {', '.join(entry.sheet.authors)}"
        say(f"{entry.name:<{width}}  {what}; {', '.join(sorted(boards))}{seeds}")
    if findings:
        note(f"{len(findings)} findings; see them with `zapeval entries check`")


@app.command()
def check(folder: Folder = None, quiet: Quiet = False) -> None:
    """Check every entry, number by number, and print the boards."""
    from submissions.boards import board_lines, boards_of
    from submissions.entries import ENTRIES, check_entries, require_clean

    intake = check_entries(folder or ENTRIES)
    require_clean(intake)
    if quiet:
        return
    for board in boards_of(intake.entries, intake.benchmarks):
        for line in board_lines(board):
            say(line)
        say()
    say(f"# {len(intake.entries)} entries, nothing wrong")


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    scorecards: Annotated[list[Path], typer.Argument(metavar="SCORECARD.json..")],
    fact_sheet: Annotated[
        Path, typer.Option("--fact-sheet", metavar="FILE", help="The fact sheet, a TOML file.")
    ],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Folder of entries.")],
    quiet: Quiet = False,
) -> None:
    """Add an entry: fact sheet and scorecards with their sums, checked and copied."""
    from submissions.entries import add as add_entry

    check_output(to / name, "new")
    entry = add_entry(name, fact_sheet, scorecards, to)
    if not quiet:
        say(f"{entry.folder}: {len(entry.cards)} scorecards")


@app.command("import-zapbench")
def import_zapbench(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The published table, combined.json.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of entries.")],
    quiet: Quiet = False,
) -> None:
    """Import the published ZAPBench table: an entry a method, marked as reported."""
    from submissions.zapbench_table import import_table

    check_output(out, "folder")
    done = import_table(file, out)
    if quiet:
        return
    for name, reported in done.entries.items():
        runs = "; ".join(
            f"C={context}, {len(reported.seeds(context))} runs" for context in reported.contexts
        )
        numbers = sum(len(curve.values) for curve in reported.curves)
        say(f"{out / name}: {numbers:,} numbers; {runs}")
    for condition in done.ignored:
        note(f"left out, as the benchmark has no such condition: {condition}")


@app.command()
def forensics(
    predictions: Annotated[str, typer.Argument(metavar="PREDICTIONS.zarr")],
    benchmark: BenchmarkName = None,
    context: ContextLength = None,
    data: Data = None,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="OTHER.zarr", help="Predictions that these may be a copy of."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample that is looked at.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """Look for signs that predictions were made from what they forecast; finds, never judges."""
    from submissions.forensics import examine
    from zapeval.forecasting.predictions import open_predictions

    opened, chosen = select_for(predictions, benchmark, context, data)
    arrays = tuple(series.array for series in chosen.benchmark.series)
    others = [open_predictions(uri, arrays) for uri in against or []]
    with progress("forensics", 1 + len(others), "stores", quiet=quiet) as advance:
        found = examine(
            opened,
            chosen.benchmark,
            chosen.recordings,
            others=others,
            seed=seed,
            progress=advance,
        )
    _print(predictions, found, json)


def _print(where: str, found: tuple[Finding, ...], json: bool) -> None:
    if json:
        from dataclasses import asdict
        from json import dumps

        say(dumps([asdict(finding) for finding in found], indent=1, allow_nan=False))
        return
    for finding in found:
        numbers = ", ".join(f"{key} {value}" for key, value in finding.evidence.items())
        say(f"{finding.severity:<6}  {finding.kind}: {finding.message} ({numbers})")
    say(f"# {where}: {len(found)} findings on a sample; each is a sign, not a verdict")
