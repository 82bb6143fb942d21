"""Dependencies: what an endpoint asks for by the type of a parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from leaderboard.auth import Identity, Scope
from leaderboard.database import Database
from leaderboard.problems import Forbidden, Unauthenticated
from leaderboard.settings import Settings
from leaderboard.storage import Storage
from leaderboard.visitors import Gate, Visitor, fits

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


async def _database(request: Request) -> Database:
    database: Database = request.app.state.database
    return database


async def _storage(request: Request) -> Storage:
    storage: Storage = request.app.state.storage
    return storage


_BEARER = HTTPBearer(auto_error=False, description="A token: `zap_..`")
"""Says in the API's description how to send a token; visitors.py reads it."""


async def _visitor(
    request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
) -> Visitor:
    """Returns who sends a request.

    Raises:
        Forbidden: The session of a page sends it, and no form of that page.
    """
    visitor: Visitor = request.state.visitor
    if visitor.csrf and request.method not in _SAFE:
        given: object = request.headers.get("x-csrf-token")
        if given is None and request.headers.get("content-type", "").startswith(_FORMS):
            given = (await request.form()).get("csrf")
        if not fits(visitor, given):
            raise Forbidden("csrf: the form is not of this session; load the page again")
    return visitor


Config = Annotated[Settings, Depends(_settings)]
Db = Annotated[Database, Depends(_database)]
Files = Annotated[Storage, Depends(_storage)]
Sender = Annotated[Visitor, Depends(_visitor)]


Guard = Callable[[str], AbstractContextManager[None]]


def _guard(request: Request) -> Guard:
    """Returns what counts a wrong secret, of an invitation or a sign-in, against its sender."""
    gate: Gate = request.state.gate
    visitor: Visitor = request.state.visitor

    @contextmanager
    def counted(what: str) -> Iterator[None]:
        try:
            yield
        except Unauthenticated:
            gate.failures.require(visitor.address, f"wrong {what} of this address")
            raise

    return counted


Guarded = Annotated[Guard, Depends(_guard)]


async def _anyone(visitor: Sender) -> Identity | None:
    """Returns who may read what is theirs, or None: then only what is public."""
    identity = visitor.identity
    return identity if identity is not None and Scope.read in identity.scopes else None


def _with(visitor: Visitor, scope: Scope) -> Identity:
    if visitor.identity is None:
        raise Unauthenticated("send a token: `Authorization: Bearer zap_..`")
    if scope not in visitor.identity.scopes:
        raise Forbidden(f"the token lacks the scope {scope}; make one that has it")
    return visitor.identity


async def _reader(visitor: Sender) -> Identity:
    return _with(visitor, Scope.read)


async def _submitter(visitor: Sender) -> Identity:
    return _with(visitor, Scope.submit)


async def _admin(visitor: Sender) -> Identity:
    return _with(visitor, Scope.admin)


Anyone = Annotated[Identity | None, Depends(_anyone)]
Reader = Annotated[Identity, Depends(_reader)]
Submitter = Annotated[Identity, Depends(_submitter)]
Admin = Annotated[Identity, Depends(_admin)]


def csrf(request: Request) -> str:
    """Returns what forms of a page hold in their field ``csrf``; "" where nobody is signed in."""
    visitor: Visitor = request.state.visitor
    return visitor.csrf
