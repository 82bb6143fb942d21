"""The console: what commands print, and how progress is shown."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]

_LINE_SECONDS = 10.0
_TABLE_COLUMNS = 80


def say(text: str = "") -> None:
    """Prints lines to standard output."""
    typer.echo(_plain(text))


def note(text: str) -> None:
    """Prints lines to standard error, where they can't disturb what a program reads."""
    typer.echo(_plain(text), err=True)


def _plain(text: str) -> str:
    """Returns text without what could steer a terminal: names and messages come from files."""
    if text.replace("\n", "").isprintable():
        return text
    return "".join(mark if mark == "\n" or mark.isprintable() else "\ufffd" for mark in text)


def has_room() -> bool:
    """Tells whether standard output is a terminal that is wide enough for a table."""
    return sys.stdout.isatty() and shutil.get_terminal_size().columns >= _TABLE_COLUMNS


def show_table(table: Table) -> None:
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


@contextmanager
def progress(what: str, total: int, unit: str, *, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Gives a function that is told how much more is done, and shows it on standard error.

    Args:
        what: What is being done.
        total: How much there is to do.
        unit: ``bytes`` or the plural of what is counted.
        quiet: Whether to show nothing.
    """
    if quiet:
        yield lambda done: None
    elif sys.stderr.isatty():
        with _bar(what, total, unit) as advance:
            yield advance
    else:
        yield _lines(what, total, unit)


@contextmanager
def _bar(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    from rich import progress as bars
    from rich.console import Console

    amount = (
        (bars.DownloadColumn(), bars.TransferSpeedColumn())
        if unit == "bytes"
        else (bars.MofNCompleteColumn(), bars.TextColumn(unit))
    )
    columns = (bars.TextColumn("{task.description}"), bars.BarColumn(), *amount)
    with bars.Progress(
        *columns, bars.TimeRemainingColumn(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, advance=done)


@contextmanager
def steps(what: str, *, quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """Gives a function that is told how many of how many steps are done, with a word on them.

    Args:
        what: What is being done.
        quiet: Whether to show nothing.
    """
    if quiet:
        yield lambda done, total, text: None
    elif sys.stderr.isatty():
        from rich import progress as bars
        from rich.console import Console

        columns = (
            bars.TextColumn("{task.description}"),
            *(bars.BarColumn(), bars.MofNCompleteColumn(), bars.TimeRemainingColumn()),
            bars.TextColumn("{task.fields[text]}", markup=False),
        )
        with bars.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=None, text="")
            yield lambda done, total, text: bar.update(
                task, completed=done, total=total, text=_plain(text)
            )
    else:
        yield _step_lines(what)


def _step_lines(what: str) -> Callable[[int, int, str], None]:
    """Returns what prints a line now and then, for logs."""
    begun = shown = time.monotonic()
    first: int | None = None

    def report(done: int, total: int, text: str) -> None:
        nonlocal shown, first
        first = done if first is None else first
        now = time.monotonic()
        if now - shown >= _LINE_SECONDS:
            shown = now
            passed = now - begun
            left = passed / max(1, done - first) * (total - done)
            note(f"{what}: step {done:,} of {total:,}, {passed:.0f} s, {left:.0f} s left; {text}")

    return report


def _lines(what: str, total: int, unit: str) -> Callable[[int], None]:
    """Returns what prints a line now and then, for logs."""
    begun = shown = time.monotonic()
    sum_ = 0

    def advance(done: int) -> None:
        nonlocal sum_, shown
        sum_ += done
        now = time.monotonic()
        if now - shown >= _LINE_SECONDS:
            shown = now
            note(f"{what}: {amount(sum_, unit)} of {amount(total, unit)}, {now - begun:.0f} s")

    return advance


def amount(count: float, unit: str) -> str:
    """Returns a number with its unit: ``14.3 GB`` or ``12 windows``."""
    if unit != "bytes":
        return f"{count:,.0f} {unit}"
    for size, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:.3g} {name}"
    return f"{count:.0f} B"
