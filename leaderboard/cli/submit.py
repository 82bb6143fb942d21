"""``zapeval submit``: send predictions to a board, and wait until they are scored."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zapeval.cli.console import Quiet, note, progress, say
from zapeval.cli.selection import BenchmarkName, ContextLength, Data
from zapeval.errors import InvalidInput, Refused

if TYPE_CHECKING:
    from leaderboard.client import Board
    from leaderboard.sending import HashedFile
    from zapeval.forecasting.predictions import Predictions

app = typer.Typer(add_completion=False)

_FIRST, _LONGEST = 0.25, 5.0
"""Seconds between two looks at a submission."""


@app.command()
def submit(
    predictions: Annotated[str, typer.Argument(metavar="PREDICTIONS.zarr")],
    to: Annotated[str, typer.Option("--to", metavar="URL", help="Address of the board.")],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Name of the entry: a-z, 0-9, . _ and -.")
    ],
    fact_sheet: Annotated[
        Path | None,
        typer.Option("--fact-sheet", metavar="FILE", help="What you say of it, a TOML file."),
    ] = None,
    source: Annotated[
        bool,
        typer.Option("--source", help="Let the board fetch PREDICTIONS.zarr, an address, itself."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is scored.")] = True,
    benchmark: BenchmarkName = None,
    context: ContextLength = None,
    data: Data = None,
    quiet: Quiet = False,
) -> None:
    """Send predictions to a board, and wait until they are scored.

    They are checked first. Repeat an interrupted command: what has arrived is not sent again. The
    token comes from ZAPEVAL_TOKEN, or from what `zapeval login URL` has kept.
    """
    from leaderboard.client import Board, address_of
    from leaderboard.credentials import find_token

    address = address_of(to)
    with Board(address, find_token(address), note=_noted(quiet)) as board:
        opened, document = _checked(predictions, name, benchmark, context, data, quiet)
        if fact_sheet is not None:
            document["fact_sheet"] = _sheet(fact_sheet)
        board.get("/account")
        files = [] if source else _hashed(opened, quiet)
        content = {"source": predictions} if source else {"files": [f.announced for f in files]}
        found = board.post("/submissions", document | content)
        if found["state"] == "uploading":
            _send(board, found, files, quiet)
            found = board.post(f"/submissions/{found['id']}/commit")
        if not quiet:
            say(f"submission {found['id']}: {found['state']}")
        if wait:
            _report(board, _ended(board, found["id"], quiet), quiet)


def _checked(
    uri: str,
    name: str,
    benchmark: str | None,
    context: int | None,
    data: str | None,
    quiet: bool,
) -> tuple[Predictions, dict[str, Any]]:
    """Returns predictions that pass the check, and what a board is told of them."""
    from zapeval.cli.selection import select_for
    from zapeval.forecasting.check import check, require_no_errors
    from zapeval.forecasting.manifest import BenchmarkPart, ForecasterPart, Manifest

    opened, chosen = select_for(uri, benchmark, context, data)
    findings = check(opened, chosen.benchmark, chosen.recordings, context=chosen.context)
    require_no_errors(opened, findings)
    for finding in () if quiet else findings:
        note(f"{finding.severity}: {finding.message}")
    task = chosen.benchmark
    # A bare store says nothing of itself; the same command makes the same of it.
    manifest = opened.manifest or Manifest(
        benchmark=BenchmarkPart(id=task.id, version=task.version, digest=task.digest),
        context=chosen.context,
        forecaster=ForecasterPart(name=name),
    )
    return opened, {"name": name, "manifest": manifest.to_attributes()}


def _sheet(path: Path) -> dict[str, Any]:
    from submissions.fact_sheet import read_fact_sheet

    return read_fact_sheet(path).model_dump(mode="json")


def _hashed(predictions: Predictions, quiet: bool) -> list[HashedFile]:
    from leaderboard.sending import files_of, hashed

    if predictions.store.path is None:
        raise InvalidInput(
            f"{predictions.uri}: is not on this machine; with --source the board fetches it itself"
        )
    files, others = files_of(predictions.store.path)
    for path in () if quiet else others:
        note(f"{predictions.uri}/{path}: is no part of a zarr store; it is not sent")
    total = sum(file.size for file in files)
    with progress("hashing", total, "bytes", quiet=quiet) as advance:
        return hashed(files, advance)


def _send(board: Board, found: dict[str, Any], files: list[HashedFile], quiet: bool) -> None:
    from leaderboard.sending import Sender

    missing = found["missing"]
    total = sum(one["size"] - one["received"] for one in missing)
    with progress("sending", total, "bytes", quiet=quiet) as advance:
        Sender(board, found["id"], advance).send(files, missing)


def _ended(board: Board, submission_id: str, quiet: bool) -> dict[str, Any]:
    """Returns a submission when it has ended; says on the way where it stands."""
    said, pause = "", _FIRST
    while True:
        found = board.get(f"/submissions/{submission_id}")
        if found["finished"] is not None:
            return found
        position = found["position"]
        stands = found["state"] + (f", number {position} in the queue" if position else "")
        stands += f": {found['reason']}" if found["reason"] else ""
        if stands != said and not quiet:
            note(stands)
        said = stands
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST)


def _report(board: Board, found: dict[str, Any], quiet: bool) -> None:
    """Says what came of a submission.

    Raises:
        InvalidInput: It failed because of what was submitted.
        Refused: It failed for another reason, or was cancelled.
    """
    reason = f"submission {found['id']}: {found['state']}: {found['reason']}"
    scored = found["scored"]
    if found["state"] == "failed" and found["fault"] != "platform":
        raise InvalidInput(reason)
    if scored is None:
        raise Refused(reason)
    if quiet:
        return
    for finding in found["findings"]:
        note(f"{finding['severity']}: {finding['kind']}: {finding['message']}")
    number = scored["summary"]
    interval = "" if number["low"] is None else f" [{number['low']:.4g}, {number['high']:.4g}]"
    say(f"{scored['metric'] or 'summary'}  {number['value']:.6g}{interval}")
    say(f"rank   {_rank(scored)}")
    say(f"entry  {board.address}/entries/{scored['entry']}")
    say(f"board  {board.address}/boards/{scored['board']}")


def _rank(scored: dict[str, Any]) -> str:
    if scored["rank"] is not None:
        low, high = scored["ranks"] or (scored["rank"], scored["rank"])
        return f"{scored['rank']}" + (f" ({low} to {high})" if low != high else "")
    if scored["partial"]:
        return "none: neurons are missing"
    if scored["visibility"] == "private":
        return "none yet: the entry is private; publish it on its page"
    return "not there yet; see the board"


def _noted(quiet: bool) -> Any:
    return (lambda text: None) if quiet else note
