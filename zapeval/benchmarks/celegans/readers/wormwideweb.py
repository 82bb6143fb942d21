"""WormWideWeb: Flavell2023 as JSON or HDF5, and its pairs of ``time_trace`` and ``neurons``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np

from zapeval.benchmarks.celegans.raw import Found, Job, RawWorm, Reader
from zapeval.benchmarks.celegans.sources import FLAVELL, safe_name
from zapeval.errors import InvalidInput
from zapeval.recordings.hdf5 import read_datasets

PAIR = ("time_trace.json", "neurons.json")
"""Files of a worm in a folder of its own: ``[[seconds, [values]], ..]``, and names of columns."""

_FIELDS = ("timestamp_confocal", "trace_array")


@final
class WormWideWebReader(Reader):
    """Reads Flavell2023."""

    def jobs(self, files: Sequence[Path], folder: Path) -> tuple[list[Job], set[Path]]:
        """Returns a job for each JSON and HDF5 file; neurons.json goes with its time_trace.json."""
        jobs = []
        known = {file for file in files if file.suffix in (".json", ".h5", ".hdf5")}
        for file in sorted(known):
            used: tuple[Path, ...] = (file,)
            read: Callable[[], Iterator[Found]]
            if file.name == PAIR[1] and file.with_name(PAIR[0]) in known:
                continue
            if file.name == PAIR[0]:
                names = file.with_name(PAIR[1])
                used = (file, *({names} & known))
                read = partial(read_pair, file, names)
            else:
                read = partial(read_json if file.suffix == ".json" else read_hdf5, file)
            key = file.relative_to(folder).as_posix()
            jobs.append(Job(key=key, source=FLAVELL, files=used, read=read))
        return jobs, known


def read_json(file: Path) -> Iterator[Found]:
    """Yields the one worm of a JSON file: traces neuron by neuron, labels by number from 1.

    Raises:
        InvalidInput: It is none.
    """
    found = _parsed(file)
    if not isinstance(found, dict):
        raise InvalidInput(f"{file}: is a JSON {type(found).__name__}, expected an object")
    _check_fields(found, file, "labeled")
    traces, seconds = (_array(found[name], file, name) for name in ("trace_array", _FIELDS[0]))
    labels: list[str | None] = [None] * len(traces)
    for number, said in found["labeled"].items():
        column = int(number) - 1 if str(number).isdigit() else -1
        if not 0 <= column < len(labels) or not isinstance(said, dict):
            raise InvalidInput(
                f"{file}: labeled {number!r:.20}: expected a neuron from 1 to {len(labels)}"
            )
        labels[column] = str(said.get("label", ""))
    yield _worm(file.stem, traces.T, seconds, labels)


def read_hdf5(file: Path) -> Iterator[Found]:
    """Yields the one worm of an HDF5 file: traces frame by frame, a label a neuron.

    Raises:
        InvalidInput: It is none.
    """
    found = read_datasets(file)
    _check_fields(found, file, "neuropal_label")
    traces, seconds = (_array(found[name], file, name) for name in ("trace_array", _FIELDS[0]))
    yield _worm(file.stem, traces, seconds, list(found["neuropal_label"]))


def read_pair(traces: Path, names: Path) -> Iterator[Found]:
    """Yields the one worm of a folder; the names beyond its columns are those not recorded.

    Raises:
        InvalidInput: A file is missing or other than expected.
    """
    if not names.is_file():
        raise InvalidInput(f"{traces}: has no {names.name} beside it")
    rows, labels = _parsed(traces), _parsed(names)
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise InvalidInput(f"{names}: expected a list of names")
    try:
        seconds = np.array([row[0] for row in rows], np.float64)
        activity = np.array([row[1] for row in rows], np.float64)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise InvalidInput(f"{traces}: expected [[seconds, [values]], ..]: {error}") from error
    if activity.ndim != 2:
        raise InvalidInput(f"{traces}: expected [[seconds, [values]], ..]")
    yield _worm(traces.parent.name, activity, seconds, labels[: activity.shape[1]])


def _worm(
    name: str, traces: np.ndarray, seconds: np.ndarray, labels: Sequence[str | None]
) -> RawWorm:
    return RawWorm(
        name=safe_name(name), traces=traces, seconds=seconds.ravel(), labels=tuple(labels)
    )


def _check_fields(found: Mapping[str, Any], file: Path, labels: str) -> None:
    missing = [name for name in (*_FIELDS, labels) if name not in found]
    if missing:
        raise InvalidInput(
            f"{file}: lacks {', '.join(missing)}; expected {', '.join((*_FIELDS, labels))}, as "
            "wormwideweb.org gives them"
        )


def _array(value: Any, file: Path, name: str) -> np.ndarray:
    try:
        return np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{file}: {name}: expected numbers in equal rows: {error}") from error


def _parsed(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{file}: is not valid JSON: {error}") from error
