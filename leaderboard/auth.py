"""Tokens: who somebody is, told by a secret that they send along.

Every request's person comes from :func:`identify`, whatever way they signed in. Signing in through
an identity provider (OIDC) needs no other door: check the provider's answer, find or make the
account (``people.enrol``), then :func:`issue` a token for the session, as pages/signing.py does.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from leaderboard.problems import Forbidden, Invalid, Unauthenticated
from leaderboard.tables import Token, now

PREFIX = "zap_"
"""What a token begins with, so that scanners of leaked secrets can know it."""

_USE = timedelta(minutes=1)
"""The last use of a token is noted at most so often."""

_UNKNOWN = "the token is not known here; make one with `zapeval login` or ask an admin"


class Scope(StrEnum):
    """What a token may be used for."""

    read = "read"
    submit = "submit"
    admin = "admin"


SCOPES = {
    "member": frozenset({Scope.read, Scope.submit}),
    "admin": frozenset(Scope),
}
"""What a role may do at most, whatever its tokens say."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who sends a request, and what they may do with it.

    Attributes:
        user_id: Id of the account.
        name: Name of the account.
        role: ``member`` or ``admin``.
        scopes: What both the token and the role allow.
        token_id: Id of the token.
        expires: When the token ends.
        last_used: The last use that was noted.
    """

    user_id: str
    name: str
    role: str
    scopes: frozenset[Scope]
    token_id: str
    expires: datetime
    last_used: datetime | None = None

    @property
    def is_admin(self) -> bool:
        """Tells whether this is an admin who acts as one."""
        return self.role == "admin" and Scope.admin in self.scopes


def new_secret() -> str:
    """Returns a secret of 256 random bits: the prefix and 43 characters."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """Returns what is kept of a secret. Random ones need no salt and no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def csrf_of(secret: str) -> str:
    """Returns what a form must hold to be sent by the session of a secret."""
    return hmac.new(secret.encode("utf-8", "replace"), b"csrf", "sha256").hexdigest()


def issue(
    session: Session, user_id: str, name: str, scopes: Iterable[Scope], days: float
) -> tuple[Token, str]:
    """Makes a token; returns it and the secret, which nobody can be shown again."""
    secret = new_secret()
    token = Token(
        user_id=user_id,
        name=name,
        digest=digest_of(secret),
        scopes=sorted(set(scopes)),
        expires=now() + timedelta(days=days),
    )
    session.add(token)
    session.flush()
    return token, secret


def identify(session: Session, secret: str, at: datetime) -> Identity:
    """Returns who a secret belongs to.

    Raises:
        Unauthenticated: It is unknown, expired or revoked, or the account is disabled.
    """
    token = session.scalars(select(Token).where(Token.digest == digest_of(secret))).first()
    if token is None:
        raise Unauthenticated(_UNKNOWN)
    if token.revoked is not None:
        raise Unauthenticated("the token was revoked; make a new one")
    if token.expires <= at:
        raise Unauthenticated(f"the token expired on {token.expires:%Y-%m-%d}; make a new one")
    if token.user.disabled is not None:
        raise Unauthenticated("the account is disabled; ask an admin")
    return Identity(
        user_id=token.user_id,
        name=token.user.name,
        role=token.user.role,
        scopes=frozenset(map(Scope, token.scopes)) & SCOPES[token.user.role],
        token_id=token.id,
        expires=token.expires,
        last_used=token.last_used,
    )


def is_noted(identity: Identity, at: datetime) -> bool:
    """Tells whether the last use that was noted is recent enough."""
    return identity.last_used is not None and at - identity.last_used < _USE


def note_use(session: Session, token_id: str, at: datetime) -> None:
    """Notes that a token is used, unless that was noted just now."""
    unnoted = or_(Token.last_used.is_(None), Token.last_used <= at - _USE)
    session.execute(
        update(Token).where(Token.id == token_id, unnoted).values(last_used=at),
        execution_options={"synchronize_session": False},
    )


def chosen(identity: Identity, scopes: Iterable[Scope], days: float, most: float) -> None:
    """Holds what somebody asks of a new token against what they have.

    Raises:
        Forbidden: They ask for more than the token they use allows.
        Invalid: It would live too long.
    """
    more = sorted(set(scopes) - identity.scopes)
    if more:
        given = ", ".join(sorted(identity.scopes))
        raise Forbidden(f"scopes: {', '.join(more)} can't be given; this token has {given}")
    if not 0 < days <= most:
        raise Invalid(f"days: {days:g}, expected more than 0 and at most {most:g}")
