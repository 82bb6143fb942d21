from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapeval.reports.evidence import between
from zapeval.reports.pairs import contrasts
from zapeval.reports.ranks import holm, ranking_of, ranks_of, tie_groups
from zapeval.scoring.student import two_sided
from zapeval.scoring.uncertainty import Spread

PAIRS = [(0, 1), (0, 2), (1, 2)]


def test_equal_scores_have_equal_rank():
    assert ranks_of([0.3, 0.1, 0.3, 0.2]) == (3, 1, 3, 2)


@given(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=8), st.randoms())
def test_ranks_do_not_depend_on_the_order(values, random):
    order = list(range(len(values)))
    random.shuffle(order)
    shuffled = ranks_of([values[i] for i in order])
    assert [ranks_of(values)[i] for i in order] == list(shuffled)


def test_holm_gives_what_was_computed_by_hand():
    # Sorted: .005 x 5, .01 x 4, .02 x 3, .03 x 2, .04 x 1, each at least the one before.
    given = [0.02, 0.005, 0.04, 0.01, 0.03]
    assert holm(given) == pytest.approx((0.06, 0.025, 0.06, 0.04, 0.06))
    assert holm([0.6, 0.9]) == (1.0, 1.0)
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_rejects_as_its_steps_do(chances):
    """The definition: go up the sorted p-values, and stop at the first above level / left."""
    for level in (0.01, 0.05, 0.3):
        rejected: set[int] = set()
        for done, index in enumerate(sorted(range(len(chances)), key=lambda i: chances[i])):
            if chances[index] * (len(chances) - done) > level:
                break
            rejected.add(index)
        assert {i for i, p in enumerate(holm(chances)) if p <= level} == rejected


def test_tie_groups_hold_what_the_best_can_not_be_told_from():
    values = [1.0, 1.1, 1.2, 1.3]
    separable = np.zeros((4, 4), bool)
    # 1.0 and 1.1 tie with each other; 1.2 ties with 1.1 and not with the best.
    for first, second in ((0, 2), (0, 3), (1, 3)):
        separable[first, second] = separable[second, first] = True
    assert tie_groups(values, separable) == (1, 1, 2, 2)
    separable[2, 3] = separable[3, 2] = True
    assert tie_groups(values, separable) == (1, 1, 2, 3)


def test_an_entry_behind_a_separated_one_may_still_tie_with_the_best():
    separable = np.zeros((3, 3), bool)
    separable[0, 1] = separable[1, 0] = True
    assert tie_groups([1.0, 1.1, 1.2], separable) == (1, 2, 1)


def test_equally_good_entries_open_a_group_together_in_any_order():
    separable = np.zeros((3, 3), bool)
    separable[1, 2] = separable[2, 1] = True
    assert tie_groups([1.0, 1.0, 1.5], separable) == (1, 1, 1)
    turned = separable[::-1, ::-1]
    assert tie_groups([1.5, 1.0, 1.0], turned) == (1, 1, 1)


def intervals_of(samples):
    """Returns rank intervals of columns whose rows are independent, ``[rows, entries]``."""
    count, entries = samples.shape
    pairs = [(i, j) for i in range(entries) for j in range(i + 1, entries)]
    part = (samples - samples.mean(axis=0)) @ contrasts(entries, pairs) / count
    run = between(part)
    values, tests = samples.mean(axis=0), []
    for (i, j), variance in zip(pairs, run.variance, strict=True):
        spread = Spread(variance=float(variance), degrees=count - 1)
        tests.append((spread, two_sided((values[i] - values[j]) / variance**0.5, count - 1)))
    return ranking_of(list(values), pairs, tests, [run], [1.0]).intervals


def test_rank_intervals_cover_true_ranks_where_some_entries_tie():
    """Three equal entries, one worse: all intervals at once may fail in few trials only."""
    rng = np.random.default_rng(3)
    truth, trials, missed = np.array([0.0, 0.0, 0.0, 0.6]), 200, np.zeros(4)
    for _ in range(trials):
        shared = rng.normal(size=(30, 1))
        found = intervals_of(truth + shared + rng.normal(size=(30, 4)))
        for entry, (lowest, highest) in enumerate([(1, 1), (1, 1), (1, 1), (4, 4)]):
            missed[entry] += not (found[entry].low <= lowest and highest <= found[entry].high)
    # 5 % and three standard errors of a share of 200.
    assert (missed / trials < 0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5).all()


def test_rank_intervals_are_points_where_entries_are_far_apart():
    rng = np.random.default_rng(0)
    samples = np.array([3.0, 1.0, 2.0]) + 0.01 * rng.normal(size=(30, 3))
    assert [(r.low, r.high) for r in intervals_of(samples)] == [(3, 3), (1, 1), (2, 2)]


def test_rank_intervals_of_two_follow_the_paired_t_test():
    """Alone, a difference is tested at 5 %."""
    rng = np.random.default_rng(1)
    base = rng.normal(size=(20, 2))
    base -= base.mean(axis=0)
    error = np.std(base[:, 1] - base[:, 0], ddof=1) / 20**0.5
    for shift, high in ((2.0, 2), (2.2, 1)):  # the critical value of 19 degrees is 2.093
        found = intervals_of(base + np.array([0.0, shift * error]))
        assert (found[0].low, found[0].high) == (1, high)


def test_rank_intervals_are_the_same_each_time():
    samples = np.random.default_rng(5).normal(size=(12, 5))
    assert intervals_of(samples) == intervals_of(samples)
