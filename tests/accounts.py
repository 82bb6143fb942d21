"""People of a test's board."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from leaderboard.auth import SCOPES, Identity, Scope, identify, issue
from leaderboard.database import Database
from leaderboard.tables import User, now


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody with an account and a token."""

    identity: Identity
    secret: str

    @property
    def user_id(self) -> str:
        return self.identity.user_id

    @property
    def name(self) -> str:
        return self.identity.name

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}"}


Enrol = Callable[..., Person]


def enrolled(
    database: Database,
    name: str,
    role: str = "member",
    scopes: set[Scope] | None = None,
    days: float = 1.0,
) -> Person:
    """Makes an account with a token that may do all its role allows, or has these scopes."""
    with database.write() as session:
        user = User(name=name, role=role)
        session.add(user)
        session.flush()
        _, secret = issue(session, user.id, "tests", scopes or SCOPES[role], days)
        return Person(identity=identify(session, secret, now()), secret=secret)
