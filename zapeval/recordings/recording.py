"""A recording: activity with what belongs to it, opened lazily by URI.

A recording is either one array ``[frames, neurons]``, or a folder in the public ZAPBench layout:
``traces``, and where they exist ``stimuli_features`` ``[frames, features]``, ``segmentation``
``[x, y, z]``, ``video`` ``[frames, x, y, z]`` and a neuron table, ``neurons.csv``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from zapeval.errors import InvalidInput, NotFound
from zapeval.recordings.arrays import Array, Transposed, open_array
from zapeval.recordings.documents import DOCUMENT_LIMIT, read_document
from zapeval.recordings.stores import Store, open_store

TRACES, STIMULUS, SEGMENTATION, VIDEO = "traces", "stimuli_features", "segmentation", "video"
NEURONS = "neurons.csv"
_NEURON_LIMIT = 64 * DOCUMENT_LIMIT


@dataclass(frozen=True, kw_only=True, eq=False)
class NeuronTable:
    """What is known of each neuron.

    Attributes:
        names: Name of each neuron.
        regions: Brain region of each, or "".
        positions: Centre of each in micrometres, float32 ``[neurons, 3]``.
    """

    names: tuple[str, ...]
    regions: tuple[str, ...]
    positions: np.ndarray

    def to_csv(self) -> str:
        """Returns the table as CSV with columns name, region, x, y, z."""
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("name", "region", "x", "y", "z"))
        for name, region, position in zip(self.names, self.regions, self.positions, strict=True):
            rows.writerow((name, region, *(f"{float(p):.7g}" for p in position)))
        return text.getvalue()


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Where the parts of a recording are; each is opened when it is first asked for.

    Attributes:
        uri: What to call it in messages.
        activity_uri: The array of traces.
        neurons_first: Whether that array is ``[neurons, frames]``.
        folder: The folder with the other parts, or None where there is none.
        places: Where ``stimulus``, ``video`` or ``segmentation`` is, if not in the folder.
    """

    uri: str
    activity_uri: str
    neurons_first: bool = False
    folder: Store | None = None
    places: Mapping[str, str] = field(default_factory=dict, hash=False)

    @cached_property
    def activity(self) -> Array:
        """Activity in df/f, ``[frames, neurons]``.

        Raises:
            NotFound: It does not exist.
            InvalidInput: It is not two-dimensional, or empty.
        """
        array = open_array(self.activity_uri)
        if len(array.shape) != 2:
            shape = list(array.shape)
            raise InvalidInput(f"{array.uri}: has shape {shape}, expected [frames, neurons]")
        if 0 in array.shape:
            raise InvalidInput(f"{array.uri}: is empty: it has shape {list(array.shape)}")
        return Transposed(array) if self.neurons_first else array

    @property
    def frames(self) -> int:
        """Number of frames."""
        return self.activity.shape[0]

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return self.activity.shape[1]

    @cached_property
    def stimulus(self) -> Array | None:
        """Stimulus ``[frames, features]``, or None."""
        return self._part(STIMULUS)

    @cached_property
    def segmentation(self) -> Array | None:
        """Labels ``[x, y, z]``, label ``i + 1`` being column ``i`` of the activity, or None."""
        return self._part(SEGMENTATION)

    @cached_property
    def video(self) -> Array | None:
        """Video in df/f, ``[frames, x, y, z]``, or None."""
        return self._part(VIDEO)

    @cached_property
    def table(self) -> NeuronTable | None:
        """The neuron table, or None.

        Raises:
            InvalidInput: It does not describe each neuron of the activity.
        """
        if self.folder is None:
            return None
        data = self.folder.read(NEURONS, _NEURON_LIMIT)
        return None if data is None else _neuron_table(data, f"{self.uri}/{NEURONS}", self.neurons)

    def _part(self, name: str) -> Array | None:
        said = "stimulus" if name == STIMULUS else name
        if said in self.places:
            try:
                return open_array(self.places[said])
            except NotFound as error:
                raise NotFound(f"{self.uri}: its {said}: {error}") from error
        if self.folder is None:
            return None
        try:
            return open_array(self.folder.child(name).uri)
        except NotFound:
            return None


def open_recording(uri: str, *, neurons_first: bool = False) -> Recording:
    """Returns the recording at a URI: an array, or a folder that holds ``traces``.

    Raises:
        InvalidInput: The URI is no plain address.
    """
    if _is_array(uri):
        return Recording(uri=uri, activity_uri=uri, neurons_first=neurons_first)
    folder = open_store(uri)
    return Recording(uri=uri, activity_uri=folder.child(TRACES).uri, folder=folder)


class Recordings(Mapping[str, Recording]):
    """Recordings by key, each opened when it is first asked for.

    Args:
        openers: What opens each.
    """

    def __init__(self, openers: Mapping[str, Callable[[], Recording]]) -> None:
        self._openers = dict(openers)
        self._opened: dict[str, Recording] = {}

    def __getitem__(self, key: str) -> Recording:
        if key not in self._opened:
            self._opened[key] = self._openers[key]()
        return self._opened[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._openers)

    def __len__(self) -> int:
        return len(self._openers)


def _is_array(uri: str) -> bool:
    if uri.endswith(".npy") or ".h5:/" in uri or ".hdf5:/" in uri or ".nwb:/" in uri:
        return True
    store = open_store(uri)
    if store.path is not None and not store.path.exists():
        raise NotFound(f"{uri}: does not exist")
    if store.read(".zarray", DOCUMENT_LIMIT) is not None:
        return True
    document = read_document(store, "zarr.json")
    return document is not None and document.get("node_type") == "array"


def _neuron_table(data: bytes, where: str, neurons: int) -> NeuronTable:
    try:
        rows = list(csv.DictReader(io.StringIO(data.decode())))
        names = tuple(row["name"] for row in rows)
        regions = tuple(row["region"] or "" for row in rows)
        positions = np.array([[float(row[a]) for a in "xyz"] for row in rows], dtype=np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{where}: expected columns name, region, x, y, z: {error}") from error
    if len(rows) != neurons:
        raise InvalidInput(f"{where}: has {len(rows)} rows, expected one for {neurons} neurons")
    return NeuronTable(names=names, regions=regions, positions=positions)
