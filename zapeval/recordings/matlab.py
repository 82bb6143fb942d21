"""MATLAB files, of version 5 and of version 7.3, as plain values.

A struct is a dict, an array of structs a dict of lists, a cell array a list (column by column, as
MATLAB counts), text a string, numbers an array of MATLAB's shape, and whatever is empty None.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zapeval.errors import InvalidInput, UsageError

Value = Any
"""A dict, a list, a string, an array of numbers, or None."""

_DEEPEST = 32


def read_matlab(path: Path) -> dict[str, Value]:
    """Returns the variables of a MATLAB file.

    Raises:
        InvalidInput: It is no MATLAB file, or one that cannot be read to its end.
        UsageError: It is of version 5, and SciPy is not installed.
    """
    import h5py

    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                return {
                    name: _of_hdf5(item, file, 0)
                    for name, item in file.items()
                    if not name.startswith("#")
                }
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InvalidInput(f"{path}: is no whole MATLAB 7.3 file: {error}") from error
    return _read_version_5(path)


def _read_version_5(path: Path) -> dict[str, Value]:
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UsageError(
            f'{path}: MATLAB files of version 5 need SciPy; pip install "zapeval[worms]"'
        ) from error
    try:
        found = loadmat(str(path))
    except Exception as error:  # the reader fails in as many ways as a file can be damaged
        raise InvalidInput(f"{path}: is no whole MATLAB file: {error}") from error
    return {name: _of_scipy(item) for name, item in found.items() if not name.startswith("__")}


def _of_scipy(value: Any) -> Value:
    if not isinstance(value, np.ndarray):
        return value
    if value.size == 0:
        return None
    if value.dtype.names:
        structs = [
            {name: _of_scipy(struct[name]) for name in value.dtype.names}
            for struct in value.ravel(order="F")
        ]
        return _joined(structs)
    if value.dtype.kind == "O":
        return [_of_scipy(item) for item in value.ravel(order="F")]
    if value.dtype.kind in "US":
        lines = [str(line) for line in value.ravel()]
        return lines[0] if len(lines) == 1 else lines
    return value


def _joined(structs: list[dict[str, Value]]) -> dict[str, Value]:
    """Returns one struct, or several as one of lists."""
    if len(structs) == 1:
        return structs[0]
    return {name: [struct[name] for struct in structs] for name in structs[0]}


def _of_hdf5(item: Any, file: Any, depth: int) -> Value:
    import h5py

    if depth > _DEEPEST:
        raise ValueError(f"{item.name} lies deeper than {_DEEPEST} levels")
    if isinstance(item, h5py.Group):
        return {name: _of_hdf5(child, file, depth + 1) for name, child in item.items()}
    if item.shape is None or "MATLAB_empty" in item.attrs or 0 in item.shape:
        return None
    kind = item.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if item.dtype == h5py.ref_dtype:
        # HDF5 holds the axes in reverse, so its rows are MATLAB's columns.
        return [_of_hdf5(file[reference], file, depth + 1) for reference in item[()].ravel()]
    values = np.asarray(item[()]).T
    if kind == "char":
        return "".join(map(chr, values.ravel(order="C").astype(int)))
    return values
