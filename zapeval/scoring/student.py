"""Student's t: tail probabilities and critical values, for any degrees of freedom.

Through the regularised incomplete beta function by its continued fraction (Abramowitz & Stegun
1964, 26.5.8 and 26.7.1), so that the scorer needs no statistics library.
"""

from __future__ import annotations

import math
from statistics import NormalDist

_TINY = 1e-300
_PRECISION = 1e-12
_MOST = 100


def two_sided(t: float, degrees: float) -> float:
    """Returns the probability that ``|T|`` exceeds ``|t|``."""
    if math.isinf(t):
        return 0.0
    return _incomplete_beta(degrees / 2, 0.5, degrees / (degrees + t * t))


def critical(degrees: float, level: float = 0.95) -> float:
    """Returns the ``t`` within which ``|T|`` stays with a probability of level."""
    beyond = 1 - level
    z = NormalDist().inv_cdf((1 + level) / 2)
    # Newton's method from two terms of the expansion in 1 / degrees (26.7.5). They lie below, and
    # the tail is convex, so that it cannot overshoot.
    t = z + (z**3 + z) / (4 * degrees) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * degrees**2)
    for _ in range(_MOST):
        step = (two_sided(t, degrees) - beyond) / (2 * _density(t, degrees))
        t += step
        if abs(step) <= _PRECISION * t:
            break
    return t


def _density(t: float, degrees: float) -> float:
    log = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2)
    log -= (degrees + 1) / 2 * math.log1p(t * t / degrees)
    return math.exp(log) / math.sqrt(degrees * math.pi)


def _incomplete_beta(a: float, b: float, x: float) -> float:
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    # The fraction converges fast on this side of the mean only.
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    log = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log + a * math.log(x) + b * math.log1p(-x)) / a
    return front * _fraction(a, b, x)


def _fraction(a: float, b: float, x: float) -> float:
    """Returns the continued fraction of the incomplete beta function, by Lentz's method."""
    c, d = 1.0, _far(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 1000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = _far(1 + term * d)
            c = 1 + term / c
            c = c if abs(c) > _TINY else _TINY
            value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value


def _far(value: float) -> float:
    """Returns the reciprocal, kept away from a division by zero."""
    return 1 / (value if abs(value) > _TINY else _TINY)
