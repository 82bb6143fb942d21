"""Leifer2023: three text files a worm, traces, labels and times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import final

import numpy as np

from zapeval.benchmarks.celegans.raw import Found, Job, RawWorm, Reader
from zapeval.benchmarks.celegans.sources import LEIFER, safe_name
from zapeval.errors import InvalidInput

FEWEST_FRAMES = 700
"""Shorter recordings are left out, as the public code does."""

_TRACES, _LABELS, _TIMES = "_gcamp.txt", "_labels.txt", "_t.txt"


@final
class LeiferReader(Reader):
    """Reads Leifer2023."""

    def jobs(self, files: Sequence[Path], folder: Path) -> tuple[list[Job], set[Path]]:
        """Returns a job for each file of traces."""
        traces = [file for file in files if file.name.endswith(_TRACES)]
        jobs = []
        known: set[Path] = set()
        for file in traces:
            number = file.name.removesuffix(_TRACES)
            beside = [file.with_name(number + ending) for ending in (_LABELS, _TIMES)]
            present = tuple(path for path in (file, *beside) if path in files)
            known |= set(present)
            jobs.append(
                Job(
                    key=file.relative_to(folder).as_posix(),
                    source=LEIFER,
                    files=present,
                    read=partial(read_leifer, file, *beside),
                )
            )
        return jobs, known


def read_leifer(traces: Path, labels: Path, times: Path) -> Iterator[Found]:
    """Yields the one worm of three files.

    Raises:
        InvalidInput: A file is missing, or holds other than numbers.
    """
    for file in (labels, times):
        if not file.is_file():
            raise InvalidInput(f"{traces}: has no {file.name} beside it")
    activity = _numbers(traces)
    names = labels.read_text(encoding="utf-8", errors="replace").splitlines()
    notes = []
    if len(names) > activity.shape[1]:
        notes.append(
            f"{labels.name} has {len(names)} labels for {activity.shape[1]} neurons; the rest is "
            "left out"
        )
    yield RawWorm(
        name=safe_name(traces.name.removesuffix(_TRACES)),
        traces=activity,
        seconds=_numbers(times).ravel(),
        labels=tuple(names[: activity.shape[1]]),
        notes=tuple(notes),
        fewest_frames=FEWEST_FRAMES,
    )


def _numbers(file: Path) -> np.ndarray:
    """Returns the numbers of a text file, float64 ``[lines, numbers a line]``."""
    rows = []
    text = file.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            rows.append([float(word) for word in line.split()])
        except ValueError as error:
            raise InvalidInput(f"{file}: line {number}: {error}") from error
    widths = {len(row) for row in rows}
    if len(widths) != 1 or widths == {0}:
        raise InvalidInput(
            f"{file}: lines hold {', '.join(map(str, sorted(widths))) or 'no'} numbers; expected "
            "as many in each"
        )
    return np.array(rows)
