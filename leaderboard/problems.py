"""Problems: what is answered when something can't be done, as RFC 9457 asks for it.

Every class is one HTTP status. ``detail`` is a sentence: what is wrong, what was expected, what to
do. Nothing of the machine (paths, statements, traces) is ever part of it.
"""

from __future__ import annotations

import math
from typing import Any


class Problem(Exception):
    """Is the base of what is answered as ``application/problem+json``.

    Attributes:
        detail: What is wrong with this request.
        extra: Further members of the document, e.g. ``findings``.
        headers: Headers of the answer, e.g. ``Retry-After``.
    """

    status = 500
    title = "Something went wrong here"

    def __init__(self, detail: str, *, headers: dict[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra

    @property
    def kind(self) -> str:
        """Name of the problem's type."""
        return type(self).__name__

    def document(self, instance: str) -> dict[str, Any]:
        """Returns the body of the answer to a request for an address."""
        return {
            "type": f"about:blank#{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "instance": instance,
        } | self.extra


class Invalid(Problem):
    """Says that a request is understood and what it holds is wrong."""

    status = 422
    title = "What was sent is not valid"


class Unauthenticated(Problem):
    """Says that nobody is known by what was sent along."""

    status = 401
    title = "A valid token is needed"

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class Forbidden(Problem):
    """Says that somebody known may not do this."""

    status = 403
    title = "This is not allowed"


class Missing(Problem):
    """Says that there is nothing there; also to whoever may not know that there is."""

    status = 404
    title = "There is nothing here"


class Conflict(Problem):
    """Says that it can't be done in the state that things are in."""

    status = 409
    title = "This can't be done now"


class TooLarge(Problem):
    """Says that a limit of size is passed."""

    status = 413
    title = "This is too large"


class OutOfRange(Problem):
    """Says that bytes were sent that do not follow those that are there."""

    status = 416
    title = "These bytes do not follow what has arrived"


class TooMany(Problem):
    """Says that a quota or a rate is used up, and when there is room again."""

    status = 429
    title = "That is too much for now"

    def __init__(self, detail: str, seconds: float, **extra: Any) -> None:
        super().__init__(detail, headers={"Retry-After": str(max(1, math.ceil(seconds)))}, **extra)


class Full(Problem):
    """Says that the server has no room for what was sent."""

    status = 507
    title = "The server is out of space"


class Unavailable(Problem):
    """Says that the server can't answer just now."""

    status = 503
    title = "The server is not ready"


class TooSlow(Problem):
    """Says that a body did not arrive in the time that it is waited for."""

    status = 408
    title = "This took too long to arrive"
