"""People: making an account from an invitation, and one's own account."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter

from leaderboard.api.deps import Config, Db, Guarded, Reader
from leaderboard.api.shapes import (
    AccountView,
    CreatedAccount,
    IssuedToken,
    NewAccount,
    UsageView,
    role_of,
)
from leaderboard.api.tokens import view
from leaderboard.people import join
from leaderboard.quotas import usage

router = APIRouter(tags=["people"])


@router.post("/accounts", status_code=201)
def create(wanted: NewAccount, guard: Guarded, database: Db, settings: Config) -> CreatedAccount:
    """Takes an invitation: makes an account and its first token."""
    with guard("invitations"), database.write() as session:
        user, token, secret = join(session, settings, wanted.invitation, wanted.name)
        issued = IssuedToken(**view(token).model_dump(), secret=secret)
        return CreatedAccount(id=user.id, name=user.name, role=role_of(user.role), token=issued)


@router.get("/account")
def show(identity: Reader, database: Db, settings: Config) -> AccountView:
    """Shows your account, what your token may do, and what you use of the board."""
    with database.read() as session:
        used = usage(session, settings, identity.user_id)
    return AccountView(
        id=identity.user_id,
        name=identity.name,
        role=role_of(identity.role),
        scopes=sorted(identity.scopes),
        usage=UsageView(**asdict(used)),
    )
