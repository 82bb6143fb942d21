from __future__ import annotations

import pytest

from zapeval.reports.figures.panels import COLUMNS, Panel, columns_of, ends_of, limits_of, panels_of
from zapeval.scoring.scorecard import Score, SeriesLine


def lines(rows):
    """Returns a line for each (name, group, held out)."""
    return [
        SeriesLine(name=name, group=group, held_out=held, windows=9, neurons=1, scored=1, missing=0)
        for name, group, held in rows
    ]


FEW = lines([("gain", "", False), ("dots", "", False), ("taxis", "", True)])
FISH = lines(
    [(f"s{i}", f"fish {i % 3}", False) for i in range(24)] + [(f"h{i}", "", True) for i in range(2)]
)


def kinds(panels):
    return [(panel.title, panel.kind, panel.series) for panel in panels]


def test_few_series_are_columns_before_the_average_and_what_is_held_out():
    assert kinds(columns_of(FEW)) == [
        ("gain", "series", ("gain",)),
        ("dots", "series", ("dots",)),
        ("average of 2 series", "average", ("average",)),
        ("taxis (held out)", "held out", ("taxis",)),
    ]


def test_of_many_series_groups_are_columns():
    assert kinds(columns_of(FISH)) == [
        *((f"average of fish {i}", "group", (f"average:fish {i}",)) for i in range(3)),
        ("average of 24 series", "average", ("average",)),
        ("mean of 2 held out", "held out", ("h0", "h1")),
    ]


def test_as_many_series_as_there_is_room_for_are_columns():
    every = columns_of(lines([(f"s{i}", "fish", False) for i in range(COLUMNS)]))
    assert [panel.kind for panel in every] == ["series"] * COLUMNS + ["average"]


def test_of_many_groups_the_average_remains():
    rows = [(f"s{i}", f"fish {i}", False) for i in range(COLUMNS + 1)]
    assert [panel.kind for panel in columns_of(lines(rows))] == ["average"]


def test_series_stand_behind_only_where_they_have_no_place_of_their_own():
    assert not any(panel.faint for of in panels_of(FISH).values() for panel in of)
    many = lines([(f"s{i}", "", False) for i in range(41)])
    (row,) = panels_of(many, dots=True)["by_series"]
    assert row.faint == tuple(f"s{i}" for i in range(41))


def scores(values, ends=0.0):
    return {
        ("average", step): Score(
            series="average",
            step=step,
            metric="mae",
            value=value,
            low=value - ends if ends else None,
            high=value + ends if ends else None,
        )
        for step, value in enumerate(values, 1)
    }


AVERAGE = Panel(title="", kind="average", series=("average",))


def limits(*of, band=True):
    return limits_of([(AVERAGE, [(one, band) for one in of])], (1, 2, 3))


def test_an_axis_holds_lines_and_narrow_intervals():
    low, high = limits(scores([1.0, 1.5, 2.0], 0.1))
    assert 0.8 < low < 0.9
    assert 2.1 < high < 2.2


def test_wide_intervals_leave_the_panel_and_an_error_stays_above_0():
    low, high = limits(scores([1.0, 1.5, 2.0], 50.0))
    assert low == pytest.approx(0.4)
    assert high == pytest.approx(2.6)
    assert limits(scores([0.1, 0.5, 1.0], 50.0))[0] == 0.0


def test_a_line_without_band_takes_no_room_for_it():
    assert limits(scores([1.0, 2.0, 2.0], 0.4), band=False) == pytest.approx((0.95, 2.05))


def test_a_line_far_above_all_others_leaves_the_panel():
    near = [scores([1.0, 1.1, 1.2]), scores([1.0, 1.2, 1.3])]
    assert limits(*near, scores([9.0, 90.0, 900.0])) == limits(*near)
    assert limits(near[0], scores([2.0, 2.5, 2.6]))[1] > 2.6


def test_correlations_below_0_are_seen():
    low, high = limits(scores([-0.5, 0.1, 0.9]))
    assert low < -0.5 < 0.9 < high


def test_undefined_scores_give_some_axis():
    undefined = scores([1.0, 1.0, 1.0])
    undefined = {key: Score(series="a", step=1, metric="mae", value=None) for key in undefined}
    low, high = limits(undefined)
    assert low < high


def test_an_interval_that_one_step_lacks_is_no_band():
    some = scores([1.0, 2.0, 3.0], 0.1)
    assert len(ends_of(some, ("average",), (1, 2, 3))) == 3
    some["average", 2] = scores([1.0, 2.0])["average", 2]
    assert ends_of(some, ("average",), (1, 2, 3)) == ()
