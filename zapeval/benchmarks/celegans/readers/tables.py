"""Tables: worms of one's own, as CSV with a column of times, or as NumPy archives."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import final

import numpy as np

from zapeval.benchmarks.celegans.raw import Found, Job, RawWorm, Reader
from zapeval.benchmarks.celegans.sources import own, safe_name
from zapeval.errors import InvalidInput

TIMES = ("seconds", "time", "t")
"""What the first column of a CSV file, or the times of an archive, may be called."""

_ACTIVITY = ("activity", "traces")
_LABELS = ("names", "labels")


@final
class TableReader(Reader):
    """Reads ``.csv`` and ``.npz``."""

    def jobs(self, files: Sequence[Path], folder: Path) -> tuple[list[Job], set[Path]]:
        """Returns a job for each file; its source is the folder that it lies in."""
        known = [file for file in files if file.suffix in (".csv", ".npz")]
        jobs = [
            Job(
                key=file.relative_to(folder).as_posix(),
                source=own(file, folder),
                files=(file,),
                read=partial(read_csv if file.suffix == ".csv" else read_npz, file),
            )
            for file in known
        ]
        return jobs, set(known)


def read_csv(file: Path) -> Iterator[Found]:
    """Yields the one worm of a table: seconds, then a column a neuron; an empty cell is missing.

    Raises:
        InvalidInput: It is no such table.
    """
    with file.open(newline="", encoding="utf-8-sig", errors="replace") as text:
        rows = list(csv.reader(text))
    if len(rows) < 2 or not rows[0] or rows[0][0].strip().casefold() not in TIMES:
        raise InvalidInput(
            f"{file}: expected a first row of {' or '.join(TIMES)} and names of neurons, then "
            "numbers"
        )
    values = []
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise InvalidInput(
                f"{file}: line {number} has {len(row)} cells, expected {len(rows[0])}"
            )
        try:
            values.append([float(cell) if cell.strip() else np.nan for cell in row])
        except ValueError as error:
            raise InvalidInput(f"{file}: line {number}: {error}") from error
    table = np.array(values)
    yield RawWorm(
        name=safe_name(file.stem),
        traces=table[:, 1:],
        seconds=table[:, 0],
        labels=tuple(rows[0][1:]),
    )


def read_npz(file: Path) -> Iterator[Found]:
    """Yields the one worm of an archive: activity ``[frames, neurons]``, seconds, names.

    Raises:
        InvalidInput: An array is missing, or is other than it should be.
    """
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
    except (OSError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{file}: is no archive of plain NumPy arrays: {error}") from error
    activity, seconds, labels = (
        _one_of(found, names, file) for names in (_ACTIVITY, TIMES, _LABELS)
    )
    if activity.dtype.kind not in "fiu" or seconds.dtype.kind not in "fiu":
        raise InvalidInput(f"{file}: expected numbers as activity and times")
    yield RawWorm(
        name=safe_name(file.stem),
        traces=activity.astype(np.float64),
        seconds=seconds.astype(np.float64).ravel(),
        labels=tuple(str(label) for label in labels.ravel()),
    )


def _one_of(found: dict[str, np.ndarray], names: tuple[str, ...], file: Path) -> np.ndarray:
    for name in names:
        if name in found:
            return found[name]
    held = ", ".join(found) or "nothing"
    raise InvalidInput(f"{file}: holds {held}; expected an array {' or '.join(names)}")
