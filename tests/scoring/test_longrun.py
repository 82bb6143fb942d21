"""The long-run variance has the closed forms of known processes and a variance's symmetries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins import long_run_by_loops

from zapeval.scoring import longrun
from zapeval.scoring.longrun import FEWEST, coefficients_for, long_run


def autoregression(phi, shape, seed=0):
    """Returns stationary AR(1) columns whose innovations have variance 1."""
    values = np.random.default_rng(seed).standard_normal(shape)
    values[0] /= math.sqrt(1 - phi * phi)
    for index in range(1, len(values)):
        values[index] += phi * values[index - 1]
    return values


def centred(values):
    return values - values.mean(axis=0)


@pytest.mark.parametrize("phi", [0, 0.5, -0.5, 0.9, 0.999])
@pytest.mark.parametrize("count", [FEWEST, 23, 88])
def test_variance_and_degrees_are_those_of_a_plain_loop(phi, count):
    values = centred(autoregression(phi, (count, 3), seed=count))
    found = long_run(values)
    for column in range(3):
        variance, degrees = long_run_by_loops(values[:, column].tolist())
        assert found.variance[column] == pytest.approx(variance, rel=1e-9)
        assert found.degrees[column] == pytest.approx(degrees, rel=1e-12)


@pytest.mark.parametrize(("count", "waves"), [(8, 4), (57, 12), (300, 18)])
def test_cosines_are_orthonormal_and_orthogonal_to_constants(count, waves):
    basis = longrun._basis(count, waves)
    np.testing.assert_allclose(basis.T @ basis, np.eye(waves), atol=1e-12)
    np.testing.assert_allclose(basis.sum(axis=0), 0, atol=1e-12)


def test_coefficients_grow_with_the_power_of_two_thirds():
    assert [coefficients_for(count) for count in (8, 30, 88, 300, 1000)] == [4, 4, 8, 18, 41]


@pytest.mark.parametrize("phi", [0, 0.5, -0.5, 0.9])
def test_variance_tends_to_that_of_an_autoregression(phi):
    count = 40_000
    found = long_run(centred(autoregression(phi, (count, 20)))).variance / count
    # 480 coefficients in each of 20 columns: the mean is within a few percent.
    assert found.mean() == pytest.approx(1 / (1 - phi) ** 2, rel=0.06)


def test_prewhitening_takes_no_process_for_granted():
    # A moving average is no autoregression: (1 + theta)^2.
    noise = np.random.default_rng(0).standard_normal((40_001, 20))
    found = long_run(centred(noise[1:] + 0.8 * noise[:-1])).variance / 40_000
    assert found.mean() == pytest.approx(1.8**2, rel=0.06)


def test_covariance_of_two_columns_is_that_of_their_sums():
    values = centred(autoregression(0.5, (20_000, 2)))
    both = np.column_stack([values[:, 0], values[:, 0] + values[:, 1]])
    found = long_run(both)
    expected = 20_000 * 4 * np.array([[1, 1], [1, 2]])
    np.testing.assert_allclose(found.covariance, expected, rtol=0.2)
    np.testing.assert_allclose(np.diag(found.covariance), found.variance, rtol=1e-12)


@given(
    scale=st.floats(1e-12, 1e12),
    shift=st.floats(-100, 100),
    sign=st.sampled_from([-1, 1]),
    phi=st.sampled_from([0, 0.6, 0.95]),
)
def test_variance_scales_with_the_square_and_forgets_a_shift(scale, shift, sign, phi):
    values = autoregression(phi, (60, 2))
    found = long_run(centred(values))
    moved = long_run(centred(sign * scale * (values + shift)))
    np.testing.assert_allclose(moved.variance, scale**2 * found.variance, rtol=1e-8)
    np.testing.assert_allclose(moved.degrees, found.degrees, rtol=1e-8)


def test_time_may_run_backwards():
    # But for the one value that prewhitening loses at an end.
    values = centred(autoregression(0.5, (5000, 4)))
    found, reverse = long_run(values), long_run(values[::-1])
    np.testing.assert_allclose(reverse.variance, found.variance, rtol=0.05)


def test_columns_do_not_meet():
    values = centred(autoregression(0.5, (40, 3)))
    alone = [long_run(values[:, [column]]) for column in range(3)]
    together = long_run(values)
    np.testing.assert_allclose(together.variance, [a.variance[0] for a in alone], rtol=1e-12)


def test_no_error_has_no_variance():
    found = long_run(np.zeros((20, 1)))
    assert found.variance.tolist() == [0]
    assert np.isfinite(found.degrees).all()


def test_persistent_series_have_fewer_degrees():
    degrees = [long_run(centred(autoregression(phi, (88, 1)))).degrees[0] for phi in (0, 0.6, 0.95)]
    assert degrees == sorted(degrees, reverse=True)
    assert degrees[0] < coefficients_for(88)
