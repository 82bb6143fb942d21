"""A benchmark of one's own: a TOML file that defines it over one's own recordings."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
from pydantic import ValidationError

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.benchmarks.complaints import complaint
from zapeval.benchmarks.definition import Definition, RecordingTable
from zapeval.benchmarks.recipe import Recipe
from zapeval.benchmarks.splits import SeriesSplit, check_apart
from zapeval.errors import InvalidInput, NotFound
from zapeval.recordings.arrays import open_array
from zapeval.recordings.recording import Recording, Recordings, open_recording
from zapeval.recordings.stores import open_store

_HDF5 = (".h5", ".hdf5", ".nwb")
_ELSEWHERE = "; put it there, or give the folder of the recordings with --data"


@final
@dataclass(frozen=True, kw_only=True)
class Shape:
    """How many frames and neurons a recording has."""

    frames: int
    neurons: int


@final
class OwnBenchmark(Recipe):
    """A benchmark that a TOML file defines; made by read_own.

    Args:
        definition: What the file says.
        file: The file.
    """

    def __init__(self, definition: Definition, file: Path) -> None:
        self.id = definition.id
        self.version = definition.version
        self.title = definition.title
        self._definition = definition
        self._file = file

    def recordings(self, data: str | None = None) -> Recordings:
        """Returns the recordings by key, opened lazily.

        Args:
            data: Folder or URI that relative paths begin at; None means the folder of the file.

        Raises:
            NotFound: There is no such folder; a recording that is missing, when it is opened.
        """
        base = self._folder if data is None else _place(data, ".")
        if "://" not in base and not Path(base).is_dir():
            raise NotFound(f"{base}: is no folder; expected the one that holds the recordings")
        return Recordings(
            {key: partial(self._open, table, key, base) for key, table in self._tables.items()}
        )

    def resolve(self, recordings: Recordings) -> Benchmark:
        """Returns the benchmark: fractions as frames, exclusion lists and mask files as masks.

        Raises:
            InvalidInput: The recordings do not fit the definition.
            NotFound: A recording or a mask does not exist.
        """
        opened = {key: self._checked(key, recordings) for key in self._tables}
        return self.over(
            {key: Shape(frames=one.frames, neurons=one.neurons) for key, one in opened.items()}
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the recordings, in the order of the file."""
        return tuple(self._tables)

    def over(self, shapes: Mapping[str, Shape]) -> Benchmark:
        """Returns the benchmark over recordings of such shapes, which need not be there.

        Raises:
            InvalidInput: They do not fit the definition.
            NotFound: A mask does not exist.
        """
        said = self._definition
        masks = {key: self._mask(key, shapes[key].neurons) for key in self._tables}
        with _named(str(self._file)):
            series = self._series(shapes, masks)
            averaged = {one.recording for one in series if not one.held_out}
            return Benchmark(
                id=said.id,
                version=said.version,
                protocol=said.protocol,
                context_lengths=said.contexts,
                max_context=said.contexts[-1],
                horizon=said.horizon,
                series=series,
                frames=tuple((key, shapes[key].frames) for key in said.keys),
                summary_steps=said.steps,
                primary=said.primary,
                sampled=said.sampled or ("series" if len(averaged) > 1 else "time"),
                frame_seconds=said.frame_seconds,
                title=said.title,
                citation=said.citation,
            )

    def _series(
        self, shapes: Mapping[str, Shape], masks: Mapping[str, tuple[bool, ...] | None]
    ) -> tuple[Series, ...]:
        splits = [
            SeriesSplit(
                definition=self._definition,
                table=table,
                recording=key,
                frames=shapes[key].frames,
                neurons=shapes[key].neurons,
            )
            for key, table in self._definition.entries
        ]
        check_apart(splits)
        return tuple(
            split.series(self._tables[split.recording].group, masks[split.recording])
            for split in splits
        )

    @property
    def _folder(self) -> str:
        return str(self._file.parent)

    @property
    def _tables(self) -> dict[str, RecordingTable]:
        return {key: table for table in self._definition.recordings for key in table.all_keys}

    def _where(self, key: str, name: str) -> str:
        return f"{self._file}: [[recordings]] {key!r}: {name}"

    def _open(self, table: RecordingTable, key: str, base: str) -> Recording:
        neurons_first = table.axes[0] == "neurons"
        with _named(self._where(key, "activity"), _ELSEWHERE):
            uri = _place(table.activity.replace("{key}", key), base)
            _check_file(uri)
            recording = open_recording(uri, neurons_first=neurons_first)
        if neurons_first and recording.folder is not None:
            raise InvalidInput(
                f"{self._where(key, 'axes')}: got neurons first, but {uri} is a folder, whose "
                "traces are [frames, neurons]; leave axes out, or name the array itself"
            )
        return replace(recording, places=self._parts(table, key, base))

    def _parts(self, table: RecordingTable, key: str, base: str) -> dict[str, str]:
        """Returns where what belongs to the activity lies, by name."""
        places = {}
        for name, place in table.parts.items():
            with _named(self._where(key, name), _ELSEWHERE):
                places[name] = _place(place.replace("{key}", key), base)
                _check_file(places[name])
        return places

    def _checked(self, key: str, recordings: Recordings) -> Recording:
        """Returns a recording that exists and holds real numbers."""
        if key not in recordings:
            raise InvalidInput(f"{self._where(key, 'activity')}: the recording is not given")
        recording = recordings[key]
        with _named(self._where(key, "activity"), _ELSEWHERE):
            kind = recording.activity.dtype
            if kind.kind not in "fiu":
                raise InvalidInput(f"{recording.activity_uri}: holds {kind}, expected real numbers")
        return recording

    def _mask(self, key: str, neurons: int) -> tuple[bool, ...] | None:
        """Returns which neurons are scored, or None where all are."""
        table = self._tables[key]
        if table.mask is not None:
            with _named(self._where(key, "mask")):
                return _read_mask(_place(table.mask.replace("{key}", key), self._folder), neurons)
        if not table.exclude:
            return None
        if max(table.exclude) >= neurons:
            raise InvalidInput(
                f"{self._where(key, 'exclude')}: got neuron {max(table.exclude)}, expected "
                f"numbers below {neurons}, counted from 0: the recording has {neurons} neurons"
            )
        if len(table.exclude) == neurons:
            raise InvalidInput(
                f"{self._where(key, 'exclude')}: leaves out all {neurons} neurons; keep one"
            )
        excluded = set(table.exclude)
        return tuple(neuron not in excluded for neuron in range(neurons))


def read_own(path: str | Path) -> OwnBenchmark:
    """Returns the benchmark that a TOML file defines; opens no recording.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is no TOML, or a key is missing, unknown or wrong; says all that are.
    """
    file = Path(path).expanduser()
    document = _read_toml(file)
    try:
        return OwnBenchmark(Definition.model_validate(document), file)
    except ValidationError as error:
        raise complaint(error, str(file)) from error


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        # Decimal keeps 0.29 what it is: the float next to it times 100 frames is below 29.
        return tomllib.loads(file.read_text("utf-8"), parse_float=Decimal)
    except FileNotFoundError as error:
        raise NotFound(f"{file}: does not exist; expected a TOML file") from error
    except OSError as error:
        raise InvalidInput(f"{file}: could not be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file}: is no TOML file: it is not UTF-8") from error
    except (ValueError, InvalidOperation) as error:
        raise InvalidInput(f"{file}: is no valid TOML: {error}") from error
    except RecursionError as error:
        raise InvalidInput(f"{file}: is nested too deep") from error


def _read_mask(uri: str, neurons: int) -> tuple[bool, ...]:
    array = open_array(uri)
    if array.shape != (neurons,):
        raise InvalidInput(
            f"{uri}: has shape {list(array.shape)}, expected one flag for each of the recording's "
            f"{neurons} neurons"
        )
    values = array.read()
    if array.dtype.kind not in "biu" or not np.isin(values, (0, 1)).all():
        raise InvalidInput(f"{uri}: holds {array.dtype}, expected true and false (or 1 and 0)")
    if not values.any():
        raise InvalidInput(f"{uri}: leaves out all {neurons} neurons; keep one")
    return tuple(bool(value) for value in values)


def _check_file(uri: str) -> None:
    """Checks what zarr arrays are free of: where NumPy and HDF5 files are, and what is in them."""
    scheme, _, rest = uri.rpartition("://")
    file, inner, _ = rest.partition(":/")
    if scheme and file.endswith((".npy", *_HDF5)):
        raise InvalidInput(
            f"{uri}: NumPy and HDF5 files are read from a local folder only; copy it to one, or "
            "store it as zarr"
        )
    if not inner and file.endswith(_HDF5):
        raise InvalidInput(f"{uri}: names a file; say which dataset, as in {file}:/traces")


def _place(text: str, base: str) -> str:
    """Returns where something is: below the base, unless it is a URI or an absolute path."""
    if "://" in text:
        store = open_store(text)
        return store.uri if store.path is None else str(store.path)
    path = Path(text).expanduser()
    return str(path) if path.is_absolute() else f"{base}/{text}"


@contextmanager
def _named(where: str, remedy: str = "") -> Iterator[None]:
    """Puts what an error is about before its message, and a remedy behind what is not found."""
    try:
        yield
    except NotFound as error:
        raise NotFound(f"{where}: {error}{remedy}") from error
    except InvalidInput as error:
        raise type(error)(f"{where}: {error}") from error
