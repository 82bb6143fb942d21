"""Influences on the correlation: plain loops, the jackknife, and the interval made of them."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from builders import CONTEXT, StoreLayout, horizon_case, noisy_predictions, targets_of, worms_case

from zapeval.scoring.score import score
from zapeval.scoring.tally import read_window_sums, write_window_sums
from zapeval.scoring.uncertainty import contributions, deviations, spreads_of

NAN = np.nan


def influences_by_loops(p, t):
    """Returns the mean correlation and each window's influence; arrays ``[windows, neurons]``."""
    windows, neurons = p.shape
    total, rs = [0.0] * windows, []
    for n in range(neurons):
        a, b = p[:, n].astype(float).tolist(), t[:, n].astype(float).tolist()
        za, zb = standardised(a), standardised(b)
        if za is None or zb is None:
            continue
        r = math.fsum(x * y for x, y in zip(za, zb, strict=True)) / windows
        rs.append(r)
        for i in range(windows):
            total[i] += za[i] * zb[i] - r / 2 * (za[i] ** 2 + zb[i] ** 2)
    if not rs:
        return None, None
    return math.fsum(rs) / len(rs), [one / len(rs) for one in total]


def standardised(values):
    mean = math.fsum(values) / len(values)
    variance = math.fsum((x - mean) ** 2 for x in values) / len(values)
    return [(x - mean) / math.sqrt(variance) for x in values] if variance else None


def check(case, tally, *, left_out=()):
    for series in case.benchmark.series:
        truth, guess = targets_of(case, series), case.values[series.array]
        neurons = truth.shape[2]
        mask = series.mask or (True,) * neurons
        kept = [n for n in range(neurons) if mask[n] and n not in left_out]
        for step in range(1, case.benchmark.horizon + 1):
            cell = tally.cell(series.name, step)
            mean, expected = influences_by_loops(
                guess[:, step - 1][:, kept], truth[:, step - 1][:, kept]
            )
            if mean is None:
                assert cell.influence is None
                continue
            assert cell.correlation == pytest.approx(mean, rel=1e-9)
            np.testing.assert_allclose(cell.influence, expected, rtol=0, atol=1e-9)


CASES = {
    "plain": lambda: horizon_case(windows=(9, 17, 33)),
    "one neuron": lambda: horizon_case(neurons=1, seed=3),
    "mean 1, sd 1e-4": lambda: horizon_case(mean=1, spread=1e-4, seed=4),
    "mean -1e4, sd 1": lambda: horizon_case(mean=-1e4, spread=1, seed=6),
    "mean 0, sd 1e-20": lambda: horizon_case(mean=0, spread=1e-20, seed=7),
    "mean 0, sd 1e18": lambda: horizon_case(mean=0, spread=1e18, seed=8),
    "masked": lambda: horizon_case(mask=(True, False, True, True, False, True, True), seed=9),
}
LAYOUTS = {
    "public": StoreLayout(),
    "small chunks": StoreLayout(chunk=(4, 2, 3)),
    "whole": StoreLayout(chunk=(99, 99, 99)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CASES)
def test_influences_are_those_of_plain_loops(tmp_path, name, layout):
    case = CASES[name]()
    predictions = case.predictions(tmp_path / "predictions", LAYOUTS[layout])
    recordings = case.recordings(tmp_path)
    card, tally = score(predictions, case.benchmark, recordings, context=CONTEXT, intervals="all")
    check(case, tally)
    plain, _ = score(predictions, case.benchmark, recordings, context=CONTEXT)
    assert [s.value for s in card.scores] == [s.value for s in plain.scores]
    assert card.predictions == plain.predictions


def test_influences_over_many_chunks_of_neurons_are_those_of_plain_loops(tmp_path):
    case = horizon_case(neurons=8197, horizon=2, windows=(3, 9, 35), mean=1, spread=1e-4)
    predictions = case.ours(tmp_path / "predictions")
    assert predictions.arrays["test_condition_0"].chunk[2] < 8197
    _, tally = score(
        predictions, case.benchmark, case.recordings(tmp_path), context=CONTEXT, intervals="all"
    )
    check(case, tally)


def test_constant_neurons_move_nothing(tmp_path):
    case = horizon_case()
    values = case.values["test_condition_0"].copy()
    values[:, :, 2] = 0.5
    values[:, 3] = 0.25
    case = case.with_values(test_condition_0=values)
    _, tally = case.score(tmp_path, intervals="all")
    assert tally.cell("condition 0", 1).undefined == 1
    assert tally.cell("condition 0", 4).influence is None
    check(case, tally)


@pytest.mark.parametrize("missing", ["strict", "official"])
def test_missing_neurons_move_nothing(tmp_path, missing):
    case = horizon_case()
    for name, values in case.values.items():
        gappy = values.copy()
        gappy[:, :, 3] = NAN
        case = case.with_values(**{name: gappy})
    _, tally = case.score(tmp_path, intervals="all", missing=missing)
    check(case, tally, left_out={3})


def test_influences_add_up_to_nothing(tmp_path):
    _, tally = horizon_case().score(tmp_path, intervals="all")
    for cell in tally:
        assert cell.influence.sum() == pytest.approx(0, abs=1e-12)


def test_influence_is_what_leaving_a_window_out_takes_away(tmp_path):
    case = horizon_case(windows=(400, 4, 4), horizon=1, neurons=3)
    _, tally = case.score(tmp_path, intervals="all")
    series = case.benchmark.series[0]
    p, t = case.values[series.array][:, 0], targets_of(case, series)[:, 0]
    whole, _ = influences_by_loops(p, t)
    rest = [
        influences_by_loops(np.delete(p, window, axis=0), np.delete(t, window, axis=0))[0]
        for window in range(0, 400, 40)
    ]
    jackknife = 399 * (whole - np.array(rest))
    found = tally.cell("condition 0", 1).influence[::40]
    np.testing.assert_allclose(found, jackknife, rtol=0.05, atol=0.01)


def test_interval_of_independent_windows_is_that_of_the_bootstrap(tmp_path):
    rng = np.random.default_rng(0)
    spreads, draws = [], []
    for seed in range(12):
        case = horizon_case(windows=(300, 1, 1), horizon=1, neurons=4, seed=seed)
        case = noisy_predictions(case, rng, 0.3)
        _, tally = case.score(tmp_path / str(seed), intervals="all")
        series = case.benchmark.series[0]
        values = contributions(tally, series.name, ("correlation",))
        spreads += [s.variance for s in spreads_of(deviations(series.origins, values, {1: 1.0}))]
        p, t = case.values[series.array][:, 0], targets_of(case, series)[:, 0]
        means = []
        for _ in range(300):
            chosen = rng.integers(0, 300, 300)
            r = [np.corrcoef(p[chosen, n], t[chosen, n])[0, 1] for n in range(4)]
            means.append(np.mean(r))
        draws.append(np.var(means))
    # 18 coefficients in each of 12 trials, 300 draws: within a fifth.
    assert np.mean(spreads) == pytest.approx(np.mean(draws), rel=0.2)


def test_correlations_have_intervals_when_asked_for(tmp_path):
    case = horizon_case(windows=(20, 12, 33))
    card, _ = case.score(tmp_path, intervals="all")
    for one in card.scores:
        assert one.low < one.value < one.high
    assert card.intervals["reason"] is None
    errors, _ = case.score(tmp_path)
    for with_all, without in zip(card.scores, errors.scores, strict=True):
        if without.metric != "correlation":
            assert with_all == without
    assert card.summary == errors.summary


def test_correlation_can_be_the_summary(tmp_path):
    case = horizon_case(windows=(20, 12, 33))
    case = replace(case, benchmark=replace(case.benchmark, primary="correlation"))
    summary = case.score(tmp_path, intervals="all")[0].summary
    assert summary.low < summary.value < summary.high
    card, _ = case.score(tmp_path)
    assert card.summary.low is None
    assert card.intervals["reason"] == "correlations have intervals on request"


@pytest.mark.parametrize("mask", [None, (True, False, True, True, False, True, True)])
def test_influences_are_the_same_bits_for_any_number_of_workers(tmp_path, mask):
    case = horizon_case(windows=(20, 12, 33), mask=mask)
    found = []
    for workers in (1, 3):
        with ThreadPoolExecutor(workers) as pool:
            _, tally = case.score(tmp_path, run=pool.map, intervals="all")
        path = tmp_path / f"{workers}.npz"
        found.append(write_window_sums(tally, case.benchmark, path))
    assert found[0] == found[1]


def test_window_sums_keep_influences(tmp_path):
    case = horizon_case()
    values = case.values["test_condition_0"].copy()
    values[:, 1] = 0.5
    case = case.with_values(test_condition_0=values)
    _, tally = case.score(tmp_path, intervals="all")
    path = tmp_path / "a.npz"
    sums = read_window_sums(path, write_window_sums(tally, case.benchmark, path))
    assert len(sums) == 5 * 3
    found = sums["condition 0/influence"]
    assert np.isnan(found[:, 1]).all()
    for step in (1, 3, 4, 5):
        assert (found[:, step - 1] == tally.cell("condition 0", step).influence).all()


def test_where_animals_are_sampled_windows_are_not_read_again(tmp_path):
    _, tally = worms_case().score(tmp_path, intervals="all")
    assert {cell.influence for cell in tally} == {None}
