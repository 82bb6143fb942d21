"""Sources: stores that are fetched from an address, where the operator allows it.

An address is plain ``https://``, ``gs://`` or ``s3://``, of a host or bucket on the allow-list. A
TensorStore specification or URL pipeline is never one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, final
from urllib.parse import SplitResult, urlsplit

from leaderboard.known import recipe_of
from leaderboard.paths import DOCUMENTS, clashes, fault_of
from leaderboard.pinned import PinnedStore
from leaderboard.settings import Settings
from leaderboard.storage import Storage, room
from leaderboard.tables import Submission
from zapeval.errors import InvalidInput, NotFound, Refused, StorageError
from zapeval.recordings.metadata import read_array_metadata
from zapeval.recordings.stores import Store, open_store

_WORKERS = 4
_HTTPS = 443
_PART = ".part"


@final
@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What was fetched: number of files, and their bytes together."""

    files: int
    bytes: int


def check_source(address: str, settings: Settings) -> Iterator[str]:
    """Yields why a store can't be fetched from an address; nothing where it can."""
    if not settings.hosts and not settings.buckets:
        yield "source: this board fetches no stores; send the files"
        return
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        yield "source: is no address"
        return
    if parts.scheme not in ("https", "gs", "s3"):
        yield "source: expected an address that begins with https://, gs:// or s3://"
        return
    try:
        open_store(address)
    except InvalidInput as error:
        yield f"source: {error}"
        return
    if not address.isascii() or "%" in address or " " in address or port == 0:
        yield "source: expected a plain address: scheme://place/path, without % and spaces"
        return
    allowed = _hosts(settings) if parts.scheme == "https" else set(settings.buckets)
    place = _host(parts) if parts.scheme == "https" else f"{parts.scheme}://{parts.netloc}"
    if place not in allowed:
        known = ", ".join(sorted({*settings.hosts, *settings.buckets}))
        yield f"source: this board fetches nothing from {place}; from {known} it does"


def fetch(
    submission: Submission,
    settings: Settings,
    storage: Storage,
    *,
    room_left: int | None = None,
    stop: threading.Event | None = None,
) -> Fetched:
    """Copies the store of a submission from its address into the storage.

    What an earlier try has copied is not copied again.

    Args:
        submission: The submission; its source says where the store is.
        settings: Limits, and the allow-list.
        storage: Where it goes.
        room_left: Bytes that its user has left; None is no limit beside that of a store.
        stop: Gives up soon after this is set.

    Raises:
        Refused: The address is not on the allow-list, leads elsewhere, or lies where it may not.
        NotFound: There is no store.
        InvalidInput: It passes a limit, or lacks a file.
        StorageError: The other side did not answer; later it may.
        Full: The disk is full.
    """
    done = storage.store(submission.id)
    if done.exists():
        return _measured(done)
    for finding in check_source(submission.source, settings):
        raise Refused(finding)
    limit = settings.max_store_bytes
    limit = limit if room_left is None else min(limit, room_left)
    partial = storage.fetching(submission.id)
    with _opened(submission.source, settings) as store, room():
        keys = _keys(store, submission.benchmark, settings)
        _Copy(store, partial, limit, settings.max_file_bytes, stop or threading.Event()).run(keys)
        storage.publish(partial, submission.id)
    return _measured(done)


@final
class _Copy:
    """Copies files of a store into a folder, within a limit that they share."""

    def __init__(
        self, store: Store, folder: Path, limit: int, file_limit: int, stop: threading.Event
    ) -> None:
        self._store = store
        self._folder = folder
        self._limit = limit
        self._file_limit = file_limit
        self._stop = stop
        self._lock = threading.Lock()
        self._taken = 0

    def run(self, keys: dict[str, bool]) -> None:
        """Copies keys; a true value means that the key may be absent."""
        with ThreadPoolExecutor(_WORKERS) as pool:
            futures = [pool.submit(self._copy, *item) for item in keys.items()]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self._stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def _copy(self, key: str, optional: bool) -> None:
        if self._stop.is_set():
            raise StorageError(f"{self._store}: fetching was stopped")
        target = self._folder / key
        if target.exists():
            self._take(target.stat().st_size)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + _PART)
        try:
            with part.open("wb") as out:
                size = self._bytes(key, _Counted(out, self))
                out.flush()
                os.fsync(out.fileno())
            if size is not None:
                part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        if size is None and not optional:
            raise InvalidInput(f"{self._store}/{key}: does not exist; complete the store there")

    def _bytes(self, key: str, out: _Counted) -> int | None:
        if isinstance(self._store, PinnedStore):
            return self._store.copy(key, out, self._file_limit, stop=self._stop)  # type: ignore[arg-type]
        # A bucket hands objects out whole: one a thread is in memory.
        data = self._store.read(key, self._file_limit, stop=self._stop)
        return None if data is None else out.write(data)

    def _take(self, size: int) -> None:
        with self._lock:
            self._taken += size
            over = self._taken > self._limit
        if over:
            raise InvalidInput(
                f"{self._store}: is over {self._limit:,} bytes, the room that there is for it"
            )


@final
class _Counted:
    """A file whose bytes count against the limit as they come."""

    def __init__(self, file: BinaryIO, copy: _Copy) -> None:
        self._file = file
        self._copy = copy
        self._size = 0

    def write(self, data: bytes) -> int:
        """Writes bytes, if there is room."""
        self._copy._take(len(data))
        self._size += len(data)
        return self._file.write(data)

    def seek(self, offset: int) -> int:
        """Moves to an offset."""
        return self._file.seek(offset)

    def truncate(self) -> int:
        """Gives back what was written."""
        self._copy._take(-self._size)
        self._size = 0
        return self._file.truncate()


def _hosts(settings: Settings) -> set[str]:
    return {_host(urlsplit(f"https://{host}")) for host in settings.hosts}


def _host(parts: SplitResult) -> str:
    """Returns host and port as they are compared: in lower case, 443 left out."""
    return parts.netloc.lower().removesuffix(f":{_HTTPS}")


@contextmanager
def _opened(address: str, settings: Settings) -> Iterator[Store]:
    """Gives the store at an address that was checked."""
    parts = urlsplit(address)
    if parts.scheme != "https":
        yield open_store(address)
        return
    host = str(parts.netloc).lower()
    named = host if parts.port else f"{host}:{_HTTPS}"
    private = named in {one.lower() for one in settings.hosts}
    with closing(PinnedStore(address.rstrip("/"), None, private, settings.max_file_bytes)) as store:
        yield store


def _keys(store: Store, benchmark: str, settings: Settings) -> dict[str, bool]:
    """Returns the keys to copy; a true value means that it may be absent.

    Raises:
        InvalidInput: There are too many, or two that can't lie side by side.
        NotFound: There is nothing.
    """
    keys: dict[str, bool] = {}
    found = _listed(store) if store.can_list else _implied(store, benchmark, settings)
    for key, optional in found:
        keys[key] = optional
        if len(keys) > settings.max_files + len(DOCUMENTS):
            raise InvalidInput(
                f"{store}: has over {settings.max_files:,} files, the most of a store"
            )
    for finding in clashes(keys):
        raise InvalidInput(f"{store}: {finding}")
    if not keys:
        raise NotFound(f"{store}: holds no files of a zarr store")
    return keys


def _listed(store: Store) -> Iterator[tuple[str, bool]]:
    for key in store.keys():  # noqa: SIM118 - a store is no dictionary
        name = key.removeprefix("/")
        if not fault_of(name):
            yield name, False


def _implied(store: Store, benchmark: str, settings: Settings) -> Iterator[tuple[str, bool]]:
    """Yields the files that a store must have by its metadata: a web server has no listing."""
    for name in DOCUMENTS - {".zarray", ".zmetadata"}:
        yield name, True
    recipe = recipe_of(benchmark)
    series = recipe.resolve(recipe.recordings(settings.recordings.get(benchmark))).series
    for one in series:
        array = store.child(one.array)
        metadata = read_array_metadata(array)
        document = "zarr.json" if metadata.zarr_format == 3 else ".zarray"
        yield f"{one.array}/{document}", False
        if metadata.zarr_format == 2:
            yield f"{one.array}/.zattrs", True
        yield from ((f"{one.array}/{key}", False) for key in metadata.stored_keys())


def _measured(folder: Path) -> Fetched:
    sizes = [path.lstat().st_size for path in folder.rglob("*") if path.is_file()]
    return Fetched(files=len(sizes), bytes=sum(sizes))
