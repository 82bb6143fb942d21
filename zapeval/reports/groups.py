"""Groups of neurons: by brain region, by how much they are active, or as a user's file says."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Span, mask_array
from zapeval.errors import InvalidInput, NotFound, UsageError
from zapeval.recordings.arrays import Array
from zapeval.recordings.recording import Recording, Recordings
from zapeval.reports.tables import enumerated

ALL = "all"
"""What the group of every neuron is called; no other may be."""

TILE_BYTES = 64 << 20
"""Most that is held of a recording while its activity is measured, in bytes."""

_NARROW = 1024  # neurons; narrower columns would cost a read for a few values
_COLUMNS = ["neuron", "group"]
_WHOLE = re.compile(r"[0-9]{1,12}")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Grouping:
    """Groups of the neurons of some recordings; a neuron is in one of them, or in none.

    Attributes:
        by: What they were made by: ``region``, ``activity:4``, or the name of a file.
        names: The groups, in the order of every table.
        members: Recording key to the neurons of each group, int64 ``[members]``, ascending.
        ranked: Whether the order of the groups means something.
        about: What a reader should know, or "".
    """

    by: str
    names: tuple[str, ...]
    members: Mapping[str, tuple[np.ndarray, ...]]
    ranked: bool = False
    about: str = ""

    def count(self, group: int) -> int:
        """Returns the number of neurons of a group, over all recordings."""
        return sum(len(groups[group]) for groups in self.members.values())


def group(by: str, benchmark: Benchmark, recordings: Recordings) -> Grouping:
    """Returns the groups that a user asks for: ``region``, ``activity:N`` or ``FILE.csv``.

    Raises:
        UsageError: It is none of these.
        NotFound: There is no such file.
        InvalidInput: The recordings or the file do not give these groups.
    """
    kind, _, parts = by.partition(":")
    if by == "region":
        return by_region(benchmark, recordings)
    if kind == "activity" and _WHOLE.fullmatch(parts):
        return by_activity(int(parts), benchmark, recordings)
    if by.endswith(".csv"):
        return by_file(Path(by), benchmark, recordings)
    raise UsageError(f"--by {by}: expected region, activity:N (say activity:4) or FILE.csv")


def by_region(benchmark: Benchmark, recordings: Recordings) -> Grouping:
    """Returns a group a region of the neuron tables, by name; a neuron without one is in none.

    Raises:
        InvalidInput: A recording has no neuron table, or no region stands in any.
    """
    labels: dict[str, Sequence[str]] = {}
    for key in _keys(benchmark):
        table = recordings[key].table
        if table is None:
            raise InvalidInput(
                f"{recordings[key].uri}: has no neuron table (neurons.csv), so no regions; group "
                "by activity:4 or by a CSV file"
            )
        labels[key] = table.regions
    names = sorted({name for regions in labels.values() for name in regions if name})
    if not names:
        raise InvalidInput("neuron tables: name no region; group by activity:4 or by a CSV file")
    return _grouping("region", names, labels)


def by_activity(parts: int, benchmark: Benchmark, recordings: Recordings) -> Grouping:
    """Returns equal parts of each recording's neurons, from the quietest to the most active.

    They are ordered by the standard deviation of their activity over all frames that any series of
    the recording is trained on. Neurons that no series scores, or that are not finite throughout
    those frames, are in none.

    Raises:
        UsageError: There are not that many neurons, or no part is asked for.
        InvalidInput: A recording has no frames to train on.
    """
    members = {}
    for key in _keys(benchmark):
        spread = deviations(recordings[key].activity, _training(benchmark, key))
        spread[~_scored(benchmark, key, len(spread))] = np.nan
        known = np.flatnonzero(np.isfinite(spread))
        if not 1 <= parts <= len(known):
            raise UsageError(
                f"activity:{parts}: expected 1 to {len(known)} parts, as many as neurons are "
                f"scored in {recordings[key].uri}"
            )
        order = known[np.argsort(spread[known], kind="stable")]
        members[key] = tuple(np.sort(part) for part in np.array_split(order, parts))
    return Grouping(
        by=f"activity:{parts}",
        names=tuple(f"activity {part} of {parts}" for part in range(1, parts + 1)),
        members=members,
        ranked=True,
        about="activity 1 is the quietest part by the standard deviation over training frames",
    )


def by_file(path: Path, benchmark: Benchmark, recordings: Recordings) -> Grouping:
    """Returns the groups of a CSV file with columns neuron and group, by first appearance.

    A neuron is named as in the neuron table, or by its index from 0. In several recordings it
    stands for the neuron of that name, or index, in each that has one. Neurons that the file does
    not name are in no group.

    Raises:
        NotFound: There is no such file.
        InvalidInput: A line is wrong; says which, and how.
    """
    finders = {key: neuron_finder(recordings[key]) for key in _keys(benchmark)}
    labels = {key: [""] * recordings[key].neurons for key in finders}
    lines: dict[tuple[str, int], int] = {}
    names: dict[str, None] = {}
    for line, neuron, name in _rows(path):
        where = f"{path}: line {line}"
        if not name or name == ALL:
            raise InvalidInput(f"{where}: group is {name!r}, expected a name other than {ALL!r}")
        names[name] = None
        found = _found(neuron, finders, where)
        for key, index in found.items():
            if (key, index) in lines:
                raise InvalidInput(
                    f"{where}: neuron {neuron!r:.60} stands in line {lines[key, index]} already"
                )
            lines[key, index] = line
            labels[key][index] = name
    if not names:
        raise InvalidInput(f"{path}: names no neuron; expected lines such as 17,left tectum")
    return _grouping(path.name, list(names), labels)


def neuron_finder(recording: Recording) -> Callable[[str], int]:
    """Returns what gives the index of a neuron by its name in the table, or by its index.

    A name goes before an index. The function raises NotFound where there is no such neuron, and
    InvalidInput where a name is that of several.
    """
    table, neurons = recording.table, recording.neurons
    named: dict[str, list[int]] = {}
    for index, name in enumerate(table.names if table is not None else ()):
        named.setdefault(name, []).append(index)

    def find(text: str) -> int:
        found = named.get(text, [])
        if len(found) > 1:
            raise InvalidInput(
                f"neuron {text!r:.60}: {len(found)} neurons of {recording.uri} are called that; "
                f"give the index, such as {found[0]}"
            )
        if not found and _WHOLE.fullmatch(text) and int(text) < neurons:
            return int(text)
        if not found:
            known = f"a name of its table or 0 to {neurons - 1}" if named else f"0 to {neurons - 1}"
            raise NotFound(f"neuron {text!r:.60}: not in {recording.uri}; expected {known}")
        return found[0]

    return find


def deviations(activity: Array, spans: Sequence[Span]) -> np.ndarray:
    """Returns the standard deviation of each neuron over the frames of spans, float64.

    Tiles of at most TILE_BYTES are read, and their moments put together (Chan, Golub & LeVeque
    1983, eq. 2.1).

    Args:
        activity: ``[frames, neurons]``.
        spans: Frames ``[start, stop)``, apart from each other.

    Returns:
        float64 ``[neurons]``; not finite where a frame is not.
    """
    neurons = activity.shape[1]
    rows, columns = _tile(activity)
    found = np.empty(neurons)
    for first in range(0, neurons, columns):
        among = (first, min(first + columns, neurons))
        count, mean, squares = 0, np.zeros(among[1] - first), np.zeros(among[1] - first)
        for span in _pieces(spans, rows):
            with np.errstate(invalid="ignore", over="ignore"):
                values = activity.read(span, among).astype(np.float64)
                own = values.mean(axis=0)
                values -= own
                apart, more = own - mean, len(values)
                squares += (values**2).sum(axis=0) + apart**2 * (count * more / (count + more))
                count += more
                mean += apart * (more / count)
        found[first : among[1]] = np.sqrt(squares / count)
    return found


def _tile(activity: Array) -> tuple[int, int]:
    """Returns frames and neurons of a tile: whole chunks, as far as they have room."""
    frames, neurons = activity.chunk
    columns = min(activity.shape[1], max(neurons, _NARROW // neurons * neurons))
    # What is read, and that again as float64 twice over.
    rows = max(1, TILE_BYTES // (20 * columns))
    return (rows - rows % frames if rows > frames else rows), columns


def _pieces(spans: Sequence[Span], rows: int) -> Iterator[Span]:
    """Yields the spans cut at multiples of rows, where chunks end too."""
    for start, stop in spans:
        for first in range(start - start % rows, stop, rows):
            yield max(start, first), min(stop, first + rows)


def _training(benchmark: Benchmark, key: str) -> list[Span]:
    """Returns the frames that series of a recording are trained on, each once, in order."""
    joined: list[Span] = []
    for start, stop in sorted(
        span for series in benchmark.series if series.recording == key for span in series.train
    ):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    if not joined:
        raise InvalidInput(
            f"{benchmark.label}: recording {key!r} has no frames to train on, over which activity "
            "is measured; group by region or by a CSV file"
        )
    return joined


def _scored(benchmark: Benchmark, key: str, neurons: int) -> np.ndarray:
    """Returns which neurons of a recording some series scores, bool ``[neurons]``."""
    scored = np.zeros(neurons, bool)
    for series in benchmark.series:
        if series.recording == key:
            mask = mask_array(series, neurons)
            scored |= True if mask is None else mask
    return scored


def _keys(benchmark: Benchmark) -> list[str]:
    return list(dict.fromkeys(series.recording for series in benchmark.series))


def _grouping(by: str, names: Sequence[str], labels: Mapping[str, Sequence[str]]) -> Grouping:
    """Returns the grouping of a label a neuron; "" is in no group."""
    if ALL in names:
        raise InvalidInput(f"{by}: a group is called {ALL!r}, which is that of every neuron")
    number = {name: index for index, name in enumerate(names)}
    members = {}
    for key, given in labels.items():
        groups: list[list[int]] = [[] for _ in names]
        for neuron, label in enumerate(given):
            if label:
                groups[number[label]].append(neuron)
        members[key] = tuple(np.array(of, dtype=np.int64) for of in groups)
    return Grouping(by=by, names=tuple(names), members=members)


def _rows(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yields line, neuron and group of a CSV file.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is no such CSV.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = [cell.strip() for cell in next(rows, [])]
            if sorted(header) != sorted(_COLUMNS):
                raise InvalidInput(
                    f"{path}: line 1: columns are {enumerated([f'{cell:.40}' for cell in header])}"
                    f", expected {','.join(_COLUMNS)}"
                )
            for row in rows:
                if len(row) not in (0, 2):
                    raise InvalidInput(
                        f"{path}: line {rows.line_num}: has {len(row)} cells, expected 2"
                    )
                if row:
                    cells = dict(zip(header, map(str.strip, row), strict=True))
                    yield rows.line_num, cells["neuron"], cells["group"]
    except FileNotFoundError as error:
        raise NotFound(f"{path}: does not exist") from error
    except csv.Error as error:
        raise InvalidInput(f"{path}: line {rows.line_num}: is no CSV: {error}") from error
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path}: can't be read as text in UTF-8: {error}") from error


def _found(text: str, finders: Mapping[str, Callable[[str], int]], where: str) -> dict[str, int]:
    """Returns the index of a neuron in each recording that has one."""
    found, complaints = {}, []
    for key, find in finders.items():
        try:
            found[key] = find(text)
        except NotFound as error:
            complaints.append(str(error))
        except InvalidInput as error:
            raise InvalidInput(f"{where}: {error}") from error
    if not found:
        raise InvalidInput(f"{where}: {complaints[0]}")
    return found
