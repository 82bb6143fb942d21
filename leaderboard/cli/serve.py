"""``zapeval serve``: a leaderboard on this machine: pages, API and scoring, with no set-up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import say
from zapeval.errors import UsageError

if TYPE_CHECKING:
    from leaderboard.settings import Settings

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of all that is kept; default: zapeval-board."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(metavar="H", help="Address to listen on; default: 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, metavar="P", help="Port; default: 8000; 0: a free one."),
    ] = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Score nothing here; run `zapeval worker`.")
    ] = False,
) -> None:
    """Serve a leaderboard: pages, API and scoring; $ZAPEVAL_.. sets everything else."""
    given = {"data_dir": data_dir, "host": host, "port": port}
    settings = settings_of({name: value for name, value in given.items() if value is not None})
    from leaderboard.serving import serve as run

    def told(line: str) -> None:
        say(line)
        # Whoever waits for the address may read it through a pipe.
        sys.stdout.flush()

    run(settings, work=not no_worker, say=told)


def settings_of(given: dict[str, object]) -> Settings:
    """Returns the settings of the environment, with what was given on the command line.

    Raises:
        UsageError: A variable of the environment is wrong, or a library is not installed.
    """
    try:
        from pydantic import ValidationError
        from pydantic_settings import SettingsError

        from leaderboard.settings import Settings
    except ImportError as error:
        raise UsageError(
            "the leaderboard: needs more libraries; install them with `pip install "
            f'"zapeval[leaderboard]"` ({error})'
        ) from error
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except SettingsError as error:
        raise UsageError(
            'settings: ZAPEVAL_RECORDINGS: is no JSON, expected {"zapbench": "/data/zapbench"}'
        ) from error
    except ValidationError as error:
        wrong = "; ".join(
            f"ZAPEVAL_{'.'.join(map(str, one['loc'])).upper()}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False)
        )
        raise UsageError(f"settings: {wrong}") from error
