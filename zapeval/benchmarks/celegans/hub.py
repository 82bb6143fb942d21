"""The hub: the public export of the worms, listed and downloaded from Hugging Face.

A download goes on where it was cut off, and is taken only if size and checksum are those that the
hub lists. The revision is pinned by the first run, so that one folder never mixes two of them.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from blake3 import blake3

from zapeval.errors import InvalidInput, NotFound, StorageError, UsageError
from zapeval.recordings.ledger import PART, Entry, Ledger, open_ledger, read_record, safe_path
from zapeval.recordings.mirror import data_folder

HUB = "https://huggingface.co"
"""Where the export is."""

REPOSITORY = "qsimon/celegans_neural_data"
"""Its name there (MIT)."""

ATTEMPTS = 5
"""How often a connection that breaks is made again."""

_FIRST_DELAY = 0.5
_TIMEOUT = 60.0
_SLAB = 1 << 20
_LISTING_LIMIT = 32 << 20
_RESUME = "repeat the command: it resumes"
_TRANSIENT = (429, 500, 502, 503, 504)

Progress = Callable[[int, int], None]
"""Is told how many bytes are there, and how many there will be."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file as the hub lists it.

    Attributes:
        path: Its path in the repository.
        size: Its size in bytes.
        checksum: SHA-256 of its content, or SHA-1 as git takes it.
        git: Whether it is the latter.
    """

    path: str
    size: int
    checksum: str
    git: bool


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a fetch did.

    Attributes:
        folder: Where the files are.
        revision: The revision that they are of.
        files: Number of files.
        fetched: How many of them were downloaded or completed now.
        fetched_bytes: Bytes that were downloaded now.
    """

    folder: Path
    revision: str
    files: int
    fetched: int
    fetched_bytes: int


def export_folder() -> Path:
    """Returns the folder of the downloaded export."""
    return data_folder() / "celegans-export"


def fetch_export(folder: Path, *, source: str = HUB, progress: Progress | None = None) -> Fetched:
    """Downloads the export's parquet files into a folder; what is there stays.

    Args:
        folder: Where to; is made if need be.
        source: Address of the hub, or of a server that answers as it does.
        progress: Told of the bytes that are there.

    Raises:
        UsageError: source is no web address.
        NotFound: There is no such repository, or no parquet file in it.
        StorageError: The hub did not answer, a file is not what it lists, or the disk is full.
        Refused: The folder holds something else, or another command fetches into it.
    """
    if not source.startswith(("https://", "http://")):
        raise UsageError(f"{source}: expected the address of a hub, such as {HUB}")
    base = f"{source.rstrip('/')}/datasets/{REPOSITORY}"
    api = f"{source.rstrip('/')}/api/datasets/{REPOSITORY}"
    revision = _pinned(folder, base) or _revision(api)
    listed = list_files(f"{api}/tree/{revision}?recursive=true")
    tell = progress or (lambda done, total: None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open_ledger(folder, f"{base}@{revision}") as ledger:
            fetched = list(_missing(listed, folder, ledger))
            _check_space(folder, fetched)
            total = sum(file.size for file in listed)
            there = total - sum(file.size for file in fetched)
            received = 0
            for file in fetched:
                url = f"{base}/resolve/{revision}/{quote(file.path)}"

                def count(done: int, before: int = there) -> None:
                    tell(before + done, total)

                received += _download(url, file, folder, ledger, count)
                there += file.size
            tell(total, total)
            ledger.finish({file.path: file.path for file in listed})
    except OSError as error:
        raise StorageError(
            f"{folder}: could not be written: {error.strerror}; {_RESUME}"
        ) from error
    return Fetched(
        folder=folder,
        revision=revision,
        files=len(listed),
        fetched=len(fetched),
        fetched_bytes=received,
    )


def list_files(url: str) -> list[Listed]:
    """Returns the parquet files of a listing, page after page.

    Raises:
        NotFound: There are none.
        InvalidInput: The listing is not what the hub gives.
        StorageError: The hub did not answer.
    """
    found: list[Listed] = []
    page: str | None = url
    while page is not None:
        document, page = _document(page)
        try:
            found += [
                _listed(item)
                for item in document
                if item["type"] == "file" and str(item["path"]).endswith(".parquet")
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"{url}: is no listing of files: {error}") from error
    if not found:
        raise NotFound(f"{url}: lists no parquet file")
    return found


def _listed(item: dict[str, Any]) -> Listed:
    large = item.get("lfs")
    checksum = str(large["oid"] if large else item["oid"]).removeprefix("sha256:")
    size = int(large["size"] if large else item["size"])
    if not re.fullmatch(r"[0-9a-f]{64}" if large else r"[0-9a-f]{40}", checksum) or size < 0:
        raise ValueError(f"checksum {checksum!r:.70} and size {size}")
    return Listed(path=safe_path(str(item["path"])), size=size, checksum=checksum, git=not large)


def _pinned(folder: Path, base: str) -> str | None:
    """Returns the revision that an earlier run began with."""
    before, at, revision = read_record(folder).source.rpartition("@")
    return revision if at and before == base else None


def _revision(api: str) -> str:
    document, _ = _document(api)
    revision = str(document.get("sha", "")) if isinstance(document, dict) else ""
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise InvalidInput(f"{api}: names no revision; is it a hub of data sets?")
    return revision


def _missing(listed: list[Listed], folder: Path, ledger: Ledger) -> Iterator[Listed]:
    for file in listed:
        if not ledger.finished(file.path):
            yield file


def _check_space(folder: Path, files: list[Listed]) -> None:
    needed = sum(file.size for file in files)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"{folder}: the disk is too full: {needed:,} bytes to fetch, {free:,} bytes free; "
            "make room or choose another folder with ZAPEVAL_DATA"
        )


def _download(
    url: str, file: Listed, folder: Path, ledger: Ledger, progress: Callable[[int], None]
) -> int:
    """Downloads a file beside its place, checks it, and moves it there; returns bytes received."""
    target = folder / file.path
    part = target.with_name(target.name + PART)
    target.parent.mkdir(parents=True, exist_ok=True)
    if part.exists() and part.stat().st_size > file.size:
        part.unlink()
    received = _retried(url, lambda: _receive(url, part, file.size, progress))
    checksum, whole = _checksums(part, file)
    if checksum != file.checksum:
        got = part.stat().st_size
        part.unlink()
        raise StorageError(
            f"{url}: is not what the hub lists ({got:,} bytes, checksum {checksum[:12]}.., "
            f"expected {file.size:,} bytes, {file.checksum[:12]}..); {_RESUME}"
        )
    part.replace(target)
    ledger.add(Entry(path=file.path, size=file.size, blake3=whole))
    return received


def _receive(url: str, part: Path, size: int, progress: Callable[[int], None]) -> int:
    """Appends what is missing of a file; returns the bytes that came."""
    there = part.stat().st_size if part.exists() else 0
    if there == size:
        return 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    received = 0
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        if answer.status != http.client.PARTIAL_CONTENT:
            there = 0  # the server sends the whole file again
        with part.open("ab" if there else "wb") as out:
            while data := answer.read(_SLAB):
                out.write(data)
                received += len(data)
                if there + received > size:
                    break
                progress(there + received)
            out.flush()
            os.fsync(out.fileno())
    if there + received < size:
        raise http.client.IncompleteRead(b"", size - there - received)
    return received


def _retried(url: str, attempt: Callable[[], int]) -> int:
    """Returns what an attempt returns; a broken connection is made again a few times."""
    delay = _FIRST_DELAY
    for left in reversed(range(ATTEMPTS)):
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            if error.code not in _TRANSIENT or not left:
                raise StorageError(f"{url}: the server answers {error.code}; {_RESUME}") from error
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError) as error:
            if not left:
                raise StorageError(f"{url}: could not be read: {error}; {_RESUME}") from error
        except ConnectionError as error:
            if not left:
                raise StorageError(f"{url}: the connection broke: {error}; {_RESUME}") from error
        time.sleep(delay)
        delay *= 2
    raise AssertionError("unreachable")


def _document(url: str) -> tuple[Any, str | None]:
    """Returns a JSON document, and the address of the next page of it."""
    found: list[tuple[bytes, str]] = []

    def read() -> int:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
            data = answer.read(_LISTING_LIMIT + 1)
            found.append((data, answer.headers.get("Link") or ""))
        return len(data)

    try:
        _retried(url, read)
    except StorageError as error:
        if isinstance(error.__cause__, urllib.error.HTTPError) and error.__cause__.code in (
            401,
            404,
        ):
            raise NotFound(f"{url}: does not exist, or is not public") from error
        raise
    data, link = found[-1]
    if len(data) > _LISTING_LIMIT:
        raise InvalidInput(f"{url}: is larger than {_LISTING_LIMIT:,} bytes, expected a listing")
    following = re.search(r'<(https?://[^>]+)>;\s*rel="next"', link)
    try:
        return json.loads(data), following[1] if following else None
    except ValueError as error:
        raise InvalidInput(f"{url}: is not valid JSON: {error}") from error


def _checksums(path: Path, file: Listed) -> tuple[str, str]:
    """Returns the checksum that the hub lists, and BLAKE3, of a file."""
    listed = hashlib.sha1(usedforsecurity=False) if file.git else hashlib.sha256()
    if file.git:
        listed.update(f"blob {path.stat().st_size}\0".encode())
    whole = blake3()
    with path.open("rb") as stream:
        while data := stream.read(_SLAB):
            listed.update(data)
            whole.update(data)
    return listed.hexdigest(), whole.hexdigest()
