"""Admin: invitations, accounts and the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select

from leaderboard import audit, people
from leaderboard.api.deps import Admin, Db
from leaderboard.api.shapes import (
    AuditLine,
    AuditPage,
    InvitationView,
    IssuedInvitation,
    NewInvitation,
    Users,
    UserView,
)
from leaderboard.problems import Missing
from leaderboard.tables import Audit, Invitation, User, now

router = APIRouter(tags=["admin"])

Limit = Annotated[int, Query(ge=1, le=200)]
_ID = (1 << 63) - 1


@router.post("/invitations", status_code=201)
def invite(wanted: NewInvitation, identity: Admin, database: Db) -> IssuedInvitation:
    """Makes an invitation, which one person can take once."""
    with database.write() as session:
        made, secret = people.invite(session, identity.user_id, role=wanted.role, days=wanted.days)
        return IssuedInvitation(**_invitation(made).model_dump(), secret=secret)


@router.get("/invitations")
def invitations(identity: Admin, database: Db) -> list[InvitationView]:
    """Lists the invitations that can still be taken."""
    query = select(Invitation).where(Invitation.used.is_(None), Invitation.expires > now())
    with database.read() as session:
        return [_invitation(one) for one in session.scalars(query.order_by(Invitation.created))]


@router.delete("/invitations/{invitation_id}", status_code=204)
def uninvite(invitation_id: str, identity: Admin, database: Db) -> None:
    """Takes back an invitation that nobody took."""
    with database.write() as session:
        invitation = session.get(Invitation, invitation_id, with_for_update=True)
        if invitation is None or invitation.used is not None:
            raise Missing("no such invitation, or somebody took it")
        session.delete(invitation)
        audit.record(session, identity.user_id, "invitation.delete", invitation_id)


@router.get("/users")
def users(
    identity: Admin,
    database: Db,
    after: Annotated[str, Query(max_length=200)] = "",
    limit: Limit = 50,
) -> Users:
    """Lists accounts by name."""
    query = select(User).where(User.name > after).order_by(User.name).limit(limit)
    with database.read() as session:
        found = [_user(user) for user in session.scalars(query)]
    return Users(users=found, next=found[-1].name if len(found) == limit else None)


@router.post("/users/{user_id}/disable")
def disable(user_id: str, identity: Admin, database: Db) -> UserView:
    """Disables an account: its tokens stop working at once; what it published stays."""
    with database.write() as session:
        return _user(people.disable(session, identity.user_id, user_id))


@router.post("/users/{user_id}/enable")
def enable(user_id: str, identity: Admin, database: Db) -> UserView:
    """Takes back that an account is disabled."""
    with database.write() as session:
        return _user(people.enable(session, identity.user_id, user_id))


@router.get("/audit")
def log(
    identity: Admin,
    database: Db,
    before: Annotated[int | None, Query(ge=1, le=_ID)] = None,
    limit: Limit = 50,
    subject: Annotated[str, Query(max_length=200)] = "",
) -> AuditPage:
    """Shows who did what to what, the newest first."""
    with database.read() as session:
        lines = [
            _line(row) for row in audit.page(session, before=before, limit=limit, subject=subject)
        ]
    return AuditPage(lines=lines, next=lines[-1].id if len(lines) == limit else None)


def _invitation(row: Invitation) -> InvitationView:
    return InvitationView(**{name: getattr(row, name) for name in InvitationView.model_fields})


def _user(row: User) -> UserView:
    return UserView(**{name: getattr(row, name) for name in UserView.model_fields})


def _line(row: Audit) -> AuditLine:
    return AuditLine(**{name: getattr(row, name) for name in AuditLine.model_fields})
