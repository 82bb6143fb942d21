from __future__ import annotations

from itertools import pairwise

import pytest

from zapeval.errors import NotFound, UsageError
from zapeval.reports.figures.look import save
from zapeval.reports.figures.regions import FORECASTERS, bars_of, regions_chart, regions_figure
from zapeval.reports.figures.vega import as_text
from zapeval.reports.slices import SliceRow, Slices

SIZES = {"tectum": 30, "pallium": 12, "habenula": 3}
STEPS = (1, 4)


def slices(scale=1.0, sizes=SIZES, *, by="region", about="", null=()):
    """Returns slices whose value is scale times step, plus a little for each group."""
    groups = (*sizes.items(), ("all", sum(sizes.values())))
    rows = tuple(
        SliceRow(
            group=name,
            series="average",
            step=step,
            metric="mae",
            value=None if name in null else scale * (step + index / 10),
            neurons=size,
        )
        for index, (name, size) in enumerate(groups)
        for step in STEPS
    )
    return Slices(
        by=by,
        benchmark={"label": "case@1", "digest": "sha256:0"},
        summary_steps=STEPS,
        groups=groups,
        rows=rows,
        about=about,
        source={"name": "x"},
    )


def bars(*given, **options):
    """Returns bars of named slices."""
    return bars_of(given, **{"metric": "mae", "series": "average", "steps": STEPS, **options})


def test_a_bar_is_the_mean_over_the_steps():
    made = bars(("mean", slices()), ("tide", slices(0.5)))
    assert made.forecasters == ("mean", "tide")
    found = {(row.forecaster, row.group): (row.value, row.neurons) for row in made.rows}
    assert found["mean", "tectum (30)"] == (pytest.approx(2.5), 30)
    assert found["tide", "habenula (3)"] == (pytest.approx(0.5 * 2.7), 3)
    assert found["mean", "all (45)"] == (pytest.approx(2.8), 45)
    assert made.label == "MAE (df/f)"
    assert made.title == "average, mean of step 1, 4, by region (number of neurons)"
    assert bars(("mean", slices()), steps=[4]).rows[-1].value == pytest.approx(4.3)


def test_groups_stand_by_score_unless_their_order_means_something():
    assert bars(("a", slices())).groups == (
        "habenula (3)",
        "pallium (12)",
        "tectum (30)",
        "all (45)",
    )
    assert bars(("a", slices()), ranked=True).groups == (
        "tectum (30)",
        "pallium (12)",
        "habenula (3)",
        "all (45)",
    )


def test_bars_are_as_long_as_the_scores():
    made = bars(("mean", slices()), ("tide", slices(0.5)), ("var", slices(2.0)))
    axes = regions_figure(made).axes[0]
    groups = [label.get_text() for label in axes.get_yticklabels()]
    assert groups == list(made.groups)
    places = axes.get_yticks()
    for forecaster, drawn in zip(made.forecasters, axes.containers, strict=True):
        own = [row for row in made.rows if row.forecaster == forecaster]
        assert [bar.get_width() for bar in drawn] == [row.value for row in own]
        for bar, place in zip(drawn, places, strict=True):
            assert abs(bar.get_y() + bar.get_height() / 2 - place) < 0.5


def test_no_bar_covers_another():
    made = bars(*((f"f{index}", slices(1 + index)) for index in range(FORECASTERS)))
    axes = regions_figure(made).axes[0]
    spans = sorted(
        (bar.get_y(), bar.get_y() + bar.get_height()) for of in axes.containers for bar in of
    )
    for (_, end), (begin, _) in pairwise(spans):
        assert begin >= end - 1e-9


def test_a_score_that_is_undefined_has_no_bar():
    made = bars(("a", slices(null=("pallium",))))
    assert [row.value for row in made.rows if row.group.startswith("pallium")] == [None]
    rows = regions_chart(made)["datasets"]["rows"]
    assert [row["value"] for row in rows if row["group"].startswith("pallium")] == [None]
    regions_figure(made)


def test_a_page_has_room_for_so_many_groups_and_says_how_many_more(tmp_path):
    many = {f"region {index}": 1 + index for index in range(100)}
    for count in (1, 4):
        made = bars(*((f"f{index}", slices(sizes=many)) for index in range(count)))
        assert len(made.groups) - 1 + made.omitted == 100
        kept = {int(group.split()[1]) for group in made.groups[:-1]}
        assert kept == set(range(made.omitted, 100))
        assert regions_figure(made).get_size_inches()[1] < 10.5
        assert f"{made.omitted} more are left out" in regions_chart(made)["description"]


def test_the_chart_has_the_same_rows():
    made = bars(("mean", slices(about="said")), ("tide", slices(0.5, about="said")))
    spec = regions_chart(made)
    assert spec["datasets"]["rows"] == [
        {"entry": row.forecaster, "group": row.group, "value": row.value, "neurons": row.neurons}
        for row in made.rows
    ]
    assert "said" in spec["description"]
    assert spec["layer"][0]["encoding"]["y"]["sort"] == list(made.groups)


def test_hostile_names_stay_apart_and_are_data(tmp_path):
    sizes = {"</script>": 3, "$a_1$": 4, "a\x1bb": 5, "a\x07b": 5, "x" * 500: 6}
    made = bars(("same", slices(sizes=sizes)), ("same", slices(2, sizes=sizes)))
    assert made.forecasters == ("same", "same (2)")
    assert len(set(made.groups)) == 6
    text = as_text(regions_chart(made))
    assert "<" not in text
    assert text.count("http") == 1
    save({"bars": regions_figure(made)}, tmp_path, title="t", about="a")


def test_slices_that_can_not_stand_together_are_said():
    with pytest.raises(UsageError, match="different groups"):
        bars(("a", slices()), ("b", slices(by="activity:3")))
    with pytest.raises(UsageError, match="different groups"):
        bars(("a", slices()), ("b", slices(sizes={"tectum": 30})))
    with pytest.raises(UsageError, match="0 forecasters"):
        bars()
    with pytest.raises(UsageError, match="8 forecasters, expected 1 to 7"):
        bars(*((f"f{index}", slices()) for index in range(8)))
    with pytest.raises(NotFound, match="have no mse"):
        bars(("a", slices()), metric="mse")
