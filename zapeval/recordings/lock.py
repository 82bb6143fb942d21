"""A lock: one run at a time works on an unfinished folder."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zapeval.errors import Refused, StorageError


def lock(partial: Path, what: str) -> int:
    """Makes the folder where there is none, locks it for this process, and returns a descriptor.

    The lock ends when the descriptor is closed, by whatever ends the process.

    Args:
        partial: The unfinished folder.
        what: What the run is, for the message.

    Raises:
        Refused: Another run holds it.
        StorageError: The folder can't be made or locked.
    """
    try:
        partial.mkdir(parents=True, exist_ok=True)
        folder = os.open(partial, os.O_RDONLY)
    except OSError as error:
        raise StorageError(f"{partial}: could not be made: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A run that ended in between took the folder away; its lock would protect nothing.
        same = partial.exists() and os.path.samestat(os.fstat(folder), partial.stat())
    except BlockingIOError as error:
        os.close(folder)
        raise Refused(f"{partial}: another {what} is writing it; wait until it ends") from error
    except OSError as error:
        os.close(folder)
        raise StorageError(f"{partial}: could not be locked: {error.strerror}") from error
    if not same:
        os.close(folder)
        raise Refused(f"{partial}: another {what} has just ended; repeat the command")
    return folder


def emptied(partial: Path) -> None:
    """Removes what another run left in an unfinished folder, not the folder: it holds the lock."""
    for child in partial.iterdir():
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child)
        else:
            child.unlink()


@contextmanager
def locked(partial: Path, what: str) -> Iterator[None]:
    """Holds the lock of a folder while something is done.

    Raises:
        Refused: Another run holds it.
        StorageError: The folder can't be made or locked.
    """
    folder = lock(partial, what)
    try:
        yield
    finally:
        os.close(folder)
