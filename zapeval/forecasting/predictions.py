"""Predictions: the saved forecasts of one forecaster, as a zarr store.

One array a series, float32 or float16 ``[windows, horizon, neurons]``; for volumes ``[windows,
horizon, x, y, z]``. A store that zapeval writes is a zarr v3 group whose attributes are the
manifest. A bare folder of v2 arrays, as the public ZAPBench code writes it, is read as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import blake3

from zapeval.errors import NotFound, StorageError, ZapevalError
from zapeval.forecasting.manifest import Manifest, read_manifest
from zapeval.recordings.arrays import ZarrArray
from zapeval.recordings.metadata import read_group_attributes
from zapeval.recordings.stores import Store, open_store


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """An opened predictions store.

    Attributes:
        store: Where it is.
        manifest: What it says of itself; None for a bare store.
        arrays: Its arrays by name.
        broken: What stood in the way of opening others, by name.
    """

    store: Store
    manifest: Manifest | None
    arrays: Mapping[str, ZarrArray]
    broken: Mapping[str, str] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """Where it is."""
        return self.store.uri

    @property
    def kind(self) -> Literal["traces", "volume"]:
        """Whether it holds traces or volumes."""
        ranks = {len(array.shape) for array in self.arrays.values()}
        return "volume" if ranks == {5} else "traces"


def open_predictions(uri: str, arrays: tuple[str, ...] = ()) -> Predictions:
    """Opens a predictions store: its manifest and the metadata of its arrays.

    Args:
        uri: The store.
        arrays: Names to look for where the store cannot be listed (http, https).

    Raises:
        NotFound: There is no store.
        InvalidInput: It is an array, or its own metadata does not pass the gate.
    """
    store = open_store(uri)
    if store.path is not None and not store.path.is_dir():
        raise NotFound(f"{uri}: is no folder; expected a predictions store (zarr group)")
    manifest = read_manifest(read_group_attributes(store), uri)
    opened: dict[str, ZarrArray] = {}
    errors: dict[str, ZapevalError] = {}
    listed = _names(store)
    for name in arrays if listed is None else listed:
        try:
            opened[name] = ZarrArray(store.child(name))
        except ZapevalError as error:
            errors[name] = error
    looked = store.path is None and (listed is not None or bool(arrays))
    found = manifest or opened or not all(isinstance(e, NotFound) for e in errors.values())
    if looked and not found:
        raise NotFound(f"{uri}: holds no predictions: no manifest and no array that is looked for")
    broken = {name: str(error) for name, error in errors.items()}
    return Predictions(store=store, manifest=manifest, arrays=opened, broken=broken)


def predictions_digest(leaves: Iterable[tuple[str, int, str]]) -> str:
    """Returns the digest over contents: whatever the chunks, the codec or the zarr version.

    The leaf of an array's step is defined in zapeval/scoring/leaves.py; the root is the BLAKE3 of
    one line ``array step leaf`` for each, in the order given.
    """
    lines = "".join(f"{array} {step} {leaf}\n" for array, step, leaf in leaves)
    return "blake3:" + blake3.blake3(lines.encode()).hexdigest()


def _names(store: Store) -> list[str] | None:
    """Returns the names of the folders in a store, or None where it can't be listed."""
    if store.path is not None:
        with os.scandir(store.path) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and _folder(e))
    try:
        keys = store.keys()
    except StorageError:
        return None
    return sorted({key.split("/")[0] for key in keys if "/" in key})


def _folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() or entry.is_dir(follow_symlinks=False)
