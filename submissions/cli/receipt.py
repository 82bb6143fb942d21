"""``zapeval receipt``: sign what a scorecard was computed from, and verify it offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zapeval.cli.console import Quiet, say
from zapeval.cli.outputs import check_output
from zapeval.errors import UsageError

app = typer.Typer(
    help="Sign what a scorecard was computed from, and verify it offline.",
    add_completion=False,
    no_args_is_help=True,
)

Scorecard = Annotated[Path, typer.Argument(metavar="SCORECARD.json")]


@app.command()
def sign(
    scorecard: Scorecard,
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="The private key.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the receipt goes.")],
    quiet: Quiet = False,
) -> None:
    """Sign a receipt of a scorecard."""
    from submissions.receipt import sign as make
    from submissions.receipt import write_receipt

    check_output(out, "file")
    for read in (scorecard, key, key.with_name(f"{key.name}.pub")):
        if out.resolve() == read.resolve():
            raise UsageError(f"{out}: is read; --out would replace it, choose another name")
    receipt = make(scorecard, key)
    write_receipt(receipt, out)
    if not quiet:
        say(f"{out}: signed {receipt.statement.scores_digest} at {receipt.statement.time}")


@app.command()
def verify(
    receipt: Annotated[Path, typer.Argument(metavar="RECEIPT.json")],
    scorecard: Scorecard,
    public_key: Annotated[
        Path,
        typer.Option("--public-key", metavar="FILE", help="Public key of whoever is trusted."),
    ],
    quiet: Quiet = False,
) -> None:
    """Verify a receipt against a scorecard; names every field that does not hold."""
    from submissions.receipt import verify as hold

    statement = hold(receipt, scorecard, public_key)
    if not quiet:
        for name, value in statement.model_dump(mode="json").items():
            say(f"{name:<18}  {value}")
        say("the receipt holds")


@app.command()
def keygen(
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The private key; FILE.pub beside it.")
    ],
    quiet: Quiet = False,
) -> None:
    """Make a key pair; files that exist are never overwritten."""
    from submissions.receipt import write_keys

    public = write_keys(out)
    if not quiet:
        say(f"{out}: private key, for you alone")
        say(f"{public}: public key, to give away")
