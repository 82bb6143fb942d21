"""Audit: who did what to what, written in the transaction that does it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from leaderboard.tables import Audit

OPERATOR = "operator"
"""Who acts at the machine itself, with no account."""


def record(session: Session, actor: str, action: str, subject: str, **detail: Any) -> None:
    """Adds a row.

    Args:
        session: The session that does it.
        actor: Id of the user, or the name of a part of the board.
        action: Noun and verb, as ``entry.flag``.
        subject: Id of what it is done to.
        detail: What else is worth knowing, without secrets.
    """
    session.add(Audit(actor=actor, action=action, subject=subject, detail=detail))


def page(session: Session, *, before: int | None, limit: int, subject: str = "") -> list[Audit]:
    """Returns rows, the newest first.

    Args:
        session: The session.
        before: Only rows with a smaller id; None begins with the newest.
        limit: How many at most.
        subject: Only rows about this id, where one is given.
    """
    query = select(Audit).order_by(Audit.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Audit.id < before)
    if subject:
        query = query.where(Audit.subject == subject)
    return list(session.scalars(query))
