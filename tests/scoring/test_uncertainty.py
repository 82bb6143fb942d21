"""Intervals of a scorecard: plain loops over their definitions, and when there are none."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from builders import Case, horizon_case, noisy_predictions, worms_case
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from twins import long_run_by_loops

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.benchmarks.own import read_own
from zapeval.scoring.longrun import FEWEST, long_run
from zapeval.scoring.metrics import range_of
from zapeval.scoring.uncertainty import (
    Spread,
    about_frames,
    contributions,
    deviations,
    mean_spread,
    spread_between,
)

WINDOWS = (20, 12, 33, 15)


def fish_case(**options):
    """Returns four conditions of one fish, the last held out, the first two one group."""
    options = {"groups": ("a", "a", "b", ""), "held_out": (3,), "windows": WINDOWS} | options
    return horizon_case(**options)


def animals_case(count=6, held_out=(), primary="mae", windows=9):
    """Returns as many animals, a recording each, under the protocol ``horizon``."""
    rng = np.random.default_rng(count)
    series = tuple(
        Series(
            name=f"fish {index}",
            array=f"fish_{index}",
            recording=f"fish-{index}",
            origins=tuple(range(4, 4 + windows + index)),
            group="lab" if index < 5 else "",
            held_out=index in held_out,
        )
        for index in range(count)
    )
    frames = windows + count + 8
    benchmark = Benchmark(
        id="animals",
        version=1,
        protocol="horizon",
        context_lengths=(4,),
        max_context=4,
        horizon=3,
        series=series,
        frames=tuple((one.recording, frames) for one in series),
        summary_steps=(1, 3),
        primary=primary,
        sampled="series",
    )
    activity = {one.recording: rng.normal(0, 1, (frames, 5)).astype("f4") for one in series}
    return noisy_predictions(Case(benchmark=benchmark, activity=activity, values={}), rng, 0.5)


def ends(card):
    return {(s.series, s.step, s.metric): (s.low, s.high) for s in card.scores}


def values(card):
    return {(s.series, s.step, s.metric): s.value for s in card.scores}


def expected_ends(value, variance, degrees):
    half = stats.t.isf(0.025, degrees) * math.sqrt(variance)
    return pytest.approx((max(0.0, value - half), value + half), rel=1e-8)


def errors_by_loops(tally, series, step, metric):
    cell = tally.cell(series, step)
    sums = cell.absolute if metric == "mae" else cell.squared
    return [float(one) / cell.counts for one in sums]


def spread_by_loops(errors):
    """Returns variance and degrees of the mean of a list of errors."""
    mean = sum(errors) / len(errors)
    return long_run_by_loops([(one - mean) / len(errors) for one in errors])


def mean_by_loops(parts, weights):
    """Returns variance and degrees of a weighted mean (Satterthwaite)."""
    terms = [(w / sum(weights)) ** 2 * v for (v, _), w in zip(parts, weights, strict=True)]
    below = sum(term**2 / d for term, (_, d) in zip(terms, parts, strict=True))
    return sum(terms), sum(terms) ** 2 / below


# Time is sampled


def test_intervals_of_single_series_are_those_of_plain_loops(tmp_path):
    case = fish_case()
    card, tally = case.score(tmp_path)
    found, value = ends(card), values(card)
    for series in case.benchmark.series:
        for step in range(1, 6):
            for metric in ("mae", "mse"):
                spread = spread_by_loops(errors_by_loops(tally, series.name, step, metric))
                key = series.name, step, metric
                assert found[key] == expected_ends(value[key], *spread)


@pytest.mark.parametrize(
    ("row", "members", "weighted"),
    [
        ("average", (0, 1, 2), False),
        ("average:a", (0, 1), False),
        ("average:b", (2,), False),
        ("pooled", (0, 1, 2), True),
    ],
)
def test_intervals_of_averages_are_those_of_plain_loops(tmp_path, row, members, weighted):
    card, tally = fish_case().score(tmp_path)
    found, value = ends(card), values(card)
    weights = [WINDOWS[index] if weighted else 1 for index in members]
    for step in (1, 5):
        parts = [
            spread_by_loops(errors_by_loops(tally, f"condition {index}", step, "mae"))
            for index in members
        ]
        key = row, step, "mae"
        assert found[key] == expected_ends(value[key], *mean_by_loops(parts, weights))


def test_interval_of_the_summary_is_that_of_plain_loops(tmp_path):
    case = fish_case()
    card, tally = case.score(tmp_path)
    parts = []
    for series in case.benchmark.series[:3]:
        frames = {}
        for step in case.benchmark.summary_steps:
            errors = errors_by_loops(tally, series.name, step, "mae")
            mean = sum(errors) / len(errors)
            for origin, error in zip(series.origins, errors, strict=True):
                frames.setdefault(origin + step - 1, []).append((error - mean) / len(errors) / 2)
        parts.append(long_run_by_loops([sum(frames[frame]) for frame in sorted(frames)]))
    expected = expected_ends(card.summary.value, *mean_by_loops(parts, [1, 1, 1]))
    assert (card.summary.low, card.summary.high) == expected


def test_held_out_series_have_their_own_interval_and_move_no_average(tmp_path):
    case = fish_case()
    card, _ = case.score(tmp_path)
    other, _ = case.with_values(
        test_condition_3=case.values["test_condition_3"] + np.float32(0.5)
    ).score(tmp_path)
    mine, theirs = ends(card), ends(other)
    assert None not in mine["condition 3", 1, "mae"]
    assert mine["condition 3", 1, "mae"] != theirs["condition 3", 1, "mae"]
    assert mine["average", 1, "mae"] == theirs["average", 1, "mae"]
    assert card.summary == other.summary


def test_mean_squared_error_can_be_the_summary(tmp_path):
    case = fish_case()
    case = replace(case, benchmark=replace(case.benchmark, primary="mse"))
    summary = case.score(tmp_path)[0].summary
    assert summary.low < summary.value < summary.high


def test_a_card_says_how_its_intervals_were_made(tmp_path):
    card, _ = fish_case().score(tmp_path)
    assert card.intervals == {
        "level": 0.95,
        "method": "long-run variance, equal-weighted cosine, prewhitened; Student's t",
        "reason": "correlations have intervals on request",
    }
    assert {end for key, of in ends(card).items() if key[2] == "correlation" for end in of} == {
        None
    }


def test_on_request_there_is_no_interval(tmp_path):
    card, _ = fish_case().score(tmp_path, intervals="none")
    assert {end for of in ends(card).values() for end in of} == {None}
    assert (card.summary.low, card.summary.high) == (None, None)
    assert card.intervals == {"level": 0.95, "method": None, "reason": "left out on request"}
    with_them, _ = fish_case().score(tmp_path)
    assert values(card) == values(with_them)


def test_short_series_and_means_over_them_have_none(tmp_path):
    card, _ = fish_case(windows=(20, FEWEST - 1, FEWEST, 15)).score(tmp_path)
    found = ends(card)
    without = {key[0] for key, of in found.items() if key[2] == "mae" and of == (None, None)}
    assert without == {"condition 1", "average", "average:a", "pooled"}
    assert card.summary.low is None
    assert "fewer than 8 windows: condition 1" in card.intervals["reason"]


def test_short_series_that_is_held_out_costs_the_summary_nothing(tmp_path):
    card, _ = fish_case(windows=(20, 12, 33, 2)).score(tmp_path)
    assert card.summary.low is not None
    assert ends(card)["condition 3", 1, "mae"] == (None, None)


def test_equal_windows_count_once(tmp_path):
    case = fish_case()
    first, *others = case.benchmark.series
    again = tuple(origin for origin in first.origins[: FEWEST - 1] for _ in range(3))
    rows = [origin - first.origins[0] for origin in again]
    case = replace(
        case, benchmark=replace(case.benchmark, series=(replace(first, origins=again), *others))
    )
    case = case.with_values(test_condition_0=case.values["test_condition_0"][rows])
    card, _ = case.score(tmp_path)
    assert ends(card)["condition 0", 1, "mae"] == (None, None)
    assert "condition 0" in card.intervals["reason"]


def test_windows_that_are_repeated_make_no_interval_narrower():
    errors = np.random.default_rng(0).random((30, 4, 1))
    origins, weights = np.arange(30), {1: 0.5, 3: 0.5}
    once = deviations(origins.tolist(), errors, weights)
    twice = deviations(np.repeat(origins, 2).tolist(), np.repeat(errors, 2, axis=0), weights)
    np.testing.assert_allclose(twice.variance, once.variance, rtol=1e-12)


def test_undefined_scores_have_none(tmp_path):
    case = fish_case()
    for name, of in case.values.items():
        case = case.with_values(**{name: np.full_like(of, np.nan)})
    card, _ = case.score(tmp_path)
    assert {end for of in ends(card).values() for end in of} == {None}
    assert card.summary.low is None
    assert "undefined scores have none" in card.intervals["reason"]


def test_perfect_forecast_is_certain(tmp_path):
    case = noisy_predictions(fish_case(), np.random.default_rng(0), 0)
    card, _ = case.score(tmp_path)
    assert {end for key, of in ends(card).items() if key[2] != "correlation" for end in of} == {0}
    assert (card.summary.low, card.summary.high) == (0, 0)


@pytest.mark.parametrize("spread", [1e-20, 1e18])
def test_units_move_intervals_with_the_scores(tmp_path, spread):
    plain, _ = fish_case(mean=0, spread=1).score(tmp_path)
    card, _ = fish_case(mean=0, spread=spread).score(tmp_path)
    for name, power in (("mae", 1), ("mse", 2)):
        key = "average", 2, name
        expected = [end * spread**power for end in ends(plain)[key]]
        assert ends(card)[key] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("intervals", ["errors", "all"])
def test_intervals_are_the_same_bits_for_any_number_of_workers(tmp_path, intervals):
    case = fish_case(neurons=40)
    cards = []
    for workers in (1, 2, 5):
        with ThreadPoolExecutor(workers) as pool:
            cards.append(case.score(tmp_path, run=pool.map, intervals=intervals)[0])
    assert len({(card.scores, card.summary) for card in cards}) == 1


# Alignment


@st.composite
def windows_of_steps(draw):
    count = draw(st.integers(1, 12))
    horizon = draw(st.integers(1, 6))
    gaps = draw(st.lists(st.integers(0, 9), min_size=count, max_size=count))
    steps = draw(st.lists(st.integers(1, horizon), min_size=1, unique=True))
    weights = {step: draw(st.integers(1, 9)) for step in steps}
    errors = draw(
        st.lists(st.integers(0, 1000), min_size=count * horizon, max_size=count * horizon)
    )
    total = sum(weights.values())
    return (
        np.cumsum(gaps),
        np.reshape(errors, (count, horizon)),
        {step: Fraction(weight, total) for step, weight in weights.items()},
    )


@given(windows_of_steps())
def test_contributions_in_the_order_of_frames_add_up_to_the_plain_mean(drawn):
    origins, errors, weights = drawn
    floats = {step: float(weight) for step, weight in weights.items()}
    found = about_frames(origins, errors[:, :, None].astype(float), floats)
    frames = {int(o) + step - 1 for o in origins for step in weights}
    assert found.shape == (len(frames), 1)
    assert found.sum() == pytest.approx(0, abs=1e-9)
    # What was taken off as the centre, put back about the same frames, is the plain mean.
    for frame, contribution in zip(sorted(frames), found[:, 0], strict=True):
        expected = Fraction(0)
        for step, weight in weights.items():
            mean = Fraction(int(errors[:, step - 1].sum()), len(errors))
            for window in np.flatnonzero(origins + step - 1 == frame):
                deviation = int(errors[window, step - 1]) - mean
                expected += weight * deviation / len(errors)
        assert contribution == pytest.approx(float(expected), abs=1e-9)


def test_one_step_is_in_the_order_of_its_windows():
    errors = np.random.default_rng(0).random((9, 4, 2))
    found = about_frames(np.arange(9) * 3, errors, {2: 1.0})
    expected = (errors[:, 1] - errors[:, 1].mean(axis=0)) / 9
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_errors_of_different_steps_about_one_frame_stand_together():
    errors = np.zeros((10, 3, 1))
    # Frame 5 is hard: step 1 of window 5 and step 3 of window 3 see it.
    errors[5, 0] = errors[3, 2] = 1
    found = about_frames(np.arange(10), errors, {1: 0.5, 3: 0.5})
    assert int(found[:, 0].argmax()) == 5
    assert found[5, 0] == pytest.approx(2 * (1 - 0.1) * 0.5 / 10)


def test_errors_that_steps_share_widen_the_interval_of_their_mean():
    rng = np.random.default_rng(0)
    frames, own = rng.standard_normal((431, 50)), rng.standard_normal((400, 32, 50))
    shared = np.stack([frames[o : o + 32] for o in range(400)])
    weights = dict.fromkeys((1, 4, 8, 16, 32), 1 / 5)
    together = deviations(range(400), shared, weights).variance.mean()
    apart = deviations(range(400), own, weights).variance.mean()
    # Five errors of one frame count as one; but for the first and last frames.
    assert together == pytest.approx(1 / 400, rel=0.1)
    assert apart == pytest.approx(1 / 5 / 400, rel=0.1)
    windows = shared[:, [0, 3, 7, 15, 31]].mean(axis=1)
    by_window = long_run((windows - windows.mean(axis=0)) / 400).variance.mean()
    assert by_window < 0.8 * together


# Means


def test_degrees_of_a_mean_lie_between_those_of_the_poorest_part_and_their_sum():
    parts = [Spread(variance=v, degrees=d) for v, d in ((1.0, 4), (2.0, 9), (0.5, 30))]
    found = mean_spread(parts, [1, 1, 1])
    assert found.variance == pytest.approx(3.5 / 9)
    assert 4 < found.degrees < 43
    equal = mean_spread([Spread(variance=1.0, degrees=7)] * 5, [1] * 5)
    assert equal.degrees == pytest.approx(35)


def test_mean_of_certain_parts_is_certain():
    found = mean_spread([Spread(variance=0.0, degrees=d) for d in (3, 5)], [1, 1])
    assert found.around(0.25) == (0.25, 0.25)


# Series are sampled


def test_between_animals_the_interval_is_that_of_a_t_test(tmp_path):
    case = animals_case(6)
    card, _ = case.score(tmp_path)
    found, value = ends(card), values(card)
    for step in (1, 2, 3):
        for metric in ("mae", "mse", "correlation"):
            column = [value[f"fish {index}", step, metric] for index in range(6)]
            expected = stats.ttest_1samp(column, 0).confidence_interval(0.95)
            assert found["average", step, metric] == pytest.approx(tuple(expected), rel=1e-9)
    means = [(value[f"fish {i}", 1, "mae"] + value[f"fish {i}", 3, "mae"]) / 2 for i in range(6)]
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert (card.summary.low, card.summary.high) == pytest.approx(tuple(expected), rel=1e-9)
    assert card.intervals["method"] == "variance between series; Student's t"


def test_between_animals_single_ones_have_none(tmp_path):
    card, _ = animals_case(6).score(tmp_path)
    found = ends(card)
    assert {found[f"fish {index}", 1, "mae"] for index in range(6)} == {(None, None)}
    assert found["average:lab", 1, "mae"] != (None, None)
    assert "single series have none" in card.intervals["reason"]


@pytest.mark.parametrize(("count", "held_out"), [(4, ()), (5, (0,))])
def test_fewer_than_five_animals_give_none(tmp_path, count, held_out):
    card, _ = animals_case(count, held_out).score(tmp_path)
    assert {end for of in ends(card).values() for end in of} == {None}
    assert card.summary.low is None
    assert card.intervals["reason"] == "fewer than 5 series to average"
    assert card.intervals["method"] is None


def test_pooled_animals_have_the_interval_of_a_ratio(tmp_path):
    card, _ = animals_case(7).score(tmp_path)
    value = values(card)
    weights = [9 + index for index in range(7)]
    errors = [value[f"fish {index}", 2, "mae"] for index in range(7)]
    mean = sum(w * e for w, e in zip(weights, errors, strict=True)) / sum(weights)
    squares = sum((w * (e - mean)) ** 2 for w, e in zip(weights, errors, strict=True))
    variance = 7 / 6 * squares / sum(weights) ** 2
    assert ends(card)["pooled", 2, "mae"] == expected_ends(value["pooled", 2, "mae"], variance, 6)


def test_an_animal_without_a_correlation_leaves_their_mean_without(tmp_path):
    case = animals_case(6)
    constant = np.full_like(case.values["fish_2"], 0.5)
    card, _ = case.with_values(fish_2=constant).score(tmp_path)
    assert ends(card)["average", 1, "correlation"] == (None, None)
    assert ends(card)["average", 1, "mae"] != (None, None)
    assert spread_between([1.0, None, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0] * 7) is None


def test_worms_are_too_few_here_and_windows_do_not_stand_in(tmp_path):
    card, _ = worms_case(windows=40).score(tmp_path, intervals="all")
    assert {end for of in ends(card).values() for end in of} == {None}
    assert "fewer than 5 series to average" in card.intervals["reason"]


def test_next_step_positions_in_time_have_none(tmp_path):
    case = worms_case(windows=40)
    case = replace(case, benchmark=replace(case.benchmark, sampled="time"))
    card, _ = case.score(tmp_path, intervals="all")
    assert {end for of in ends(card).values() for end in of} == {None}
    assert "positions of next-step windows overlap" in card.intervals["reason"]


def test_many_fish_of_a_file_are_what_is_sampled(tmp_path):
    keys = [f"fish{index}" for index in range(22)]
    rng = np.random.default_rng(0)
    activity = {key: rng.normal(0, 1 + index / 9, (60, 4)) for index, key in enumerate(keys)}
    for key, frames in activity.items():
        np.save(tmp_path / f"{key}.npy", frames.astype(np.float32))
    (tmp_path / "fish.toml").write_text(
        'id = "fish"\nversion = 1\ncontext_lengths = [4]\nhorizon = 3\n'
        "[split]\ntrain = [0.0, 0.6]\nvalidation = [0.6, 0.7]\ntest = [0.7, 1.0]\n"
        f'[[recordings]]\nkeys = {json.dumps(keys)}\nactivity = "{{key}}.npy"\n'
    )
    recipe = read_own(str(tmp_path / "fish.toml"))
    benchmark = recipe.resolve(recipe.recordings())
    arrays = {key: of.astype(np.float32) for key, of in activity.items()}
    case = noisy_predictions(Case(benchmark=benchmark, activity=arrays, values={}), rng, 0.5)
    card, _ = case.score(tmp_path)
    value = values(card)
    column = [value[key, 2, "mae"] for key in keys]
    expected = stats.ttest_1samp(column, 0).confidence_interval(0.95)
    assert ends(card)["average", 2, "mae"] == pytest.approx(tuple(expected), rel=1e-9)
    assert card.summary.low < card.summary.value < card.summary.high


# Contributions


def test_contributions_average_to_the_scores(tmp_path):
    case = fish_case()
    card, tally = case.score(tmp_path)
    found = contributions(tally, "condition 2", ("mse", "mae"))
    assert found.shape == (33, 5, 2)
    for column, metric in enumerate(("mse", "mae")):
        for step in range(1, 6):
            mean = found[:, step - 1, column].mean()
            assert mean == pytest.approx(card.value("condition 2", step, metric), rel=1e-12)


@given(st.floats(0, 1), st.floats(0, 10), st.floats(2, 50))
def test_an_interval_ends_where_the_metric_does(value, variance, degrees):
    spread = Spread(variance=variance, degrees=degrees)
    for metric in ("mae", "mse", "correlation"):
        least, most = range_of(metric)
        low, high = spread.around(value, range_of(metric))
        wide = spread.around(value)
        assert least <= low <= value <= high <= most
        assert low in (least, wide[0]) and high in (most, wide[1])
