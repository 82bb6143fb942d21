from __future__ import annotations

import numpy as np
import pytest
from contenders import field, keep, moved, noise

from zapeval.reports.comparison import compare
from zapeval.reports.entries import read_entries
from zapeval.reports.skill import wilson

FIELD = field((60, 45, 30), held_out=())


def rows_of(folder, benchmark=FIELD, baseline="base", **errors):
    files = [keep(folder, name, benchmark, values, name=name) for name, values in errors.items()]
    made = compare(read_entries(files), baseline=baseline)
    return {row.entry.name: row for row in made.rows}


def test_a_constant_share_of_the_baseline_has_a_skill_without_doubt(tmp_path):
    base = noise(FIELD, np.random.default_rng(0))
    less = {name: 0.8 * values for name, values in base.items()}
    rows = rows_of(tmp_path, base=base, less=less)
    assert rows["less"].skill.value == pytest.approx(0.2)
    assert rows["less"].skill.low == pytest.approx(0.2)
    assert rows["less"].skill.high == pytest.approx(0.2)
    assert (rows["base"].skill.value, rows["base"].skill.low, rows["base"].skill.high) == (0, 0, 0)


def test_the_skill_interval_covers_the_true_one(tmp_path):
    """Errors independent from window to window; the true skill is 1 - 0.9 / 1."""
    missed, trials = 0, 60
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        base, other = noise(FIELD, rng, level=1, spread=0.5), noise(FIELD, rng, level=0.9)
        skill = rows_of(tmp_path, base=base, other=other)["other"].skill
        missed += not skill.low <= 0.1 <= skill.high
    assert missed / trials < 0.05 + 3 * (0.05 * 0.95 / trials) ** 0.5


def test_wins_count_series_and_steps_and_half_of_ties(tmp_path):
    base = noise(FIELD, np.random.default_rng(0))
    mixed = {name: values.copy() for name, values in base.items()}
    mixed["series 0"][:, :2] -= 0.5
    mixed["series 1"][:, 0] -= 0.5
    mixed["series 2"][:] += 0.5
    rows = rows_of(tmp_path, base=base, mixed=mixed, best=moved(base, -0.1), same=base)
    # Three won, five tied, four lost, of twelve.
    assert rows["mixed"].wins.value == pytest.approx((3 + 0.5 * 5) / 12)
    assert (rows["best"].wins.value, rows["best"].wins.low, rows["best"].wins.high) == (1, 1, 1)
    assert (rows["same"].wins.value, rows["same"].wins.low, rows["same"].wins.high) == (0.5,) * 3
    assert rows["base"].wins is None


def test_wins_of_noise_are_in_doubt(tmp_path):
    rng = np.random.default_rng(0)
    wins = rows_of(tmp_path, base=noise(FIELD, rng), other=noise(FIELD, rng))["other"].wins
    assert wins.low < 0.4
    assert wins.high > 0.6
    assert wins.low <= wins.value <= wins.high


def test_wilson_agrees_with_a_published_example():
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81 of 263 and 0 of 20."""
    found = wilson(81 / 263, 263)
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    found = wilson(0.0, 20)
    assert (found.low, found.high) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_sampled_series_have_wilson_intervals_from_five_on(tmp_path):
    rng = np.random.default_rng(0)
    for count, known in ((4, False), (5, True)):
        worms = field((9,) * count, held_out=(), sampled="series", protocol="next-step")
        base = {one.name: rng.uniform(1, 2, (9, 1)) for one in worms.series}
        row = rows_of(tmp_path / str(count), worms, base=base, other=moved(base, -0.5))["other"]
        assert row.wins.value == 1
        assert (row.wins.low == wilson(1, 5).low) if known else row.wins.low is None


def test_without_baseline_there_is_no_skill(tmp_path):
    base = noise(FIELD, np.random.default_rng(0))
    rows = rows_of(tmp_path, baseline=None, a=base, b=moved(base, 1))
    assert all(row.skill is row.wins is None for row in rows.values())


def test_a_baseline_without_error_gives_no_skill(tmp_path):
    zero = {one.name: np.zeros((one.windows, FIELD.steps)) for one in FIELD.series}
    rows = rows_of(tmp_path, base=zero, other=moved(zero, 1))
    assert rows["other"].skill is None
    assert rows["other"].wins.value == 0
