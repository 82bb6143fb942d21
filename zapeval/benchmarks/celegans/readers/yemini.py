"""Yemini2021: MATLAB files of one cell a neuron, left and right apart by flags."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import final

import numpy as np

from zapeval.benchmarks.celegans.raw import Found, Job, RawWorm, Reader, Unread
from zapeval.benchmarks.celegans.sources import YEMINI, safe_name
from zapeval.errors import InvalidInput
from zapeval.recordings.matlab import Value, read_matlab

STEMS = ("Head_Activity_OH15500", "Head_Activity_OH16230", "Tail_Activity_OH16230")
"""Names of the files, without their ending."""

_FIELDS = ("neurons", "files", "norm_traces", "is_L", "fps")

Column = tuple[str, np.ndarray]
"""A label and its trace."""


@final
class YeminiReader(Reader):
    """Reads Yemini2021."""

    def jobs(self, files: Sequence[Path], folder: Path) -> tuple[list[Job], set[Path]]:
        """Returns a job for each file of a name that it knows."""
        known = [file for file in files if file.suffix == ".mat" and file.stem in STEMS]
        jobs = [
            Job(
                key=file.relative_to(folder).as_posix(),
                source=YEMINI,
                files=(file,),
                read=partial(read_yemini, file),
            )
            for file in known
        ]
        return jobs, set(known)


def read_yemini(file: Path) -> Iterator[Found]:
    """Yields the worms of a file.

    Raises:
        InvalidInput: A field is missing, or their lists differ in length.
    """
    found = read_matlab(file)
    missing = [name for name in _FIELDS if found.get(name) is None]
    if missing:
        raise InvalidInput(f"{file}: lacks {', '.join(missing)}; expected {', '.join(_FIELDS)}")
    rate = float(np.asarray(found["fps"]).ravel()[0])
    worms = len(_listed(found["files"]))
    columns = _columns(found, worms, file)
    for worm in range(worms):
        yield _worm(safe_name(f"{file.stem}-{worm}"), columns[worm], rate)


def _columns(found: Mapping[str, Value], worms: int, file: Path) -> list[list[Column]]:
    """Returns the labelled traces of each worm.

    A neuron's lists run over the worms once, or twice where it comes in pairs: first its left ones,
    then its right ones.
    """
    columns: list[list[Column]] = [[] for _ in range(worms)]
    cells = (_listed(found[name]) for name in ("neurons", "is_L", "norm_traces"))
    for neuron, flags, traces in zip(*cells, strict=False):
        sides = np.full(0, np.nan) if flags is None else np.asarray(flags, np.float64).ravel()
        held = _listed(traces)
        if len(sides) != len(held) or len(held) not in (worms, 2 * worms):
            raise InvalidInput(
                f"{file}: neuron {neuron!r} has {len(sides)} flags of side and {len(held)} traces; "
                f"expected {worms} or {2 * worms} of each, for {worms} worms"
            )
        for entry, (side, trace) in enumerate(zip(sides, held, strict=True)):
            alone = np.isnan(side)
            if trace is not None and (entry < worms or not alone):
                label = f"{neuron}{'' if alone else 'L' if side else 'R'}"
                values = np.asarray(trace, np.float64).ravel()
                columns[entry % worms].append((label, values))
    return columns


def _worm(name: str, columns: list[Column], rate: float) -> Found:
    frames = max((len(values) for _, values in columns), default=0)
    if not frames:
        return Unread(name=name, reason="has no trace")
    notes = tuple(
        f"neuron {label}: its trace has {len(values)} frames, expected {frames}; left out"
        for label, values in columns
        if len(values) != frames
    )
    kept = [(label, values) for label, values in columns if len(values) == frames]
    return RawWorm(
        name=name,
        traces=np.stack([values for _, values in kept], axis=1),
        seconds=np.arange(frames) / rate,
        labels=tuple(label for label, _ in kept),
        notes=notes,
    )


def _listed(value: Value) -> list[Value]:
    return value if isinstance(value, list) else [value]
