"""Outcomes: what a scoring child left, read as a stranger's data, and what becomes of it.

An accepted one is a result: of a new entry, of a further seed of an entry's version, or of its next
version. Whatever changes what a board shows raises its revision, after which it is ranked anew.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from leaderboard import jobs
from leaderboard.problems import Problem
from leaderboard.scoring import CARD, FINDINGS, MAPS
from leaderboard.tables import Board, Entry, Result, Submission
from submissions.card import Card, read_card
from submissions.entry import OF_A_SEED, SUMS
from submissions.receipt import sign
from zapeval.errors import InvalidInput
from zapeval.forecasting.manifest import Manifest
from zapeval.recordings.documents import DOCUMENT_LIMIT, strict_json
from zapeval.recordings.stores import open_store, require

MAPS_LIMIT = 4 << 20
"""Largest preview of maps in bytes."""


class Changed(Problem):
    """Says that the server's recording is not the one that a board is about."""

    status = 409
    title = "The recording has changed"


class Taken(Problem):
    """Says that there is an entry of that name, somebody else's or a withdrawn one."""

    status = 409
    title = "The name is taken"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Finding(_Part):
    kind: Annotated[str, Field(max_length=100)]
    severity: Annotated[str, Field(pattern="^(high|medium)$")]
    message: Annotated[str, Field(max_length=2000)]
    evidence: dict[str, float | int | str]


class _Marks(_Part):
    x: Annotated[list[float], Field(max_length=5000)]
    y: Annotated[list[float], Field(max_length=5000)]
    z: Annotated[list[float], Field(max_length=5000)]
    value: Annotated[list[float], Field(max_length=5000)]


class _Region(_Part):
    name: Annotated[str, Field(max_length=100)]
    neurons: int
    value: float


class _Histogram(_Part):
    edges: Annotated[list[float], Field(max_length=100)]
    counts: Annotated[list[int], Field(max_length=100)]


class Maps(_Part):
    """What a page draws of single neurons; see brains.py."""

    metric: Annotated[str, Field(max_length=40)]
    steps: Annotated[list[int], Field(max_length=10_000)]
    neurons: int
    low: float
    high: float
    marks: _Marks | None
    regions: Annotated[list[_Region], Field(max_length=200)]
    histogram: _Histogram


_FINDINGS = TypeAdapter(Annotated[list[_Finding], Field(max_length=1000)])
_MAPS = TypeAdapter(Maps | None)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """A scorecard with all that is kept beside it.

    Attributes:
        card: The scorecard, with its sums.
        text: Its JSON.
        sums: Its ``windows.npz``.
        maps: See brains.py.
        findings: Of the forensics.
        receipt: Signed by this board; None where others scored.
    """

    card: Card
    text: str
    sums: bytes | None
    maps: dict[str, Any] | None
    findings: list[Any]
    receipt: dict[str, Any] | None


def read_outcome(folder: Path, key: Path) -> Outcome:
    """Returns the outcome in a folder that a child wrote, with a receipt.

    Args:
        folder: The folder.
        key: The board's private key.

    Raises:
        InvalidInput: It is not what a child writes.
        NotFound: A file of it is missing.
    """
    sums = Path(CARD).with_suffix(SUMS).name
    with tempfile.TemporaryDirectory() as own:
        # Of a copy, that nobody changes between one look and the next.
        for name in (CARD, sums):
            (Path(own) / name).write_bytes(require(open_store(folder), name, DOCUMENT_LIMIT * 4))
        file = Path(own) / CARD
        card, wrong = read_card(file)
        if wrong:
            raise InvalidInput("\n".join(wrong), wrong)
        return Outcome(
            card=card,
            text=file.read_text(encoding="utf-8"),
            sums=file.with_name(sums).read_bytes(),
            maps=_document(folder, MAPS, _MAPS),
            findings=_document(folder, FINDINGS, _FINDINGS),
            receipt=sign(file, key).model_dump(mode="json", by_alias=True),
        )


def require_of(outcome: Outcome, submission: Submission, digest: str) -> None:
    """Checks that an outcome is of a submission's predictions for a benchmark.

    Raises:
        InvalidInput: It is of something else.
    """
    card = outcome.card
    said = Manifest.model_validate(submission.manifest).forecaster.model_dump(mode="json")
    expected = (submission.benchmark, digest, submission.context, said)
    got = (
        card.card.benchmark["id"],
        card.card.benchmark["digest"],
        card.context,
        card.card.forecaster,
    )
    if got != expected:
        raise InvalidInput(f"submission {submission.id}: its outcome is of something else")


def accept(
    session: Session,
    submission: Submission,
    outcome: Outcome,
    *,
    earlier: Result | None = None,
    moving: bool = False,
) -> Result:
    """Makes a result of an outcome, with board, entry and version where there are none.

    Args:
        session: A session that writes, and locked the submission.
        submission: Whose it is.
        outcome: The outcome.
        earlier: The result for an earlier version of the benchmark, where it is scored again.
        moving: Whether a recording that has changed makes a new board.

    Raises:
        Changed: The server's recording is not that of the board.
        Taken: Another user has an entry of that name.
    """
    board = _board(session, outcome.card, moving=moving)
    entry = _entry(session, board, submission, earlier)
    if earlier is None:
        version = _version(session, entry, submission, outcome)
        entry.fact_sheet = submission.fact_sheet
        entry.name = str(submission.fact_sheet.get("name") or submission.name)
        submission.entry_id = entry.id
    else:
        version = earlier.version
        same = select(Result).where(
            Result.submission_id == submission.id, Result.entry_id == entry.id
        )
        known = session.scalars(same).first()
        if known is not None:
            return known
    result = result_of(outcome, entry.id, version, submission.id)
    session.add(result)
    touch(session, board.id)
    return result


def result_of(
    outcome: Outcome, entry_id: str, version: int, submission_id: str | None = None
) -> Result:
    """Returns the row of an outcome."""
    card = outcome.card.card
    return Result(
        entry_id=entry_id,
        submission_id=submission_id,
        version=version,
        seed=outcome.card.seed or "",
        predictions=str(card.predictions["digest"]),
        partial=card.partial,
        summary=card.summary.value,
        low=card.summary.low,
        high=card.summary.high,
        card=outcome.text,
        sums=outcome.sums,
        maps=outcome.maps,
        findings=outcome.findings,
        receipt=outcome.receipt,
    )


def touch(session: Session, board_id: str) -> None:
    """Raises the revision of a board, which is then ranked anew."""
    # The row is locked before jobs are looked at: a ranking that ends meanwhile waits for it.
    raised = update(Board).where(Board.id == board_id).values(revision=Board.revision + 1)
    session.execute(raised.execution_options(synchronize_session="fetch"))
    jobs.enqueue(session, "rank", board_id)


def board_of(session: Session, card: Card) -> Board:
    """Returns the board of a scorecard, locked; made where there is none."""
    said = card.card.benchmark
    return open_board(
        session,
        benchmark=str(said["id"]),
        version=int(said["version"]),
        digest=str(said["digest"]),
        context=card.context,
        data=str(card.card.data["digest"]),
    )


def open_board(
    session: Session, *, benchmark: str, version: int, digest: str, context: int, data: str
) -> Board:
    """Returns a board, locked; made where there is none."""
    query = select(Board).where(
        Board.digest == digest, Board.context == context, Board.data == data
    )
    locked = query.with_for_update().execution_options(populate_existing=True)
    board = session.scalars(locked).first()
    if board is None:
        board = Board(
            benchmark=benchmark, version=version, digest=digest, context=context, data=data
        )
        try:
            with session.begin_nested():
                session.add(board)
        except IntegrityError:
            # Another worker was faster by a moment.
            return session.scalars(locked).one()
    return board


def _board(session: Session, card: Card, *, moving: bool) -> Board:
    """Returns the board of what was scored here: the main one of its benchmark."""
    board = board_of(session, card)
    if board.main:
        return board
    others = select(Board).where(
        Board.digest == board.digest, Board.context == board.context, Board.main
    )
    for other in session.scalars(others.with_for_update()):
        if not moving and _scored_here(session, other):
            raise Changed(
                f"board {card.label}, context {card.context}: the server's recording has data "
                f"digest {board.data[:19]}.., the board is of {other.data[:19]}..; the operator "
                "can move the board with `zapeval worker --rescore`"
            )
        other.main = False
    board.main = True
    return board


def _scored_here(session: Session, board: Board) -> bool:
    found = (
        select(Result.id)
        .join(Entry, Entry.id == Result.entry_id)
        .where(Entry.board_id == board.id, Result.submission_id.is_not(None))
    )
    return session.scalars(found.limit(1)).first() is not None


def _entry(session: Session, board: Board, submission: Submission, earlier: Result | None) -> Entry:
    """Returns the entry of a submission's name on a board, made where there is none."""
    own = select(Entry).where(Entry.board_id == board.id, Entry.slug == submission.name)
    entry = session.scalars(own.with_for_update(of=Entry)).first()
    if entry is not None and entry.user_id != submission.user_id:
        raise Taken(
            f"{submission.name}: another entry of this name was there first; submit it under "
            "another name"
        )
    if entry is not None and entry.visibility == "withdrawn" and earlier is None:
        raise Taken(
            f"{submission.name}: was withdrawn meanwhile, and stays as a tombstone; submit it "
            "under another name"
        )
    if entry is None:
        entry = Entry(
            board_id=board.id,
            user_id=submission.user_id,
            slug=submission.name,
            name=submission.name,
            fact_sheet=submission.fact_sheet,
        )
        before = None if earlier is None else session.get(Entry, earlier.entry_id)
        if before is not None:
            for name in (
                *("name", "origin", "visibility", "baseline", "verified", "flag", "withdrawn"),
                *("fact_sheet", "published"),
            ):
                setattr(entry, name, getattr(before, name))
        session.add(entry)
        session.flush()
    return entry


def _version(session: Session, entry: Entry, submission: Submission, outcome: Outcome) -> int:
    """Returns the version that an outcome belongs to: the newest, where it is a seed of it."""
    rows = session.scalars(
        select(Result).where(Result.entry_id == entry.id).order_by(Result.version.desc())
    ).all()
    if not rows:
        return 1
    newest = [row for row in rows if row.version == rows[0].version]
    seeds = {row.seed for row in newest}
    seed = outcome.card.seed or ""
    alike = (
        "" not in seeds | {seed}
        and seed not in seeds
        and _lasting(entry.fact_sheet) == _lasting(submission.fact_sheet)
        and all(row.partial == outcome.card.card.partial for row in newest)
        and _forecaster(json.loads(newest[0].card)["forecaster"])
        == _forecaster(outcome.card.card.forecaster)
    )
    return rows[0].version + (0 if alike else 1)


def _forecaster(said: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the seeds of one forecaster say alike."""
    return {key: value for key, value in said.items() if key not in OF_A_SEED}


def _lasting(sheet: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what of a fact sheet is the same for every seed."""
    return {key: value for key, value in sheet.items() if key not in ("seeds", "cost")}


def _document(folder: Path, name: str, adapter: TypeAdapter[Any]) -> Any:
    """Returns a document of an outcome as plain data.

    Raises:
        InvalidInput: It is not what a child writes.
        NotFound: There is none.
    """
    data = require(open_store(folder), name, MAPS_LIMIT)
    try:
        found = adapter.validate_python(strict_json(data.decode()))
    except (ValueError, RecursionError, ValidationError) as error:
        raise InvalidInput(f"{name}: is not what scoring writes: {error}") from error
    return adapter.dump_python(found, mode="json")
