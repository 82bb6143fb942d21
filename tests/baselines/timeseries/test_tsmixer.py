import numpy as np
import pytest

from baselines.timeseries.layers import parameter_count
from baselines.timeseries.tsmixer import TSMixer


@pytest.mark.parametrize(
    ("context", "mixed", "norm", "count"),
    [(4, 256, False, 73_586_458), (256, 128, True, 37_148_100)],
)
def test_tsmixer_has_the_published_number_of_parameters(published, context, mixed, norm, count):
    model = published(TSMixer, context, mixed=mixed, instance_norm=norm)
    assert parameter_count(model) == count


@pytest.mark.parametrize("norm", [False, True])
def test_tsmixer_twin_by_loops(drawn, dense, seen, norm):
    model = drawn(TSMixer, mixed=3, instance_norm=norm)
    assert len(model.time) == len(model.neurons) == 2
    forecast = model(*seen)
    for window, context in enumerate(seen[0].astype(np.float64)):
        mean, deviation, scale, shift = 0.0, 1.0, 1.0, 0.0
        if norm:
            mean, deviation = context.mean(axis=0), np.sqrt(context.var(axis=0) + 1e-5)
            scale, shift = np.asarray(model.norm.scale[...]), np.asarray(model.norm.shift[...])
        series = (context - mean) / deviation * scale + shift
        for time, neurons in zip(model.time, model.neurons, strict=True):
            for neuron in range(7):
                series[:, neuron] += np.maximum(dense(time.dense, series[:, neuron]), 0)
            for frame in range(6):
                gathered = np.maximum(dense(neurons.gather, series[frame]), 0)
                series[frame] += dense(neurons.spread, gathered)
        steps = np.stack([dense(model.head, series[:, neuron]) for neuron in range(7)], axis=1)
        expected = (steps - shift) / scale * deviation + mean
        np.testing.assert_allclose(forecast[window], expected, rtol=1e-4, atol=1e-5)


def test_each_neuron_hears_of_the_others(drawn, seen):
    model = drawn(TSMixer, mixed=16)
    other = seen[0].copy()
    other[:, :, 0] += 1
    assert (np.abs(model(other) - model(seen[0])).max(axis=(0, 1)) > 1e-3).all()
