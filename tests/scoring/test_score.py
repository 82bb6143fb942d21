"""Scores equal plain loops over series, windows, steps and neurons, whatever the data."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from builders import CONTEXT, StoreLayout, horizon_case, manifest, targets_of, worms_case
from twins import assert_scores, scores_by_loops

from zapeval.errors import InvalidInput
from zapeval.scoring.score import score

CASES = {
    "plain": horizon_case,
    "more than eight windows": lambda: horizon_case(windows=(8, 17, 33), seed=1),
    "one window": lambda: horizon_case(windows=(1, 2, 3), seed=2),
    "one neuron": lambda: horizon_case(neurons=1, seed=3),
    "mean 1, sd 1e-4": lambda: horizon_case(mean=1, spread=1e-4, seed=4),
    "mean 100, sd 1e-3": lambda: horizon_case(mean=100, spread=1e-3, seed=5),
    "mean -1e4, sd 1": lambda: horizon_case(mean=-1e4, spread=1, seed=6),
    "mean 0, sd 1e-20": lambda: horizon_case(mean=0, spread=1e-20, seed=7),
    "mean 0, sd 1e20": lambda: horizon_case(mean=0, spread=1e20, seed=8),
    "masked": lambda: horizon_case(mask=(True, False, True, True, False, True, True), seed=9),
    "groups": lambda: horizon_case(groups=("b", "a", "a"), held_out=(1,), seed=10),
    "worms": worms_case,
    "worms without masks": lambda: worms_case(masked=False, seed=1),
    "worms, one window": lambda: worms_case(windows=1, seed=2),
}


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("name", CASES)
def test_public_layout_scores_as_loops_do(tmp_path, name, workers):
    case = CASES[name]()
    with ThreadPoolExecutor(workers) as pool:
        card, _ = case.score(tmp_path, run=pool.map)
    assert_scores(card, scores_by_loops(case))


@pytest.mark.parametrize("name", CASES)
def test_own_layout_scores_as_loops_do(tmp_path, name):
    case = CASES[name]()
    predictions = case.ours(tmp_path / "predictions.zarr")
    card, _ = score(predictions, case.benchmark, case.recordings(tmp_path), context=CONTEXT)
    assert_scores(card, scores_by_loops(case))


def test_float16_scores_the_rounded_values(tmp_path):
    case = horizon_case()
    predictions = case.ours(tmp_path / "predictions.zarr", "float16")
    card, _ = score(predictions, case.benchmark, case.recordings(tmp_path), context=CONTEXT)
    rounded = {
        name: values.astype(np.float16).astype(np.float32) for name, values in case.values.items()
    }
    assert_scores(card, scores_by_loops(replace(case, values=rounded)))
    exact = scores_by_loops(case)
    assert card.value("average", 1, "mae") != pytest.approx(
        exact.values["average", 1, "mae"], rel=1e-9
    )


def test_float64_scores_the_values_rounded_to_float32_and_says_so(tmp_path):
    case = horizon_case()
    fine = {name: values + np.float64(1e-9) for name, values in case.values.items()}
    predictions = replace(case, values=fine).predictions(
        tmp_path / "predictions", StoreLayout(dtype="float64")
    )
    card, _ = score(predictions, case.benchmark, case.recordings(tmp_path), context=CONTEXT)
    rounded = {name: values.astype(np.float32) for name, values in fine.items()}
    assert_scores(card, scores_by_loops(replace(case, values=rounded)))
    assert len(card.notes) == len(case.values)
    assert all("rounded to float32" in note for note in card.notes)


@pytest.mark.parametrize("layout", ["public", "ours"])
def test_thousands_of_neurons_score_as_one_pass_over_the_whole_array(tmp_path, layout):
    # Wider than the kernel's slices and than a chunk of ours, and no multiple of either.
    case = horizon_case(neurons=8197, horizon=2, windows=(3, 9, 35), mean=1, spread=1e-4)
    if layout == "public":
        predictions = case.predictions(tmp_path / "predictions")
    else:
        predictions = case.ours(tmp_path / "predictions")
        assert predictions.arrays["test_condition_0"].chunk[2] < 8197
    card, _ = score(predictions, case.benchmark, case.recordings(tmp_path), context=CONTEXT)
    for series in case.benchmark.series:
        t = targets_of(case, series).astype(np.float64)
        p = case.values[series.array].astype(np.float64)
        for step in (1, 2):
            error = p[:, step - 1] - t[:, step - 1]
            assert card.value(series.name, step, "mae") == pytest.approx(
                np.abs(error).mean(axis=0).mean(), rel=1e-9
            )
            assert card.value(series.name, step, "mse") == pytest.approx(
                (error**2).mean(axis=0).mean(), rel=1e-9
            )
            pc = p[:, step - 1] - p[:, step - 1].mean(axis=0)
            tc = t[:, step - 1] - t[:, step - 1].mean(axis=0)
            r = (pc * tc).sum(axis=0) / np.sqrt((pc**2).sum(axis=0) * (tc**2).sum(axis=0))
            assert card.value(series.name, step, "correlation") == pytest.approx(
                r.mean(), rel=0, abs=1e-9
            )


def test_first_window_far_from_the_others_keeps_the_correlation(tmp_path):
    # The first window is the shift of the moments: the worst it can be is an outlier.
    case = horizon_case(windows=(40, 4, 4))
    values = case.values["test_condition_0"].copy()
    values[0] += 1000
    activity = case.activity["fish"].copy()
    activity[case.benchmark.series[0].origins[0]] -= 500
    case = replace(case, activity={"fish": activity}).with_values(test_condition_0=values)
    card, _ = case.score(tmp_path)
    assert_scores(card, scores_by_loops(case))


def test_prediction_constant_but_for_one_window_has_a_correlation(tmp_path):
    case = horizon_case(windows=(9, 4, 11))
    values = np.full_like(case.values["test_condition_0"], 0.1)
    values[0, 0] = 0.2
    values[-1, 1] = 0.2
    case = case.with_values(test_condition_0=values)
    twin = scores_by_loops(case)
    assert [twin.undefined["condition 0", step] for step in (1, 2, 3)] == [0, 0, 7]
    card, _ = case.score(tmp_path)
    assert_scores(card, twin)


def test_constant_targets_have_no_correlation(tmp_path):
    case = horizon_case()
    activity = case.activity["fish"].copy()
    activity[:, 2] = 0.1
    case = replace(case, activity={"fish": activity})
    card, _ = case.score(tmp_path)
    assert_scores(card, scores_by_loops(case))
    assert {s.undefined for s in card.scores if s.series == "condition 0"} == {0, 1}


def test_card_repeats_what_identifies_it(tmp_path):
    case = horizon_case()
    predictions = case.predictions(tmp_path / "predictions", said=manifest(case.benchmark))
    card, _ = score(predictions, case.benchmark, case.recordings(tmp_path), context=CONTEXT)
    assert card.benchmark == {
        "id": "case",
        "version": 1,
        "protocol": "horizon",
        "context": CONTEXT,
        "digest": case.benchmark.digest,
        "sampled": "time",
        "summary_steps": [1, 5],
    }
    assert card.forecaster["name"] == "builder"
    assert card.predictions["kind"] == "traces"
    assert [(line.name, line.windows, line.held_out) for line in card.series] == [
        ("condition 0", 9, False),
        ("condition 1", 4, False),
        ("condition 2", 11, True),
    ]
    assert {(line.neurons, line.scored, line.missing) for line in card.series} == {(7, 7, 0)}
    assert not card.partial


def test_progress_is_told_every_byte_once(tmp_path):
    case = horizon_case()
    told = []
    case.score(tmp_path, progress=told.append)
    assert sum(told) == sum(values.nbytes for values in case.values.values())


def test_series_that_is_wrong_in_two_ways_is_refused_with_both(tmp_path):
    case = horizon_case()
    del (values := dict(case.values))["test_condition_1"]
    values["test_condition_0"] = values["test_condition_0"][:-1]
    with pytest.raises(InvalidInput, match="2 things are wrong") as caught:
        replace(case, values=values).score(tmp_path)
    text = str(caught.value)
    assert "test_condition_0: 8 windows, expected 9" in text
    assert "test_condition_1: is missing" in text
