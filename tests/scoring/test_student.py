"""Student's t against scipy, an independent library."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from zapeval.scoring.student import critical, two_sided

DEGREES = (0.3, 0.6, 1, 1.5, 2, 3.3, 5, 8, 30, 200, 1e4)


@pytest.mark.parametrize("degrees", DEGREES)
def test_tails_are_those_of_scipy(degrees):
    for t in (0, 1e-9, 0.1, 1, 2, 5, 30, 1e3):
        expected = 2 * stats.t.sf(t, degrees)
        assert two_sided(t, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-13)
        assert two_sided(-t, degrees) == two_sided(t, degrees)


@pytest.mark.parametrize("degrees", DEGREES)
def test_critical_values_are_those_of_scipy(degrees):
    for level in (0.5, 0.9, 0.95, 0.99, 0.999999):
        expected = stats.t.isf((1 - level) / 2, degrees)
        assert critical(degrees, level) == pytest.approx(expected, rel=1e-9)


def test_many_degrees_are_the_normal_distribution():
    for degrees in (1e6, 1e9):
        assert critical(degrees) == pytest.approx(stats.norm.isf(0.025), rel=2e-6)


def test_one_degree_is_cauchys_distribution():
    assert critical(1, 0.5) == pytest.approx(1, rel=1e-12)
    assert two_sided(1, 1) == pytest.approx(0.5, rel=1e-12)


def test_nothing_lies_beyond_infinity():
    assert two_sided(math.inf, 3) == 0
    assert two_sided(-math.inf, 3) == 0
