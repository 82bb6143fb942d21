"""Sending: a local store to a board; what the board has already is not sent again."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from leaderboard.client import Board, Lost, file_path
from leaderboard.paths import fault_of
from zapeval.errors import InvalidInput, StorageError

PART = 8 << 20
"""Bytes of a file that one request brings: what a lost connection can cost at most."""

THREADS = 4

_BLOCK = 1 << 20

Advance = Callable[[int], None]


@final
@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """A file of a store, before it is hashed: its path in the store, where it is, its size."""

    path: str
    place: Path
    size: int


@final
@dataclass(frozen=True, kw_only=True)
class HashedFile:
    """A file of a store and its SHA-256 in hex."""

    file: LocalFile
    sha256: str

    @property
    def announced(self) -> dict[str, object]:
        """What a board is told of it."""
        return {"path": self.file.path, "size": self.file.size, "sha256": self.sha256}


def files_of(store: Path) -> tuple[list[LocalFile], list[str]]:
    """Returns the files of a store, and paths of other files that lie in its folder.

    Raises:
        InvalidInput: A file is a link or a device, or empty.
        StorageError: The folder can't be read.
    """
    found, others = [], []
    for place in _walk(store):
        path = place.relative_to(store).as_posix()
        if fault_of(path):
            others.append(path)
            continue
        status = place.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise InvalidInput(f"{place}: is a link or a device, expected a plain file; copy it")
        if not status.st_size:
            raise InvalidInput(f"{place}: is empty; forecast it again")
        found.append(LocalFile(path=path, place=place, size=status.st_size))
    return sorted(found, key=lambda file: file.path), sorted(others)


def hashed(files: Sequence[LocalFile], advance: Advance) -> list[HashedFile]:
    """Returns files with their SHA-256; advance is told of bytes.

    Raises:
        StorageError: One can't be read.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        digests = pool.map(lambda file: _digest(file, advance), files)
        return [HashedFile(file=f, sha256=d) for f, d in zip(files, digests, strict=True)]


@final
class Sender:
    """Sends what a board lacks of a submission, files in parallel, each part by part."""

    def __init__(
        self, board: Board, submission_id: str, advance: Advance, *, part: int = PART
    ) -> None:
        self._board = board
        self._id = submission_id
        self._advance = advance
        self._part = part
        self._stop = threading.Event()

    def send(self, files: Sequence[HashedFile], missing: Sequence[dict[str, Any]]) -> None:
        """Sends the files that are missing, each digest once, from where they have come to.

        Raises:
            ZapevalError: The board refuses one, or patience is at its end.
        """
        self._stop.clear()
        by_digest = {file.sha256: file for file in reversed(files)}
        with ThreadPoolExecutor(THREADS) as pool:
            futures = [
                pool.submit(self._send, by_digest[one["sha256"]], int(one["received"]))
                for one in missing
            ]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _send(self, hashed: HashedFile, received: int) -> None:
        file = hashed.file
        tries, end = 0, time.monotonic() + self._board.patience
        with _opened(file) as source:
            complete = False
            while not complete and not self._stop.is_set():
                try:
                    answer = self._send_part(file, source, received)
                except Lost as lost:
                    self._board.wait(lost, tries, end)
                    tries += 1
                    answer = self._board.get(file_path(self._id, file.path))
                now, complete = int(answer["received"]), bool(answer["complete"])
                if now > received:
                    tries, end = 0, time.monotonic() + self._board.patience
                    self._advance(now - received)
                received = now

    def _send_part(self, file: LocalFile, source: int, start: int) -> dict[str, Any]:
        if start == file.size:
            # All is there, and the answer that it is complete was lost on its way.
            headers = {"Content-Range": f"bytes */{file.size}"}
            return self._board.once("PUT", file_path(self._id, file.path), b"", headers)
        stop = min(start + self._part, file.size)
        data = os.pread(source, stop - start, start)
        if len(data) != stop - start:
            raise InvalidInput(f"{file.place}: has become shorter while it was sent; submit again")
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"bytes {start}-{stop - 1}/{file.size}",
        }
        return self._board.once("PUT", file_path(self._id, file.path), data, headers)


@contextmanager
def _opened(file: LocalFile) -> Iterator[int]:
    try:
        source = os.open(file.place, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise StorageError(f"{file.place}: could not be read: {error.strerror}") from error
    try:
        yield source
    finally:
        os.close(source)


def _walk(store: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise StorageError(f"{error.filename}: could not be read: {error.strerror}") from error

    for folder, folders, names in os.walk(store, onerror=fail):
        here = Path(folder)
        yield from (here / name for name in names)
        yield from (here / name for name in folders if (here / name).is_symlink())


def _digest(file: LocalFile, advance: Advance) -> str:
    digest = hashlib.sha256()
    try:
        with file.place.open("rb") as opened:
            while block := opened.read(_BLOCK):
                digest.update(block)
                advance(len(block))
    except OSError as error:
        raise StorageError(f"{file.place}: could not be read: {error.strerror}") from error
    return digest.hexdigest()
