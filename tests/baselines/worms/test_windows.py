from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from trainings import recordings_of

from baselines.worms.forecasters import masked_squares
from baselines.worms.windows import WormBatches
from zapeval.benchmarks.celegans.tasks import (
    GENERATION,
    NEXT_STEP,
    THREE_WAY,
    Entry,
    benchmark_over,
    origins_in,
    parts_of,
)
from zapeval.errors import InvalidInput
from zapeval.forecasting.training import training_of

FRAMES = (760, 801, 905)
NEURONS = 302


def masks():
    rng = np.random.default_rng(0)
    return [rng.permutation(NEURONS) < labelled for labelled in (20, 3, 50)]


def worms():
    """Returns activity of three worms, which tells worm, frame and neuron; NaN is unlabelled."""
    made = {}
    for number, (frames, mask) in enumerate(zip(FRAMES, masks(), strict=True)):
        values = np.random.default_rng(number).normal(size=(frames, NEURONS)).astype(np.float32)
        values[:, ~mask] = np.nan
        made[f"worm{number}"] = values
    return made


def training(folder: Path, task=NEXT_STEP, *, leaks=True, seed=0, activity=None):
    entries = [
        Entry(key=f"worm{n}", name=f"worm {n}", source="", frames=frames, mask=tuple(mask.tolist()))
        for n, (frames, mask) in enumerate(zip(FRAMES, masks(), strict=True))
    ]
    given = {"context": 180, "seed": seed, "folder": folder, "record": folder, "leaks": leaks}
    recordings = recordings_of(folder, activity or worms())
    return training_of(benchmark_over(task, entries), recordings, **given)


def windows_at(origins, number, length=181):
    activity = worms()[f"worm{number}"]
    return np.stack([activity[origin - 1 : origin - 1 + length] for origin in origins])


def seen(batches):
    """Returns all windows of some batches that count, and the weights of their neurons."""
    frames, weight = [], []
    for batch in batches:
        counts = np.asarray(batch["weight"]).any(axis=1)
        frames.append(np.asarray(batch["frames"])[counts])
        weight.append(np.asarray(batch["weight"])[counts])
    return np.concatenate(frames), np.concatenate(weight)


@pytest.mark.parametrize("task", [NEXT_STEP, THREE_WAY])
def test_windows_are_the_32_of_the_paper_in_each_half(tmp_path, task):
    batches = WormBatches(training(tmp_path, task, leaks=task is NEXT_STEP), 40)
    frames, weight = seen(batches.validation())
    assert frames.shape == (96, 181, NEURONS)
    trained, _ = seen(batches.train(step) for step in range(batches.steps))
    order = np.lexsort(trained[:, 0, :].T)
    for part, found in ((1, frames), (0, trained[order])):
        expected = np.concatenate(
            [
                windows_at(origins_in(task, parts_of(task.split, count)[part]), number)
                for number, count in enumerate(FRAMES)
            ]
        )
        expected = np.nan_to_num(expected)
        if part == 0:
            expected = expected[np.lexsort(expected[:, 0, :].T)]
        np.testing.assert_array_equal(found, expected)
    for number, mask in enumerate(masks()):
        expected = np.broadcast_to(mask / mask.sum(), (32, NEURONS))
        np.testing.assert_allclose(weight[32 * number :][:32], expected, rtol=1e-6)


def test_what_it_is_chosen_by_as_published_is_what_it_is_tested_on(tmp_path):
    given = training(tmp_path)
    frames, _ = seen(WormBatches(given, 128).validation())
    tested = [
        windows_at(series._series.origins, number) for number, series in enumerate(given.series)
    ]
    np.testing.assert_array_equal(frames, np.nan_to_num(np.concatenate(tested)))


def test_without_untested_frames_to_choose_by_it_says_what_to_do(tmp_path):
    with pytest.raises(InvalidInput, match=r"celegans@1: every frame .*--set published=true"):
        WormBatches(training(tmp_path, leaks=False), 128)


def test_windows_of_a_generation_reach_over_the_whole_half(tmp_path):
    batches = WormBatches(training(tmp_path, GENERATION), 96)
    (batch,) = (batches.train(0),)
    frames = np.asarray(batch["frames"])
    owner = [int((row > 0).sum()) for row in np.asarray(batch["weight"])]
    for number, labelled in enumerate((20, 3, 50)):
        activity = np.nan_to_num(worms()[f"worm{number}"])
        first = activity[: FRAMES[number] // 2, :]
        mine = frames[np.equal(owner, labelled)]
        starts = sorted(int(np.flatnonzero((first == window[0]).all(axis=1))[0]) for window in mine)
        assert (starts[0], starts[-1], len(starts)) == (0, len(first) - 181, 32)
        assert max(np.diff(starts)) < 16
        for window in mine:
            start = int(np.flatnonzero((first == window[0]).all(axis=1))[0])
            np.testing.assert_array_equal(window, first[start : start + 181])


def test_a_generation_is_chosen_by_the_frames_between_the_halves_that_nobody_is_tested_on(tmp_path):
    frames, _ = seen(WormBatches(training(tmp_path, GENERATION, leaks=False), 96).validation())
    for number, count in enumerate(FRAMES):
        half = count - count // 2
        expected = np.nan_to_num(windows_at([half] * 32, number))
        np.testing.assert_array_equal(frames[32 * number :][:32], expected)


def test_an_epoch_shows_each_window_once_and_the_next_in_another_order(tmp_path):
    batches = WormBatches(training(tmp_path), 40)
    assert (batches.windows, batches.steps) == (96, 3)
    epochs = [[batches.train(step) for step in range(a, a + 3)] for a in (0, 3)]
    both = [seen(epoch)[0][:, 0] for epoch in epochs]
    assert not np.array_equal(both[0], both[1])
    for column in zip(*(rows[np.lexsort(rows.T)] for rows in both), strict=True):
        np.testing.assert_array_equal(*column)
    assert [int(np.asarray(batch["weight"]).any(axis=1).sum()) for batch in epochs[0]] == [
        40,
        40,
        16,
    ]


def test_a_batch_hangs_on_seed_and_step_alone(tmp_path):
    given = [training(tmp_path, seed=seed) for seed in (1, 1, 2)]
    one, same, other = (WormBatches(some, 40).train(4) for some in given)
    for name in ("frames", "weight", "key"):
        np.testing.assert_array_equal(one[name], same[name])
        assert not np.array_equal(one[name], other[name])


def test_the_loss_is_equation_4(tmp_path, drawn):
    from baselines.worms.shell import Shell

    model = Shell(core="linear", neurons=NEURONS, hidden=NEURONS, rngs=nnx.Rngs(0))
    loss = masked_squares(nnx.graphdef(model))
    batches = WormBatches(training(tmp_path), 40)
    totals = [loss(nnx.state(model), batch) for batch in batches.validation()]
    found = sum(float(total) for total, _ in totals) / sum(float(count) for _, count in totals)
    expected = []
    for number, mask in enumerate(masks()):
        origins = origins_in(NEXT_STEP, parts_of("halves", FRAMES[number])[1])
        for window in np.nan_to_num(windows_at(origins, number)):
            ahead = np.asarray(model(window[None, :-1])[0], np.float64)
            total = 0.0
            for neuron in np.flatnonzero(mask):
                total += ((window[1:, neuron] - ahead[:, neuron]) ** 2).sum()
            expected.append(total / (mask.sum() * 180))
    assert found == pytest.approx(np.mean(expected), rel=1e-5)
    changes = [
        np.diff(windows_at(origins_in(NEXT_STEP, parts_of("halves", frames)[1]), n), axis=1)
        for n, frames in enumerate(FRAMES)
    ]
    naive = np.mean([np.nanmean(np.square(change)) for change in changes])
    assert batches.naive == pytest.approx(naive, rel=1e-5)


def test_a_value_that_is_not_finite_is_named(tmp_path):
    activity = worms()
    activity["worm1"][100, np.flatnonzero(masks()[1])[0]] = np.inf
    with pytest.raises(InvalidInput, match=r"worm 1: .* not finite in neurons that are scored"):
        WormBatches(training(tmp_path, activity=activity), 40)
