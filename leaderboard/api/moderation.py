"""Moderation: what owners and admins change of an entry."""

from __future__ import annotations

from fastapi import APIRouter

from leaderboard import moderation
from leaderboard.api.deps import Admin, Db, Submitter
from leaderboard.api.shapes import Because, EntryState
from leaderboard.tables import Entry

router = APIRouter(prefix="/entries/{entry_id}", tags=["entries"])


@router.post("/publish")
def publish(entry_id: str, identity: Submitter, database: Db) -> EntryState:
    """Shows an entry of yours to everybody."""
    with database.write() as session:
        return _state(moderation.publish(session, identity, entry_id))


@router.post("/unpublish")
def unpublish(entry_id: str, identity: Submitter, database: Db) -> EntryState:
    """Hides an entry of yours from everybody but the admins."""
    with database.write() as session:
        return _state(moderation.unpublish(session, identity, entry_id))


@router.post("/withdraw")
def withdraw(entry_id: str, why: Because, identity: Submitter, database: Db) -> EntryState:
    """Takes an entry of yours off its board for good; what was public leaves the reason."""
    with database.write() as session:
        return _state(moderation.withdraw(session, identity, entry_id, why.reason))


@router.post("/flag", tags=["admin"])
def flag(entry_id: str, why: Because, identity: Admin, database: Db) -> EntryState:
    """Puts a reason for doubt on an entry, for everybody to read."""
    with database.write() as session:
        return _state(moderation.flag(session, identity, entry_id, why.reason))


@router.post("/unflag", tags=["admin"])
def unflag(entry_id: str, identity: Admin, database: Db) -> EntryState:
    """Takes back what was flagged."""
    with database.write() as session:
        return _state(moderation.flag(session, identity, entry_id, ""))


@router.post("/verify", tags=["admin"])
def verify(entry_id: str, identity: Admin, database: Db) -> EntryState:
    """Says that an admin reproduced an entry."""
    with database.write() as session:
        return _state(moderation.verify(session, identity, entry_id, verified=True))


@router.post("/unverify", tags=["admin"])
def unverify(entry_id: str, identity: Admin, database: Db) -> EntryState:
    """Takes back that an entry is verified."""
    with database.write() as session:
        return _state(moderation.verify(session, identity, entry_id, verified=False))


def _state(entry: Entry) -> EntryState:
    return EntryState(**{name: getattr(entry, name) for name in EntryState.model_fields})
