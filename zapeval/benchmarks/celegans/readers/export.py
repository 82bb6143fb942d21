"""The public export: parquet files of one row a worm and neuron, in 302 or in 300 slots.

Read are the traces before smoothing and resampling, so that these worms are prepared as all others
are. They are z-scored already, which a second z-score leaves as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np

from zapeval.benchmarks.celegans.names import NAMES, SHORTER, SLOTS
from zapeval.benchmarks.celegans.raw import Found, Job, RawWorm, Reader
from zapeval.benchmarks.celegans.sources import Source, exported, safe_name
from zapeval.errors import InvalidInput, UsageError

KEYS = ("source_dataset", "worm")
"""Columns that say which worm a row is of; a worm's name is unique only within its source."""

COLUMNS = (
    *("neuron", "slot", "is_labeled_neuron"),
    *("original_calcium_data", "original_time_in_seconds", "original_dt"),
)
"""Columns that are read of each worm."""


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Where the rows of a worm are.

    Attributes:
        places: File, row group, and rows in it.
    """

    places: list[tuple[Path, int, np.ndarray]] = field(default_factory=list)


@final
class ExportReader(Reader):
    """Reads ``.parquet``."""

    def jobs(self, files: Sequence[Path], folder: Path) -> tuple[list[Job], set[Path]]:
        """Returns a job for each worm; one that lies in several files is put together."""
        known = [file for file in files if file.suffix == ".parquet"]
        found: dict[tuple[str, str], _Rows] = {}
        jobs = []
        for file in known:
            try:
                _index(file, found)
            except InvalidInput as error:
                jobs.append(
                    Job(
                        key=file.relative_to(folder).as_posix(),
                        source=Source(name=safe_name(file.stem)),
                        files=(file,),
                        read=partial(_unreadable, error),
                    )
                )
        for (source, worm), rows in found.items():
            jobs.append(
                Job(
                    key=f"{source}/{worm}",
                    source=exported(source),
                    files=tuple(dict.fromkeys(file for file, _, _ in rows.places)),
                    read=partial(_read, f"{source}/{worm}", worm, rows),
                )
            )
        return jobs, set(known)


def _index(file: Path, found: dict[tuple[str, str], _Rows]) -> None:
    """Notes where the rows of each worm of a file are."""
    content = _open(file)
    held = set(content.schema_arrow.names)
    missing = [name for name in (*KEYS, *COLUMNS) if name not in held]
    if missing:
        raise InvalidInput(f"{file}: lacks columns {', '.join(missing)}; is it the worms' export?")
    for group in range(content.num_row_groups):
        table = content.read_row_group(group, columns=list(KEYS))
        rows = list(zip(*(table[name].to_pylist() for name in KEYS), strict=True))
        for key in dict.fromkeys(rows):
            chosen = np.flatnonzero([row == key for row in rows])
            place = found.setdefault((str(key[0]), str(key[1])), _Rows())
            place.places.append((file, group, chosen))


def _read(where: str, worm: str, rows: _Rows) -> Iterator[Found]:
    """Yields one worm.

    Raises:
        InvalidInput: Its rows do not fit together.
    """
    found: list[Mapping[str, Any]] = []
    for file, group, chosen in rows.places:
        table = _open(file).read_row_group(group, columns=list(COLUMNS)).take(chosen)
        lists = [_lists(table[name]) for name in COLUMNS[3:]]
        plain = [table[name].to_pylist() for name in COLUMNS[:3]]
        found += [dict(zip(COLUMNS, row, strict=True)) for row in zip(*plain, *lists, strict=True)]
    labelled = [row for row in found if row["is_labeled_neuron"]]
    if not labelled:
        raise InvalidInput(f"{where}: has no labelled neuron")
    lengths = {len(row["original_calcium_data"]) for row in labelled}
    if len(lengths) > 1:
        raise InvalidInput(f"{where}: its neurons have {sorted(lengths)} frames, expected as many")
    seconds, notes = _seconds(labelled[0], where)
    yield RawWorm(
        name=safe_name(worm),
        traces=np.stack([row["original_calcium_data"] for row in labelled], axis=1),
        seconds=seconds,
        labels=tuple(str(row["neuron"]) for row in labelled),
        notes=(*notes, *_slot_notes(labelled)),
    )


def _seconds(row: Mapping[str, Any], where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the times of a worm's frames.

    Times in half precision stand still after some minutes; the steps between them do not.
    """
    seconds: np.ndarray = row["original_time_in_seconds"]
    if np.all(np.diff(seconds) > 0):
        return seconds, ()
    steps: np.ndarray = row["original_dt"]
    if len(steps) == len(seconds) and np.all(steps[1:] > 0):
        note = "original_time_in_seconds does not increase; times are the sums of original_dt"
        return np.concatenate([[0.0], np.cumsum(steps[1:])]), (note,)
    raise InvalidInput(f"{where}: neither original_time_in_seconds nor its steps give times")


def _slot_notes(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Returns what is odd about slots; names decide, whichever slots there are."""
    for names in (NAMES, SHORTER):
        slots = SLOTS if names is NAMES else {name: slot for slot, name in enumerate(names)}
        if all(slots.get(str(row["neuron"])) == row["slot"] for row in rows):
            return ()
    return ("slots are neither those of 302 nor of 300 neurons; names decide",)


def _lists(column: Any) -> list[np.ndarray]:
    """Returns the rows of a list column as float64; lists of one-element lists are flattened."""
    found = []
    for row in column:
        values = row.values
        if values is None:
            found.append(np.empty(0))
            continue
        while hasattr(values, "flatten") and str(values.type).startswith(
            ("list", "large_list", "fixed")
        ):
            values = values.flatten()
        found.append(values.to_numpy(zero_copy_only=False).astype(np.float64))
    return found


def _open(file: Path) -> Any:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise UsageError(f'{file}: parquet needs PyArrow; pip install "zapeval[worms]"') from error
    try:
        return ParquetFile(file)
    except (OSError, ArrowException) as error:
        raise InvalidInput(f"{file}: is no whole parquet file: {error}") from error


def _unreadable(error: InvalidInput) -> Iterator[Found]:
    raise error
    yield
