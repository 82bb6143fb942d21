"""Tokens: made, listed and revoked by the person they act for."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import select

from leaderboard import audit
from leaderboard.api.deps import Config, Db, Reader
from leaderboard.api.shapes import IssuedToken, NewToken, TokenView
from leaderboard.auth import chosen, issue
from leaderboard.problems import Missing
from leaderboard.tables import Token, now

router = APIRouter(prefix="/tokens", tags=["people"])


@router.post("", status_code=201)
def create(wanted: NewToken, identity: Reader, database: Db, settings: Config) -> IssuedToken:
    """Makes a token that may do no more than the one that asks for it."""
    scopes = identity.scopes if wanted.scopes is None else frozenset(wanted.scopes)
    days = settings.token_days if wanted.days is None else wanted.days
    chosen(identity, scopes, days, settings.token_days)
    with database.write() as session:
        token, secret = issue(session, identity.user_id, wanted.name, scopes, days)
        audit.record(
            session, identity.user_id, "token.create", token.id, scopes=sorted(scopes), days=days
        )
        return IssuedToken(**view(token).model_dump(), secret=secret)


@router.get("")
def list_(identity: Reader, database: Db) -> list[TokenView]:
    """Lists your tokens that have not ended, with their last use."""
    query = select(Token).where(
        Token.user_id == identity.user_id, Token.revoked.is_(None), Token.expires > now()
    )
    with database.read() as session:
        return [view(token) for token in session.scalars(query.order_by(Token.created, Token.id))]


@router.delete("/{token_id}", status_code=204)
def revoke(token_id: str, identity: Reader, database: Db) -> None:
    """Revokes a token of yours, at once and for good."""
    with database.write() as session:
        token = session.get(Token, token_id)
        if token is None or token.user_id != identity.user_id:
            raise Missing("no such token of yours")
        if token.revoked is None:
            token.revoked = now()
            audit.record(session, identity.user_id, "token.revoke", token.id)


def view(token: Token) -> TokenView:
    """Returns what is shown of a token."""
    return TokenView(
        id=token.id,
        name=token.name,
        scopes=token.scopes,
        created=token.created,
        expires=token.expires,
        revoked=token.revoked,
        last_used=token.last_used,
    )
