"""Keys: the board's own key, which signs a receipt of every scorecard that it makes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from leaderboard.settings import Settings
from submissions.receipt import write_keys

_NAME = "receipts.pem"


def signing_key(settings: Settings) -> Path:
    """Returns the file of the private key (mode 0600), made with its public one at first.

    Raises:
        StorageError: They could not be written.
        UsageError: The library that makes keys is not installed.
    """
    folder = settings.data_dir / "keys"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = folder / _NAME
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Server and workers may all be the first.
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not _public(key).exists():
            key.unlink(missing_ok=True)
            write_keys(key)
    finally:
        os.close(handle)
    return key


def public_key(settings: Settings) -> Path:
    """Returns the file of the public key, PEM, made at first; see signing_key."""
    return _public(signing_key(settings))


def _public(key: Path) -> Path:
    return key.with_name(f"{key.name}.pub")
