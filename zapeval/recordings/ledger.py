"""A ledger: which files of a mirror are finished, with size and checksum.

Two files in the mirror's folder hold it. The manifest ``mirror.json`` is written when all files
are there. The journal ``.mirror.jsonl`` belongs to a fetch in progress: one line a finished file. A
line that an interruption tore is passed over, which costs one more download and nothing else.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, final

from blake3 import blake3
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from zapeval.errors import InvalidInput, Refused

MANIFEST = "mirror.json"
JOURNAL = ".mirror.jsonl"
PART = ".part"

NAME_LIMIT = 240
"""Longest name in bytes: file systems allow 255, and a part's ending must fit."""

PATH_LIMIT = 1000
"""Longest path below the folder in bytes."""

_BLOCK = 1 << 20


def safe_path(text: str) -> str:
    """Returns a relative path that stays below its folder, unchanged.

    Raises:
        ValueError: It is absolute, climbs, is over-long, or holds a character or name that a file
            system, a terminal or the ledger gives a meaning of its own.
    """
    names = text.split("/")
    if not text or text.startswith("/"):
        raise ValueError("expected a relative path")
    if not text.isprintable() or "\\" in text:
        raise ValueError("holds a backslash or a character that cannot be printed")
    if any(name in ("", ".", "..") for name in names):
        raise ValueError("has an empty name, '.' or '..'")
    # Lone surrogates cannot be encoded; isprintable() has refused them above.
    if len(text.encode()) > PATH_LIMIT or any(len(n.encode()) > NAME_LIMIT for n in names):
        raise ValueError(f"is longer than {NAME_LIMIT} bytes a name, {PATH_LIMIT} in all")
    if text in (MANIFEST, JOURNAL) or any(name.endswith(PART) for name in names):
        raise ValueError("is a name that the mirror keeps for itself")
    return text


class _Edge(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Entry(_Edge):
    """One finished file: its path below the folder, size in bytes and BLAKE3 in hex."""

    path: Annotated[str, AfterValidator(safe_path)]
    size: Annotated[int, Field(ge=0)]
    blake3: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(_Edge):
    """What ``mirror.json`` holds: where the files come from, and every one of them."""

    format: Literal["zapeval.mirror/1"] = Field(alias="schema")
    source: str
    items: dict[str, str]
    files: list[Entry]
    created: str


class _Start(_Edge):
    source: str


class _Damaged(_Edge):
    damaged: Annotated[str, AfterValidator(safe_path)]


@dataclass(kw_only=True)
class Record:
    """What a ledger says.

    Attributes:
        source: URI that the files come from, or "" where there is no ledger yet.
        items: Path below the folder -> key below the source, of the finished items.
        entries: Every finished file by its path.
        damaged: Paths whose files were found to differ, and are to be fetched again.
        complete: Whether a fetch has come to its end.
    """

    source: str = ""
    items: dict[str, str] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    complete: bool = False

    def apply(self, line: Entry | _Damaged) -> None:
        """Takes in one line of the journal."""
        if isinstance(line, _Damaged):
            self.damaged.add(line.damaged)
        else:
            self.entries[line.path] = line
            self.damaged.discard(line.path)


def read_record(folder: Path) -> Record:
    """Returns what the manifest and the journal say together; empty where there is neither.

    Raises:
        InvalidInput: The manifest is damaged.
    """
    record = _read_manifest(folder / MANIFEST)
    try:
        start, *lines = (folder / JOURNAL).read_bytes().split(b"\n")
        record.source = record.source or _Start.model_validate_json(start).source
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return record
    for line in lines:
        for kind in (Entry, _Damaged):
            try:
                record.apply(kind.model_validate_json(line))
            except ValidationError:
                continue
    return record


def _read_manifest(path: Path) -> Record:
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return Record()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidInput(
            f"{path}: is no manifest of a mirror: {first['msg']}; delete it and fetch again"
        ) from error
    return Record(
        source=manifest.source,
        items=dict(manifest.items),
        entries={entry.path: entry for entry in manifest.files},
        complete=True,
    )


@final
class Ledger:
    """The ledger of a folder, open for writing; see open_ledger.

    Attributes:
        record: What it says, kept up to date.
    """

    def __init__(self, folder: Path, journal: BinaryIO, source: str) -> None:
        self.record = read_record(folder)
        self._folder = folder
        self._journal = journal
        known = self.record.source
        if known not in ("", source):
            raise Refused(
                f"{folder}: is a mirror of {known}, not of {source}; "
                "choose another folder, or delete this one"
            )
        if not known or journal.seek(0, os.SEEK_END) == 0:
            self.record.source = source
            journal.truncate(0)
            self._write(_Start(source=source))
        else:
            journal.write(b"\n")  # ends a torn line; an empty one is passed over

    def finished(self, path: str) -> bool:
        """Returns whether a file is there with the size that the ledger knows."""
        entry = self.record.entries.get(path)
        if entry is None or path in self.record.damaged:
            return False
        return size_of(self._folder / path) == entry.size

    def add(self, entry: Entry) -> None:
        """Notes that a file is finished."""
        self._note(entry)

    def add_damaged(self, path: str) -> None:
        """Notes that a file differs from what the ledger says, and is to be fetched again."""
        self._note(_Damaged(damaged=path))

    def finish(self, items: Mapping[str, str]) -> None:
        """Writes the manifest, where it says something new, and empties the journal."""
        before = _read_manifest(self._folder / MANIFEST)
        now = self.record
        now.items |= items
        if not before.complete or (before.items, before.entries) != (now.items, now.entries):
            manifest = Manifest(
                schema="zapeval.mirror/1",
                source=now.source,
                items=now.items,
                files=[now.entries[path] for path in sorted(now.entries)],
                created=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            text = json.dumps(manifest.model_dump(by_alias=True), indent=1) + "\n"
            write_file(self._folder / MANIFEST, text.encode())
            _sync_folder(self._folder)
        self._journal.truncate(0)
        now.complete = True

    def _note(self, line: Entry | _Damaged) -> None:
        self._write(line)
        self.record.apply(line)

    def _write(self, line: _Edge) -> None:
        self._journal.write(line.model_dump_json().encode() + b"\n")


@contextmanager
def open_ledger(folder: Path, source: str) -> Iterator[Ledger]:
    """Opens the ledger of a folder; only one process at a time can.

    Raises:
        Refused: Another process holds it, or the folder mirrors another source.
        InvalidInput: The manifest is damaged.
    """
    with (folder / JOURNAL).open("ab", buffering=0) as journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(
                f"{folder}: another command is fetching into it; wait until it is done"
            ) from error
        yield Ledger(folder, journal, source)


def write_file(path: Path, data: bytes) -> None:
    """Writes a file so that it is there as a whole or not at all, even after a power cut."""
    part = path.with_name(path.name + PART)
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def checksum_of(path: Path) -> str:
    """Returns the BLAKE3 of a file in hex; reads it block by block."""
    checksum = blake3()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            checksum.update(block)
    return checksum.hexdigest()


def size_of(path: Path) -> int | None:
    """Returns the size of a plain file in bytes; None where there is none."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
