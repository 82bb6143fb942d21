from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fewworms import FRAMES, WORMS, training_on

from baselines.worms.scaling.matching import width_for
from baselines.worms.scaling.pool import WIDTHS, train_steps
from baselines.worms.scaling.pool import WORMS as SIZES
from baselines.worms.shell import parameter_count
from baselines.worms.windows import WormBatches
from zapeval.benchmarks.celegans.tasks import WINDOWS, starts_in
from zapeval.errors import InvalidInput, UsageError


def test_worms_are_drawn_without_replacement_by_size_and_seed_alone(pool):
    assert pool.drawn(4, 1) == pool.drawn(4, 1)
    every = {pool.drawn(3, seed) for seed in range(50)}
    assert len(every) > 10
    for drawn in every:
        assert len(set(drawn)) == 3
        assert list(drawn) == sorted(drawn)
    assert pool.drawn(WORMS, 5) == tuple(range(WORMS))
    shares = np.bincount(np.concatenate([pool.drawn(2, s) for s in range(600)]), minlength=WORMS)
    np.testing.assert_allclose(shares, 1200 / WORMS, rtol=0.3)


def test_more_worms_than_there_are_is_refused(pool):
    with pytest.raises(InvalidInput, match=r"celegans@1: 7 worms .* there are 6"):
        pool.drawn(7, 0)


def test_the_sizes_for_200_worms_are_even_in_their_logarithm(pool):
    assert tuple(int(size) for size in np.geomspace(10, 199, 20) + 1e-9) == SIZES
    assert len(WIDTHS) == 20
    assert pool.sizes == (6,)
    many = replace(pool, training=replace(pool.training, series=pool.training.series * 10))
    assert (many.sizes[0], many.sizes[-1]) == (10, 60)
    ratios = np.diff(np.log(many.sizes))
    assert ratios.max() < 0.2


def test_a_generation_can_not_be_scaled(pool):
    with pytest.raises(UsageError, match="has the protocol 'horizon'"):
        replace(pool, benchmark=replace(pool.benchmark, protocol="horizon", max_context=180))


@pytest.mark.parametrize("each", [2, WINDOWS])
def test_train_time_steps_are_the_different_frames_under_the_windows(store, tmp_path, each):
    batches = WormBatches(training_on(store, tmp_path), 8, each)
    covered = np.zeros(FRAMES // 2, bool)
    for start in starts_in(FRAMES // 2, 181, each):
        covered[start : start + 181] = True
    assert train_steps(batches) == WORMS * covered.sum()
    assert train_steps(batches.part((1, 4), seed=0)) == 2 * covered.sum()
    assert batches.part((1, 4), seed=0).windows == 2 * each


def test_a_part_learns_from_its_worms_and_is_chosen_by_all(store, tmp_path):
    batches = WormBatches(training_on(store, tmp_path), 100, 2)
    part = batches.part((4, 1), seed=3)
    assert part.chosen_by is batches.chosen_by
    batch = part.train(0)
    kept = np.asarray(batch["weight"]).any(axis=0)
    masks = [batches.worms[number].mask for number in (1, 4)]
    np.testing.assert_array_equal(kept, masks[0] | masks[1])
    whole = [np.asarray(one["frames"]) for one in batches.validation()]
    same = [np.asarray(one["frames"]) for one in part.validation()]
    np.testing.assert_array_equal(np.concatenate(whole), np.concatenate(same))


@pytest.mark.parametrize("core", ["feedforward", "ctrnn", "lstm", "transformer", "attention"])
def test_the_width_for_a_number_of_parameters_comes_nearest(core):
    found = width_for(core, 60_000, 302)
    off = [abs(parameter_count(core, found + by, 302).live - 60_000) for by in (-1, 0, 1)]
    assert min(off) == off[1]
    assert off[1] < 1_000
