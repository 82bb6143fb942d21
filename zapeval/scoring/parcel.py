"""A parcel: a task on its way to a worker elsewhere, and its cells on their way back.

Only addresses travel: a worker opens the stores itself, by URI or by absolute path. A parcel takes
a few kilobytes, and so do its cells.
"""

from __future__ import annotations

import io
import pickle
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, final

from zapeval.errors import InvalidInput, NotFound, Refused
from zapeval.recordings.recording import Recording
from zapeval.recordings.stores import Store
from zapeval.scoring.environment import environment
from zapeval.scoring.tally import Cell
from zapeval.scoring.task import Task

Work = Callable[[Task], tuple[Cell, ...]]

_HOST = ("cpus", "python")
"""What of an environment moves no digit."""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """A task as it is sent.

    Attributes:
        software: What the scorecard will say it was computed with.
        contents: The function and the task, pickled: opened only where the software is the same.
        looks: What the sender found where the stores are.
    """

    software: Mapping[str, str | int]
    contents: bytes
    looks: tuple[str, str]


def pack(work: Work, task: Task) -> Parcel:
    """Returns the parcel of a task, which can be opened in any folder of any machine."""
    # A task reads nothing of the other series, and their masks may be large. (No benchmark is all
    # held out; a task has its own series beside.)
    alone = replace(task.benchmark, series=(replace(task.series, held_out=False),))
    contents = io.BytesIO()
    _Pickler(contents).dump((work, replace(task, benchmark=alone)))
    return Parcel(software=software(), contents=contents.getvalue(), looks=_looks(task))


def run_parcel(parcel: Parcel, worker: str) -> bytes:
    """Does the work of a parcel and returns its cells, packed.

    Args:
        parcel: The parcel.
        worker: What to call this process in messages.

    Raises:
        Refused: This process runs other software than the sender.
        NotFound: A store can't be seen from here.
        InvalidInput: Another store lies there, or a value of a scored neuron is not finite.
        StorageError: A chunk is missing or cannot be read.
    """
    differ = [name for name, said in parcel.software.items() if software().get(name) != said]
    if differ:
        here = ", ".join(f"{name} {software().get(name, 'none')}" for name in differ)
        there = ", ".join(f"{name} {parcel.software[name]}" for name in differ)
        raise Refused(
            f"worker {worker}: runs {here}, but the command {there}; install the same on both, for "
            "scores are recorded with the software that made them"
        )
    try:
        return zlib.compress(pickle.dumps(_run(parcel, worker)), 1)
    except NotFound as error:
        raise NotFound(
            f"worker {worker}: {error} there; keep the stores where every worker sees them under "
            "the same path, or name them by an address such as gs://bucket/path"
        ) from error


def unpack(cells: bytes) -> tuple[Cell, ...]:
    """Returns the cells that run_parcel packed."""
    found: tuple[Cell, ...] = pickle.loads(zlib.decompress(cells))
    return found


@cache
def software() -> dict[str, str | int]:
    """Returns versions and platform of this process: what a scorecard says of its numbers."""
    return {name: said for name, said in environment().items() if name not in _HOST}


@final
class _Pickler(pickle.Pickler):
    """Pickles places so that they are found from any folder, and nothing that was read there."""

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, Store):
            path = None if value.path is None else value.path.absolute()
            return Store, (value.uri if path is None else str(path), path)
        if type(value) is Recording:
            said = {field.name: getattr(value, field.name) for field in fields(value)}
            places = {name: _absolute(uri) for name, uri in value.places.items()}
            said |= {"activity_uri": _absolute(value.activity_uri), "places": places}
            return _recording, (said,)
        return NotImplemented


def _recording(said: Mapping[str, Any]) -> Recording:
    return Recording(**said)


def _absolute(uri: str) -> str:
    return uri if "://" in uri else str(Path(uri).expanduser().absolute())


def _run(parcel: Parcel, worker: str) -> tuple[Cell, ...]:
    work, task = pickle.loads(parcel.contents)
    for where, look, sent in zip(
        (task.array.uri, task.recording.activity.uri), _looks(task), parcel.looks, strict=True
    ):
        if look != sent:
            raise InvalidInput(
                f"{where}: is {look} on worker {worker}, but {sent} where the command was typed; "
                "every worker must see the same stores under the same path"
            )
    cells: tuple[Cell, ...] = work(task)
    return cells


def _looks(task: Task) -> tuple[str, str]:
    """Returns what can be told of the two arrays of a task without reading them."""
    array, activity = task.array, task.recording.activity
    return (
        f"{array.dtype} {list(array.shape)} in chunks of {list(array.chunk)}",
        f"{activity.dtype} {list(activity.shape)}",
    )
