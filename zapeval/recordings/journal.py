"""A journal: which blocks of an unfinished store are whole, by the CRC32C of their files."""

from __future__ import annotations

import json
from pathlib import Path

from zapeval.errors import StorageError

_SLAB = 16 << 20
NAME = ".blocks.jsonl"


class Journal:
    """The finished blocks of a store; a line that an interruption tore is passed over.

    Args:
        folder: The unfinished store.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = dict(self._read())

    def holds(self, block: str) -> bool:
        """Tells whether a block's file, a path in the folder, is there as it was written."""
        path = self._folder / block
        return block in self._known and path.is_file() and self._known[block] == _sum_of(path)

    def add(self, block: str) -> None:
        """Notes that a block's file is written.

        Raises:
            StorageError: The disk is full, or the file can't be read back.
        """
        try:
            size, crc = _sum_of(self._folder / block)
            line = json.dumps({"block": block, "size": size, "crc32c": crc})
            with (self._folder / NAME).open("a", encoding="utf-8") as file:
                file.write(f"\n{line}\n")
        except OSError as error:
            raise StorageError(
                f"{self._folder / NAME}: could not be written: {error.strerror}"
            ) from error
        self._known[block] = size, crc

    def forget(self, block: str) -> None:
        """Removes a block's file, if there is one.

        Raises:
            StorageError: It can't be removed.
        """
        self._known.pop(block, None)
        try:
            (self._folder / block).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"{self._folder / block}: could not be removed: {error.strerror}"
            ) from error

    def remove(self) -> None:
        """Ends the journal; the store is complete."""
        (self._folder / NAME).unlink(missing_ok=True)

    def _read(self) -> list[tuple[str, tuple[int, int]]]:
        path = self._folder / NAME
        found = []
        if not path.is_file():
            return []
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                entry = json.loads(line)
                found.append((str(entry["block"]), (int(entry["size"]), int(entry["crc32c"]))))
            except (ValueError, KeyError, TypeError, OverflowError):
                continue
        return found


def _sum_of(path: Path) -> tuple[int, int]:
    """Returns size and CRC32C of a file, read in slabs."""
    import google_crc32c

    crc = size = 0
    with path.open("rb", buffering=0) as file:
        while data := file.read(_SLAB):
            crc = google_crc32c.extend(crc, data)
            size += len(data)
    return size, crc
