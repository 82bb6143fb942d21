"""Answers: the problem that an error is, and the response that says so."""

from __future__ import annotations

import errno
import json
import logging
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response

from leaderboard.problems import Conflict, Full, Invalid, Missing, Problem, TooLarge, Unavailable
from zapeval.errors import InvalidInput, NotFound, Refused, StorageError, UsageError

PROBLEM = "application/problem+json"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail", "instance"],
}
"""What a problem looks like, for the API's description; some kinds have further members."""

_log = logging.getLogger(__name__)


def problem_of(error: Exception) -> Problem:
    """Returns what is said of an error; nothing of the machine is in it."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _invalid(error)
    if isinstance(error, HTTPException):
        return _http(error)
    if isinstance(error, ClientDisconnect):
        return Invalid("the connection ended before the body did; send it again")
    if isinstance(error, StorageError):
        return Unavailable("files can't be read or written just now; try again in a minute")
    if isinstance(error, InvalidInput):
        return Invalid(str(error), findings=list(error.findings))
    if isinstance(error, UsageError):
        return Invalid(str(error))
    if isinstance(error, NotFound):
        return Missing(str(error))
    if isinstance(error, Refused):
        return Conflict(str(error))
    return _machine(error)


def respond(connection: HTTPConnection, problem: Problem) -> Response:
    """Returns the response to a request: a page where a browser asked for one, else JSON."""
    path = connection.url.path
    document = problem.document(path)
    if unexpected(problem):
        document["request"] = connection.state.request_id
    if not path.startswith("/api/") and "text/html" in connection.headers.get("accept", ""):
        from leaderboard.pages.rendering import render

        response = render(connection, "problem.html", status=problem.status, problem=document)
        response.headers.update(problem.headers)
        return response
    return Response(
        json.dumps(document, allow_nan=False, default=str),
        problem.status,
        headers=problem.headers,
        media_type=PROBLEM,
    )


def _invalid(error: RequestValidationError) -> Invalid:
    """Returns where a request is wrong and why; never what was sent, which can be anything."""
    findings = [
        {"where": ".".join(map(str, found["loc"])), "what": str(found["msg"])}
        for found in error.errors()
    ]
    first = findings[0] if findings else {"where": "body", "what": "is not valid"}
    return Invalid(f"{first['where']}: {first['what']}", findings=findings)


def _http(error: HTTPException) -> Problem:
    """Returns the problem of an error that the web framework raised."""
    known: dict[int, tuple[type[Problem], str]] = {
        400: (Invalid, "the body can't be read; send what the content type says, complete"),
        404: (Missing, "no such address; see /docs for those that there are"),
        413: (TooLarge, "the body is larger than this address takes"),
    }
    kind, detail = known.get(error.status_code, (Problem, str(error.detail)))
    problem = kind(detail, headers=dict(error.headers or {}))
    problem.status = error.status_code
    if kind is Problem:
        problem.title = HTTPStatus(error.status_code).phrase
    return problem


def _machine(error: Exception) -> Problem:
    """Returns the problem of an error that nobody raised on purpose."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Full("the server has no room left; nothing was lost, try again later")
    if isinstance(error, DataError):
        return Invalid("a value is out of the range that can be kept")
    if isinstance(error, NoConnection) or (
        isinstance(error, DBAPIError)
        and type(error).__name__ in ("OperationalError", "InterfaceError")
    ):
        if "full" in str(error.orig if isinstance(error, DBAPIError) else ""):
            return Full("the server's database has no room left; nothing was lost, try again later")
        return Unavailable(
            "the database does not answer just now; nothing was changed, try again in some seconds",
            headers={"Retry-After": "5"},
        )
    return Problem("an unexpected error; nothing was changed. Tell an admin the request's id")


def unexpected(problem: Problem) -> bool:
    """Tells whether an operator has to see the error behind a problem."""
    return problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
