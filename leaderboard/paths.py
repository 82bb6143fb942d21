"""Paths: which names the files of a predictions store may have.

A store is a group with its arrays directly below: metadata documents and chunk keys, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from zapeval.recordings.ledger import safe_path

DOCUMENTS = frozenset({"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})
"""Names of metadata documents (zarr v2 and v3)."""

LENGTH_LIMIT = 400
"""Longest path in characters."""

_ARRAY = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.+ -]{0,126}[A-Za-z0-9_+-])?")
_CHUNK = re.compile(r"(?:c[./])?(?:0|[1-9]\d{0,9})(?:[./](?:0|[1-9]\d{0,9})){0,7}")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
_SHOWN = 120


def fault_of(path: str) -> str:
    """Returns why no file of a store can have a path, or "" where one can."""
    try:
        safe_path(path)
    except ValueError as error:
        return str(error)
    if len(path) > LENGTH_LIMIT:
        return f"is longer than {LENGTH_LIMIT} characters"
    array, slash, key = path.partition("/")
    if not slash:
        return "" if path in DOCUMENTS else "is no metadata document of a zarr group"
    if not _ARRAY.fullmatch(array) or _RESERVED.fullmatch(array):
        return f"lies in {array[:_SHOWN]!r}, which can't be the name of an array"
    if key in DOCUMENTS or _CHUNK.fullmatch(key):
        return ""
    return "is neither a metadata document nor a chunk of a zarr array"


def clashes(paths: Iterable[str]) -> Iterator[str]:
    """Yields a sentence for each two paths that a file system could not hold side by side."""
    taken: dict[str, str] = {}
    for path in paths:
        # Some file systems do not tell upper from lower case.
        folded = path.casefold()
        if folded in taken:
            other = taken[folded]
            yield (
                f"{path}: is listed twice"
                if other == path
                else (f"{path}: and {other} would be one file")
            )
        taken[folded] = path
    for path in taken.values():
        folded = path.casefold()
        for end in (at for at, mark in enumerate(folded) if mark == "/"):
            if folded[:end] in taken:
                yield f"{path}: lies in {taken[folded[:end]]}, which is a file"


def shown(path: str) -> str:
    """Returns a path as a message can hold it."""
    return path if path.isprintable() and len(path) <= _SHOWN else repr(path[:_SHOWN])
