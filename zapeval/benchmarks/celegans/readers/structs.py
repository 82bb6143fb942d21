"""Structs: MATLAB files that hold many worms in one struct of lists (five of the eight sources)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

import numpy as np

from zapeval.benchmarks.celegans import sources
from zapeval.benchmarks.celegans.raw import Found, Job, RawWorm, Reader, Unread
from zapeval.benchmarks.celegans.sources import Source, safe_name
from zapeval.errors import InvalidInput
from zapeval.recordings.matlab import Value, read_matlab


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What the fields of a source's struct are called.

    Attributes:
        source: The source.
        labels: Names that the field of labels goes by.
        traces: Names that the field of traces goes by.
        seconds: Names that the field of times goes by.
    """

    source: Source
    labels: tuple[str, ...] = ("IDs",)
    traces: tuple[str, ...] = ("traces",)
    seconds: tuple[str, ...] = ("timeVectorSeconds",)


_KATO = Layout(
    source=sources.KATO,
    labels=("IDs", "NeuronNames"),
    traces=("traces", "deltaFOverF_bc"),
    seconds=("timeVectorSeconds", "tv"),
)
_NICHOLS = Layout(source=sources.NICHOLS)
_SKORA = Layout(source=sources.SKORA)
_KAPLAN = Layout(
    source=sources.KAPLAN,
    labels=("neuron_ID",),
    traces=("traces_bleach_corrected",),
    seconds=("time_vector",),
)
_UZEL = Layout(source=sources.UZEL, seconds=("tv",))

LAYOUTS = {
    "WT_Stim": _KATO,
    "WT_NoStim": _KATO,
    "n2_let": _NICHOLS,
    "n2_prelet": _NICHOLS,
    "npr1_let": _NICHOLS,
    "npr1_prelet": _NICHOLS,
    "WT_fasted": _SKORA,
    "WT_starved": _SKORA,
    "Neuron2019_Data_MNhisCl_RIShisCl": _KAPLAN,
    "Neuron2019_Data_RIShisCl": _KAPLAN,
    "Neuron2019_Data_SMDhisCl_RIShisCl": _KAPLAN,
    "Uzel_WT": _UZEL,
}
"""Layout by the name of the file, without its ending."""


@final
class StructReader(Reader):
    """Reads Kato2015, Nichols2017, Skora2018, Kaplan2020 and Uzel2022."""

    def jobs(self, files: Sequence[Path], folder: Path) -> tuple[list[Job], set[Path]]:
        """Returns a job for each file of a name that it knows."""
        known = [file for file in files if file.suffix == ".mat" and file.stem in LAYOUTS]
        jobs = [
            Job(
                key=file.relative_to(folder).as_posix(),
                source=LAYOUTS[file.stem].source,
                files=(file,),
                read=partial(read_structs, file, LAYOUTS[file.stem]),
            )
            for file in known
        ]
        return jobs, set(known)


def read_structs(file: Path, layout: Layout) -> Iterator[Found]:
    """Yields the worms of a file.

    Raises:
        InvalidInput: No struct in it has the fields, or their lists differ in length.
    """
    struct = _struct_of(read_matlab(file), layout, file)
    labels, traces, seconds = (
        _per_worm(_field(struct, names), nested)
        for names, nested in (
            (layout.labels, True),
            (layout.traces, False),
            (layout.seconds, False),
        )
    )
    if not len(labels) == len(traces) == len(seconds):
        raise InvalidInput(
            f"{file}: has labels of {len(labels)} worms, traces of {len(traces)} and times of "
            f"{len(seconds)}; expected as many of each"
        )
    for number, (own, activity, times) in enumerate(zip(labels, traces, seconds, strict=True)):
        name = safe_name(f"{file.stem}-{number}")
        if not isinstance(activity, np.ndarray) or activity.dtype.kind not in "fiub":
            yield Unread(name=name, reason="has no trace")
        elif not isinstance(times, np.ndarray) or times.dtype.kind not in "fiu":
            yield Unread(name=name, reason="has no times")
        else:
            yield RawWorm(
                name=name,
                traces=activity.astype(np.float64),
                seconds=times.astype(np.float64).ravel(),
                labels=tuple(first_label(label) for label in _listed(own)),
            )


def first_label(value: Value) -> str | None:
    """Returns the first text of a label and its alternatives, or None."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return next((text for text in map(first_label, value) if text is not None), None)
    return None


def _struct_of(found: Mapping[str, Value], layout: Layout, file: Path) -> Mapping[str, Value]:
    needed = (layout.labels, layout.traces, layout.seconds)
    for struct in (*(item for item in found.values() if isinstance(item, dict)), found):
        if all(any(name in struct for name in names) for names in needed):
            return struct
    wanted = ", ".join(" or ".join(names) for names in needed)
    held = ", ".join(
        f"{name} ({', '.join(item) if isinstance(item, dict) else type(item).__name__})"
        for name, item in found.items()
    )
    raise InvalidInput(f"{file}: holds {held or 'nothing'}; expected a struct with {wanted}")


def _field(struct: Mapping[str, Value], names: tuple[str, ...]) -> Value:
    return next(struct[name] for name in names if name in struct)


def _per_worm(value: Value, nested: bool) -> list[Value]:
    """Returns a list over worms; a file of one worm may hold its values without one."""
    if not isinstance(value, list):
        return [value]
    if nested and not any(isinstance(item, list) for item in value):
        return [value]
    return value


def _listed(value: Value) -> list[Value]:
    return value if isinstance(value, list) else [value]
