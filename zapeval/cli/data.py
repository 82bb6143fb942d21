"""``zapeval data``: local copies of public recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zapeval.cli.console import Quiet, amount, progress, say
from zapeval.errors import InvalidInput, NotFound, Refused

app = typer.Typer(help="Mirror public recordings, and verify the copy.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="BENCHMARK")]
Source = Annotated[
    str | None, typer.Option("--from", metavar="URI", help="Source; default: the public bucket.")
]


@app.command()
def fetch(name: Name, source: Source = None, quiet: Quiet = False) -> None:
    """Copy a benchmark's recording to the data folder; repeat an interrupted run to go on."""
    from zapeval.benchmarks import zapbench
    from zapeval.recordings import mirror

    folder = _folder(name)
    uri = source or zapbench.PUBLIC
    seen = 0

    with progress("fetching", 0, "files", quiet=quiet) as advance:

        def show(done: int, total: int) -> None:
            nonlocal seen
            advance(done - seen)
            seen = done

        report = mirror.fetch(uri, zapbench.MIRRORED, folder, progress=show)
    if not quiet:
        size = amount(report.fetched_bytes, "bytes")
        say(f"{folder}: {report.files:,} files, {report.fetched:,} of them fetched now ({size})")


@app.command()
def verify(name: Name, quiet: Quiet = False) -> None:
    """Read every file of the copy and compare it with its recorded checksum."""
    from zapeval.recordings import mirror

    folder = _folder(name)
    if not folder.exists():
        raise NotFound(f"{folder}: does not exist; fetch it with `zapeval data fetch {name}`")
    findings = mirror.verify(folder)
    if findings:
        raise InvalidInput("\n".join(findings), findings)
    if not quiet:
        say(f"{folder}: every file is as it was fetched")


@app.command()
def where(name: Name) -> None:
    """Print the folder that holds, or would hold, a benchmark's recording."""
    say(str(_folder(name)))


def _folder(name: str) -> Path:
    from zapeval.benchmarks import synthetic, zapbench
    from zapeval.benchmarks.catalogue import find_recipe

    recipe = find_recipe(name)
    if isinstance(recipe, zapbench.ZapBench):
        return zapbench.mirror_folder()
    if isinstance(recipe, synthetic.Mini | synthetic.Smoke):
        return synthetic.brain_folder()
    raise Refused(f"{name}: is defined over recordings of your own; there is nothing to fetch")
