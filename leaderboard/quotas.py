"""Quotas: how much of the board one person may use, the same for pages and API.

Every check locks the person's row and counts rows in the caller's transaction, so that of parallel
requests at the limit exactly as many pass as there is room for.

What is counted in a day is scoring, not trying: an upload that is never committed costs nothing
of the day; one that failed by its own fault, or was cancelled at work, costs its slot, and neither
cancelling nor withdrawing gives it back. One that was cancelled before any worker began it gives it
back, as nothing was done for it. A failure of the platform gives it back too (states.move). A
submission that is run again moves its slot to now.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session

from leaderboard.problems import Missing, TooLarge, TooMany
from leaderboard.settings import Settings
from leaderboard.states import OPEN, State
from leaderboard.tables import Job, Submission, SubmissionFile, User, now

DAY = timedelta(days=1)

_GONE = frozenset({State.cancelled, State.withdrawn})
"""States in which the bytes of a store that was fetched are not kept."""

_LATER = 60.0
"""Seconds after which to ask again, where nobody knows when there is room."""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a person uses, and may use.

    Attributes:
        open: Submissions that are not finished.
        max_open: Most of them.
        today: Submissions that count in the last 24 hours.
        max_daily: Most of them.
        bytes: Size of the stores that are kept for them or announced.
        max_bytes: Most of it.
        next_slot: When the next one can be committed, where none can now.
    """

    open: int
    max_open: int
    today: int
    max_daily: int
    bytes: int
    max_bytes: int
    next_slot: datetime | None


def require_room(session: Session, settings: Settings, user_id: str, size: int) -> None:
    """Holds a new submission against what its owner has open and keeps.

    Raises:
        TooLarge: The store is larger than stores may be, or than what is left of the owner's space.
        TooMany: Too many submissions are not finished.
    """
    if size > settings.max_store_bytes:
        raise TooLarge(f"the store: {size} bytes, expected at most {settings.max_store_bytes}")
    _lock(session, user_id)
    if _open(session, user_id) >= settings.max_open:
        raise TooMany(
            f"{settings.max_open} of your submissions are not finished, the most there may be; "
            "wait for one, or cancel it",
            _LATER,
        )
    kept = _kept(session, user_id)
    if kept + size > settings.max_user_bytes:
        raise TooLarge(
            f"the store: {size} bytes, and {max(0, settings.max_user_bytes - kept)} are left of "
            f"your {settings.max_user_bytes}; withdraw or cancel a submission"
        )


def consume(session: Session, settings: Settings, submission: Submission) -> None:
    """Lets a submission that is committed, or run again, use a slot of its owner's day.

    Raises:
        TooMany: None is left; says when the next one is.
    """
    _lock(session, submission.user_id)
    at = now()
    others = _counted(session, submission.user_id, at, but=submission.id)
    if len(others) >= settings.max_daily:
        slot = _next_slot(others, settings.max_daily)
        raise TooMany(
            f"{settings.max_daily} submissions in 24 hours, the most there may be; "
            f"next slot at {_iso(slot)}",
            (slot - at).total_seconds(),
            next_slot=_iso(slot),
        )
    submission.counted = at


def give_back(session: Session, submission: Submission) -> None:
    """Gives back the slot of a submission that is cancelled, if no worker ever began it."""
    begun = select(func.count()).where(Job.subject == submission.id, Job.started.is_not(None))
    if not session.scalar(begun):
        submission.counted = None


def usage(session: Session, settings: Settings, user_id: str) -> Usage:
    """Returns what a person uses now."""
    counted = _counted(session, user_id, now())
    full = len(counted) >= settings.max_daily
    return Usage(
        open=_open(session, user_id),
        max_open=settings.max_open,
        today=len(counted),
        max_daily=settings.max_daily,
        bytes=_kept(session, user_id),
        max_bytes=settings.max_user_bytes,
        next_slot=_next_slot(counted, settings.max_daily) if full else None,
    )


def _lock(session: Session, user_id: str) -> None:
    """Makes every other check of this person wait until the transaction ends."""
    lock = {"key_share": True}  # rows that point to the user may still be made
    if session.get(User, user_id, with_for_update=lock, populate_existing=True) is None:
        raise Missing("no such account")


def _open(session: Session, user_id: str) -> int:
    query = select(func.count()).where(Submission.user_id == user_id, Submission.state.in_(OPEN))
    return session.scalar(query) or 0


def _kept(session: Session, user_id: str) -> int:
    # The rows of the files of an upload are there as long as its bytes are kept for it.
    held = exists().where(SubmissionFile.submission_id == Submission.id)
    fetched = and_(Submission.source != "", Submission.state.not_in(_GONE))
    query = select(func.coalesce(func.sum(Submission.bytes), 0)).where(
        Submission.user_id == user_id, or_(held, fetched)
    )
    return int(session.scalar(query) or 0)


def _counted(session: Session, user_id: str, at: datetime, *, but: str = "") -> list[datetime]:
    """Returns when the submissions of the last 24 hours began to count, the oldest first."""
    query = select(Submission.counted).where(
        Submission.user_id == user_id, Submission.counted > at - DAY, Submission.id != but
    )
    return sorted(moment for moment in session.scalars(query) if moment is not None)


def _next_slot(counted: list[datetime], most: int) -> datetime:
    """Returns when fewer than the most count; settings may have allowed more before."""
    return counted[-most] + DAY


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
