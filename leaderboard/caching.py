"""Caching: answers that are kept while what they were made from stays the same."""

from __future__ import annotations

import gzip
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import final

from fastapi import Request, Response

from leaderboard.boards import Place
from leaderboard.standings import Shelf

HELD = 64 << 20
"""Bytes of answers that are kept."""

FRESH = 0.25
"""Seconds that the revision of a board may be old: many readers then ask the database once."""

WORTH_PACKING = 1400
"""Answers below so many bytes fit a packet as they are."""


_PLACES = 1000


@final
@dataclass(frozen=True, kw_only=True)
class Answer:
    """The bytes of an answer, plain and packed, and their type."""

    media: str
    plain: bytes
    packed: bytes | None

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.plain) + len(self.packed or b"")


@final
class Answers:
    """Answers by what they were made from; those not asked for the longest give way."""

    def __init__(self, held: int = HELD) -> None:
        self._kept: OrderedDict[str, Answer] = OrderedDict()
        self._lock = Lock()
        self._room = self._held = held

    def get(self, tag: str) -> Answer | None:
        """Returns an answer, or None where it is not kept."""
        with self._lock:
            if tag in self._kept:
                self._kept.move_to_end(tag)
                return self._kept[tag]
        return None

    def keep(self, tag: str, answer: Answer) -> None:
        """Keeps an answer, unless it would take more than an eighth of all room."""
        if answer.size > self._held // 8:
            return
        with self._lock:
            old = self._kept.pop(tag, None)
            self._room += old.size if old else 0
            self._kept[tag] = answer
            self._room -= answer.size
            while self._room < 0:
                _, gone = self._kept.popitem(last=False)
                self._room += gone.size


@final
class Memory:
    """What one process keeps between requests.

    Attributes:
        fresh: Seconds that the revision of a board may be old.
    """

    def __init__(self, fresh: float = FRESH) -> None:
        self.fresh = fresh
        self.standings = Shelf()
        self.answers = Answers()
        self._places: dict[Hashable, tuple[float, Place]] = {}

    def place(self, key: Hashable) -> Place | None:
        """Returns a board that was found a moment ago, or None."""
        until, place = self._places.get(key, (0.0, None))
        return place if time.monotonic() < until else None

    def found(self, key: Hashable, place: Place) -> Place:
        """Keeps a board that was found now, and returns it."""
        if len(self._places) >= _PLACES:
            self._places.clear()
        self._places[key] = (time.monotonic() + self.fresh, place)
        return place


async def memory(request: Request) -> Memory:
    """Returns what the application keeps between requests."""
    return _memory(request)


def _memory(request: Request) -> Memory:
    state = request.app.state
    if not hasattr(state, "memory"):
        state.memory = Memory()
    kept: Memory = state.memory
    return kept


def tag_of(*parts: object) -> str:
    """Returns an entity tag: equal parts of one release of the code give equal ones."""
    text = repr((_build(), *parts)).encode()
    return f'W/"{hashlib.blake2b(text, digest_size=16).hexdigest()}"'


def respond(
    request: Request,
    tag: str,
    make: Callable[[], tuple[str | bytes, str]],
    *,
    private: bool = False,
    headers: dict[str, str] | None = None,
) -> Response:
    """Returns an answer: 304 where the reader has it, else the kept one, else one that is made.

    Args:
        request: The request.
        tag: Entity tag of everything that the answer depends on, who asks included.
        make: Makes the body and its type.
        private: Whether it is for one reader: it is then neither kept here nor by anything between.
        headers: Further headers.
    """
    kept = recall(request, tag, private=private, headers=headers)
    if kept is not None:
        return kept
    answer = packed(*make())
    if not private:
        _memory(request).answers.keep(tag, answer)
    return send(request, answer, _headers(tag, headers, private=private))


def recall(
    request: Request, tag: str, *, private: bool = False, headers: dict[str, str] | None = None
) -> Response | None:
    """Returns 304 where the reader has an answer, else the kept one, else None; see respond."""
    if tag in _known(request):
        return Response(status_code=304, headers=_headers(tag, headers, private=private))
    answer = None if private else _memory(request).answers.get(tag)
    if answer is None:
        return None
    return send(request, answer, _headers(tag, headers, private=private))


def _headers(tag: str, headers: dict[str, str] | None, *, private: bool) -> dict[str, str]:
    return {
        "ETag": tag,
        "Vary": "Accept-Encoding, Authorization, Cookie",
        "Cache-Control": "private, no-cache" if private else "public, max-age=0, must-revalidate",
        **(headers or {}),
    }


def send(request: Request, answer: Answer, headers: dict[str, str]) -> Response:
    """Returns an answer, packed where that is worth it and the reader takes it."""
    body = answer.plain
    if answer.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        body, headers = answer.packed, {**headers, "Content-Encoding": "gzip"}
    return Response(body, headers=headers, media_type=answer.media)


def packed(body: str | bytes, media: str) -> Answer:
    """Returns an answer of a body and its type."""
    plain = body.encode() if isinstance(body, str) else body
    small = gzip.compress(plain, 5, mtime=0) if len(plain) >= WORTH_PACKING else None
    return Answer(media=media, plain=plain, packed=small)


def _known(request: Request) -> list[str]:
    said = request.headers.get("if-none-match", "")
    return [tag if tag.startswith("W/") else f"W/{tag}" for tag in said.split(", ") if tag]


@cache
def _build() -> str:
    """Returns what tells one release of code and pages from another."""
    digest = hashlib.blake2b(version("zapeval").encode())
    here = Path(__file__).parent
    for file in sorted([*here.rglob("*.py"), *here.glob("templates/*"), *here.glob("static/*")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
