from __future__ import annotations

import numpy as np
import pytest
from learning import CONTEXT, HORIZON, NEURONS, activity, training

from baselines.batches import WindowBatches, ahead
from zapeval.errors import InvalidInput


def drawn(batch):
    """Returns the origin of each window of a batch, found again in the recording."""
    frames = activity()
    found = []
    for context, targets in zip(batch["activity"], batch["targets"], strict=True):
        starts = [
            start
            for start in range(len(frames) - CONTEXT)
            if np.array_equal(frames[start : start + CONTEXT], context)
        ]
        assert len(starts) == 1
        origin = starts[0] + CONTEXT
        np.testing.assert_array_equal(frames[origin : origin + HORIZON], targets)
        found.append(origin)
    return found


def test_a_batch_hangs_on_seed_and_step_alone(tmp_path):
    first = WindowBatches(training(tmp_path / "a", seed=3), 8)
    second = WindowBatches(training(tmp_path / "b", seed=3), 8)
    other = WindowBatches(training(tmp_path / "c", seed=4), 8)
    second.train(0)
    for name, values in first.train(17).items():
        np.testing.assert_array_equal(second.train(17)[name], values)
    assert drawn(first.train(17)) != drawn(first.train(18))
    assert drawn(first.train(17)) != drawn(other.train(17))


def test_windows_of_all_series_are_drawn_equally_often(tmp_path):
    given = training(tmp_path)
    batches = WindowBatches(given, 16)
    origins = [origin for step in range(100) for origin in drawn(batches.train(step))]
    every = [origin for series in given.series for origin in series.train_origins]
    assert set(origins) <= set(every)
    counts = np.array([origins.count(origin) for origin in every])
    expected = len(origins) / len(every)
    # Pearson's chi-squared, four standard deviations off its mean at most.
    freedom = len(every) - 1
    assert ((counts - expected) ** 2 / expected).sum() < freedom + 4 * np.sqrt(2 * freedom)


def test_validation_has_every_window_once_and_fills_up_without_weight(tmp_path):
    given = training(tmp_path)
    batches = list(WindowBatches(given, 8).validation())
    counted = []
    for batch in batches:
        kept = np.asarray(batch["weight"])[:, 0, 0] > 0
        counted += drawn({name: np.asarray(values)[kept] for name, values in batch.items()})
    every = [origin for series in given.series for origin in series.validation_origins]
    assert sorted(counted) == sorted(every)
    assert len({batch["targets"].shape for batch in batches}) == 1


def test_masked_neurons_have_no_weight(tmp_path):
    mask = (True, False, True, True, False, True)
    batch = WindowBatches(training(tmp_path, mask=mask), 4).train(0)
    np.testing.assert_array_equal(batch["weight"][:, 0], np.tile(np.float32(mask), (4, 1)))
    assert batch["weight"].shape == (4, 1, NEURONS)


def test_a_benchmark_without_validation_windows_is_refused(tmp_path):
    from dataclasses import replace

    given = training(tmp_path)
    bare = [replace(series, validation_origins=()) for series in given.series]
    with pytest.raises(InvalidInput, match=r"oscillators@1: has no validation window"):
        WindowBatches(replace(given, series=tuple(bare)), 8)


def test_reading_ahead_keeps_the_order_and_passes_errors_on():
    assert list(ahead(lambda step: {"step": step}, 3, 9)) == [{"step": n} for n in range(3, 9)]

    def failing(step):
        if step == 2:
            raise ValueError("no such window")
        return {"step": step}

    batches = ahead(failing, 0, 5)
    assert [next(batches)["step"], next(batches)["step"]] == [0, 1]
    with pytest.raises(ValueError, match="no such window"):
        next(batches)
