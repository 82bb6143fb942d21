"""The long-run variance: how far the mean of a dependent series can be off.

Errors of neighbouring windows resemble each other, so an interval that takes them for independent
is far too narrow. The estimate is the equal-weighted cosine one: the mean square of the first
``B`` cosine coefficients of the series, with ``B`` degrees of freedom for Student's t (Lazarus,
Lewis, Stock & Watson 2018, "HAR Inference: Recommendations for Practice", Journal of Business &
Economic Statistics 36(4)). Before, a first-order autoregression is taken out, and its gain put back
afterwards (Andrews & Monahan 1992, Econometrica 60(4)), with Kendall's (1954, Biometrika 41)
correction for the bias of its coefficient. That coefficient is an estimate too, and near 1 a poor
one: its uncertainty is taken off the degrees of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np

SHARE = 0.41
"""``B = 0.41 T^(2/3)`` coefficients for ``T`` values (Lazarus et al. 2018)."""

FEWEST = 8
"""Values below which there is no estimate."""

_FEWEST_COEFFICIENTS = 4
_LARGEST = 0.97
"""Largest coefficient that is taken out (Andrews & Monahan 1992)."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class LongRun:
    """Coefficients from which long-run variances and covariances follow.

    Attributes:
        coefficients: float64 ``[B, columns]``; for columns ``i`` and ``j`` the covariance of
            their sums is the product of two columns, averaged over ``B``.
        degrees: Degrees of freedom of each column's variance, float64 ``[columns]``.
    """

    coefficients: np.ndarray
    degrees: np.ndarray

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the columns' sums, float64 ``[columns, columns]``."""
        product: np.ndarray = self.coefficients.T @ self.coefficients / len(self.coefficients)
        return product

    @property
    def variance(self) -> np.ndarray:
        """Variance of each column's sum, float64 ``[columns]``."""
        mean: np.ndarray = np.square(self.coefficients).mean(axis=0)
        return mean


def long_run(values: np.ndarray) -> LongRun:
    """Returns the long-run coefficients of sums over a series.

    Args:
        values: Centred series in the order of time, float64 ``[T, columns]``, ``T >= FEWEST``.
    """
    count = len(values)
    phi = _autoregression(values)
    rest = values[1:] - phi * values[:-1]
    coefficients = _basis(len(rest), coefficients_for(count)).T @ rest
    # The basis has unit columns, so a coefficient has the variance of one value; a sum of T such
    # values has T times as much, in the limit.
    scale = np.sqrt(count * _of_limit(phi, count)) / (1 - phi)
    return LongRun(coefficients=coefficients * scale, degrees=_degrees(phi, count))


def coefficients_for(count: int) -> int:
    """Returns how many cosine coefficients a series of so many values gives."""
    return max(_FEWEST_COEFFICIENTS, round(SHARE * math.pow(count, 2 / 3)))


def _autoregression(values: np.ndarray) -> np.ndarray:
    """Returns the first-order coefficient of each column, corrected for bias and kept below 1."""
    count = len(values)
    squares = np.square(values[:-1]).sum(axis=0)
    products = (values[1:] * values[:-1]).sum(axis=0)
    raw = np.divide(products, squares, out=np.zeros_like(squares), where=squares > 0)
    # Nor can so few values tell a coefficient from one nearer to 1.
    largest = min(_LARGEST, 1 - 4 / count)
    clipped: np.ndarray = np.clip((count * raw + 1) / (count - 3), -largest, largest)
    return clipped


def _of_limit(phi: np.ndarray, count: int) -> np.ndarray:
    """Returns the variance of a sum of so many AR(1) values over its limit for many (exact)."""
    share: np.ndarray = 1 - 2 * phi * (1 - phi**count) / (count * (1 - phi**2))
    return share


def _degrees(phi: np.ndarray, count: int) -> np.ndarray:
    """Returns degrees of freedom: those of ``B`` squares, less for the noise of ``phi``.

    ``2 / degrees`` is the squared coefficient of variation of a variance (Satterthwaite 1946,
    Biometrics Bulletin 2(6)): ``2 / B`` of the squares, and of ``1 / (1 - phi)^2`` to first order
    ``4 var(phi) / (1 - phi)^2`` with ``var(phi) = (1 - phi^2) / T`` (Bartlett 1946, Supplement to
    the Journal of the Royal Statistical Society 8(1)).
    """
    degrees: np.ndarray = 1 / (1 / coefficients_for(count) + 2 * (1 + phi) / (count * (1 - phi)))
    return degrees


def _basis(count: int, coefficients: int) -> np.ndarray:
    """Returns cosines that are orthonormal and orthogonal to constants, ``[count, B]``."""
    time = (np.arange(count) + 0.5) / count
    waves = np.arange(1, coefficients + 1)
    basis: np.ndarray = np.sqrt(2 / count) * np.cos(np.pi * np.outer(time, waves))
    return basis
