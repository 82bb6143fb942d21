"""Submitted: what a submitter is told of a submission, at any time."""

from __future__ import annotations

from datetime import datetime
from typing import Any, final

from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from leaderboard import jobs
from leaderboard.entry_views import FindingLine
from leaderboard.standings import Number
from leaderboard.states import State
from leaderboard.storage import Storage
from leaderboard.tables import Board, Entry, Result, Submission, SubmissionFile


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@final
class Scored(_Part):
    """What came of it.

    Attributes:
        entry: Id of the entry; its page is ``/entries/ID``.
        name: Name of the entry.
        visibility: Who sees the entry.
        version: Version of the entry.
        seed: Seed, or "".
        board: Address of the board, below ``/boards`` and ``/api/v1/boards``.
        metric: What the board ranks by; None before it has ranked.
        summary: What it ranks by, of this submission alone.
        partial: Whether neurons are missing: it is shown, and not ranked.
        rank: Rank of the entry, if it is public.
        ranks: 95 % interval of the rank.
    """

    entry: str
    name: str
    visibility: str
    version: int
    seed: str
    board: str
    metric: str | None
    summary: Number
    partial: bool
    rank: int | None
    ranks: tuple[int, int] | None


@final
class SubmissionView(_Part):
    """A submission.

    Attributes:
        id: Its id.
        user: Name of who submitted it.
        name: Name of the entry that it becomes a version of.
        benchmark: Id of the benchmark.
        version: Version of the benchmark.
        context: Context length in frames.
        state: See docs; ``reason`` says why.
        reason: Why it failed, was cancelled or waits; "" where there is nothing to say.
        fault: Of a failure: ``submission``, or ``platform``, which consumes no quota.
        log: What happened.
        position: Place in the queue, 1 being the next; None where it is not queued.
        source: Address that the store is fetched from, or "".
        files: Number of files.
        bytes: Their size.
        received: How many bytes of them are there while it uploads.
        complete: Whether its authors wrote the fact sheet; else the manifest made it.
        created: When it was announced.
        changed: When its state changed last.
        committed: When all was there.
        finished: When it ended.
        scored: What came of it, once it is scored.
        findings: What forensics found.
    """

    id: str
    user: str
    name: str
    benchmark: str
    version: int
    context: int
    state: State
    reason: str
    fault: str
    log: str
    position: int | None
    source: str
    files: int
    bytes: int
    received: int
    complete: bool
    created: datetime
    changed: datetime
    committed: datetime | None
    finished: datetime | None
    scored: Scored | None
    findings: tuple[FindingLine, ...]


@final
class SubmissionLine(_Part):
    """A submission in a list of them; see SubmissionView."""

    id: str
    name: str
    benchmark: str
    version: int
    context: int
    state: State
    reason: str
    bytes: int
    created: datetime
    changed: datetime
    entry: str | None


def view(session: Session, storage: Storage, submission: Submission) -> SubmissionView:
    """Returns what a submission's owner sees of it."""
    state = State(submission.state)
    result = session.scalars(
        select(Result)
        .where(Result.submission_id == submission.id)
        .order_by(Result.created)
        .limit(1)
    ).first()
    return SubmissionView(
        id=submission.id,
        user=submission.user.name,
        name=submission.name,
        benchmark=submission.benchmark,
        version=submission.version,
        context=submission.context,
        state=state,
        reason=submission.reason,
        fault=submission.fault,
        log=submission.log,
        position=jobs.position(session, submission.id) if state == State.queued else None,
        source=submission.source,
        files=submission.files,
        bytes=submission.bytes,
        received=_received(session, storage, submission),
        complete=bool(submission.fact_sheet.get("complete", True)),
        created=submission.created,
        changed=submission.changed,
        committed=submission.committed,
        finished=submission.finished,
        scored=None if result is None else _scored(result),
        findings=() if result is None else tuple(map(FindingLine.model_validate, result.findings)),
    )


def line(submission: Submission) -> SubmissionLine:
    """Returns what a list of submissions says of one."""
    return SubmissionLine(
        id=submission.id,
        name=submission.name,
        benchmark=submission.benchmark,
        version=submission.version,
        context=submission.context,
        state=State(submission.state),
        reason=submission.reason,
        bytes=submission.bytes,
        created=submission.created,
        changed=submission.changed,
        entry=submission.entry_id,
    )


def newest(
    session: Session, user_id: str, start: int, count: int
) -> tuple[list[SubmissionLine], int]:
    """Returns somebody's submissions from a number on, newest first, and how many there are."""
    of = Submission.user_id == user_id
    total = session.scalar(select(func.count()).select_from(Submission).where(of)) or 0
    rows = session.scalars(
        select(Submission)
        .where(of)
        .order_by(Submission.created.desc(), Submission.id)
        .offset(start)
        .limit(count)
    )
    return [line(one) for one in rows], total


def _received(session: Session, storage: Storage, submission: Submission) -> int:
    if submission.state != State.uploading:
        return submission.bytes if submission.committed is not None else 0
    of = SubmissionFile.submission_id == submission.id
    there = session.scalar(
        select(func.coalesce(func.sum(SubmissionFile.size), 0)).where(
            of, SubmissionFile.complete.is_(True)
        )
    )
    return int(there or 0) + sum(storage.received(submission.id).values())


def _scored(result: Result) -> Scored:
    entry: Entry = result.entry
    board: Board = entry.board
    standings = board.standings or {}
    rows: list[dict[str, Any]] = standings.get("rows", [])
    row = next((one for one in rows if one["entry"] == entry.id), {})
    ranks = row.get("ranks")
    return Scored(
        entry=entry.id,
        name=entry.name,
        visibility=entry.visibility,
        version=result.version,
        seed=result.seed,
        board=f"{board.benchmark}@{board.version}/{board.context}",
        metric=standings.get("metric"),
        summary=Number(value=result.summary, low=result.low, high=result.high),
        partial=result.partial,
        rank=row.get("rank"),
        ranks=None if ranks is None else (ranks[0], ranks[1]),
    )
