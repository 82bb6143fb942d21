import math

import jax.numpy as jnp
import numpy as np
import pytest

from baselines.volumetric.heads import HIGHEST, LOWEST, Histogram, frames_of


def share(histogram, value, bin_number):
    """Returns a bin's share by the error function of the standard library."""
    width = (HIGHEST - LOWEST) / histogram.bins
    deviation = 0.75 * width

    def below(edge):
        return 0.5 * (1 + math.erf((edge - value) / (deviation * math.sqrt(2))))

    edges = [LOWEST + width * n for n in range(histogram.bins + 1)]
    inside = below(edges[-1]) - below(edges[0])
    return (below(edges[bin_number + 1]) - below(edges[bin_number])) / inside


@pytest.mark.parametrize("value", [-0.25, 0.0, 0.31, 1.5])
def test_histograms_are_those_of_a_gaussian_within_the_range(value):
    histogram = Histogram(bins=12)
    found = np.asarray(histogram.of(jnp.full((1,), value)))[0]
    expected = [share(histogram, value, n) for n in range(12)]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert found.sum() == pytest.approx(1, abs=1e-6)


def test_a_value_comes_back_from_its_own_histogram():
    histogram = Histogram(bins=64)
    values = jnp.linspace(-0.15, 1.4, 50)
    back = histogram.mean(jnp.log(histogram.of(values) + 1e-30))
    np.testing.assert_allclose(back, values, atol=2e-3)


def test_values_beyond_the_range_count_as_its_border():
    histogram = Histogram(bins=16)
    found = np.asarray(histogram.of(jnp.array([-9.0, LOWEST, 9.0, HIGHEST])))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[2], found[3])


def test_frames_of_each_head(small):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(2, 3, 4, 5, 8)).astype(np.float32)
    one = frames_of(small(), jnp.asarray(outputs[..., :1]))
    np.testing.assert_array_equal(one[:, 0], outputs[..., 0])
    direct = frames_of(small(head="direct"), jnp.asarray(outputs[..., :5]))
    for step in range(5):
        np.testing.assert_array_equal(direct[:, step], outputs[..., step])
    expected = frames_of(small(head="hl-gauss"), jnp.asarray(outputs))
    weights = np.exp(outputs.astype(np.float64))
    centres = LOWEST + (HIGHEST - LOWEST) * (np.arange(8) + 0.5) / 8
    means = (weights * centres).sum(-1) / weights.sum(-1)
    np.testing.assert_allclose(expected[:, 0], means, atol=1e-6)
