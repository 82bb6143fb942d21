"""``zapeval worker``: score what a leaderboard has queued; as many beside it as there is work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leaderboard.cli.serve import settings_of

app = typer.Typer(add_completion=False)


@app.command()
def worker(
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the board; default: zapeval-board."),
    ] = None,
    rescore: Annotated[
        bool,
        typer.Option("--rescore", help="First score all kept predictions again, e.g. on new data."),
    ] = False,
) -> None:
    """Score what is queued, until SIGTERM; $ZAPEVAL_.. sets database, limits and data."""
    settings = settings_of({} if data_dir is None else {"data_dir": data_dir})
    from leaderboard.worker import run_worker

    run_worker(settings, rescore=rescore)
