"""The program ``zapeval``: its commands, and what an error becomes."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from zapeval.cli import (
    benchmarks,
    check,
    compare,
    data,
    demo,
    draw,
    forecast,
    forecasters,
    score,
    slices,
    train,
)
from zapeval.cli.console import note
from zapeval.cli.contributed import Commands
from zapeval.errors import InvalidInput, ZapevalError

_INTERRUPTED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    name="zapeval",
    cls=Commands,
    help="Evaluate forecasts of whole-brain neural activity.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("demo")(demo.demo)
app.add_typer(benchmarks.app, name="benchmarks")
app.add_typer(data.app, name="data")
app.add_typer(forecasters.app, name="forecasters")
app.command("train")(train.train)
app.command("forecast")(forecast.forecast)
app.command("check")(check.check)
app.command("score")(score.score)
app.command("compare")(compare.compare)
app.command("slices")(slices.slices)
app.add_typer(draw.app, name="draw")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("zapeval"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Evaluate forecasts of whole-brain neural activity."""
    del version


def main() -> None:
    """Runs the program; exit 0 ok, 2 usage, 3 invalid input, 4 not found, 5 refused.

    Ctrl-C ends it with 130.
    """
    try:
        app()
    except ZapevalError as error:
        note(f"error: {error}")
        sys.exit(error.exit_code)
    except OSError as error:
        # Standard output, that is: every other file is opened where its errors are told apart.
        _silence()
        note(f"error: standard output could not be written: {error.strerror}")
        sys.exit(InvalidInput.exit_code)
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:
            note("interrupted; repeat the command to go on")
        raise


def _silence() -> None:
    """Leads standard output nowhere, so that nothing more is tried when the program ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
