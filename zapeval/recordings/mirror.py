"""A mirror: a local copy of public data, with checksums; a repeated command resumes it.

Every file is written beside its place and renamed when it is whole, then noted in the ledger. So an
interruption at any moment leaves no wrong file, and costs at most the files that were under way.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from blake3 import blake3

from zapeval.errors import InvalidInput, NotFound, Refused, StorageError, UsageError
from zapeval.recordings.documents import DOCUMENT_LIMIT
from zapeval.recordings.ledger import (
    Entry,
    Ledger,
    Record,
    checksum_of,
    open_ledger,
    read_record,
    safe_path,
    size_of,
    write_file,
)
from zapeval.recordings.metadata import ArrayMetadata, read_array_metadata
from zapeval.recordings.stores import Store, open_store

FILE_LIMIT = 1_000_000
"""Most files of one item; the zebrafish traces have 2,257."""

_RESUME = "repeat the command: it resumes"

Progress = Callable[[int, int], None]
"""Is told how many files are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing to mirror.

    Attributes:
        source: Key below the source URI: of the file, or of the array's folder.
        target: Path below the local folder.
        kind: A single file; or a zarr array, with everything else that its folder holds where the
            source can be listed.
        optional: Whether it may be absent at the source.
    """

    source: str
    target: str
    kind: Literal["array", "file"] = "array"
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class PublicVideo:
    """Where a public recording's video is.

    Attributes:
        levels: How much coarser in x and y -> key below the source of that ``[x, y, z, frames]``.
        segmentation: Key of the labels ``[x, y, z]``, at the finest resolution.
        kept: Size of the centre to keep, in voxels of the finest resolution.
    """

    levels: Mapping[int, str]
    segmentation: str
    kept: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A mirror that may be made: what is copied, from where, to where.

    Attributes:
        source: URI that the items lie below.
        items: What is copied.
        folder: The local folder.
        video: Where the recording's video is, or None where it has none.
    """

    source: str
    items: tuple[Item, ...]
    folder: Path
    video: PublicVideo | None = None

    def video_folder(self, factor: int) -> Path:
        """Returns the local folder of the recording with its video, so much coarser."""
        return self.folder.with_name(f"{self.folder.name}-video-{factor}x")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a fetch did.

    Attributes:
        folder: Where the mirror is.
        files: Number of files that are there now.
        fetched: How many of them this fetch got; the others were there.
        fetched_bytes: Their size in bytes.
        absent: Targets of optional items that the source does not have.
    """

    folder: Path
    files: int
    fetched: int
    fetched_bytes: int
    absent: tuple[str, ...]


class Derived(ABC):
    """Files of a mirror that are made from the source rather than copied.

    Attributes:
        items: Path below the folder -> key below the source.
    """

    items: Mapping[str, str]

    @abstractmethod
    def write(self, folder: Path, ledger: Ledger) -> tuple[Entry, ...]:
        """Makes the files that the ledger does not know as finished, and returns their entries.

        Each is noted in the ledger when it is whole.

        Raises:
            StorageError: The source did not answer or lacks a part, or the disk is full.
        """


@dataclass(frozen=True, kw_only=True)
class _File:
    """A file to be copied; its size in bytes where the array's metadata tell it."""

    item: Item
    key: str
    path: str
    size: int | None = None


def data_folder() -> Path:
    """Returns the folder of mirrored data: ``$ZAPEVAL_DATA``, else ``zapeval`` in the cache."""
    chosen = os.environ.get("ZAPEVAL_DATA")
    if chosen:
        return Path(chosen).expanduser().absolute()
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    # The XDG base directory specification tells programs to ignore a relative path.
    return (cache if cache.is_absolute() else Path.home() / ".cache") / "zapeval"


def fetch(
    source: str,
    items: Sequence[Item],
    folder: Path,
    *,
    derived: Derived | None = None,
    progress: Progress | None = None,
    workers: int = 8,
) -> Report:
    """Copies items of a source into a folder; what is there with the right size stays.

    Args:
        source: URI that the items lie below.
        items: What to copy.
        folder: Where to; is made if need be.
        derived: What else is made from the source, when the items are there.
        progress: Is told the number of files done and of all, in this thread.
        workers: Files under way at a time; each is held in memory.

    Raises:
        NotFound: The source lacks an array that is not optional.
        StorageError: The source did not answer or lacks a file, or the disk is full.
        InvalidInput: The source lists a key that is no safe path, or an array is not valid.
        Refused: The folder mirrors another source, or another command fetches into it.
    """
    if workers < 1:
        raise UsageError(f"fetch: {workers} workers, expected at least 1")
    store = open_store(source)
    name = store.uri if store.path is None else str(store.path.absolute())
    files = _plan(store, items)
    with ExitStack() as stack:
        with _writing(folder, files):
            folder.mkdir(parents=True, exist_ok=True)
            ledger = stack.enter_context(open_ledger(folder, name))
        fetched = _fetch(store, files, folder, ledger, progress, workers)
        there = {file.item.target for file in files if ledger.finished(file.path)}
        names = {item.target: item.source for item in items if item.target in there}
        files_there = sum(ledger.finished(file.path) for file in files)
        with _writing(folder, files):
            if derived is not None:
                fetched += derived.write(folder, ledger)
                names |= derived.items
            ledger.finish(names)
    if derived is not None:
        files_there = len(ledger.record.entries)
    return Report(
        folder=folder,
        files=files_there,
        fetched=len(fetched),
        fetched_bytes=sum(entry.size for entry in fetched),
        absent=tuple(item.target for item in items if item.target not in there),
    )


def verify(folder: Path, *, progress: Progress | None = None) -> list[str]:
    """Returns what is wrong with a mirror, one sentence each; empty where all is well.

    Every file is read. Those that differ are noted in the ledger, so that the next fetch replaces
    them, where the folder may be written.

    Raises:
        InvalidInput: The manifest is damaged.
    """
    record = read_record(folder)
    findings = []
    if not record.complete:
        what = "is not finished" if record.entries else "holds no mirror"
        findings.append(f"{folder}: {what}; fetch it")
    wrong: set[str] = set()
    for done, entry in enumerate(record.entries.values(), start=1):
        finding = _differs(folder, entry)
        if finding is not None:
            wrong.add(entry.path)
            findings.append(f"{folder / entry.path}: {finding}; fetch it again")
        if progress is not None:
            progress(done, len(record.entries))
    if wrong != record.damaged:
        # A mirror that belongs to somebody else can be looked at, not changed.
        with suppress(OSError, Refused):
            _note(folder, record, wrong)
    return findings


def _note(folder: Path, record: Record, wrong: set[str]) -> None:
    with open_ledger(folder, record.source) as ledger:
        for path in wrong - record.damaged:
            ledger.add_damaged(path)
        for path in record.damaged - wrong:
            ledger.add(record.entries[path])


def _differs(folder: Path, entry: Entry) -> str | None:
    path = folder / entry.path
    size = size_of(path)
    if size is None:
        return "is missing"
    if size != entry.size:
        return f"is {size:,} bytes, expected {entry.size:,}"
    try:
        checksum = checksum_of(path)
    except OSError as error:
        return f"could not be read: {error.strerror}"
    return None if checksum == entry.blake3 else "has other content than was fetched"


def _fetch(
    store: Store,
    files: Sequence[_File],
    folder: Path,
    ledger: Ledger,
    progress: Progress | None,
    workers: int,
) -> list[Entry]:
    """Copies the files that the ledger does not know as finished; returns what it copied."""
    todo = [file for file in files if not ledger.finished(file.path)]
    _check_space(folder, todo)
    fetched: list[Entry] = []
    tell = progress or (lambda done, total: None)
    tell(len(files) - len(todo), len(files))
    stop = threading.Event()
    with ThreadPoolExecutor(workers) as pool:
        copies = [pool.submit(_copy, store, file, folder, stop) for file in todo]
        try:
            for done, copy in enumerate(as_completed(copies), start=len(files) - len(todo) + 1):
                with _writing(folder, files):
                    entry = copy.result()
                    if entry is not None:
                        ledger.add(entry)
                        fetched.append(entry)
                tell(done, len(files))
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return fetched


def _copy(store: Store, file: _File, folder: Path, stop: threading.Event) -> Entry | None:
    """Copies one file; returns None where it is optional and absent."""
    name = f"{store}/{file.key}"
    try:
        data = store.read(file.key, stop=stop)
    except StorageError as error:
        raise StorageError(f"{error}; {_RESUME}") from error
    if data is None:
        if file.item.optional and file.item.kind == "file":
            return None
        raise StorageError(f"{name}: does not exist at the source; {_RESUME} once it does")
    if file.size not in (None, len(data)):
        raise StorageError(f"{name}: is {len(data):,} bytes, expected {file.size:,}; {_RESUME}")
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    write_file(target, data)
    return Entry(path=file.path, size=len(data), blake3=blake3(data).hexdigest())


def _check_space(folder: Path, todo: Sequence[_File]) -> None:
    needed = sum(file.size or 0 for file in todo)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise StorageError(
            f"{folder}: the disk is too full: {needed:,} bytes to fetch, {free:,} bytes free; "
            "make room or choose another folder"
        )


@contextmanager
def _writing(folder: Path, files: Sequence[_File]) -> Iterator[None]:
    """Turns an error of the file system into one that says what is still needed."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            where = error.filename or folder
            raise StorageError(f"{where}: could not be written: {error.strerror}") from error
        there = [size for file in files if (size := size_of(folder / file.path)) is not None]
        mean = sum(there) // max(len(there), 1)
        rest = [file.size or mean for file in files if size_of(folder / file.path) is None]
        raise StorageError(
            f"{folder}: the disk is full: {len(rest):,} files, about {sum(rest):,} bytes, still to "
            f"fetch, {shutil.disk_usage(folder).free:,} bytes free; make room; {_RESUME}"
        ) from error


def _plan(store: Store, items: Sequence[Item]) -> list[_File]:
    """Returns every file of the items, none of them in the way of another."""
    files = [file for item in items for file in _files(store, item)]
    taken: dict[str, str] = {}
    for file in files:
        # Some file systems do not tell upper from lower case.
        path = file.path.casefold()
        if path in taken:
            raise InvalidInput(f"{store}: {taken[path]!r} and {file.key!r} would be one file")
        taken[path] = file.key
    for path in taken:
        for parent in PurePosixPath(path).parents:
            if str(parent) in taken:
                raise InvalidInput(f"{store}: {taken[str(parent)]!r} is a file and a folder")
    return files


def _files(store: Store, item: Item) -> Iterator[_File]:
    if item.kind == "file":
        yield _File(item=item, key=item.source, path=_checked(store, item.target))
        return
    below = store.child(item.source)
    try:
        array = read_array_metadata(below)
    except NotFound:
        if item.optional:
            return
        raise
    if math.prod(array.grid) > FILE_LIMIT:
        raise InvalidInput(f"{below}: declares over {FILE_LIMIT:,} files; it was not fetched")
    chunks = frozenset(array.stored_keys())
    size = None if array.codecs or array.index_at else array.chunk_bytes
    for key in below.keys() if below.can_list else _derived(below, array):
        # Bucket browsers leave a key that ends in a slash to show an empty folder.
        if key and not key.endswith("/"):
            yield _File(
                item=item,
                key=f"{item.source}/{key}",
                path=_checked(store, f"{item.target}/{key}"),
                size=size if key in chunks else None,
            )


def _derived(store: Store, array: ArrayMetadata) -> Iterator[str]:
    """Yields the keys that an array must have, where the store cannot list them."""
    yield "zarr.json" if array.zarr_format == 3 else ".zarray"
    if array.zarr_format == 2 and store.read(".zattrs", DOCUMENT_LIMIT) is not None:
        yield ".zattrs"
    yield from array.stored_keys()


def _checked(store: Store, path: str) -> str:
    try:
        return safe_path(path)
    except ValueError as error:
        raise InvalidInput(f"{store}: {path[:200]!r} {error}; it was not fetched") from error
