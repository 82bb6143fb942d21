"""Shapes: what requests and answers of people, tokens and moderation look like."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from leaderboard.auth import Scope

Role = Literal["member", "admin"]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=1000)]
Secret = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Days = Annotated[float, Field(gt=0, le=36500)]


def role_of(kept: str) -> Role:
    """Returns a role, as it is kept, of the type that shapes have."""
    return "admin" if kept == "admin" else "member"


class Shape(BaseModel):
    """What all shapes share: no unknown fields, no infinite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NewAccount(Shape):
    """An invitation, and the name that its taker wants."""

    invitation: Secret
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class TokenView(Shape):
    """A token, without its secret."""

    id: str
    name: str
    scopes: list[Scope]
    created: datetime
    expires: datetime
    revoked: datetime | None
    last_used: datetime | None


class IssuedToken(TokenView):
    """A new token. ``secret`` is shown this once."""

    secret: str


class NewToken(Shape):
    """What a new token is for. Without scopes it has those of the token that asks for it."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))] | None = None
    days: Days | None = None


class UsageView(Shape):
    """What a person uses of the board, and may use; see quotas.py."""

    open: int
    max_open: int
    today: int
    max_daily: int
    bytes: int
    max_bytes: int
    next_slot: datetime | None


class AccountView(Shape):
    """The account of whoever asks, and what the token that asks may do."""

    id: str
    name: str
    role: Role
    scopes: list[Scope]
    usage: UsageView


class CreatedAccount(Shape):
    """A new account and its first token."""

    id: str
    name: str
    role: Role
    token: IssuedToken


class UserView(Shape):
    """An account, as admins see it."""

    id: str
    name: str
    role: Role
    created: datetime
    disabled: datetime | None


class Users(Shape):
    """A page of accounts, by name. ``next`` is the ``after`` of the page that follows."""

    users: list[UserView]
    next: str | None


class NewInvitation(Shape):
    """What whoever takes an invitation will be, and how long it can be taken."""

    role: Role = "member"
    days: Annotated[float, Field(gt=0, le=365)] = 14.0


class InvitationView(Shape):
    """An invitation, without its secret."""

    id: str
    role: Role
    created: datetime
    expires: datetime
    used: datetime | None
    used_by: str | None


class IssuedInvitation(InvitationView):
    """A new invitation. ``secret`` is shown this once."""

    secret: str


class Because(Shape):
    """A reason that everybody can read."""

    reason: Reason


class EntryState(Shape):
    """What moderation changes of an entry."""

    id: str
    slug: str
    visibility: Literal["private", "public", "withdrawn"]
    published: datetime | None
    verified: datetime | None
    flag: str
    withdrawn: str


class AuditLine(Shape):
    """Who did what to what, and when."""

    id: int
    at: datetime
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]


class AuditPage(Shape):
    """Lines, the newest first. ``next`` is the ``before`` of the page that follows."""

    lines: list[AuditLine]
    next: int | None


class Health(Shape):
    """That the process answers, and its version."""

    status: Literal["ok"]
    version: str


class Ready(Shape):
    """What the service needs in order to work, and whether it is there."""

    database: bool
    migrations: bool
    disk: bool
