"""NWB: files of the field's standard, as DANDI holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np

from zapeval.benchmarks.celegans.raw import Found, Job, RawWorm, Reader
from zapeval.benchmarks.celegans.sources import own, safe_name
from zapeval.errors import InvalidInput, UsageError

COLUMNS = ("ID_labels", "neuron_name", "neuron_names", "label", "labels", "name")
"""Columns of the table of neurons that may hold labels, the first that is there."""

LABELS = "NeuronIDs"
"""An object beside the responses that may hold them, in ``labels``."""

_SIGNAL = "Signal"


@final
class NwbReader(Reader):
    """Reads ``.nwb``."""

    def jobs(self, files: Sequence[Path], folder: Path) -> tuple[list[Job], set[Path]]:
        """Returns a job for each file; its source is the folder that it lies in."""
        known = [file for file in files if file.suffix == ".nwb"]
        jobs = [
            Job(
                key=file.relative_to(folder).as_posix(),
                source=own(file, folder),
                files=(file,),
                read=partial(read_nwb, file),
            )
            for file in known
        ]
        return jobs, set(known)


def read_nwb(file: Path) -> Iterator[Found]:
    """Yields the one worm of a file.

    Raises:
        InvalidInput: It has no response of labelled neurons, or several and none is the signal.
        UsageError: PyNWB is not installed.
    """
    try:
        from pynwb import NWBHDF5IO
    except ImportError as error:
        raise UsageError(f'{file}: NWB needs PyNWB; pip install "zapeval[worms]"') from error
    try:
        with NWBHDF5IO(str(file), "r") as storage:
            yield _worm(storage.read(), file)
    except InvalidInput:
        raise
    except Exception as error:  # the library fails in as many ways as a file can differ
        raise InvalidInput(f"{file}: could not be read as NWB: {error}") from error


def _worm(content: Any, file: Path) -> RawWorm:
    series, notes = _response(content, file)
    traces = np.asarray(series.data[:], np.float64)
    if traces.ndim != 2:
        raise InvalidInput(f"{file}: {series.name} is {traces.ndim}-dimensional, expected two")
    if series.timestamps is not None:
        seconds = np.asarray(series.timestamps[:], np.float64)
    else:
        seconds = float(series.starting_time) + np.arange(len(traces)) / float(series.rate)
    labels, where = _labels(content, series, file)
    return RawWorm(
        name=safe_name(file.stem),
        traces=traces,
        seconds=seconds,
        labels=labels,
        notes=(*notes, f"labels are from {where}"),
    )


def _response(content: Any, file: Path) -> tuple[Any, tuple[str, ...]]:
    """Returns the responses of neurons, and what was passed over."""
    from pynwb.ophys import DfOverF, RoiResponseSeries

    found = [item for item in content.objects.values() if isinstance(item, RoiResponseSeries)]
    for narrower in (
        [item for item in found if item.name.startswith(_SIGNAL)],
        [item for item in found if isinstance(item.parent, DfOverF)],
    ):
        if len(found) > 1 and narrower:
            found = [item for item in found if item in narrower]
    names = ", ".join(_place(item) for item in found)
    if len(found) != 1:
        raise InvalidInput(
            f"{file}: holds {names or 'no RoiResponseSeries'}; expected one, or one whose name "
            f"begins with {_SIGNAL}"
        )
    return found[0], (f"traces are {names}",)


def _labels(content: Any, series: Any, file: Path) -> tuple[tuple[str | None, ...], str]:
    table = series.rois.table
    rows = np.asarray(series.rois.data[:], int)
    for column in COLUMNS:
        if column in table.colnames:
            texts = [_text(table[column][int(row)]) for row in rows]
            return tuple(texts), f"column {column} of {table.name}"
    for item in content.objects.values():
        if item.name == LABELS and getattr(item, "labels", None) is not None:
            return tuple(_text(label) for label in item.labels[:]), LABELS
    held = ", ".join(table.colnames)
    raise InvalidInput(
        f"{file}: names no neuron: {table.name} has columns {held}, expected one of "
        f"{', '.join(COLUMNS)}, or an object {LABELS} with labels"
    )


def _text(value: Any) -> str | None:
    if isinstance(value, list | tuple | np.ndarray):
        return next((text for text in map(_text, value) if text), None)
    return value.decode() if isinstance(value, bytes) else str(value)


def _place(item: Any) -> str:
    return f"{item.parent.name}/{item.name}" if item.parent is not None else str(item.name)
