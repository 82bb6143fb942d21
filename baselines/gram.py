"""The lag Gram: every inner product that a least squares fit over all windows needs.

A window is a column of ``C + H`` values of one neuron. Over windows ``w`` and neurons ``n``

    G[i, j] = sum over w, n of x[w + i, n] x[w + j, n] = sum over w of K[w + i, w + j]

with ``K = X X'``: windows overlap, so their Gram is a sum along the diagonals of one product of
frames, and no window is ever formed. Over a long run ``K`` is made in tiles, of which the band
around the diagonal is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from baselines.columns import columns_of
from zapeval.benchmarks.benchmark import Span
from zapeval.errors import InvalidInput
from zapeval.forecasting.training import Training, TrainingSeries

_TILE = 1024
_TILE_OVERLAPS = 4


@dataclass(frozen=True, kw_only=True)
class LagGram:
    """Sums over all training windows.

    Attributes:
        products: Inner products of lags, float64 ``[lags, lags]``.
        sums: Sum of each lag, float64 ``[lags]``.
        count: Number of windows times neurons.
    """

    products: np.ndarray
    sums: np.ndarray
    count: int


def lag_gram(training: Training) -> LagGram:
    """Returns the sums over all training windows and scored neurons, contexts before targets.

    Memory is bounded: a tile of frames of a few thousand neurons, and its products.

    Raises:
        InvalidInput: The windows are not of the protocol ``horizon``, or a value is not finite.
    """
    lags = training.context + training.horizon
    products, sums, count = np.zeros((lags, lags)), np.zeros(lags), 0
    work = [(series, tile) for series in training.series for tile in _tiles(training, series)]
    for done, (series, tile) in enumerate(work):
        windows = tile[1] - tile[0] - lags + 1
        gram, totals, neurons = _tile_sums(series, tile)
        products += _diagonal_sums(gram, windows, lags)
        sums += np.lib.stride_tricks.sliding_window_view(totals, windows).sum(axis=1)
        count += windows * neurons
        training.report(done + 1, len(work), "sums")
    return LagGram(products=products, sums=sums, count=count)


def runs_of(training: Training, series: TrainingSeries) -> Iterator[Span]:
    """Yields the frames ``[start, stop)`` that each run of neighbouring training windows spans.

    Raises:
        InvalidInput: The windows are not of the protocol ``horizon``.
    """
    origins = np.array(series.train_origins)
    for run in np.split(origins, np.flatnonzero(np.diff(origins) != 1) + 1):
        start, stop = int(run[0]) - training.context, int(run[-1]) + training.horizon
        if not any(a <= start and stop <= b for a, b in series.train):
            raise InvalidInput(
                f"{training.benchmark}: {series.name}: its training windows do not have "
                f"{training.context} frames before their origins, so a map from a context of "
                "fixed length can't be fitted; it takes benchmarks of the protocol 'horizon'"
            )
        yield start, stop


def _tiles(training: Training, series: TrainingSeries) -> Iterator[Span]:
    """Yields frames that hold each window of a series once."""
    lags = training.context + training.horizon
    step = max(_TILE, _TILE_OVERLAPS * lags)
    for start, stop in runs_of(training, series):
        for first in range(start, stop - lags + 1, step):
            yield first, min(first + step + lags - 1, stop)


def _tile_sums(series: TrainingSeries, tile: Span) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns ``X X'``, the sum of each frame, and the number of neurons that are scored."""
    frames = tile[1] - tile[0]
    gram, totals, neurons = np.zeros((frames, frames)), np.zeros(frames), 0
    mask = series.mask
    for columns in columns_of(series.neurons):
        values = series.activity(tile, columns)
        if mask is not None:
            values = values[:, mask[slice(*columns)]]
        exact = values.astype(np.float64)
        gram += exact @ exact.T
        totals += exact.sum(axis=1)
        neurons += values.shape[1]
    if not np.isfinite(totals).all():
        frame = tile[0] + int((~np.isfinite(totals)).argmax())
        raise InvalidInput(
            f"{series.name}: frame {frame} holds values that are not finite in neurons that are "
            "scored; mask those neurons, or repair the recording"
        )
    return gram, totals, neurons


def _diagonal_sums(gram: np.ndarray, windows: int, lags: int) -> np.ndarray:
    """Returns ``G[i, j]``, the sum over windows ``w`` of ``gram[w + i, w + j]``."""
    sums = np.empty((lags, lags))
    for lag in range(lags):
        diagonal = np.diagonal(gram, lag)
        prefix = np.concatenate([[0.0], np.cumsum(diagonal)])
        slid = prefix[windows : windows + lags - lag] - prefix[: lags - lag]
        index = np.arange(lags - lag)
        sums[index, index + lag] = sums[index + lag, index] = slid
    return sums
