"""Shell: what is around every request: its id, headers of safety, log line, last resort."""

from __future__ import annotations

import logging
import secrets
import time
from typing import Any, final

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leaderboard.answers import problem_of, respond, unexpected
from leaderboard.logs import event
from leaderboard.metrics import Metrics
from leaderboard.settings import API

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Every answer has these, of pages and API alike."""

_log = logging.getLogger(__name__)


@final
class Shell:
    """Surrounds the application; an error that comes out of it is answered and logged here."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        connection = HTTPConnection(scope)
        connection.state.request_id = secrets.token_hex(8)
        began = time.perf_counter()
        status = 0

        async def labelled(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _label(MutableHeaders(scope=message), connection.state.request_id)
            await send(message)

        try:
            await self.app(scope, receive, labelled)
        except Exception as error:  # the last resort: whatever it is, it is answered
            problem = problem_of(error)
            if status or unexpected(problem):
                log_error(connection, error)
            if status:
                raise
            await respond(connection, problem)(scope, receive, labelled)
        finally:
            self._note(scope, status, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """Logs and counts an answer; status 0 says that none was sent."""
        route = route_of(scope)
        state = scope["state"]
        received = state.get("received", 0)
        self.metrics.observe(
            method=scope["method"], route=route, status=status, seconds=seconds, received=received
        )
        visitor = state.get("visitor")
        identity = visitor.identity if visitor else None
        event(
            _log,
            "request",
            id=state["request_id"],
            method=scope["method"][:16],
            path=scope["path"][:200],
            route=route,
            status=status,
            seconds=round(seconds, 4),
            received=received,
            user=identity.user_id if identity else None,
            token=identity.token_id if identity else None,
        )


def log_error(connection: HTTPConnection, error: Exception) -> None:
    """Logs an error for the operator."""
    _log.error(
        "an error while answering",
        exc_info=error,
        extra={"fields": {"id": connection.state.request_id, "path": connection.url.path[:200]}},
    )


def route_of(scope: Scope) -> str:
    """Returns the template of the route that answered, as ``/api/v1/entries/{entry_id}``."""
    route: Any = scope.get("route")
    path = getattr(route, "path", None)
    if path is None:
        return "unknown"
    is_api = scope["path"].startswith(API + "/") and not path.startswith(API)
    return f"{API}{path}" if is_api else str(path)


def _label(headers: MutableHeaders, request_id: str) -> None:
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers["X-Request-Id"] = request_id
