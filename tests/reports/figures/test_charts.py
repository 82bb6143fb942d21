"""Charts of a comparison: valid, self-contained, and true to the rows that print shows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import altair as alt
import pytest
from contenders import field
from jsonschema import Draft7Validator
from reports.figures.conftest import HOSTILE

from zapeval.reports.figures import charts, curve_charts, curves, rows, vega
from zapeval.reports.figures.cost import measures_of
from zapeval.reports.figures.labels import MOST

SCHEMA = Path(alt.__file__).parent / "vegalite" / "v6" / "schema" / "vega-lite-schema.json"
COSTS = {
    "tide": {"parameters": 9000, "training_seconds": 12.5, "hardware": "H200"},
    "drift": {"parameters": 2},
}


@pytest.fixture(scope="module")
def validator():
    return Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def charts_of(comparison):
    """Returns every chart of a comparison by name."""
    baseline = next((r.entry for r in rows.standings_of(comparison) if r.baseline), "nothing")
    series, labels = comparison.rows[0].entry.lines, curves.labels_of("mae")
    lines = rows.curves_of(comparison)
    made = {
        "ranking": charts.ranking(rows.standings_of(comparison), "MAE", "a title"),
        **curve_charts.error_by_step(lines, series, labels, "a title", (1, 2, 4)),
    }
    costs, cells = rows.costs_of(comparison), rows.skills_of(comparison)
    if measures_of(costs):
        made["cost"] = charts.cost(costs, "MAE", "a title", baseline)
    return made | ({"skill": charts.skill_matrix(cells, baseline, "a title")} if cells else {})


def data(spec):
    return spec["datasets"]["rows"]


def within(node):
    """Yields every dict of a chart, the data apart."""
    if isinstance(node, dict):
        yield node
        for key, value in node.items():
            if key != "datasets":
                yield from within(value)
    elif isinstance(node, list):
        for value in node:
            yield from within(value)


CASES = {
    "few": {"costs": COSTS},
    "no intervals": {"benchmark": field((3, 3, 3)), "costs": COSTS},
    "no baseline": {"names": ("tide", "drift"), "costs": COSTS},
    "one step a window": {"benchmark": field(protocol="next-step"), "costs": COSTS},
    "many series": {"benchmark": field([30] * 26, groups={0: "a", 1: "b"}), "costs": COSTS},
    "hostile": {"names": ("persistence", *HOSTILE), "costs": {HOSTILE[0]: {"parameters": 3}}},
}


@pytest.fixture(params=CASES)
def made_charts(request, made):
    return charts_of(made(**CASES[request.param]))


def test_every_chart_is_valid_and_self_contained(made_charts, validator):
    for spec in made_charts.values():
        assert [error.message for error in validator.iter_errors(spec)] == []
        assert spec["width"] == "container"
        assert spec["background"] == "transparent"
        assert spec["description"]
        assert "config" not in spec
        assert spec["$schema"] == alt.SCHEMA_URL
        parts = [part for part in within(spec) if part is not spec]
        assert not any({"url", "href", "$schema", "usermeta"} & part.keys() for part in parts)
        assert not any("labelExpr" in part for part in parts)
        assert len(data(spec)) > 0
        assert all(part["data"] == {"name": "rows"} for part in [spec, *parts] if "data" in part)


def test_every_chart_is_strict_json_that_may_stand_in_a_page(made_charts):
    for spec in made_charts.values():
        text = vega.as_text(spec)
        assert json.loads(text, parse_constant=pytest.fail) == spec
        assert not set("<>&") & set(text)
        assert text.isascii()


def expressions(spec):
    """Yields what Vega would evaluate."""
    for part in within(spec):
        yield from (
            str(part[key]) for key in ("filter", "calculate", "expr", "signal") if key in part
        )


def test_nothing_that_vega_evaluates_holds_a_name(made):
    names = ("persistence", *HOSTILE)
    hostile = charts_of(made(names, costs={HOSTILE[0]: {"parameters": 3}}))
    plain = [f"plain {i}" for i in range(len(HOSTILE))]
    tame = charts_of(made(("persistence", *plain), costs={plain[0]: {"parameters": 3}}))
    for name, spec in hostile.items():
        assert list(expressions(spec)) == list(expressions(tame[name]))
        for text in expressions(spec):
            assert re.fullmatch(r"[\w\s.=!&|?:+'\[\],()>-]+", text), text
            assert not any(of in text for of in ("script", "alert", "constructor", "http"))


def test_a_name_is_in_the_data_as_the_text_that_print_shows(made):
    comparison = made(("persistence", *HOSTILE))
    labels = [one.entry for one in rows.standings_of(comparison)]
    spec = charts_of(comparison)["by_step"]
    assert {row["entry"] for row in data(spec)} == set(labels)
    assert all(len(label) <= MOST + 4 and label.isprintable() for label in labels)


def test_a_title_of_others_is_plain_text(made):
    title = "<b>{signal}</b>\x1b\u202e"
    spec = charts.ranking(rows.standings_of(made()), "MAE", title)
    assert spec["title"]["text"] == "<b>{signal}</b>\ufffd\ufffd"


def test_equal_comparisons_give_equal_text_whatever_theme_the_user_chose(made):
    first = {name: vega.as_text(spec) for name, spec in charts_of(made(costs=COSTS)).items()}
    with alt.theme.enable("dark"):
        second = {name: vega.as_text(spec) for name, spec in charts_of(made(costs=COSTS)).items()}
    assert first == second


def test_the_ranking_shows_the_standings(made):
    standings = rows.standings_of(made())
    spec = charts.ranking(standings, "MAE", "")
    for row, one in zip(data(spec), standings, strict=True):
        assert row["entry"] == f"{one.rank}  {one.entry}"
        assert (row["value"], row["low"], row["high"]) == (one.value, one.low, one.high)
        assert row["interval"] == f"{one.low:.5f} to {one.high:.5f}"
        assert row["ranks"] == f"{one.first} to {one.last}"
        assert (row["tie"], row["baseline"]) == (one.tie, one.baseline)
    order = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert order == [row["entry"] for row in data(spec)]


def test_a_score_far_away_is_marked_at_the_edge(made):
    standings = rows.standings_of(made(("a", "b", "c", "d")))
    far = [*standings[:-1], rows.Standing(**{**vars(standings[-1]), "value": 99.0})]
    spec = charts.ranking(far, "MAE", "")
    assert [row["beyond"] for row in data(spec)] == [False, False, False, True]
    assert [row["score"] for row in data(spec)][-1].startswith("99.0")
    assert not any(row["beyond"] for row in data(charts.ranking(standings, "MAE", "")))


def test_the_matrix_shows_the_cells_with_gaps_before_what_stands_apart(made):
    cells = rows.skills_of(made())
    spec = charts.skill_matrix(cells, "persistence", "")
    for row, cell in zip(data(spec), cells, strict=True):
        assert (row["entry"], row["column"]) == (cell.entry, cell.column)
        assert row["text"].replace("\N{MINUS SIGN}", "-") == f"{100 * cell.value:.1f}"
        assert row["sure"] == (cell.low > 0 or cell.high < 0)
    assert [column.strip() for column in spec["layer"][0]["encoding"]["x"]["scale"]["domain"]] == [
        *("series 0", "series 1", "", "average of 2 series", "", "series 2 (held out)")
    ]


def test_a_matrix_of_many_columns_has_decimals_at_the_pointer_only(made):
    cells = rows.skills_of(made(("a", "persistence"), field([30] * 20)))
    for row, cell in zip(data(charts.skill_matrix(cells, "b", "")), cells, strict=True):
        assert "." not in row["text"]
        assert row["skill"].replace("\N{MINUS SIGN}", "-") == f"{100 * cell.value:.1f} %"


def test_costs_are_chosen_by_measure_and_others_are_named(made):
    comparison = made(costs=COSTS)
    spec = charts_of(comparison)["cost"]
    points = [row for row in data(spec) if not row["baseline"]]
    assert [(row["measure"], row["entry"], row["cost"]) for row in points] == [
        *((0, "tide", 12.5), (1, "tide", 9000), (1, "drift", 2))
    ]
    assert [row["spent"] for row in points][:2] == ["12.5 training, s", "9,000 parameters"]
    assert spec["title"]["subtitle"] == "no cost is known of persistence"
    (bound,) = [part["bind"] for part in within(spec) if isinstance(part.get("bind"), dict)]
    assert (bound["options"], bound["labels"]) == ([0, 1], ["training, s", "parameters"])


def test_curves_hold_every_score_of_their_panel(made):
    comparison = made()
    scores = {one.entry: one.scores for one in rows.curves_of(comparison)}
    spec = charts_of(comparison)["by_step"]
    titles = ["series 0", "series 1", "average", "series 2"]
    assert len(data(spec)) == 3 * len(titles)
    for row in data(spec):
        for at, step in enumerate(row["step"]):
            score = scores[row["entry"]][titles[row["panel"]], step]
            for field_ in ("value", "low", "high"):
                assert row[field_][at] == pytest.approx(getattr(score, field_), rel=1e-5)


def test_a_field_chooses_the_series_and_begins_with_the_average(made):
    spec = charts_of(made())["by_step"]
    (shown,) = [part for part in within(spec) if part.get("name") == "shown"]
    assert shown["value"] == 2
    assert shown["bind"]["options"] == [0, 1, 2, 3]
    assert shown["bind"]["labels"][2:] == ["average of 2 series", "series 2 (held out)"]
    average = charts_of(made())["average"]
    assert {row["panel"] for row in data(average)} == {0, 1}


def test_a_click_on_the_legend_picks_an_entry(made_charts):
    for name, spec in made_charts.items():
        picks = [part for part in within(spec) if part.get("name") == "picked"]
        assert len(picks) == (0 if name in ("ranking", "skill") else 1)
        for pick in picks:
            assert (pick["bind"], pick["select"]["fields"]) == ("legend", ["entry"])


def test_an_undefined_score_is_null(made):
    comparison = made()
    (one, *_) = rows.curves_of_cards([comparison.rows[0].entry.kept[0].card], "correlation")
    undefined = {key: rows.Score(series="", step=1, metric="", value=None) for key in one.scores}
    none = rows.Curves(entry="x", kind="x", context=4, scores=undefined)
    made_ = curve_charts.error_by_step([none], comparison.rows[0].entry.lines, ("a", "b"), "")
    assert {value for row in data(made_["by_step"]) for value in row["value"]} == {None}
    vega.as_text(made_["by_step"])
