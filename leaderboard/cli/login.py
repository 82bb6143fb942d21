"""``zapeval login``: keep a token for a board, or make an account from an invitation."""

from __future__ import annotations

import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from zapeval.cli.console import Quiet, note, say
from zapeval.errors import Refused, UsageError

app = typer.Typer(add_completion=False)

_HERE = ("localhost", "127.0.0.1", "::1")


@app.command()
def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="Address of the board.")],
    invitation: Annotated[
        bool,
        typer.Option("--invitation", help="Make an account: an invitation is asked for instead."),
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the account to make.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Keep a token for a board, or make an account from an invitation.

    What is asked for is not shown as it is typed; it can also be piped in.
    """
    from leaderboard.client import Board, address_of
    from leaderboard.credentials import keep_token

    address = address_of(url)
    if invitation != (name is not None):
        raise UsageError("login: --invitation and --name NAME go together")
    if address.startswith("http://") and urlsplit(address).hostname not in _HERE:
        note(f"{address}: is not https: whoever is on the way can read the token")
    with Board(address) as board:
        board.get("/boards")
    secret = _asked("invitation" if invitation else "token")
    if invitation:
        with Board(address) as board:
            made = board.post("/accounts", {"invitation": secret, "name": name})
            secret = made["token"]["secret"]
    with Board(address, secret) as board:
        account = board.get("/account")
    if "submit" not in account["scopes"]:
        raise Refused(f"{address}: the token can't submit; make one that can")
    path = keep_token(address, secret)
    if not quiet:
        say(f"{address}: signed in as {account['name']}; the token is in {path}")


def _asked(what: str) -> str:
    """Returns a secret from standard input, which a terminal does not show."""
    if sys.stdin.isatty():
        secret = typer.prompt(what.capitalize(), hide_input=True)
    else:
        secret = sys.stdin.readline()
    secret = str(secret).strip()
    if not secret or not secret.isascii() or not secret.isprintable():
        raise UsageError(f"login: that is no {what}")
    return secret
