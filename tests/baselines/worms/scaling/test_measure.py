from __future__ import annotations

import jax
import numpy as np
import pytest
from fewworms import FRAMES, LABELLED, WORMS, training_on

from baselines.worms.forecasters import WormLinear
from baselines.worms.scaling.measure import error_of, generation_of, losses_of
from zapeval.benchmarks.celegans.recipes import Celegans


def still(scale):
    """Returns parameters of the linear model that hand on the last frame, times a number."""

    def one(path, leaf):
        if leaf.ndim < 2:
            return np.zeros_like(leaf)
        first = "embedding" in jax.tree_util.keystr(path)
        return np.eye(len(leaf), dtype=np.float32) * (scale if first else 1)

    return lambda params: jax.tree_util.tree_map_with_path(one, params)


@pytest.fixture
def start(store, tmp_path):
    made = WormLinear(windows=2, batch=5, published=True)
    return made.start(made.batches(training_on(store, tmp_path)), seed=0)


def test_a_model_that_hands_on_the_last_frame_has_the_naive_loss_in_every_source(start, pool):
    found = losses_of(error_of(start), still(1)(start.params), start, pool.sources)
    assert [(one.source, one.worms) for one in found] == [
        ("", WORMS),
        ("random-walk-small", WORMS // 2),
        ("sines-small", WORMS // 2),
    ]
    for one in found:
        assert one.loss == pytest.approx(one.naive, rel=1e-5)
        # Every worm has as many neurons and windows here.
        assert one.pooled == pytest.approx(one.loss)
        assert one.naive_pooled == pytest.approx(one.naive)
    assert found[0].loss == pytest.approx(np.mean([one.loss for one in found[1:]]))


def test_what_is_generated_of_the_last_frame_stays_it(start, pool, store):
    found = generation_of(still(1)(start.params), start, pool, worms=2)
    assert found.worms == 2
    np.testing.assert_allclose(found.loss, found.naive, rtol=1e-5)
    recordings = Celegans().recordings(str(store))
    half = FRAMES - FRAMES // 2
    expected = []
    for series in pool.benchmark.series[:2]:
        values = recordings[series.recording].activity.read()[half:, np.array(series.mask)]
        expected.append(np.square(values[180:360] - values[179]).mean(axis=1))
    np.testing.assert_allclose(found.naive, np.mean(expected, axis=0), rtol=1e-5)
    assert len(found.traces) == min(4, LABELLED)
    for trace in found.traces:
        np.testing.assert_allclose(trace.generated, trace.seen[-1], atol=2e-5)


def test_what_leaves_the_range_of_numbers_is_none(start, pool):
    found = generation_of(still(3)(start.params), start, pool, worms=1)
    assert found.loss[0] is not None
    assert found.loss[-1] is None
    assert found.traces[0].generated[-1] is None
