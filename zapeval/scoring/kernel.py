"""The kernel: one fused pass over a block of predictions, from values to sums.

Nine sums a neuron are kept in one ``float64 [9, neurons]`` array (rows below). Prediction and
target are each shifted by their own first window before they are squared: raw sums lose all digits
on data with a large offset, and one shift for both makes constant predictions correlate. Because
the shift is one of the samples, its distance from the mean is at most ``sqrt(n - 1)`` standard
deviations (Samuelson 1968), so the variance keeps a relative error of ``n^2`` units in the last
place at worst.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np

PREDICTION, TARGET, PREDICTION2, TARGET2, PRODUCT = 0, 1, 2, 3, 4
"""Rows: sums of ``p'``, ``t'``, ``p'^2``, ``t'^2`` and ``p' t'``, shifted."""

PREDICTION_SHIFT, TARGET_SHIFT = 5, 6
"""Rows: the values of the first window, which are the shifts."""

ABSOLUTE, SQUARED = 7, 8
"""Rows: sum of ``|p - t|`` and of ``(p - t)^2``."""

ROWS = 9
_COLUMNS = 4096
_FAST = {"reassoc", "contract", "nsz", "arcp"}
_BLOCK = numba.types.Array(numba.float32, 3, "C", readonly=True)
_TARGETS = numba.types.Array(numba.float32, 2, "C", readonly=True)
_ROWS = numba.types.Array(numba.int64, 1, "C", readonly=True)
_SUMS = numba.types.Array(numba.float64, 2, "C")
_ERRORS = numba.types.Array(numba.float64, 2, "A")
_MOVED = numba.types.Array(numba.float64, 1, "C")
_INDEX = numba.int64
_SIGNATURE = numba.void(
    *(_BLOCK, _INDEX, _INDEX, _INDEX, _TARGETS, _ROWS, _INDEX, _SUMS, _ERRORS),
)


@numba.njit(inline="always")
def _add(prediction, target, p_shift, t_shift, sums):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Returns the two errors of one value, and the seven sums with it."""
    p = np.float64(prediction)
    t = np.float64(target)
    error = p - t
    a = abs(error)
    s = error * error
    p -= p_shift
    t -= t_shift
    absolute, squared, ps, ts, pps, tts, pts = sums
    return a, s, (absolute + a, squared + s, ps + p, ts + t, pps + p * p, tts + t * t, pts + p * t)


def _compiled(per_neuron: bool) -> Callable[..., None]:
    @numba.njit(_SIGNATURE, nogil=True, fastmath=_FAST, cache=True)
    def accumulate(block, step, rows, columns, targets, target_rows, first, sums, errors):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        for start in range(0, columns, _COLUMNS):
            m = min(_COLUMNS, columns - start)
            c = first + start
            # One-dimensional slices: the compiler vectorises what it sees to be contiguous.
            p_sum = sums[PREDICTION, start : start + m]
            t_sum = sums[TARGET, start : start + m]
            pp_sum = sums[PREDICTION2, start : start + m]
            tt_sum = sums[TARGET2, start : start + m]
            pt_sum = sums[PRODUCT, start : start + m]
            p_shift = sums[PREDICTION_SHIFT, start : start + m]
            t_shift = sums[TARGET_SHIFT, start : start + m]
            absolute = sums[ABSOLUTE, start : start + m]
            squared = sums[SQUARED, start : start + m]
            fours = rows // 4 * 4
            for r in range(0, fours, 4):
                p0 = block[r, step, start : start + m]
                p1 = block[r + 1, step, start : start + m]
                p2 = block[r + 2, step, start : start + m]
                p3 = block[r + 3, step, start : start + m]
                t0 = targets[target_rows[r], c : c + m]
                t1 = targets[target_rows[r + 1], c : c + m]
                t2 = targets[target_rows[r + 2], c : c + m]
                t3 = targets[target_rows[r + 3], c : c + m]
                a0 = a1 = a2 = a3 = 0.0
                s0 = s1 = s2 = s3 = 0.0
                for j in range(m):
                    ps, ts = p_shift[j], t_shift[j]
                    z = (0.0, 0.0, p_sum[j], t_sum[j], pp_sum[j], tt_sum[j], pt_sum[j])
                    b0, q0, z = _add(p0[j], t0[j], ps, ts, z)
                    b1, q1, z = _add(p1[j], t1[j], ps, ts, z)
                    b2, q2, z = _add(p2[j], t2[j], ps, ts, z)
                    b3, q3, z = _add(p3[j], t3[j], ps, ts, z)
                    if per_neuron:
                        absolute[j] += z[0]
                        squared[j] += z[1]
                    p_sum[j], t_sum[j], pp_sum[j], tt_sum[j], pt_sum[j] = z[2:]
                    a0 += b0
                    a1 += b1
                    a2 += b2
                    a3 += b3
                    s0 += q0
                    s1 += q1
                    s2 += q2
                    s3 += q3
                for i, total in enumerate((a0, a1, a2, a3)):
                    errors[0, r + i] += total
                for i, total in enumerate((s0, s1, s2, s3)):
                    errors[1, r + i] += total
            for r in range(fours, rows):
                p0 = block[r, step, start : start + m]
                t0 = targets[target_rows[r], c : c + m]
                a0 = s0 = 0.0
                for j in range(m):
                    z = (0.0, 0.0, p_sum[j], t_sum[j], pp_sum[j], tt_sum[j], pt_sum[j])
                    b0, q0, z = _add(p0[j], t0[j], p_shift[j], t_shift[j], z)
                    a0 += b0
                    s0 += q0
                    if per_neuron:
                        absolute[j] += z[0]
                        squared[j] += z[1]
                    p_sum[j], t_sum[j], pp_sum[j], tt_sum[j], pt_sum[j] = z[2:]
                errors[0, r] += a0
                errors[1, r] += s0

    compiled: Callable[..., None] = accumulate
    return compiled


accumulate = _compiled(per_neuron=False)
"""Adds one step of a block to the sums; leaves rows ABSOLUTE and SQUARED alone.

Four windows go through together, so that the sums of a neuron are loaded and stored once for
four of its values; columns go in slices whose sums stay in the second-level cache.

Args:
    block: Predictions, float32 ``[>= rows, > step, >= columns]``, C order.
    step: Index into the block's second axis.
    rows: Windows to add.
    columns: Neurons to add.
    targets: Target rows of the series, float32 ``[frames, neurons]``.
    target_rows: Row of targets of each window, int64 ``[>= rows]``.
    first: Column of targets under the block's first column.
    sums: The nine rows above, float64 ``[9, >= columns]``; shifts set beforehand.
    errors: Sums over neurons of ``|p - t|`` and ``(p - t)^2`` of each window,
        float64 ``[2, >= rows]``, of any strides.
"""

accumulate_per_neuron = _compiled(per_neuron=True)
"""Adds one step of a block to all sums: a fifth slower, needed for maps."""

STANDARD_ROWS = 5
"""Rows that standardise: mean and 1 / sd of predictions, those of targets, ``r / 2``."""


@numba.njit(
    numba.void(_BLOCK, _INDEX, _INDEX, _INDEX, _TARGETS, _ROWS, _INDEX, _SUMS, _MOVED),
    nogil=True,
    fastmath=_FAST,
    cache=True,
)
def influence(block, step, rows, columns, targets, target_rows, first, standard, moved):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Adds each window's influence on the correlations of one step, summed over neurons.

    That of a neuron is ``z_p z_t - (r / 2) (z_p^2 + z_t^2)`` (Devlin, Gnanadesikan & Kettenring
    1975, Biometrika 62(3), section 2), with both sides standardised over all windows.

    Args:
        block: As in accumulate.
        step: As there.
        rows: As there.
        columns: As there.
        targets: As there.
        target_rows: As there.
        first: As there.
        standard: What standardises, float64 ``[5, >= columns]`` (rows above), zeros where no
            correlation is defined.
        moved: Sums over neurons of each window, float64 ``[>= rows]``.
    """
    for start in range(0, columns, _COLUMNS):
        m = min(_COLUMNS, columns - start)
        c = first + start
        p_mean = standard[0, start : start + m]
        p_scale = standard[1, start : start + m]
        t_mean = standard[2, start : start + m]
        t_scale = standard[3, start : start + m]
        half = standard[4, start : start + m]
        for r in range(rows):
            p = block[r, step, start : start + m]
            t = targets[target_rows[r], c : c + m]
            total = 0.0
            for j in range(m):
                zp = (np.float64(p[j]) - p_mean[j]) * p_scale[j]
                zt = (np.float64(t[j]) - t_mean[j]) * t_scale[j]
                total += zp * zt - half[j] * (zp * zp + zt * zt)
            moved[r] += total
