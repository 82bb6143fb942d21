"""Small datasets of an HDF5 file, by name: numbers as arrays, text as lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from zapeval.errors import InvalidInput

Values = np.ndarray | list[str]


def read_datasets(path: Path) -> Mapping[str, Values]:
    """Returns the datasets at the top of a file; text that is none of UTF-8 keeps its bytes.

    Raises:
        InvalidInput: It is no HDF5 file, or one that cannot be read to its end.
    """
    import h5py

    found: dict[str, Values] = {}
    try:
        with h5py.File(path, "r") as file:
            for name, item in file.items():
                if isinstance(item, h5py.Dataset) and item.shape is not None:
                    found[name] = _values(item)
    except (OSError, RuntimeError) as error:
        raise InvalidInput(f"{path}: is no whole HDF5 file: {error}") from error
    return found


def _values(dataset: object) -> Values:
    import h5py

    assert isinstance(dataset, h5py.Dataset)
    if h5py.check_string_dtype(dataset.dtype) is None:
        return np.asarray(dataset[()])
    text = np.asarray(dataset.asstr(errors="surrogateescape")[()])
    return [str(value) for value in text.ravel()]
