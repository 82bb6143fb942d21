"""Visitors: who sends a request, known before its body is read, and how often they may.

A visitor is told by ``Authorization: Bearer``, else by the session cookie that pages set.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from typing import final

from fastapi.concurrency import run_in_threadpool
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Asgi

from leaderboard.answers import respond
from leaderboard.auth import Identity, csrf_of, identify, is_noted, note_use
from leaderboard.database import Database
from leaderboard.problems import Problem, Unauthenticated
from leaderboard.rates import FAILURES, Rate, network_of
from leaderboard.settings import API, Settings
from leaderboard.tables import now

COOKIE = "zapeval_session"

_OPEN = tuple(f"{prefix}/{name}" for prefix in ("", API) for name in ("health", "ready", "metrics"))
"""Where nobody is asked who they are, and nothing is counted."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Who sends a request.

    Attributes:
        identity: The person, or None.
        address: What stands for the address that the request comes from.
        csrf: What a form must hold where the visitor is known by a cookie, else "".
    """

    identity: Identity | None
    address: str
    csrf: str = ""


@final
class Gate:
    """Puts the visitor into a request's state; answers those itself who come too often."""

    def __init__(self, app: ASGIApp, *, settings: Settings, database: Database) -> None:
        self.app = app
        self.database = database
        self.rate = Rate(settings.requests_per_minute)
        # No limit is none for wrong tokens either: something in front of the board has its own.
        self.failures = Rate(FAILURES if settings.requests_per_minute else 0)

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        connection = HTTPConnection(scope)
        address = network_of(scope["client"][0] if scope["client"] else "")
        visitor = Visitor(identity=None, address=address)
        connection.state.visitor = visitor
        connection.state.gate = self
        if not _is_open(connection.url.path):
            try:
                visitor = await self._visitor(connection, address)
            except Problem as problem:
                return await respond(connection, problem)(scope, receive, send)
        connection.state.visitor = visitor
        await self.app(scope, receive, send)

    async def _visitor(self, connection: HTTPConnection, address: str) -> Visitor:
        """Returns who sends a request, counted."""
        try:
            identity, csrf = await self._known(connection)
        except Unauthenticated:
            self.failures.require(address, "wrong tokens of this address")
            raise
        client = f"token {identity.token_id}" if identity else f"address {address}"
        self.rate.require(client, "requests")
        return Visitor(identity=identity, address=address, csrf=csrf)

    async def _known(self, connection: HTTPConnection) -> tuple[Identity | None, str]:
        header = connection.headers.get("authorization")
        if header is not None:
            scheme, _, secret = header.partition(" ")
            if scheme.lower() != "bearer" or not secret.strip():
                raise Unauthenticated("authorization: expected `Bearer TOKEN`")
            return await run_in_threadpool(self._identify, secret.strip()), ""
        secret = connection.cookies.get(COOKIE, "")
        if not secret:
            return None, ""
        try:
            return await run_in_threadpool(self._identify, secret), csrf_of(secret)
        except Unauthenticated:  # a session that ended: pages show what everybody may see
            return None, ""

    def _identify(self, secret: str) -> Identity:
        at = now()
        with self.database.read() as session:
            identity = identify(session, secret, at)
        if not is_noted(identity, at):
            self._note(identity)
        return identity

    def _note(self, identity: Identity) -> None:
        """Notes the use of a token; a full disk does not keep anybody from reading."""
        try:
            with self.database.write() as session:
                note_use(session, identity.token_id, now())
        except SQLAlchemyError:
            _log.warning("the use of token %s can't be noted", identity.token_id, exc_info=True)


def _is_open(path: str) -> bool:
    return path in _OPEN or path.startswith("/static/")


def fits(visitor: Visitor, csrf: object) -> bool:
    """Tells whether a form was made for the session that sends it."""
    given = csrf if isinstance(csrf, str) else ""
    return bool(visitor.csrf) and secrets.compare_digest(visitor.csrf.encode(), given.encode())
