"""The storage: bytes of submissions on disk.

``blobs/ab/abcdef..`` holds complete, verified files by their SHA-256; ``incoming/ID/abcdef..`` what
has arrived of a submission's files so far; ``stores/ID/`` committed stores, whose files are links
to blobs; ``scratch/JOB/`` what a job works with. Nothing here follows a symbolic link, and whatever
carries its final name is whole.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, final

from leaderboard.problems import Conflict, Full, Problem
from leaderboard.settings import Settings

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LOCK = ".lock"
_LINKS = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP)
"""What a file system says that can't make a further link."""


class Tampered(Problem):
    """Says that bytes have another SHA-256 than was announced."""

    status = 422
    title = "These are not the bytes that were announced"


@final
class Storage:
    """The folder of all files."""

    def __init__(self, settings: Settings) -> None:
        """Makes the folder where there is none."""
        # What is private on the board is private on its machine.
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root = settings.data_dir.absolute() / "files"
        for name in ("blobs", "incoming", "stores", "scratch"):
            (self.root / name).mkdir(parents=True, exist_ok=True)

    def blob(self, digest: str) -> Path:
        """Returns where a complete file lies, or would lie."""
        return self.root / "blobs" / digest[:2] / digest

    def incoming(self, submission_id: str, digest: str) -> Path:
        """Returns where the bytes of a file that has begun to arrive lie."""
        return self.root / "incoming" / submission_id / digest

    def store(self, submission_id: str) -> Path:
        """Returns the folder of a committed store."""
        return self.root / "stores" / submission_id

    def scratch(self, job_id: str) -> Path:
        """Returns the folder of a job, made where there is none."""
        folder = self.root / "scratch" / job_id
        folder.mkdir(exist_ok=True)
        return folder

    def received(self, submission_id: str) -> dict[str, int]:
        """Returns how many bytes of each file have arrived, by digest; finished ones are gone."""
        with suppress(FileNotFoundError), os.scandir(self._arrivals(submission_id)) as entries:
            return {one.name: one.stat(follow_symlinks=False).st_size for one in entries}
        return {}

    def arrivals_changed(self, submission_id: str) -> float:
        """Returns when bytes of a submission last arrived, in seconds since 1970; 0 where none."""
        times = [0.0]
        with suppress(FileNotFoundError), os.scandir(self._arrivals(submission_id)) as entries:
            times += [one.stat(follow_symlinks=False).st_mtime for one in entries]
        return max(times)

    def arrive(self, submission_id: str, digest: str) -> Part:
        """Opens what has arrived of a file, to add to it; only one at a time can.

        Raises:
            Conflict: Somebody else is adding to it.
            Full: The disk is full.
        """
        path = self.incoming(submission_id, digest)
        with room():
            path.parent.mkdir(exist_ok=True)
            return Part(path)

    def adopt(self, part: Part, digest: str) -> None:
        """Makes a file that has arrived and was verified a blob; the caller holds steady().

        Raises:
            Full: The disk is full.
        """
        blob = self.blob(digest)
        with room():
            if _size(blob) == part.size:
                # Stores of other submissions are links to it.
                part.drop()
                return
            blob.parent.mkdir(exist_ok=True)
            part.path.chmod(0o444)
            part.path.replace(blob)
            _sync(blob.parent)
            _sync(self.root / "blobs")

    def assemble(self, submission_id: str, files: Iterable[tuple[str, str]]) -> None:
        """Makes the store of paths and digests, beside its place, where it is not there yet.

        Raises:
            Full: The disk is full.
        """
        if self.store(submission_id).exists():
            return
        with room(), self.beside(submission_id) as partial:
            made: set[Path] = set()
            for path, digest in files:
                target = partial / path
                if target.parent not in made:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    made.add(target.parent)
                _link(self.blob(digest), target)

    @contextmanager
    def beside(self, submission_id: str) -> Iterator[Path]:
        """Gives an empty folder, which becomes the store when the block ends well."""
        store = self.store(submission_id)
        partial = store.with_name(f".{submission_id}.{secrets.token_hex(8)}.part")
        partial.mkdir()
        try:
            yield partial
            self.publish(partial, submission_id)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def fetching(self, submission_id: str) -> Path:
        """Returns the folder that a store is fetched into, made where there is none."""
        folder = self.store(submission_id).with_name(f".{submission_id}.fetch.part")
        folder.mkdir(exist_ok=True)
        return folder

    def publish(self, partial: Path, submission_id: str) -> None:
        """Makes a folder the store of a submission, unless another was faster."""
        store = self.store(submission_id)
        # Journaling file systems keep the order of changes of folders: with this one, those below
        # it that were made before are on disk.
        _sync(partial)
        try:
            partial.rename(store)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        _sync(store.parent)

    def discard(self, submission_id: str) -> None:
        """Removes what has arrived of a submission, and its store; blobs stay."""
        shutil.rmtree(self._arrivals(submission_id), ignore_errors=True)
        store = self.store(submission_id)
        gone = store.with_name(f".{submission_id}.{secrets.token_hex(8)}.part")
        # Whoever looks finds all of a store or nothing.
        with suppress(FileNotFoundError):
            store.rename(gone)
        for left in store.parent.glob(f".{submission_id}.*"):
            shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def steady(self, *, sweeping: bool = False) -> Iterator[None]:
        """Holds off whoever removes blobs, or, to remove some, whoever adds or counts on them.

        Raises:
            BlockingIOError: Blobs are in use, so nothing can be removed just now.
        """
        with (self.root / _LOCK).open("ab") as lock:
            kind = fcntl.LOCK_EX | fcntl.LOCK_NB if sweeping else fcntl.LOCK_SH
            fcntl.flock(lock, kind)
            yield

    def _arrivals(self, submission_id: str) -> Path:
        return self.root / "incoming" / submission_id


@final
class Part:
    """What has arrived of a file, open to be added to.

    Attributes:
        path: Where it lies.
        size: Its size in bytes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _locked(path)
        self.size = self._begun = self._file.seek(0, os.SEEK_END)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets others add to it."""
        self._file.close()

    def write(self, data: bytes) -> None:
        """Adds bytes.

        Raises:
            Full: The disk is full; those that had room stay.
        """
        with room():
            view = memoryview(data)
            while view:
                written = self._file.write(view)
                self.size += written
                view = view[written:]

    def sync(self) -> None:
        """Brings all to disk.

        Raises:
            Full: The disk is full; what came since it was opened is taken back.
        """
        try:
            with room():
                os.fsync(self._file.fileno())
        except Full:
            self._file.truncate(self._begun)
            self.size = self._begun
            raise

    def verify(self, digest: str) -> None:
        """Holds all that has arrived against its SHA-256, in hex; drops it where that differs.

        Raises:
            Tampered: It does.
        """
        with os.fdopen(os.dup(self._file.fileno()), "rb") as file:
            file.seek(0)
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest:
            self.drop()
            raise Tampered("its bytes have another SHA-256 than was announced")

    def drop(self) -> None:
        """Removes it."""
        self.path.unlink(missing_ok=True)


def _locked(path: Path) -> BinaryIO:
    """Opens a file to be added to, which nobody else has open so."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.fdopen(os.open(path, flags, 0o644), "r+b", buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it before may have finished or dropped it.
        same = os.path.samestat(os.fstat(file.fileno()), path.lstat())
        plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except (BlockingIOError, FileNotFoundError) as error:
        file.close()
        raise _taken("another request is sending this file; wait until it ends") from error
    if not (same and plain):
        file.close()
        raise _taken("another request has just sent this file; ask what has arrived")
    return file


def _taken(detail: str) -> Conflict:
    return Conflict(detail, headers={"Retry-After": "1"})


def _size(path: Path) -> int | None:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return None


def _link(blob: Path, target: Path) -> None:
    try:
        os.link(blob, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _LINKS:
            raise
        shutil.copyfile(blob, target, follow_symlinks=False)
        with target.open("rb") as copied:
            os.fsync(copied.fileno())


@contextmanager
def room() -> Iterator[None]:
    """Turns a full disk into a problem.

    Raises:
        Full: It is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise Full("the server's disk is full; what has arrived is kept, go on later") from error


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
