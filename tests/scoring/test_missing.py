"""Missing neurons never pay, and any other value that is not finite is refused by its index."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from builders import CONTEXT, StoreLayout, horizon_case, targets_of, worms_case
from twins import assert_scores, scores_by_loops

from zapeval.errors import InvalidInput
from zapeval.scoring.score import score

NAN, INF = np.nan, np.inf
LAYOUTS = {
    "public": StoreLayout(),
    "rows of chunks": StoreLayout(chunk=(2, 1, 3)),
    "chunks of steps": StoreLayout(zarr_format=3, chunk=(4, 2, 7), codecs=("blosc",)),
    "whole": StoreLayout(chunk=(99, 99, 99)),
    "float16": StoreLayout(chunk=(4, 1, 7), dtype="float16"),
}


def put(case, array, where, value):
    """Returns the case with a value written over part of an array."""
    values = case.values[array].copy()
    values[where] = value
    return case.with_values(**{array: values})


def without(case, neuron):
    """Returns the case with a neuron missing from every series."""
    for array in case.values:
        case = put(case, array, np.s_[:, :, neuron], NAN)
    return case


def subset(case, kept):
    """Returns the case of some neurons alone."""
    return replace(
        case,
        activity={key: values[:, kept] for key, values in case.activity.items()},
        values={key: values[:, :, kept] for key, values in case.values.items()},
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_neuron_is_listed_and_left_out(tmp_path, layout):
    case = without(horizon_case(), 3)
    predictions = case.predictions(tmp_path / "predictions", LAYOUTS[layout])
    card, _ = score(predictions, case.benchmark, case.recordings(tmp_path), context=CONTEXT)
    assert card.partial
    assert card.missing == "strict"
    assert {(line.neurons, line.scored, line.missing) for line in card.series} == {(7, 6, 1)}
    if layout == "float16":
        rounded = {k: v.astype(np.float16).astype(np.float32) for k, v in case.values.items()}
        case = replace(case, values=rounded)
    missing = {series.name: {3} for series in case.benchmark.series}
    assert_scores(card, scores_by_loops(case, missing=missing))


def test_others_score_as_if_a_missing_neuron_were_not_there(tmp_path):
    case = without(without(horizon_case(), 0), 5)
    card, _ = case.score(tmp_path)
    alone, _ = subset(horizon_case(), [1, 2, 3, 4, 6]).score(tmp_path)
    assert [s.undefined for s in card.scores] == [s.undefined for s in alone.scores]
    np.testing.assert_allclose(
        [s.value for s in card.scores], [s.value for s in alone.scores], rtol=1e-13
    )
    assert not alone.partial


def test_neuron_may_be_missing_from_one_series_alone(tmp_path):
    case = put(horizon_case(), "test_condition_1", np.s_[:, :, 2], NAN)
    card, _ = case.score(tmp_path)
    assert [line.missing for line in card.series] == [0, 1, 0]
    assert card.partial
    assert_scores(card, scores_by_loops(case, missing={"condition 1": {2}}))


def test_missing_neuron_of_a_worm_is_left_out_of_all_positions(tmp_path):
    case = put(worms_case(masked=False), "worm_1", np.s_[:, :, 4], NAN)
    card, _ = case.score(tmp_path)
    assert [(line.scored, line.missing) for line in card.series] == [(6, 0), (8, 1), (4, 0)]
    assert_scores(card, scores_by_loops(case, missing={"worm 1": {4}}))


def test_masked_neuron_may_hold_anything_and_is_not_missing(tmp_path):
    mask = (True, True, False, True, False, True, True)
    case = horizon_case(mask=mask)
    expected = case.score(tmp_path)[0]
    case = put(case, "test_condition_0", np.s_[:, :, 2], NAN)
    case = put(case, "test_condition_1", np.s_[1, 2, 4], INF)
    activity = case.activity["fish"].copy()
    activity[:, 2] = NAN
    activity[9, 4] = -INF
    card, _ = replace(case, activity={"fish": activity}).score(tmp_path)
    assert card.scores == expected.scores
    assert card.scored_set == expected.scored_set
    assert not card.partial
    assert {(line.neurons, line.scored, line.missing) for line in card.series} == {(7, 5, 0)}


def test_missing_neuron_under_a_mask_is_left_out(tmp_path):
    mask = (True, True, False, True, False, True, True)
    case = without(horizon_case(mask=mask), 3)
    card, _ = case.score(tmp_path)
    assert {(line.scored, line.missing) for line in card.series} == {(4, 1)}
    missing = {series.name: {3} for series in case.benchmark.series}
    assert_scores(card, scores_by_loops(case, missing=missing))


def test_store_without_any_neuron_has_null_scores(tmp_path):
    case = horizon_case(neurons=2)
    case = without(without(case, 0), 1)
    card, _ = case.score(tmp_path)
    assert card.partial
    assert {(line.scored, line.missing) for line in card.series} == {(0, 2)}
    assert {score.value for score in card.scores} == {None}
    assert card.summary.value is None


def test_scored_set_tells_which_neurons_were_scored(tmp_path):
    case = horizon_case()
    mask = (True, True, True, False, True, True, True)
    sets = [
        each.score(tmp_path)[0].scored_set
        for each in (
            case,
            without(case, 3),
            without(case, 4),
            without(without(case, 3), 4),
            put(case, "test_condition_1", np.s_[:, :, 3], NAN),
            put(case, "test_condition_0", np.s_[:, :, 3], NAN),
        )
    ]
    assert len(set(sets)) == len(sets)
    assert horizon_case(seed=1).score(tmp_path)[0].scored_set == sets[0]
    # What was scored is the same, whether a neuron is masked or missing.
    assert horizon_case(mask=mask).score(tmp_path)[0].scored_set == sets[1]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
@pytest.mark.parametrize("index", [(0, 0, 0), (5, 4, 6), (8, 1, 3)])
def test_one_value_that_is_not_finite_is_refused_by_its_index(tmp_path, layout, value, index):
    case = put(horizon_case(), "test_condition_0", index, value)
    predictions = case.predictions(tmp_path / "predictions", LAYOUTS[layout])
    place = re.escape(f"{predictions.uri}/test_condition_0{list(index)}: is {value}")
    with pytest.raises(InvalidInput, match=place):
        score(predictions, case.benchmark, case.recordings(tmp_path), context=CONTEXT)


def test_first_of_many_values_is_named_and_their_number_given(tmp_path):
    case = put(horizon_case(), "test_condition_0", np.s_[2:5, 1, 6], INF)
    with pytest.raises(InvalidInput, match=r"\[2, 1, 6\]: is inf.*; 3 such values"):
        case.score(tmp_path)


def test_infinities_of_both_signs_are_refused(tmp_path):
    # Their sum is NaN: a pass that looked at sums alone must still find a value.
    case = put(horizon_case(), "test_condition_0", np.s_[2, 1, 6], INF)
    case = put(case, "test_condition_0", np.s_[2, 1, 5], -INF)
    with pytest.raises(InvalidInput, match=r"\[2, 1, 5\]: is -inf"):
        case.score(tmp_path)


def test_float64_beyond_float32_is_refused(tmp_path):
    case = horizon_case()
    values = {name: array.astype(np.float64) for name, array in case.values.items()}
    values["test_condition_0"][3, 2, 1] = 1e39
    predictions = replace(case, values=values).predictions(
        tmp_path / "predictions", StoreLayout(dtype="float64")
    )
    with pytest.raises(InvalidInput, match=r"test_condition_0\[3, 2, 1\]: is inf"):
        score(predictions, case.benchmark, case.recordings(tmp_path), context=CONTEXT)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("windows", [np.s_[:1], np.s_[:8], np.s_[1:], np.s_[2:4]])
def test_neuron_missing_in_some_windows_only_is_refused(tmp_path, layout, windows):
    case = put(horizon_case(), "test_condition_0", np.s_[windows, :, 3], NAN)
    predictions = case.predictions(tmp_path / "predictions", LAYOUTS[layout])
    with pytest.raises(InvalidInput, match=r"test_condition_0\[\d, 0, 3\]: is "):
        score(predictions, case.benchmark, case.recordings(tmp_path), context=CONTEXT)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("step", [0, 3, 4])
def test_neuron_missing_at_some_steps_only_is_refused(tmp_path, layout, step):
    case = put(horizon_case(), "test_condition_0", np.s_[:, step, 3], NAN)
    predictions = case.predictions(tmp_path / "predictions", LAYOUTS[layout])
    with pytest.raises(InvalidInput, match=r"test_condition_0.*") as caught:
        score(predictions, case.benchmark, case.recordings(tmp_path), context=CONTEXT)
    text = str(caught.value)
    assert "neuron 3 is NaN at some steps only" in text or f"[0, {step}, 3]: is nan" in text


def test_position_of_a_worm_that_is_missing_throughout_is_refused(tmp_path):
    case = put(worms_case(masked=False), "worm_1", np.s_[:, 2, 4], NAN)
    with pytest.raises(InvalidInput, match=r"worm_1\[0, 2, 4\]: is nan"):
        case.score(tmp_path)


def test_target_that_is_not_finite_is_refused_by_frame_and_neuron(tmp_path):
    case = horizon_case()
    for value in (NAN, INF):
        activity = case.activity["fish"].copy()
        activity[9, 5] = value
        with pytest.raises(InvalidInput, match=rf"fish\.npy: frame 9, neuron 5 is {value}"):
            replace(case, activity={"fish": activity}).score(tmp_path)


@pytest.mark.parametrize("other", [(9, 6), (10, 5), (10, 0)])
def test_targets_of_both_infinities_are_refused(tmp_path, other):
    case = horizon_case()
    activity = case.activity["fish"].copy()
    activity[9, 5], activity[other] = INF, -INF
    with pytest.raises(InvalidInput, match=r"frame 9, neuron 5 is inf"):
        replace(case, activity={"fish": activity}).score(tmp_path)


def test_frame_that_no_window_predicts_may_be_anything(tmp_path):
    case = horizon_case()
    targets = {
        frame
        for series in case.benchmark.series
        for origin in series.origins
        for frame in range(origin, origin + case.benchmark.horizon)
    }
    expected, _ = case.score(tmp_path)
    activity = case.activity["fish"].copy()
    others = [frame for frame in range(len(activity)) if frame not in targets]
    assert others
    activity[others] = NAN
    card, _ = replace(case, activity={"fish": activity}).score(tmp_path)
    assert (card.scores, card.data) == (expected.scores, expected.data)


def test_frames_between_sparse_windows_may_be_anything(tmp_path):
    case = horizon_case(windows=(11, 4, 4))
    sparse = replace(case.benchmark.series[0], origins=(4, 14))
    series = (sparse, *case.benchmark.series[1:])
    case = replace(case, benchmark=replace(case.benchmark, series=series)).with_values(
        test_condition_0=case.values["test_condition_0"][[0, 10]]
    )
    activity = case.activity["fish"].copy()
    activity[9:14] = NAN
    holed = replace(case, activity={"fish": activity})
    for missing in ("strict", "official"):
        card, _ = holed.score(tmp_path, missing=missing)
        assert_scores(card, scores_by_loops(case))


# --missing official: the convention of the public ZAPBench code


def official_twin(case):
    """Returns the twin where prediction and target are zero wherever either is not finite."""
    values, targets = {}, {}
    for series in case.benchmark.series:
        p, t = case.values[series.array], targets_of(case, series)
        finite = np.isfinite(p) & np.isfinite(t)
        values[series.array] = np.where(finite, p, np.float32(0))
        targets[series.array] = np.where(finite, t, np.float32(0))
    return scores_by_loops(replace(case, values=values), targets=targets)


OFFICIAL = {
    "nothing": lambda case: case,
    "a neuron": lambda case: without(case, 3),
    "a value": lambda case: put(case, "test_condition_0", (5, 2, 1), NAN),
    "an infinity": lambda case: put(case, "test_condition_0", (5, 2, 1), -INF),
    "the first window": lambda case: put(case, "test_condition_0", np.s_[0, :, 1], NAN),
    "all but the first window": lambda case: put(case, "test_condition_0", np.s_[1:, :, 1], NAN),
    "a step": lambda case: put(case, "test_condition_0", np.s_[:, 2, 1], NAN),
    "the first step": lambda case: put(case, "test_condition_0", np.s_[:, 0, 1], NAN),
    "the last step": lambda case: put(case, "test_condition_0", np.s_[:, 4, 1], NAN),
    "all but the last step": lambda case: put(case, "test_condition_0", np.s_[:, :4, 1], NAN),
    "everything": lambda case: put(case, "test_condition_0", np.s_[:], NAN),
}


@pytest.mark.parametrize("layout", ["public", "rows of chunks", "chunks of steps"])
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_counts_what_is_not_finite_as_zero_error(tmp_path, name, layout):
    case = OFFICIAL[name](horizon_case())
    predictions = case.predictions(tmp_path / "predictions", LAYOUTS[layout])
    recordings = case.recordings(tmp_path)
    card, _ = score(predictions, case.benchmark, recordings, context=CONTEXT, missing="official")
    assert card.missing == "official"
    assert_scores(card, official_twin(case))


@pytest.mark.parametrize("value", [NAN, INF])
def test_official_counts_targets_that_are_not_finite_as_zero_error(tmp_path, value):
    case = horizon_case()
    activity = case.activity["fish"].copy()
    activity[9, 5] = value
    activity[4, 2] = value  # the first target of the first window
    case = replace(case, activity={"fish": activity})
    card, _ = case.score(tmp_path, missing="official")
    assert_scores(card, official_twin(case))
    assert not card.partial


def test_official_scores_a_masked_worm_as_loops_do(tmp_path):
    case = worms_case()
    neuron = case.benchmark.series[1].mask.index(True)
    case = put(case, "worm_1", np.s_[:, :, neuron], NAN)
    case = put(case, "worm_0", np.s_[1, 2], INF)
    card, _ = case.score(tmp_path, missing="official")
    assert_scores(card, official_twin(case))
    assert [line.missing for line in card.series] == [0, 1, 0]


def test_official_says_how_many_neurons_are_missing(tmp_path):
    case = put(without(horizon_case(), 3), "test_condition_1", np.s_[1:, :, 5], NAN)
    card, _ = case.score(tmp_path, missing="official")
    assert card.partial
    assert [(line.scored, line.missing) for line in card.series] == [(6, 1)] * 3


@pytest.mark.parametrize("steps", [np.s_[:1], np.s_[:4], np.s_[1:], np.s_[4:]])
def test_official_lists_only_neurons_that_are_missing_at_every_step(tmp_path, steps):
    case = put(horizon_case(), "test_condition_0", np.s_[:, steps, 1], NAN)
    card, _ = case.score(tmp_path, missing="official")
    assert not card.partial


def test_missing_neuron_pays_under_official_and_not_under_strict(tmp_path):
    case = without(horizon_case(), 3)
    strict, _ = case.score(tmp_path)
    official, _ = case.score(tmp_path, missing="official")
    assert official.summary.value == pytest.approx(strict.summary.value * 6 / 7, rel=1e-12)
