"""Bodies: how large a request's body may be, how slow it may come, and what it may hold."""

from __future__ import annotations

import asyncio
import math
import re
import time
from typing import Any, final

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leaderboard.problems import Invalid, TooLarge, TooSlow, Unauthenticated
from leaderboard.settings import Settings

JSON_BYTES = 1 << 20
"""Largest body where nothing else is said."""

LIST_BYTES = 64 << 20
"""Largest body that announces the files of a store."""

STALL = 30.0
"""Seconds in which the next bytes have to arrive."""

PACE = 1000.0
"""Bytes a second that a body has to arrive with, after the first minute."""

_GRACE = 60.0
_DRAIN_BYTES = 4 << 20
_DRAIN_SECONDS = 2.0

_SUBMISSIONS = re.compile(r"/api/v1/submissions/?")
_FILE = re.compile(r"/api/v1/submissions/[^/]+/files/.+", re.DOTALL)


def limit_of(method: str, path: str, settings: Settings) -> int:
    """Returns the size of the largest body that an address takes, in bytes."""
    if method == "POST" and _SUBMISSIONS.fullmatch(path):
        return LIST_BYTES
    if method == "PUT" and _FILE.fullmatch(path):
        return settings.max_file_bytes
    return JSON_BYTES


@final
class Bodies:
    """Counts the bytes of every body as they arrive, and ends what is too large or too slow.

    What is left of the body of a refused request is read on for a moment: a client that is still
    sending would see a broken connection, and not why.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, stall: float = STALL) -> None:
        self.app = app
        self.settings = settings
        self.stall = stall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        limit = limit_of(scope["method"], scope["path"], self.settings)
        body = _Body(scope, receive, send, limit=limit, stall=self.stall)
        await self.app(scope, body.receive, body.send)


@final
class _Body:
    """The body of one request."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, *, limit: int, stall: float
    ) -> None:
        headers = Headers(scope=scope)
        self._scope = scope
        self._receive = receive
        self._send = send
        self._limit = limit
        self._stall = stall
        self._length = _length(headers)
        self._waits = headers.get("expect", "").lower() == "100-continue"
        self._chunked = "transfer-encoding" in headers
        self._began = time.monotonic()
        self._received = 0
        self._touched = False
        self._ended = not self._chunked and not self._length

    async def receive(self) -> Message:
        """Returns the next part of the body.

        Raises:
            TooLarge: The body is larger than its address takes.
            TooSlow: Nothing arrived in time.
            Invalid: Its size is not the one that was announced.
            Unauthenticated: It is larger than what nobody in particular may send.
        """
        if self._ended and self._touched:
            return await self._receive()  # what is still waited for is the end of the connection
        self._require_room(self._length or 0)
        self._touched = True
        message = await self._next()
        self._count(message)
        if self._ended and self._length not in (None, self._received):
            raise Invalid(f"content-length: {self._length}, and {self._received} bytes arrived")
        self._require_room(self._received)
        return message

    async def send(self, message: Message) -> None:
        """Sends a part of the response, after what would keep the client from reading it."""
        if message["type"] == "http.response.start" and message["status"] >= 400:
            await self._drain()
        await self._send(message)

    async def _next(self) -> Message:
        left = _GRACE + self._received / PACE - (time.monotonic() - self._began)
        try:
            return await asyncio.wait_for(self._receive(), max(0.001, min(self._stall, left)))
        except TimeoutError as error:
            raise TooSlow(
                f"the body: {self._received} bytes arrived, and then none in time; send it again"
            ) from error

    def _count(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self._ended = True
            self._length = None
            return
        self._received += len(message.get("body", b""))
        self._scope.setdefault("state", {})["received"] = self._received
        self._ended = not message.get("more_body", False)

    def _require_room(self, size: int) -> None:
        if size > self._limit:
            raise TooLarge(f"the body: more than {self._limit} bytes, the most that are taken here")
        visitor = self._scope.get("state", {}).get("visitor")
        if size > JSON_BYTES and (visitor is None or visitor.identity is None):
            raise Unauthenticated("send a token: `Authorization: Bearer zap_..`")

    async def _drain(self) -> None:
        if self._ended or (self._waits and not self._touched):
            return
        end = time.monotonic() + _DRAIN_SECONDS
        most = self._received + _DRAIN_BYTES
        while not self._ended and self._received < most and time.monotonic() < end:
            try:
                message = await asyncio.wait_for(self._receive(), _DRAIN_SECONDS)
            except TimeoutError:
                return
            self._count(message)


def _length(headers: Headers) -> int | None:
    try:
        return int(headers["content-length"])
    except (KeyError, ValueError):
        return None


async def sound(request: Request) -> None:
    """Holds what a request says against what can be kept: it is text and finite numbers.

    Raises:
        Invalid: It holds NaN, an infinity, a NUL or half a character, and where.
    """
    for name, value in [*request.path_params.items(), *request.query_params.multi_items()]:
        _require_text(value, name)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.endswith("json") and not _reads_itself(request) and await request.body():
        _require_sound(await _json(request))


def _reads_itself(request: Request) -> bool:
    """Tells whether an address takes its body as bytes, and holds it against more than this."""
    addresses = {"POST": _SUBMISSIONS, "PUT": _FILE}.get(request.method)
    return addresses is not None and addresses.fullmatch(request.url.path) is not None


async def _json(request: Request) -> Any:
    try:
        return await request.json()
    except (ValueError, RecursionError) as error:
        raise Invalid("the body: is no JSON that can be read") from error


def _require_sound(document: Any) -> None:
    """Walks through JSON without recursion: it may be nested as deep as the parser allows."""
    left: list[tuple[Any, str]] = [(document, "body")]
    while left:
        value, where = left.pop()
        if isinstance(value, str):
            _require_text(value, where)
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise Invalid(f"{where}: {value}, expected a finite number")
        elif isinstance(value, dict):
            for name, part in value.items():
                _require_text(name, where)
                left.append((part, f"{where}.{name[:50]}"))
        elif isinstance(value, list):
            left.extend((part, f"{where}.{index}") for index, part in enumerate(value))


def _require_text(value: Any, where: str) -> None:
    if isinstance(value, str) and ("\0" in value or not value.isascii()):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Invalid(f"{where}: holds half of a surrogate pair, expected text") from None
        if "\0" in value:
            raise Invalid(f"{where}: holds a NUL character, expected text")
