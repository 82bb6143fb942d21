"""The kernel: one fused pass over a block of predictions, from values to sums.

Nine sums a neuron are kept in one ``float64 [9, neurons]`` array (rows below). Prediction and
target are each shifted by their own first window before they are squared: raw sums lose all digits
on data with a large offset, and one shift for both makes constant predictions correlate. Because
the shift is one of the samples, its distance from the mean is at most ``sqrt(n - 1)`` standard
deviations (Samuelson 1968), so the variance keeps a relative error of ``n^2`` units in the last
place at worst.
"""

from __future__ import annotations

import numba
import numpy as np

ABSOLUTE, SQUARED = 0, 1
"""Rows: sum of ``|p - t|`` and of ``(p - t)^2``."""

PREDICTION, TARGET, PREDICTION2, TARGET2, PRODUCT = 2, 3, 4, 5, 6
"""Rows: sums of ``p'``, ``t'``, ``p'^2``, ``t'^2`` and ``p' t'``, shifted."""

PREDICTION_SHIFT, TARGET_SHIFT = 7, 8
"""Rows: the values of the first window, which are the shifts."""

ROWS = 9
_SUMMED = 7
_COLUMNS = 1024
_FAST = {"reassoc", "contract", "nsz", "arcp"}
_SIGNATURE = "(f4[:,:,::1],i8,i8,i8,f4[:,::1],i8[::1],i8,f8[:,::1],f8[:,::1])"


@numba.njit(inline="always")
def _terms(p, t, p_shift, t_shift):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    error = p - t
    dp = p - p_shift
    dt = t - t_shift
    return abs(error), error * error, dp, dt, dp * dp, dt * dt, dp * dt


@numba.njit(_SIGNATURE, nogil=True, fastmath=_FAST, cache=True)
def accumulate(block, step, rows, columns, targets, target_rows, first, sums, errors):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    """Adds one step of a block to the sums.

    Four windows go through the registers together, so that the sums of a neuron are loaded and
    stored once for four of its values; columns go in slices that stay in the first-level cache.

    Args:
        block: Predictions, float32 ``[>= rows, > step, >= columns]``, C order.
        step: Index into the block's second axis.
        rows: Windows to add.
        columns: Neurons to add.
        targets: Target rows of the series, float32 ``[frames, neurons]``.
        target_rows: Row of targets of each window, int64 ``[>= rows]``.
        first: Neuron of the block's first column.
        sums: The nine rows above, float64 ``[9, neurons]``; shifts set beforehand.
        errors: Sums over neurons of ``|p - t|`` and ``(p - t)^2`` of each window,
            float64 ``[2, >= rows]``.
    """
    part = np.empty((ROWS, _COLUMNS))
    for start in range(0, columns, _COLUMNS):
        m = min(_COLUMNS, columns - start)
        c = first + start
        for i in range(ROWS):
            part[i, :m] = sums[i, c : c + m]
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
                ps, ts = part[7, j], part[8, j]
                ea, sa, pa, ta, ppa, tta, pta = _terms(np.float64(p0[j]), np.float64(t0[j]), ps, ts)
                eb, sb, pb, tb, ppb, ttb, ptb = _terms(np.float64(p1[j]), np.float64(t1[j]), ps, ts)
                ec, sc, pc, tc, ppc, ttc, ptc = _terms(np.float64(p2[j]), np.float64(t2[j]), ps, ts)
                ed, sd, pd, td, ppd, ttd, ptd = _terms(np.float64(p3[j]), np.float64(t3[j]), ps, ts)
                a0 += ea
                a1 += eb
                a2 += ec
                a3 += ed
                s0 += sa
                s1 += sb
                s2 += sc
                s3 += sd
                part[0, j] += (ea + eb) + (ec + ed)
                part[1, j] += (sa + sb) + (sc + sd)
                part[2, j] += (pa + pb) + (pc + pd)
                part[3, j] += (ta + tb) + (tc + td)
                part[4, j] += (ppa + ppb) + (ppc + ppd)
                part[5, j] += (tta + ttb) + (ttc + ttd)
                part[6, j] += (pta + ptb) + (ptc + ptd)
            errors[0, r] += a0
            errors[0, r + 1] += a1
            errors[0, r + 2] += a2
            errors[0, r + 3] += a3
            errors[1, r] += s0
            errors[1, r + 1] += s1
            errors[1, r + 2] += s2
            errors[1, r + 3] += s3
        for r in range(fours, rows):
            p0 = block[r, step, start : start + m]
            t0 = targets[target_rows[r], c : c + m]
            a0 = s0 = 0.0
            for j in range(m):
                ea, sa, pa, ta, ppa, tta, pta = _terms(
                    np.float64(p0[j]), np.float64(t0[j]), part[7, j], part[8, j]
                )
                a0 += ea
                s0 += sa
                part[0, j] += ea
                part[1, j] += sa
                part[2, j] += pa
                part[3, j] += ta
                part[4, j] += ppa
                part[5, j] += tta
                part[6, j] += pta
            errors[0, r] += a0
            errors[1, r] += s0
        for i in range(_SUMMED):
            sums[i, c : c + m] = part[i, :m]
