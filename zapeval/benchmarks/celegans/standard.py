"""Standardising: one raw worm checked and prepared, with everything that was odd about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zapeval.benchmarks.celegans import preprocessing
from zapeval.benchmarks.celegans.names import labelling
from zapeval.benchmarks.celegans.preprocessing import DT, Scale
from zapeval.benchmarks.celegans.raw import RawWorm
from zapeval.benchmarks.celegans.sources import Source
from zapeval.benchmarks.celegans.tasks import TASKS
from zapeval.benchmarks.celegans.worm import Provenance, Worm
from zapeval.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a raw worm was read from.

    Attributes:
        source: Its source.
        file: Its files, relative to the folder.
        file_digest: SHA-256 of them.
    """

    source: Source
    file: str
    file_digest: str


def worm_name(source: Source, raw: str) -> str:
    """Returns the name of a worm of a source."""
    return f"{source.name}-{raw}"


def standardised(raw: RawWorm, origin: Origin, scale: Scale) -> tuple[Worm, tuple[str, ...]]:
    """Returns a worm in standard form, and what a user should know of it.

    Args:
        raw: The recording.
        origin: Where it was read from.
        scale: Which frames make the z-score.

    Raises:
        InvalidInput: It cannot be used; says why.
    """
    _check_shape(raw)
    preprocessing.check_times(raw.seconds, len(raw.traces))
    if len(raw.traces) < raw.fewest_frames:
        raise InvalidInput(
            f"has {len(raw.traces)} frames; its source is used from {raw.fewest_frames} on"
        )
    notes = list(raw.notes)
    names, traces = _labelled(raw, notes)
    activity, mask = preprocessing.standard(
        preprocessing.fill_missing(traces, raw.seconds), raw.seconds, names, scale
    )
    if not len(activity):
        raise InvalidInput(f"lasts {np.ptp(raw.seconds):g} s, expected {DT} s or more")
    interval = float(np.median(np.diff(raw.seconds)))
    if interval > DT:
        notes.append(f"has a frame every {interval:g} s, fewer than every {DT} s: interpolated")
    notes += _short(len(activity))
    worm = Worm(
        name=worm_name(origin.source, raw.name),
        activity=activity,
        mask=mask,
        dt=DT,
        provenance=Provenance(
            source=origin.source.name,
            file=origin.file,
            file_digest=origin.file_digest,
            recorded=raw.traces.shape[1],
            raw_frames=len(raw.traces),
            raw_seconds=interval,
            scale=scale,
            steps=preprocessing.VERSION,
            licence=origin.source.licence,
            citation=origin.source.citation,
        ),
    )
    return worm, tuple(notes)


def _check_shape(raw: RawWorm) -> None:
    if raw.traces.ndim != 2 or not raw.traces.size:
        raise InvalidInput(f"has no trace: their shape is {list(raw.traces.shape)}")
    if len(raw.labels) != raw.traces.shape[1]:
        raise InvalidInput(
            f"has {len(raw.labels)} labels for {raw.traces.shape[1]} neurons, expected as many"
        )


def _labelled(raw: RawWorm, notes: list[str]) -> tuple[list[str], np.ndarray]:
    """Returns names and traces of the neurons that are labelled and recorded; notes the others."""
    # Columns that hold nothing go first, so that none keeps a name from one that holds something.
    finite = np.isfinite(raw.traces)
    empty = ~finite.any(axis=0)
    notes += [
        f"column {column}: is NaN throughout (label {raw.labels[column]!r}); dropped"
        for column in np.flatnonzero(empty)
    ]
    found = labelling(
        [None if gone else label for label, gone in zip(raw.labels, empty, strict=True)]
    )
    notes += found.findings
    columns = [column for column, name in enumerate(found.names) if name is not None]
    names = [name for name in found.names if name is not None]
    if not names:
        raise InvalidInput("; ".join(["has no labelled neuron", *notes]))
    traces = raw.traces[:, columns]
    for name, column, trace in zip(names, columns, traces.T, strict=True):
        missing = int((~finite[:, column]).sum())
        if missing:
            notes.append(
                f"{name}: {missing} of {len(trace)} values are missing; filled in along time"
            )
        if not np.ptp(trace[finite[:, column]]):
            notes.append(f"{name}: is constant, has no variance; kept as zeros")
    return names, traces


def _short(frames: int) -> list[str]:
    """Returns which benchmarks a worm is too short for."""
    out = [task for task in TASKS if not task.fits(frames)]
    if not out:
        return []
    said = ", ".join(f"{task.id} ({task.needed} in each part)" for task in out)
    return [f"has {frames} frames, {frames // 2} a half, too few for {said}; stays out of these"]
