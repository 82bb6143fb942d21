from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zapeval.errors import UsageError
from zapeval.scoring.metrics import METRICS, mean_correlation, mean_error, neuron_correlation


def moments_of(p, t):
    """Returns the moments of samples ``[samples, neurons]``, each side shifted by its first."""
    p, t = p - p[0], t - t[0]
    return np.stack([p.sum(0), t.sum(0), (p * p).sum(0), (t * t).sum(0), (p * t).sum(0)])


def test_mean_error_is_over_windows_and_neurons():
    assert mean_error(np.array([3.0, 5.0]), 4) == 1.0


def test_mean_error_of_nothing_is_none():
    assert mean_error(np.zeros(3), 0) is None


@pytest.mark.parametrize("samples", [2, 3, 50])
@pytest.mark.parametrize("offset", [0, 1, 1000])
def test_correlation_equals_numpys(samples, offset):
    rng = np.random.default_rng(samples)
    p = rng.normal(offset, 1, (samples, 6))
    t = 0.5 * p + rng.normal(0, 1, (samples, 6))
    r = neuron_correlation(moments_of(p, t), samples)
    expected = [np.corrcoef(p[:, n], t[:, n])[0, 1] for n in range(6)]
    np.testing.assert_allclose(r, expected, atol=1e-10)


finite = st.floats(-1e6, 1e6, width=32)


@given(p=arrays(np.float64, (5, 3), elements=finite), t=arrays(np.float64, (5, 3), elements=finite))
def test_correlation_is_within_one_or_undefined_where_a_side_is_constant(p, t):
    r = neuron_correlation(moments_of(p, t), 5)
    varies = (np.ptp(p, axis=0) > 0) & (np.ptp(t, axis=0) > 0)
    assert (np.isnan(r) == ~varies).all()
    assert (np.abs(r[varies]) <= 1).all()


def test_one_sample_has_no_correlation():
    r = neuron_correlation(moments_of(np.ones((1, 2)), np.ones((1, 2))), 1)
    assert np.isnan(r).all()


def test_no_samples_are_refused():
    with pytest.raises(UsageError, match="0 samples"):
        neuron_correlation(np.zeros((5, 2)), 0)


def test_mean_correlation_leaves_the_undefined_out_and_counts_them():
    assert mean_correlation(np.array([0.5, np.nan, 0.25, np.nan])) == (0.375, 2, 2)


@pytest.mark.parametrize("neurons", [0, 3])
def test_mean_correlation_of_none_defined_is_none(neurons):
    assert mean_correlation(np.full(neurons, np.nan)) == (None, 0, neurons)


def test_metrics_are_those_of_the_scorecard():
    assert METRICS == ("mae", "mse", "correlation")
