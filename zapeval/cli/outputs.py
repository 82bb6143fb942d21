"""Outputs: where a command writes, looked at before the long part."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

from zapeval.errors import StorageError, UsageError

_ADDRESS = re.compile(r"[a-z0-9]{2,}:")


def check_output(
    path: Path, kind: Literal["file", "folder", "new"], source: Path | None = None
) -> None:
    """Checks that a file, a folder of files or something new can come to be at a path.

    Args:
        path: Where the output goes.
        kind: What it is.
        source: A local store that the command reads, and must leave alone.

    Raises:
        UsageError: It is an address, something else lies there, or it lies in the source.
        StorageError: Nothing can be written there.
    """
    if path.parts and _ADDRESS.fullmatch(path.parts[0]):
        raise UsageError(f"{path}: is an address; give a local path, and copy it from there")
    if source is not None and path.absolute().is_relative_to(source.absolute()):
        raise UsageError(f"{path}: lies in {source}, which is read; choose another place")
    try:
        if kind == "file" and (path.is_symlink() or (path.exists() and not _plain(path))):
            raise UsageError(
                f"{path}: is a link or a device, which a file would replace; choose another name"
            )
        if kind != "new" and path.exists() and path.is_dir() != (kind == "folder"):
            found = "folder" if path.is_dir() else "file"
            raise UsageError(f"{path}: is a {found}, expected a {kind}; choose another name")
        near = next(parent for parent in path.absolute().parents if parent.exists())
    except OSError as error:
        raise StorageError(f"{path}: can't be written: {error.strerror}") from error
    if not near.is_dir() or not os.access(near, os.W_OK | os.X_OK):
        why = "not writable" if near.is_dir() else "a file"
        raise StorageError(f"{path}: can't be written: {near} is {why}; choose another place")


def _plain(path: Path) -> bool:
    return path.is_file() or path.is_dir()
