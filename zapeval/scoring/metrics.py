"""Metrics: functions of sums, one definition of each.

For a series and a step (``horizon``) the samples of a neuron are its windows; for ``next-step``
they are windows x positions. Every sample counts the same, and every scored neuron counts the same.

=============  =================================================================================
metric         definition, over samples i and neurons n
=============  =================================================================================
mae            mean over n of mean over i of ``|p[i, n] - t[i, n]|`` (Lueckmann et al. 2025,
               arXiv 2503.02618, section 3.3)
mse            mean over n of mean over i of ``(p[i, n] - t[i, n])^2`` (same section)
correlation    Pearson's r over i of neuron n, then mean over the neurons where both sides vary
               (the measure of Immer et al. 2025, arXiv 2503.00073, App. A.4, whose axes are not
               published; these are ours)
mse_pooled     where a benchmark asks for it: the mean of ``(p - t)^2`` over every entry of all
               series of a row at once, so that a series counts by its neurons (the loss of the
               public code of Simeon et al. 2024; their Eq. 4 is the row ``average`` of mse)
=============  =================================================================================
"""

from __future__ import annotations

import math

import numba
import numpy as np

from zapeval.errors import UsageError

METRICS = ("mae", "mse", "correlation")
"""Every metric of a scorecard, in the order of its rows."""


def range_of(metric: str) -> tuple[float, float]:
    """Returns the least and the largest value that a metric can take."""
    return (-1.0, 1.0) if metric == "correlation" else (0.0, math.inf)


def mean_error(sums: np.ndarray, counts: int) -> float | None:
    """Returns MAE or MSE from error sums.

    Args:
        sums: Sums over a window's neurons (and positions) of absolute or squared errors,
            float64 ``[windows]``, in df/f or its square.
        counts: Number of errors in each window's sum.

    Returns:
        The mean error, or None where nothing was summed.
    """
    if counts == 0:
        return None
    return float(sums.sum() / (len(sums) * counts))


def neuron_correlation(moments: np.ndarray, samples: int) -> np.ndarray:
    """Returns Pearson's r of each neuron.

    Args:
        moments: Sums of ``p', t', p'^2, t'^2, p' t'`` where each side is shifted by one of its
            own samples, float64 ``[5, neurons]``.
        samples: Number of samples in each sum.

    Returns:
        r in [-1, 1], float64 ``[neurons]``; NaN where either side is constant.

    Raises:
        UsageError: There are no samples.
    """
    if samples < 1:
        raise UsageError(f"correlation: {samples} samples, expected at least one")
    r = np.empty(moments.shape[1])
    _pearson(np.ascontiguousarray(moments), samples, r)
    return r


def mean_correlation(r: np.ndarray) -> tuple[float | None, int, int]:
    """Returns the mean of the defined correlations, their number, and that of the undefined.

    Args:
        r: Correlations, float64 ``[neurons]``, NaN where undefined.
    """
    defined = ~np.isnan(r)
    count = int(defined.sum())
    mean = float(r[defined].mean()) if count else None
    return mean, count, int(r.size - count)


@numba.njit("(f8[:,::1],i8,f8[::1])", nogil=True, cache=True, error_model="numpy")
def _pearson(moments, samples, r):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    for n in range(r.shape[0]):
        p, t, pp, tt, pt = moments[:, n]
        p_variance = pp - p * p / samples
        t_variance = tt - t * t / samples
        # A constant side is shifted by itself: its moments are zeros, not merely small.
        if p_variance > 0 and t_variance > 0:
            value = (pt - p * t / samples) / (np.sqrt(p_variance) * np.sqrt(t_variance))
            r[n] = min(1.0, max(-1.0, value))
        else:
            r[n] = np.nan
