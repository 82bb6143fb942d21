import numpy as np
import pytest

from baselines.timeseries.layers import parameter_count
from baselines.timeseries.time_mix import TimeMix


@pytest.mark.parametrize(("context", "norm", "count"), [(4, False, 260), (256, True, 480_626)])
def test_time_mix_has_the_published_number_of_parameters(published, context, norm, count):
    assert parameter_count(published(TimeMix, context, instance_norm=norm)) == count


@pytest.mark.parametrize("norm", [False, True])
def test_time_mix_twin_by_loops(drawn, dense, seen, norm):
    model = drawn(TimeMix, instance_norm=norm)
    assert len(model.blocks) == 5
    forecast = model(*seen)
    for window, neuron in np.ndindex(3, 7):
        series = seen[0][window, :, neuron].astype(np.float64)
        mean, deviation, scale, shift = 0.0, 1.0, 1.0, 0.0
        if norm:
            mean, deviation = series.mean(), np.sqrt(series.var() + 1e-5)
            scale, shift = float(model.norm.scale[neuron]), float(model.norm.shift[neuron])
        series = (series - mean) / deviation * scale + shift
        for block in model.blocks:
            series = series + np.maximum(dense(block.dense, series), 0)
        expected = (dense(model.head, series) - shift) / scale * deviation + mean
        np.testing.assert_allclose(forecast[window, :, neuron], expected, rtol=1e-4, atol=1e-5)
