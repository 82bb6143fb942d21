from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from builders import CONTEXT, horizon_case, worms_case
from twins import scores_by_loops

from zapeval.errors import InvalidInput, NotFound, Refused, UsageError
from zapeval.recordings.stores import open_store
from zapeval.reports.groups import Grouping
from zapeval.reports.maps import open_maps, read_identity
from zapeval.reports.slices import NO_INTERVALS, slices_table
from zapeval.reports.slicing import slice_maps
from zapeval.reports.tables import as_plain
from zapeval.scoring.metrics import METRICS
from zapeval.scoring.score import score

CASES = {
    "fish": lambda: horizon_case(groups=("a", "b", "a"), held_out=(1,)),
    "worms": worms_case,
    "masked": lambda: horizon_case(mask=(True, False, True, True, False, True, True)),
    "constant": lambda: constant(horizon_case()),
    "missing": lambda: missing(horizon_case()),
}


def constant(case):
    """Returns the case with a forecast that does not vary for neurons 2 and 5."""
    values = case.values["test_condition_0"].copy()
    values[:, 1, [2, 5]] = 0.25
    return case.with_values(test_condition_0=values)


def missing(case):
    """Returns the case without predictions of neuron 5 in one series."""
    values = case.values["test_condition_1"].copy()
    values[:, :, 5] = np.nan
    return case.with_values(test_condition_1=values)


def mapped(case, folder):
    """Scores a case with maps; returns the card and the opened maps."""
    predictions = case.predictions(folder / "predictions")
    recordings = case.recordings(folder)
    store = open_store(folder / "maps.zarr")
    card, _ = score(predictions, case.benchmark, recordings, context=CONTEXT, maps=store)
    return card, open_maps(str(folder / "maps.zarr"), case.benchmark, recordings)


def parts_of(case):
    """Returns two groups of each recording: every third neuron, and the others but neuron 1."""
    members = {}
    for key, activity in case.activity.items():
        neurons = np.arange(activity.shape[1])
        members[key] = (neurons[::3], neurons[(neurons % 3 != 0) & (neurons != 1)])
    return Grouping(by="mine.csv", names=("third", "rest"), members=members)


def restricted(case, grouping, group):
    """Returns the case whose masks score the neurons of a group alone."""
    series = []
    for one in case.benchmark.series:
        inside = np.zeros(case.activity[one.recording].shape[1], bool)
        inside[grouping.members[one.recording][group]] = True
        if one.mask is not None:
            inside &= np.array(one.mask)
        series.append(replace(one, mask=tuple(inside.tolist())))
    return replace(case, benchmark=replace(case.benchmark, series=tuple(series)))


@pytest.mark.parametrize("name", CASES)
def test_all_neurons_score_what_the_scorecard_says(tmp_path, name):
    case = CASES[name]()
    card, maps = mapped(case, tmp_path)
    made = slice_maps(maps, parts_of(case), card=card)
    rows = {(row.series, row.step, row.metric): row for row in made.rows if row.group == "all"}
    assert sorted(rows) == sorted((s.series, s.step, s.metric) for s in card.scores)
    for said in card.scores:
        row = rows[said.series, said.step, said.metric]
        assert row.value == pytest.approx(said.value, rel=1e-6, abs=1e-6)
        assert row.undefined == said.undefined


@pytest.mark.parametrize("name", CASES)
def test_a_group_scores_what_a_loop_over_its_neurons_says(tmp_path, name):
    case = CASES[name]()
    _, maps = mapped(case, tmp_path)
    grouping = parts_of(case)
    made = slice_maps(maps, grouping)
    absent = {"condition 1": {5}} if name == "missing" else None
    for index, group in enumerate(grouping.names):
        twin = scores_by_loops(restricted(case, grouping, index), missing=absent)
        for (series, step, metric), value in twin.values.items():
            row = made.row(group, series, step, metric)
            assert row.value == pytest.approx(value, rel=1e-6, abs=1e-6)
        for (series, step), count in twin.undefined.items():
            assert made.row(group, series, step, "correlation").undefined == count
            assert made.row(group, series, step, "mae").undefined == 0


def test_the_case_with_constants_has_undefined_neurons(tmp_path):
    case = CASES["constant"]()
    _, maps = mapped(case, tmp_path)
    rows = slice_maps(maps, parts_of(case))
    assert rows.row("rest", "condition 0", 2, "correlation").undefined == 2
    assert rows.row("third", "condition 0", 2, "correlation").undefined == 0


def test_groups_put_together_are_all_neurons(tmp_path):
    case = horizon_case()
    card, maps = mapped(case, tmp_path)
    halves = Grouping(
        by="x", names=("a", "b"), members={"fish": (np.array([0, 2, 5]), np.array([1, 3, 4, 6]))}
    )
    made = slice_maps(maps, halves)
    for metric in METRICS:
        a, b = (made.row(name, "condition 0", 3, metric) for name in "ab")
        mean = (a.value * a.neurons + b.value * b.neurons) / (a.neurons + b.neurons)
        assert mean == pytest.approx(card.value("condition 0", 3, metric), rel=1e-6)


def test_neurons_of_a_mean_count_once_a_recording(tmp_path):
    case = worms_case(masked=False)
    _, maps = mapped(case, tmp_path / "worms")
    made = slice_maps(maps, parts_of(case))
    assert made.row("all", "average", 1, "mse").neurons == sum((6, 9, 4))
    assert made.row("third", "average", 1, "mse").neurons == 2 + 3 + 2
    case = missing(horizon_case())
    _, maps = mapped(case, tmp_path / "fish")
    made = slice_maps(maps, parts_of(case))
    assert made.row("all", "average", 1, "mae").neurons == 7
    assert made.row("all", "condition 1", 1, "mae").neurons == 6


def test_a_group_that_is_not_scored_has_no_value_and_says_so(tmp_path):
    case = CASES["masked"]()
    _, maps = mapped(case, tmp_path)
    members = {"fish": (np.array([4]), np.array([0, 1]))}
    made = slice_maps(maps, Grouping(by="x", names=("none", "half"), members=members))
    for metric in METRICS:
        row = made.row("none", "average", 1, metric)
        assert (row.value, row.neurons, row.undefined) == (None, 0, 0)
        assert made.row("half", "average", 1, metric).neurons == 1
    text = as_plain(slices_table(made_of(maps, members, "mae"), "mae", "average", (1, 5)))
    assert "- is undefined, in none" in text


def made_of(maps, members, metric):
    """Returns the slices that a table shows."""
    grouping = Grouping(by="x", names=("none", "half"), members=members)
    return slice_maps(maps, grouping, metrics=[metric], series="average", steps=(1, 5))


def test_metrics_series_and_steps_can_be_chosen(tmp_path):
    case = horizon_case()
    _, maps = mapped(case, tmp_path)
    made = slice_maps(maps, parts_of(case), metrics=["mse"], series="pooled", steps=[2, 4])
    assert [(row.group, row.series, row.step, row.metric) for row in made.rows] == [
        (group, "pooled", step, "mse") for group in ("third", "rest", "all") for step in (2, 4)
    ]
    with pytest.raises(NotFound, match=r"known: condition 0, .*average, pooled"):
        slice_maps(maps, parts_of(case), series="x")
    with pytest.raises(NotFound, match="known: mae, mse, correlation"):
        slice_maps(maps, parts_of(case), metrics=["x"])
    with pytest.raises(UsageError, match="step 6: expected 1 to 5"):
        slice_maps(maps, parts_of(case), steps=[6])


def test_json_and_csv_carry_identity_and_no_interval(tmp_path):
    case = horizon_case()
    card, maps = mapped(case, tmp_path)
    made = slice_maps(maps, parts_of(case), card=card)
    document = json.loads(made.to_json())
    assert document["intervals"] == {"level": None, "reason": NO_INTERVALS}
    assert document["benchmark"] == {"label": "case@1", "digest": case.benchmark.digest}
    assert document["predictions"]["digest"] == card.predictions["digest"]
    assert document["groups"][-1] == {"name": "all", "neurons": 7}
    assert not {"low", "high"} & set(document["rows"][0])
    rows = list(csv.DictReader(io.StringIO(made.to_csv())))
    assert len(rows) == len(document["rows"]) == 3 * 5 * 5 * 3
    for row, said in zip(rows, document["rows"], strict=True):
        assert row["digest"] == case.benchmark.digest
        assert (row["group"], row["series"]) == (said["group"], said["series"])
        assert float(row["value"]) == said["value"]
    assert "give the scorecard" in slice_maps(maps, parts_of(case)).to_json()


def test_a_spreadsheet_takes_no_group_for_a_formula(tmp_path):
    case = horizon_case()
    _, maps = mapped(case, tmp_path)
    members = {"fish": (np.array([1]), np.array([2]))}
    made = slice_maps(maps, Grouping(by="x", names=("=1+1", "a\x1b[2Jb"), members=members))
    groups = {row["group"] for row in csv.DictReader(io.StringIO(made.to_csv()))}
    assert groups == {"'=1+1", "a\ufffd[2Jb", "all"}


def test_the_table_has_a_row_a_group_and_the_mean_over_steps(tmp_path):
    case = horizon_case()
    card, maps = mapped(case, tmp_path)
    made = slice_maps(
        maps, parts_of(case), metrics=["mae"], series="average", steps=(1, 5), card=card
    )
    lines = as_plain(slices_table(made, "mae", "average", (1, 5))).splitlines()
    cells = {line.split()[0]: line.split()[1:] for line in lines if line and line[0] != "#"}
    assert cells["group"] == ["neurons", "step", "1", "step", "5", "mean"]
    assert list(cells) == ["group", "third", "rest", "all"]
    assert cells["all"] == ["7", *(f"{v:.5f}" for v in values_of(card))]
    assert lines[0] == "# mae of unnamed on case@1, average, by mine.csv"
    assert any("1 of 7 neurons are in no group" in line for line in lines)
    assert any(NO_INTERVALS in line for line in lines)
    with pytest.raises(NotFound):
        slices_table(made, "mse", "average", (1, 5))


def values_of(card):
    """Returns the average at steps 1 and 5, and the mean of both."""
    ends = [card.value("average", step, "mae") for step in (1, 5)]
    return (*ends, sum(ends) / 2)


def test_a_card_of_other_predictions_is_refused(tmp_path):
    case = horizon_case()
    _, maps = mapped(case, tmp_path)
    other, _ = horizon_case(seed=1).score(tmp_path)
    assert other.benchmark["digest"] == case.benchmark.digest
    with pytest.raises(Refused, match="written with the maps"):
        slice_maps(maps, parts_of(case), card=other)
    another, _ = horizon_case(windows=(9, 5, 11)).score(tmp_path)
    with pytest.raises(Refused, match="is of another benchmark"):
        slice_maps(maps, parts_of(case), card=another)


def test_maps_of_another_benchmark_or_recording_are_refused(tmp_path):
    case = horizon_case()
    mapped(case, tmp_path / "one")
    uri = str(tmp_path / "one" / "maps.zarr")
    other = horizon_case(windows=(9, 5, 11))
    with pytest.raises(Refused, match=r"is of case@1 \(sha256:.*expected case@1"):
        open_maps(uri, other.benchmark, other.recordings(tmp_path))
    more = horizon_case(neurons=8)
    assert more.benchmark.digest == case.benchmark.digest
    with pytest.raises(Refused, match=r"7 neurons, but .*fish\.npy has 8"):
        open_maps(uri, case.benchmark, more.recordings(tmp_path / "more"))
    short = replace(case, activity={"fish": case.activity["fish"][:-1]})
    with pytest.raises(InvalidInput, match="frames, expected"):
        open_maps(uri, case.benchmark, short.recordings(tmp_path / "short"))


def test_what_holds_no_maps_is_said(tmp_path):
    with pytest.raises(NotFound, match="is no folder"):
        read_identity(str(tmp_path / "none.zarr"))
    horizon_case().ours(tmp_path / "predictions.zarr")
    with pytest.raises(InvalidInput, match="holds no maps; write them with"):
        read_identity(str(tmp_path / "predictions.zarr"))


def test_the_mean_of_maps_is_a_neurons_own(tmp_path):
    case = missing(horizon_case())
    _, maps = mapped(case, tmp_path)
    key, mean = maps.mean("average", "mae", (1, 5))
    rows = [maps.row(one, "mae", step) for one in case.benchmark.series[:2] for step in (1, 5)]
    assert key == "fish"
    np.testing.assert_allclose(mean, np.mean(np.array(rows, np.float64), axis=0), rtol=1e-12)
    assert np.isnan(mean).tolist() == [index == 5 for index in range(7)]
    worms = worms_case()
    _, maps = mapped(worms, tmp_path / "worms")
    with pytest.raises(UsageError, match="name one series: worm 0, worm 1, worm 2"):
        maps.mean("average", "mse", (1,))
    assert maps.mean("worm 1", "mse", (1,))[0] == "worm-1"
