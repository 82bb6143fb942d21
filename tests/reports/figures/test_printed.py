"""Ranking, skill matrix and cost in print: what stands where."""

from __future__ import annotations

import numpy as np
import pytest
from contenders import field
from matplotlib.colors import to_hex
from reports.figures.conftest import HOSTILE

from zapeval.reports.figures import cost, curves, look, ranking, rows, skill

COSTS = {
    "tide": {"parameters": 9000, "training_seconds": 12.5},
    "drift": {"parameters": 20},
    "persistence": {"parameters": 0, "training_seconds": 0.0},
}


def dots(axes):
    """Returns the markers of axes: (x, y, marker)."""
    return [
        (float(x), float(y), line.get_marker())
        for line in axes.lines
        if line.get_marker() not in ("None", "")
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def spans(axes):
    """Returns both ends of each line segment of axes."""
    return [
        tuple(map(tuple, segment.tolist()))
        for of in axes.collections
        for segment in of.get_segments()
    ]


def labels(axes, which="y"):
    return [label.get_text() for label in getattr(axes, f"get_{which}ticklabels")()]


def test_a_ranking_has_a_row_an_entry_with_both_intervals(made):
    standings = rows.standings_of(made())
    left, right = ranking.figure_of(standings, "MAE").axes
    assert labels(left) == ["1  tide", "2  persistence", "3  drift"]
    assert dots(left) == [(one.value, y, "o") for y, one in enumerate(standings)]
    assert spans(left) == [((one.low, y), (one.high, y)) for y, one in enumerate(standings)]
    assert dots(right) == [(one.rank, y, "o") for y, one in enumerate(standings)]
    assert spans(right) == [((one.first, y), (one.last, y)) for y, one in enumerate(standings)]
    assert [text.get_text() for text in right.texts] == ["a", "b", "c", "tie"]
    assert left.yaxis_inverted()
    assert left.get_xlabel() == "MAE; dashed: persistence; lines: 95 % intervals"


def test_tie_groups_stand_on_bands_of_alternating_shade(made):
    standings = rows.standings_of(made())
    left, _ = ranking.figure_of([*standings[:1], *standings], "MAE").axes
    shades = [to_hex(band.get_facecolor()) for band in left.patches]
    assert shades == ["#ffffff", "#ffffff", "#f0f0f0", "#ffffff"]


def test_a_ranking_without_intervals_has_no_ranks_beside_it(made):
    standings = rows.standings_of(made(benchmark=field((3, 3, 3))))
    (left,) = ranking.figure_of(standings, "MAE").axes
    assert spans(left) == []
    assert left.get_xlabel() == "MAE; dashed: persistence"


def test_a_huge_score_is_an_arrow_with_its_number(made):
    standings = rows.standings_of(made(("a", "b", "c", "d")))
    far = [*standings[:-1], rows.Standing(**{**vars(standings[-1]), "value": 99.25})]
    left, _ = ranking.figure_of(far, "MAE").axes
    (x, y, marker) = dots(left)[-1]
    assert (y, marker) == (3, ">")
    assert x == left.get_xlim()[1] < 2
    assert [text.get_text().strip() for text in left.texts] == ["99.25"]


def test_each_cell_has_its_percent_its_colour_and_its_weight(made):
    cells = rows.skills_of(made())
    (axes,) = skill.figure_of(cells, "persistence").axes
    assert [text.get_text() for text in axes.texts] == [skill.percent(one.value) for one in cells]
    assert [text.get_fontweight() for text in axes.texts] == [
        "bold" if one.low > 0 or one.high < 0 else "normal" for one in cells
    ]
    limit = max(0.1, *(one.value for one in cells))
    faces = [to_hex(box.get_facecolor()).upper() for box in axes.patches]
    assert faces == [look.shade_of(one.value, limit)[0] for one in cells]
    assert labels(axes) == ["tide", "drift"]
    lefts = [box.get_x() for box in axes.patches][:4]
    gaps = np.diff(lefts)
    assert gaps == pytest.approx([1, 1 + skill.GAP, 1 + skill.GAP])
    styles = [label.get_fontstyle() for label in axes.get_xticklabels()]
    assert styles == ["normal", "normal", "normal", "italic"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123, "12.3"),
        (-0.0312, "\N{MINUS SIGN}3.1"),
        (-0.00001, "0.0"),
        (-2.1, "\N{MINUS SIGN}210"),
        (-1234.0, "\N{MINUS SIGN}123,400"),
        (None, ""),
    ],
)
def test_a_skill_is_written_in_percent(value, text):
    assert skill.percent(value) == text


def test_many_columns_have_no_room_for_decimals(made):
    cells = rows.skills_of(made(("a", "persistence"), field([30] * 20)))
    (axes,) = skill.figure_of(cells, "persistence").axes
    assert [text.get_text() for text in axes.texts] == [skill.percent(c.value, 0) for c in cells]
    assert not any("." in text.get_text() for text in axes.texts)


def test_a_cell_without_a_number_is_empty_and_white():
    cell = {"entry": "a", "column": "x", "kind": "series", "low": None, "high": None}
    cells = [rows.Skill(**cell, value=None), rows.Skill(**{**cell, "column": "y"}, value=0.2)]
    (axes,) = skill.figure_of(cells, "b").axes
    assert [text.get_text() for text in axes.texts] == ["", "20.0"]
    assert axes.get_xlabel() == "% less error than b"


def test_cost_has_a_panel_a_measure_and_names_who_has_none(made):
    comparison = made(costs=COSTS)
    figure = cost.figure_of(rows.costs_of(comparison), "MAE", "persistence")
    seconds, parameters = figure.axes
    tide, _, drift = rows.costs_of(comparison)
    assert dots(seconds) == [(12.5, tide.value, "o")]
    assert dots(parameters) == [(9000, tide.value, "o"), (20, drift.value, "^")]
    assert spans(seconds) == [((12.5, tide.low), (12.5, tide.high))]
    assert (seconds.get_xlabel(), parameters.get_xlabel()) == ("training, s", "parameters")
    assert {seconds.get_xscale(), parameters.get_xscale()} == {"log"}
    assert figure.get_supxlabel() == "No cost is known of persistence."
    assert labels(parameters, "x") == ["10¹", "10²", "10³", "10⁴"]


def test_without_any_cost_there_are_no_measures(made):
    assert cost.measures_of(rows.costs_of(made())) == {}


def test_a_cost_of_one_decade_has_labels(made):
    comparison = made(costs={"tide": {"parameters": 100}})
    (axes,) = cost.figure_of(rows.costs_of(comparison), "MAE").axes
    assert labels(axes, "x") == ["10²", "10³"]


@pytest.mark.parametrize("count", [2, 5, 20])
def test_many_lines_leave_those_in_focus_in_colour(made, count):
    names = [f"entry {index}" for index in range(count)]
    comparison = made(names)
    lines, series = rows.curves_of(comparison), comparison.rows[0].entry.lines
    focus = [lines[0].entry, lines[-1].entry]
    figure = curves.figures_of(lines, series, ("x", "y"), (1, 2, 4), focus)["average"]
    axes = figure.axes[0]
    coloured = [line for line in axes.lines if line.get_color() != curves.GREY]
    assert len(axes.lines) == count
    assert len(coloured) == min(count, len(look.COLOURS))
    assert len(axes.collections) == (count if count <= curves.FEW else 2)
    legend = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert set(focus) <= set(legend)
    assert legend[-1] == (curves.OTHERS if count == 20 else names[-1])
    looks = {(line.get_color(), line.get_marker()) for line in coloured}
    assert len(looks) == len(coloured)


def test_hostile_names_are_drawn_as_text(made, tmp_path):
    comparison = made(("persistence", *HOSTILE), costs={HOSTILE[5]: {"parameters": 3}})
    standings, cells = rows.standings_of(comparison), rows.skills_of(comparison)
    figures = {
        "ranking": ranking.figure_of(standings, "MAE"),
        "skill": skill.figure_of(cells, "persistence"),
        "cost": cost.figure_of(rows.costs_of(comparison), "MAE"),
    }
    look.save(figures, tmp_path, title="", about="")
    shown = labels(figures["skill"].axes[0])
    assert shown == [one.entry for one in standings if not one.baseline]
    assert not any(t.get_parse_math() for t in figures["ranking"].axes[0].get_yticklabels())
