"""Receiving: the bytes of a file, taken to disk as they stream in.

Whatever ends a request, what had arrived by then is kept and brought to disk, so that the next one
goes on from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from anyio import CancelScope
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from leaderboard import uploads
from leaderboard.auth import Identity
from leaderboard.database import Database
from leaderboard.filelists import Progress
from leaderboard.paths import shown
from leaderboard.problems import Invalid, OutOfRange
from leaderboard.storage import Part, Storage

_BLOCK = 1 << 20
"""So many bytes are in memory before they are written."""

_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})")


@final
@dataclass(frozen=True, kw_only=True)
class Span:
    """The bytes ``[start, stop)`` of a file that a request brings; none to have it finished."""

    start: int
    stop: int


@final
class Receiver:
    """Takes the bytes of one request.

    Attributes:
        identity: Who sends them.
        submission_id: To which submission.
        path: Of which file.
    """

    def __init__(
        self,
        database: Database,
        storage: Storage,
        identity: Identity,
        submission_id: str,
        path: str,
    ) -> None:
        self._database = database
        self._storage = storage
        self.identity = identity
        self.submission_id = submission_id
        self.path = path

    async def receive(self, request: Request) -> Progress:
        """Returns how far the file has come after a request; bytes that are there stay as they are.

        Raises:
            Missing: There is no such submission of theirs, or file of it.
            Conflict: The submission takes no files, or another request sends this one.
            OutOfRange: The bytes do not follow what has arrived; says how much that is.
            Invalid: The request contradicts itself, or the file is not what was announced.
            Full: The disk is full.
        """
        expected = await run_in_threadpool(self._expect)
        span = span_of(request.headers, expected.size, self.path)
        arrived = expected.received == expected.size
        if arrived or span.stop <= expected.received:
            async for _ in request.stream():
                pass
            if expected.complete or not arrived:
                return expected
        part = await run_in_threadpool(self._open, expected)
        if part is None:
            return await run_in_threadpool(self._expect)
        with part:
            if not arrived:
                _require_next(span, part)
                await _take(request, part, span, self.path)
            # All of it may have arrived with a request that was lost before this.
            if part.size == expected.size:
                await run_in_threadpool(self._complete, part, expected.sha256)
        return await run_in_threadpool(self._expect)

    def _expect(self) -> Progress:
        return uploads.expect(
            self._database, self._storage, self.identity, self.submission_id, self.path
        )

    def _open(self, expected: Progress) -> Part | None:
        """Returns what has arrived, to be added to; None where the file is finished by now."""
        part = self._storage.arrive(self.submission_id, expected.sha256)
        try:
            finished = self._expect().complete
        except BaseException:
            part.close()
            raise
        if finished:
            part.drop()
            part.close()
            return None
        return part

    def _complete(self, part: Part, digest: str) -> None:
        uploads.complete(self._database, self._storage, self.submission_id, self.path, part, digest)


def span_of(headers: Mapping[str, str], size: int, path: str) -> Span:
    """Returns what a request for a file of a size says that it brings.

    Raises:
        Invalid: It contradicts itself or the announcement.
    """
    name = shown(path)
    if headers.get("content-encoding", "identity") != "identity":
        raise Invalid(f"{name}: Content-Encoding: expected none: files are sent as they are")
    said = headers.get("content-range")
    span = Span(start=0, stop=size)
    if said is not None:
        found = _RANGE.fullmatch(said)
        if found is None:
            raise Invalid(f"{name}: Content-Range: expected `bytes FIRST-LAST/SIZE`")
        first, last, total = (int(one) if one else -1 for one in found.groups())
        if total != size:
            raise Invalid(f"{name}: Content-Range: of {total:,} bytes, {size:,} were announced")
        if not first <= last < total:
            raise Invalid(f"{name}: Content-Range: expected FIRST <= LAST < SIZE")
        span = Span(start=max(first, 0), stop=last + 1)
    length = headers.get("content-length")
    if length is not None and length != str(span.stop - span.start):
        raise Invalid(
            f"{name}: Content-Length is {shown(length)}, expected {span.stop - span.start}, the "
            "bytes that are to come"
        )
    return span


def _require_next(span: Span, part: Part) -> None:
    if span.start != part.size:
        raise OutOfRange(
            f"these bytes begin at {span.start:,}, and {part.size:,} have arrived; go on from "
            "there",
            received=part.size,
        )


async def _take(request: Request, part: Part, span: Span, path: str) -> None:
    """Writes the body of a request, and brings it to disk, as much as there is of it."""
    expected = span.stop - span.start
    taken, pending = 0, bytearray()
    try:
        async for data in request.stream():
            pending += data[: expected - taken]
            taken += len(data)
            if taken > expected:
                raise Invalid(f"{shown(path)}: more than the {expected:,} bytes that were to come")
            if len(pending) >= _BLOCK:
                block, pending = bytes(pending), bytearray()
                await run_in_threadpool(part.write, block)
    except ClientDisconnect:
        pass
    finally:
        with CancelScope(shield=True):
            await run_in_threadpool(_settle, part, bytes(pending))
    if taken < expected:
        raise Invalid(
            f"{shown(path)}: {taken:,} of {expected:,} bytes came, and are kept; go on from "
            f"{part.size:,}",
            received=part.size,
        )


def _settle(part: Part, rest: bytes) -> None:
    try:
        part.write(rest)
    finally:
        part.sync()
