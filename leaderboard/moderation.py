"""Moderation: what owners and admins change of an entry, each change audited and on the board."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from leaderboard import audit
from leaderboard.auth import Identity
from leaderboard.outcomes import touch
from leaderboard.problems import Conflict, Forbidden, Missing
from leaderboard.states import State, move
from leaderboard.tables import Board, Entry, Submission, now


def publish(session: Session, identity: Identity, entry_id: str) -> Entry:
    """Shows an entry to everybody; see :func:`_owned` for what is raised."""
    return _change(session, identity, _owned(session, identity, entry_id), visibility="public")


def unpublish(session: Session, identity: Identity, entry_id: str) -> Entry:
    """Shows an entry to its owner and admins only; see :func:`_owned` for what is raised."""
    return _change(session, identity, _owned(session, identity, entry_id), visibility="private")


def withdraw(session: Session, identity: Identity, entry_id: str, reason: str) -> Entry:
    """Takes an entry off its board for good; see :func:`_owned` for what is raised.

    What was public leaves a tombstone with the reason.
    """
    entry = _owned(session, identity, entry_id)
    query = select(Submission).where(
        Submission.entry_id == entry.id, Submission.state == State.scored
    )
    for submission in session.scalars(query.with_for_update(of=Submission)):
        move(submission, State.withdrawn, reason=reason)
    return _change(session, identity, entry, visibility="withdrawn", withdrawn=reason)


def flag(session: Session, identity: Identity, entry_id: str, reason: str) -> Entry:
    """Puts a public reason for doubt on an entry; "" takes it back. For admins."""
    return _change(session, identity, _locked(session, entry_id), flag=reason)


def verify(session: Session, identity: Identity, entry_id: str, *, verified: bool) -> Entry:
    """Says that an admin reproduced an entry, or takes it back. For admins."""
    entry = _locked(session, entry_id)
    if verified == (entry.verified is not None):
        return entry
    return _change(session, identity, entry, verified=now() if verified else None)


def _change(session: Session, identity: Identity, entry: Entry, **values: object) -> Entry:
    """Sets what differs, and lets the board and the audit log know."""
    changed = {name: value for name, value in values.items() if getattr(entry, name) != value}
    if not changed:
        return entry
    for name, value in changed.items():
        setattr(entry, name, value)
    if changed.get("visibility") == "public" and entry.published is None:
        entry.published = now()
    detail = {
        name: value if isinstance(value, str) else bool(value) for name, value in changed.items()
    }
    audit.record(session, identity.user_id, "entry.change", entry.id, **detail)
    touch(session, entry.board_id)
    return entry


def _owned(session: Session, identity: Identity, entry_id: str) -> Entry:
    """Returns an entry that its owner or an admin may change.

    Raises:
        Missing: There is none that they may know of.
        Forbidden: It is somebody else's.
        Conflict: It was withdrawn.
    """
    entry = _locked(session, entry_id)
    if not _is_theirs(identity, entry):
        if not _is_shown(entry):
            raise Missing("no such entry")
        raise Forbidden("the entry is not yours; only its owner and admins may change it")
    if entry.visibility == "withdrawn":
        raise Conflict(
            "the entry was withdrawn, and that can't be taken back; submit it under another name"
        )
    return entry


def _locked(session: Session, entry_id: str) -> Entry:
    """Returns an entry that nobody else changes; its board is locked first, as in outcomes.py."""
    board = select(Board.id).join(Entry, Entry.board_id == Board.id).where(Entry.id == entry_id)
    session.execute(board.with_for_update(of=Board))
    entry = session.get(Entry, entry_id, with_for_update={"of": Entry}, populate_existing=True)
    if entry is None:
        raise Missing("no such entry")
    return entry


def _is_theirs(identity: Identity, entry: Entry) -> bool:
    return identity.is_admin or entry.user_id == identity.user_id


def _is_shown(entry: Entry) -> bool:
    """Tells whether everybody may know of an entry: it is public, or left a tombstone."""
    gone = entry.visibility == "withdrawn" and entry.published is not None
    return entry.visibility == "public" or gone
