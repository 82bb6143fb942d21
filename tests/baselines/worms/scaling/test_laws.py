from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from baselines.worms.scaling.laws import law_of


def points(slope=-0.6, noise=0.1, seeds=3):
    rng = np.random.default_rng(0)
    x = np.repeat([4000.0, 9000.0, 20000.0, 40000.0], seeds)
    return x, 3.0 * x**slope * np.exp(rng.normal(0, noise, len(x)))


def test_slope_and_interval_are_those_of_scipy():
    x, losses = points()
    law = law_of(x, losses)
    found = stats.linregress(np.log(x), np.log(losses))
    reach = stats.t.ppf(0.975, len(x) - 2) * found.stderr
    assert law.slope == pytest.approx(found.slope, rel=1e-9)
    assert law.intercept == pytest.approx(found.intercept, rel=1e-9)
    assert (law.low, law.high) == pytest.approx((found.slope - reach, found.slope + reach))
    assert law.explained == pytest.approx(found.rvalue**2)
    assert law.at(10_000) == pytest.approx(np.exp(found.intercept) * 10_000**found.slope)


def test_an_exact_law_is_found_with_an_interval_of_no_width():
    law = law_of(*points(noise=0.0))
    assert law.slope == pytest.approx(-0.6)
    assert law.high - law.low < 1e-6
    assert law.explained == pytest.approx(1)


def test_the_interval_holds_the_true_slope_as_often_as_it_says():
    rng = np.random.default_rng(1)
    x = np.repeat([1.0, 2.0, 4.0, 8.0], 2)
    held = 0
    for _ in range(2000):
        law = law_of(x, 2 * x**-0.4 * np.exp(rng.normal(0, 0.3, len(x))))
        held += law.low <= -0.4 <= law.high
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_two_points_have_a_slope_and_no_interval_and_one_size_has_neither():
    law = law_of([1.0, 10.0], [1.0, 0.1])
    assert (law.slope, law.low, law.high) == (pytest.approx(-1), None, None)
    assert law_of([5.0, 5.0, 5.0], [1.0, 2.0, 3.0]) is None
    assert law_of([5.0], [1.0]) is None
