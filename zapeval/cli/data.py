"""``zapeval data``: local copies of public recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import Quiet, amount, progress, say
from zapeval.errors import InvalidInput, NotFound, Refused

if TYPE_CHECKING:
    from zapeval.recordings.mirror import Mirror

app = typer.Typer(help="Mirror public recordings, and verify the copy.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="BENCHMARK")]
Source = Annotated[
    str | None, typer.Option("--from", metavar="URI", help="Source; default: the public bucket.")
]


@app.command()
def fetch(name: Name, source: Source = None, quiet: Quiet = False) -> None:
    """Copy a benchmark's recording to the data folder; repeat an interrupted run to go on."""
    from zapeval.recordings.mirror import fetch as copy

    mirror = _mirror(name)
    with _files("fetching", quiet) as show:
        report = copy(source or mirror.source, mirror.items, mirror.folder, progress=show)
    if not quiet:
        size = amount(report.fetched_bytes, "bytes")
        count = f"{report.files:,} files, {report.fetched:,} of them fetched now ({size})"
        say(f"{mirror.folder}: {count}")


@app.command()
def verify(name: Name, quiet: Quiet = False) -> None:
    """Read every file of the copy and compare it with its recorded checksum."""
    from zapeval.recordings.mirror import verify as compare

    folder = _mirror(name).folder
    if not folder.exists():
        raise NotFound(f"{folder}: does not exist; fetch it with `zapeval data fetch {name}`")
    with _files("verifying", quiet) as show:
        findings = compare(folder, progress=show)
    if findings:
        raise InvalidInput("\n".join(findings), findings)
    if not quiet:
        say(f"{folder}: every file is as it was fetched")


@app.command()
def where(name: Name) -> None:
    """Print the folder that holds, or would hold, a benchmark's recording."""
    from zapeval.benchmarks.catalogue import find_recipe

    folder = find_recipe(name).folder()
    if folder is None:
        raise Refused(f"{name}: is defined over recordings of your own, wherever they are")
    say(str(folder))


def _mirror(name: str) -> Mirror:
    from zapeval.benchmarks.catalogue import find_recipe

    mirror = find_recipe(name).mirror()
    if mirror is None:
        raise Refused(f"{name}: has no public recording; there is nothing to fetch or verify")
    return mirror


@contextmanager
def _files(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Gives a function that is told the files done and their total, and shows progress."""
    seen = 0
    with ExitStack() as stack:
        advance: Callable[[int], None] | None = None

        def show(done: int, total: int) -> None:
            nonlocal advance, seen
            if advance is None:
                advance = stack.enter_context(progress(what, total, "files", quiet=quiet))
            advance(done - seen)
            seen = done

        yield show
