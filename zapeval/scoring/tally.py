"""The tally: the sums of a scored run, one cell for each series and step.

Merging puts cells side by side and never adds them, so the order of merging can't move a digit.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import blake3
import numpy as np

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.errors import InvalidInput, NotFound, UsageError


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """The sums of one series at one step.

    Attributes:
        series: Name of the series.
        step: Steps ahead, 1-based.
        absolute: Sum over neurons (and positions) of absolute errors, float64 ``[windows]``.
        squared: The same of squared errors, float64 ``[windows]``.
        counts: Number of errors in each of those sums.
        correlation: Mean over neurons of Pearson's r, or None where none is defined.
        defined: Neurons in that mean.
        undefined: Scored neurons left out of it because a side is constant.
        missing: Neurons without predictions, ``bool [neurons]``.
        leaf: BLAKE3 of the predictions at this step, in hex; "" where none was taken.
        targets: BLAKE3 of the series' target rows, in hex.
        influence: What each window moves the mean correlation by, times the number of windows,
            float64 ``[windows]``; None where it was not asked for, or no correlation is defined.
    """

    series: str
    step: int
    absolute: np.ndarray
    squared: np.ndarray
    counts: int
    correlation: float | None
    defined: int
    undefined: int
    missing: np.ndarray
    leaf: str
    targets: str
    influence: np.ndarray | None = None


class Tally:
    """Cells by (series, step).

    Args:
        cells: The cells; no two of the same series and step.

    Raises:
        UsageError: Two cells are of the same series and step.
    """

    def __init__(self, cells: Iterable[Cell] = ()) -> None:
        self._cells: dict[tuple[str, int], Cell] = {}
        for cell in cells:
            if (cell.series, cell.step) in self._cells:
                raise UsageError(f"tally: {cell.series} step {cell.step} stands in both parts")
            self._cells[cell.series, cell.step] = cell

    def __add__(self, other: Tally) -> Tally:
        return Tally([*self, *other])

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells.values())

    def __len__(self) -> int:
        return len(self._cells)

    def cell(self, series: str, step: int) -> Cell:
        """Returns the cell of a series and step.

        Raises:
            NotFound: It was not tallied.
        """
        try:
            return self._cells[series, step]
        except KeyError as error:
            raise NotFound(f"tally: holds no {series} at step {step}") from error

    def of_series(self, series: str) -> tuple[Cell, ...]:
        """Returns the cells of a series by ascending step."""
        cells = [cell for cell in self if cell.series == series]
        return tuple(sorted(cells, key=lambda cell: cell.step))


def write_window_sums(tally: Tally, benchmark: Benchmark, path: Path) -> str:
    """Writes the sums a window, from which intervals are made, and returns the file's digest.

    The file is a compressed npz: for every series ``NAME/absolute`` and ``NAME/squared``, float64
    ``[windows, steps]``, ``NAME/counts``, int64 ``[steps]``, and ``NAME/origins``, int64
    ``[windows]``, which say what frames the errors are about. Where correlations have intervals
    there is ``NAME/influence``, float64 ``[windows, steps]``, NaN where no correlation is defined.
    Equal sums give equal bytes.
    """
    arrays: dict[str, np.ndarray] = {}
    # By name, not in the order of merging: that may differ between equal tallies.
    for name in sorted({cell.series for cell in tally}):
        cells = tally.of_series(name)
        arrays[f"{name}/absolute"] = np.stack([cell.absolute for cell in cells], axis=1)
        arrays[f"{name}/squared"] = np.stack([cell.squared for cell in cells], axis=1)
        arrays[f"{name}/origins"] = np.array(benchmark.one(name).origins, dtype=np.int64)
        arrays[f"{name}/counts"] = np.array([cell.counts for cell in cells])
        if any(cell.influence is not None for cell in cells):
            undefined = np.full(len(cells[0].absolute), np.nan)
            known = [undefined if c.influence is None else c.influence for c in cells]
            arrays[f"{name}/influence"] = np.stack(known, axis=1)
    data = _npz(arrays)
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(data)
    partial.replace(path)
    return "blake3:" + blake3.blake3(data).hexdigest()


def read_window_sums(path: Path, digest: str) -> dict[str, np.ndarray]:
    """Returns the arrays that write_window_sums wrote.

    Raises:
        NotFound: The file does not exist.
        InvalidInput: It is not the file of that digest.
    """
    if not path.is_file():
        raise NotFound(f"{path}: does not exist; score again with --json to keep window sums")
    data = path.read_bytes()
    got = "blake3:" + blake3.blake3(data).hexdigest()
    if got != digest:
        raise InvalidInput(f"{path}: has digest {got}, but its scorecard says {digest}")
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(values), allow_pickle=False)
            # A fixed date: np.savez stamps the current one, and the digest would change with it.
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED
            )
    return buffer.getvalue()
