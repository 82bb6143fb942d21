"""People: how somebody comes by an account."""

from __future__ import annotations

import re
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from leaderboard import audit
from leaderboard.auth import SCOPES, digest_of, issue, new_secret
from leaderboard.problems import Conflict, Invalid, Missing, Unauthenticated
from leaderboard.settings import Settings
from leaderboard.tables import Invitation, Token, User, now

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,38}")
"""What an account may be called. Plain letters only: no name can be made to look like another."""

INVITATION_DAYS = 14.0

_BAD = "the invitation is not valid, was used, or has expired; ask for a new one"


def invite(
    session: Session, actor: str, *, role: str = "member", days: float = INVITATION_DAYS
) -> tuple[Invitation, str]:
    """Makes an invitation; returns it and its secret, which nobody can be shown again.

    Args:
        session: The session.
        actor: Id of the admin, or audit.OPERATOR.
        role: What whoever takes it will be.
        days: How long it can be taken.
    """
    secret = new_secret()
    invitation = Invitation(
        digest=digest_of(secret),
        role=role,
        created_by=None if actor == audit.OPERATOR else actor,
        expires=now() + timedelta(days=days),
    )
    session.add(invitation)
    session.flush()
    audit.record(session, actor, "invitation.create", invitation.id, role=role)
    return invitation, secret


def join(session: Session, settings: Settings, secret: str, name: str) -> tuple[User, Token, str]:
    """Takes an invitation: makes the account and its first token; returns the token's secret too.

    Raises:
        Unauthenticated: There is no such invitation, any more or at all.
        Invalid: Nobody may have that name.
        Conflict: Somebody has it.
    """
    query = select(Invitation).where(Invitation.digest == digest_of(secret)).with_for_update()
    invitation = session.scalars(query).first()
    if invitation is None or invitation.used is not None or invitation.expires <= now():
        raise Unauthenticated(_BAD)
    user = enrol(session, name, invitation.role)
    invitation.used = now()
    invitation.used_by = user.id
    audit.record(session, user.id, "invitation.take", invitation.id, name=name)
    token, secret = first_token(session, settings, user)
    return user, token, secret


def enrol(session: Session, name: str, role: str = "member") -> User:
    """Makes an account.

    Raises:
        Invalid: Nobody may have that name.
        Conflict: Somebody has it.
    """
    if not NAME.fullmatch(name):
        raise Invalid(
            f"name: {name[:80]!r}, expected 1 to 39 of a-z, 0-9, dot, dash and underscore, "
            "a letter or digit first"
        )
    user = User(name=name, role=role)
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError as error:
        raise Conflict(f"name: {name} is taken; choose another") from error
    audit.record(session, user.id, "user.create", user.id, name=name, role=role)
    return user


def first_token(session: Session, settings: Settings, user: User) -> tuple[Token, str]:
    """Makes a token that may do all that a user's role allows; returns it and its secret."""
    return issue(session, user.id, "first", SCOPES[user.role], settings.token_days)


def disable(session: Session, actor: str, user_id: str) -> User:
    """Disables an account: its tokens stop working at once; what it published stays.

    Raises:
        Missing: There is no such account.
        Conflict: It is the actor's own.
    """
    user = _locked(session, user_id)
    if user_id == actor:
        raise Conflict("you can't disable yourself; ask another admin")
    if user.disabled is None:
        user.disabled = now()
        audit.record(session, actor, "user.disable", user_id)
    return user


def enable(session: Session, actor: str, user_id: str) -> User:
    """Takes back that an account is disabled.

    Raises:
        Missing: There is no such account.
    """
    user = _locked(session, user_id)
    if user.disabled is not None:
        user.disabled = None
        audit.record(session, actor, "user.enable", user_id)
    return user


def _locked(session: Session, user_id: str) -> User:
    user = session.get(User, user_id, with_for_update=True)
    if user is None:
        raise Missing("no such account")
    return user
