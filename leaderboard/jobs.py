"""Jobs: rows that workers lease, renew and finish; whoever lost a lease can't finish.

The rows are changed in the transactions of what they are about, so a submission and its job never
disagree. Locks are taken in one order, submission before job, whoever takes them.

Order is fair: ranking first, which is quick; then submissions, round robin over their users: the
next one of a user waits for as many turns as that user has submissions running or queued before.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, cast, final

from sqlalchemy import CursorResult, func, select, update
from sqlalchemy.orm import Session

from leaderboard.database import Database
from leaderboard.settings import Settings
from leaderboard.states import AT_WORK, State, locked, move
from leaderboard.tables import Job, Submission, now

Kind = Literal["score", "rank", "rescore"]

LONGEST_WAIT = 300.0
"""Most seconds before a job that failed is begun again."""

EXHAUSTED = (
    "the server could not finish scoring, though it began {attempts} times; nothing of your quota "
    "was used: run it again, and tell the operator if that fails too"
)
"""Why a submission failed whose workers died."""


class JobState(StrEnum):
    """A state of a job."""

    queued = "queued"
    running = "running"
    done = "done"
    failed = "failed"
    cancelled = "cancelled"


ACTIVE = (JobState.queued, JobState.running)


class Lost(Exception):
    """Says that a job is no longer whose it was: cancelled, or its lease was over."""


@final
@dataclass(frozen=True, kw_only=True)
class Claim:
    """A job in somebody's hands.

    Attributes:
        id: Id of the job.
        kind: ``score``, ``rank`` or ``rescore``.
        subject: Id of the submission, or of the board.
        attempts: How often it was begun, this time included.
        holder: Who holds it; no two claims have the same.
    """

    id: str
    kind: str
    subject: str
    attempts: int
    holder: str


def clock(session: Session) -> datetime:
    """Returns the time by the one clock that all workers of a database share."""
    if session.get_bind().dialect.name == "postgresql":
        return cast(datetime, session.scalar(select(func.clock_timestamp())))
    return now()


def enqueue(session: Session, kind: Kind, subject: str, *, after: datetime | None = None) -> None:
    """Queues work, unless the same is queued or running; its subject must be locked.

    Args:
        session: A session that writes.
        kind: What to do.
        subject: Id of the submission, or of the board.
        after: Not to be begun before; None is now.
    """
    active = select(Job.id).where(Job.subject == subject, Job.kind == kind, Job.state.in_(ACTIVE))
    if session.scalars(active.limit(1)).first() is None:
        time = clock(session)
        session.add(Job(kind=kind, subject=subject, created=time, after=after or time))


def claim(database: Database, settings: Settings, worker: str) -> Claim | None:
    """Returns the next job, now leased to a worker, or None where there is none to begin.

    Args:
        database: The database.
        settings: The settings.
        worker: Name of the worker.
    """
    with database.read() as session:
        candidates = list(_due(session))
    for job_id, kind, subject in candidates:
        with database.write() as session:
            found = _take(session, settings, worker, job_id, kind, subject)
        if found is not None:
            return found
    return None


def beat(database: Database, settings: Settings, held: Claim) -> bool:
    """Renews a lease; tells whether the job is still held."""
    with database.write() as session:
        lease = clock(session) + timedelta(seconds=settings.lease)
        return _changed(session, held, lease=lease)


def hold(session: Session, held: Claim) -> Submission | None:
    """Returns the submission of a job that is still held, both locked; None where it has none.

    Raises:
        Lost: The job is no longer held.
    """
    submission = None if held.kind == "rank" else locked(session, held.subject)
    mine = select(Job.id).where(*_of(held)).with_for_update()
    if session.scalars(mine).first() is None:
        raise Lost(held.id)
    return submission


def finish(session: Session, held: Claim) -> None:
    """Marks a job as done, together with whatever else the session does.

    Raises:
        Lost: The job is no longer held; nothing of the session must be kept.
    """
    _end(session, held, state=JobState.done, ended=clock(session))


def fail(
    session: Session,
    settings: Settings,
    held: Claim,
    error: str,
    *,
    reason: str,
    fault: Literal["submission", "platform"],
    attempts: int,
) -> bool:
    """Queues a job again, or, after so many attempts, fails it and its submission.

    Args:
        session: A session that writes.
        settings: The settings.
        held: The job.
        error: What went wrong, for the operator.
        reason: Why, for the submitter.
        fault: Whose fault it is.
        attempts: How often such a job may be begun.

    Returns:
        Whether it will be begun again.

    Raises:
        Lost: The job is no longer held.
    """
    submission = hold(session, held)
    again = held.attempts < attempts
    if again:
        wait = timedelta(seconds=_wait(settings, held.attempts))
        time = clock(session)
        _end(session, held, state=JobState.queued, lease=None, after=time + wait, error=error)
    else:
        _end(session, held, state=JobState.failed, ended=clock(session), error=error)
    if held.kind == "score" and submission is not None:
        _follow(submission, again=again, reason=reason, fault=fault)
    return again


def release(session: Session, held: Claim) -> None:
    """Puts a job back that was begun and is not to count as an attempt.

    Raises:
        Lost: The job is no longer held.
    """
    submission = hold(session, held)
    _end(
        session,
        held,
        state=JobState.queued,
        lease=None,
        attempts=held.attempts - 1,
        after=clock(session),
    )
    if held.kind == "score" and submission is not None:
        _follow(submission, again=True, reason="the server stopped; it goes on when it is back")


def reap(database: Database, settings: Settings) -> int:
    """Takes jobs from workers that died, and returns how many.

    They are queued again or, after ``settings.attempts``, failed by a fault of the platform.
    """
    with database.write() as session:
        _mend_clock(session, settings)
        over = select(Job.id).where(Job.state == JobState.running, Job.lease < clock(session))
        ids = list(session.scalars(over))
    return sum(_reap_one(database, settings, job_id) for job_id in ids)


def cancel(session: Session, subject: str) -> None:
    """Cancels what is queued or running for a subject, which must be locked."""
    session.execute(
        update(Job)
        .where(Job.subject == subject, Job.state.in_(ACTIVE))
        .values(state=JobState.cancelled, ended=clock(session), lease=None)
    )


def position(session: Session, submission_id: str) -> int | None:
    """Returns the place of a submission in the queue, 1 being the next; None where it is not."""
    order = [row.subject for row in session.execute(_fair())]
    return order.index(submission_id) + 1 if submission_id in order else None


def _due(session: Session) -> Iterator[tuple[str, str, str]]:
    """Yields id, kind and subject of the jobs that may be begun, in order."""
    due = Job.after <= clock(session)
    plain = select(Job.id, Job.kind, Job.subject).where(Job.state == JobState.queued, due)
    by_age = plain.order_by(Job.created, Job.id).limit(16)
    for query in (
        by_age.where(Job.kind == "rank"),
        _fair().where(due).limit(16),
        by_age.where(Job.kind == "rescore"),
    ):
        yield from (tuple(row) for row in session.execute(query))


def _fair() -> Any:
    """Returns the query of queued submissions, round robin over users."""
    running = (
        select(Submission.user_id, func.count().label("count"))
        .join(Job, Job.subject == Submission.id)
        .where(Job.kind == "score", Job.state == JobState.running)
        .group_by(Submission.user_id)
        .subquery()
    )
    place = func.row_number().over(partition_by=Submission.user_id, order_by=(Job.created, Job.id))
    turn = place + func.coalesce(running.c.count, 0)
    return (
        select(Job.id, Job.kind, Job.subject)
        .join(Submission, Submission.id == Job.subject)
        .outerjoin(running, running.c.user_id == Submission.user_id)
        .where(Job.kind == "score", Job.state == JobState.queued)
        .order_by(turn, Job.created, Job.id)
    )


def _take(
    session: Session, settings: Settings, worker: str, job_id: str, kind: str, subject: str
) -> Claim | None:
    submission = None
    if kind == "score":
        submission = session.scalars(
            select(Submission)
            .where(Submission.id == subject)
            .with_for_update(skip_locked=True, of=Submission)
            .execution_options(populate_existing=True)
        ).first()
        if submission is None:
            return None
    free = select(Job).where(Job.id == job_id, Job.state == JobState.queued)
    job = session.scalars(free.with_for_update(skip_locked=True)).first()
    if job is None:
        return None
    time = clock(session)
    if submission is not None and submission.state != State.queued:
        job.state, job.ended = JobState.cancelled, time
        return None
    job.state = JobState.running
    job.attempts += 1
    job.worker = f"{worker[:160]}#{secrets.token_hex(8)}"
    job.started, job.lease = time, time + timedelta(seconds=settings.lease)
    if submission is not None:
        move(submission, State.checking)
    return Claim(
        id=job.id, kind=job.kind, subject=job.subject, attempts=job.attempts, holder=job.worker
    )


def _reap_one(database: Database, settings: Settings, job_id: str) -> bool:
    """Takes one job whose lease is over; tells whether it was still so."""
    with database.write() as session:
        row = session.get(Job, job_id)
        if row is None:
            return False
        submission = None if row.kind == "rank" else locked(session, row.subject)
        row = session.get(Job, job_id, with_for_update=True, populate_existing=True)
        time = clock(session)
        if row is None or row.state != JobState.running or row.lease is None or row.lease >= time:
            return False
        again = row.attempts < settings.attempts
        row.state = JobState.queued if again else JobState.failed
        row.after = time + timedelta(seconds=_wait(settings, row.attempts))
        row.error = f"{row.worker}: did not renew its lease"
        row.lease, row.ended = None, None if again else time
        if row.kind == "score" and submission is not None:
            reason = EXHAUSTED.format(attempts=row.attempts)
            _follow(submission, again=again, reason="" if again else reason)
        return True


def _mend_clock(session: Session, settings: Settings) -> None:
    """Shortens times that no clock could have set, but one that has since been put back.

    A live worker renews its lease long before the shortened one is over.
    """
    time = clock(session)
    lease, longest = timedelta(seconds=settings.lease), timedelta(seconds=LONGEST_WAIT)
    far = update(Job).where(Job.state == JobState.running, Job.lease > time + 2 * lease)
    session.execute(far.values(lease=time + lease))
    late = update(Job).where(Job.state == JobState.queued, Job.after > time + 2 * longest)
    session.execute(late.values(after=time))


def _follow(submission: Submission, *, again: bool, reason: str, fault: str = "platform") -> None:
    """Moves the submission of a job that is queued again or failed."""
    if State(submission.state) not in AT_WORK:
        return
    if again:
        move(submission, State.queued, reason=reason)
    else:
        move(submission, State.failed, reason=reason, fault=fault)


def _wait(settings: Settings, attempts: int) -> float:
    """Returns the seconds before the next attempt: a quarter of a lease, then twice as long."""
    return float(min(settings.lease / 4 * 2 ** (attempts - 1), LONGEST_WAIT))


def _of(held: Claim) -> tuple[Any, ...]:
    return Job.id == held.id, Job.state == JobState.running, Job.worker == held.holder


def _changed(session: Session, held: Claim, **values: object) -> bool:
    """Changes a job if it is still held; tells whether it is."""
    statement = update(Job).where(*_of(held)).values(**values)
    found = session.execute(statement.execution_options(synchronize_session=False))
    return cast("CursorResult[Any]", found).rowcount == 1


def _end(session: Session, held: Claim, **values: object) -> None:
    if not _changed(session, held, **values):
        raise Lost(held.id)
