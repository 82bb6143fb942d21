from __future__ import annotations

import json
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
from builders import CONTEXT, horizon_case
from reports.test_groups import REGIONS, table, with_tables

from zapeval.errors import InvalidInput, NotFound, UsageError
from zapeval.recordings.stores import open_store
from zapeval.reports.figures import squares
from zapeval.reports.figures.brain import VIEWS, BrainMap, brain_chart, brain_figure, brain_map
from zapeval.reports.figures.look import save
from zapeval.reports.figures.vega import as_text
from zapeval.reports.maps import open_maps
from zapeval.scoring.score import score

AXES = {name: (across, up) for name, across, up in VIEWS}


def mapped(case, folder, neurons):
    """Scores a case over recordings with that neuron table; returns the opened maps."""
    recordings = with_tables(case, folder / "recordings", {"fish": neurons} if neurons else {})
    store = open_store(folder / "tide.zarr")
    predictions = case.predictions(folder / "predictions")
    score(predictions, case.benchmark, recordings, context=CONTEXT, maps=store)
    return open_maps(str(folder / "tide.zarr"), case.benchmark, recordings)


def cloud(count, *, seed=0, unscored=0):
    """Returns neurons scattered in a box, in two regions that overlap."""
    rng = np.random.default_rng(seed)
    values = rng.gamma(2, 0.01, count)
    values[:unscored] = np.nan
    return BrainMap(
        title="tide: average, step 1",
        label="MAE (df/f), 2nd to 98th percentile",
        names=tuple(f"n{index}" for index in range(count)),
        regions=tuple(("left", "right")[index % 2] for index in range(count)),
        positions=rng.uniform(0, (800, 500, 300), (count, 3)),
        values=values,
        limits=(0.005, 0.05),
    )


def rows_by_view(spec):
    """Returns the data of each view."""
    assert set(spec["datasets"]) == {"xy", "yz", "xz"}
    return spec["datasets"]


def test_a_map_is_the_mean_over_series_and_steps_of_each_neuron(tmp_path):
    case = horizon_case()
    maps = mapped(case, tmp_path, table())
    made = brain_map(maps)
    wanted = [
        maps.row(series, "mae", step) for series in case.benchmark.series[:2] for step in (1, 5)
    ]
    np.testing.assert_allclose(made.values, np.mean(np.array(wanted, np.float64), axis=0))
    np.testing.assert_array_equal(made.positions, table().positions)
    assert made.regions == REGIONS
    assert made.title == "tide: average, mean of step 1, 5"
    assert made.label == "MAE (df/f), 2nd to 98th percentile"
    one = brain_map(maps, metric="correlation", series="condition 2", steps=[3])
    np.testing.assert_allclose(one.values, maps.row(case.benchmark.series[2], "correlation", 3))
    assert one.title == "tide: condition 2, step 3"
    assert one.label.startswith("Pearson's r")


def test_neurons_without_a_place_are_left_out_and_said(tmp_path):
    places = table()
    places.positions[[1, 4], 2] = np.nan
    made = brain_map(mapped(horizon_case(), tmp_path, places))
    assert made.names == ("n0", "n2", "n3", "n5", "n6")
    assert made.unplaced == 2
    assert "2 whose place is not known are left out" in brain_chart(made)["description"]


def test_what_can_not_be_drawn_is_said(tmp_path):
    case = horizon_case()
    with pytest.raises(InvalidInput, match="has no neuron table"):
        brain_map(mapped(case, tmp_path / "bare", None))
    nowhere = table()
    nowhere.positions[:] = np.nan
    with pytest.raises(InvalidInput, match="no neuron of average has a place and a mae"):
        brain_map(mapped(case, tmp_path / "nowhere", nowhere))
    maps = mapped(case, tmp_path / "good", table())
    with pytest.raises(NotFound, match="known: mae, mse, correlation"):
        brain_map(maps, metric="x")
    with pytest.raises(NotFound, match="known: condition 0"):
        brain_map(maps, series="x")
    with pytest.raises(UsageError, match="expected 1 to 5"):
        brain_map(maps, steps=[6])


def test_a_few_neurons_do_not_take_all_colours(tmp_path):
    case = horizon_case(neurons=100)
    values = {name: of.copy() for name, of in case.values.items()}
    for of in values.values():
        of[:, :, 0] = 1e6
    places = table(("r",) * 100)
    plain = brain_map(mapped(case, tmp_path / "plain", places))
    wild = brain_map(mapped(case.with_values(**values), tmp_path / "wild", places))
    assert wild.values.max() > 1e5
    np.testing.assert_allclose(wild.limits, plain.limits, rtol=0.1)
    low, high = wild.limits
    assert 0.9 < np.mean((wild.values >= low) & (wild.values <= high)) < 1


def test_equal_scores_have_colours_too(tmp_path):
    case = horizon_case()
    values = {name: np.zeros_like(of) for name, of in case.values.items()}
    case.activity["fish"][:] = 0
    made = brain_map(mapped(case.with_values(**values), tmp_path, table()))
    assert made.limits[0] < 0 < made.limits[1]
    save({"same": brain_figure(made)}, tmp_path, title="t", about="a")


def test_every_view_shows_every_neuron_to_one_scale():
    brain = cloud(500, unscored=7)
    figure = brain_figure(brain)
    views = figure.axes[: len(VIEWS)]
    scales = []
    for axes, (_, across, up) in zip(views, VIEWS, strict=True):
        grey, coloured = axes.collections
        assert (len(grey.get_offsets()), len(coloured.get_offsets())) == (7, 493)
        drawn = {tuple(place) for place in coloured.get_offsets()}
        assert drawn == {tuple(place) for place in brain.positions[7:, [across, up]]}
        assert coloured.get_rasterized()
        assert coloured.get_clim() == brain.limits
        size = axes.get_window_extent().size
        scales += [size[0] / np.ptp(axes.get_xlim()), size[1] / np.ptp(axes.get_ylim())]
    np.testing.assert_allclose(scales, scales[0], rtol=1e-6)
    assert [axes.get_xlabel() for axes in views] == ["", "z (µm)", "x (µm)"]
    assert [axes.get_ylabel() for axes in views] == ["y (µm)", "", "z (µm)"]
    assert figure.axes[-1].get_ylabel() == "MAE (df/f), 2nd to 98th percentile"
    assert "493 neurons; 7 without a score are grey" in [text.get_text() for text in figure.texts]


def test_colours_are_those_of_the_scores():
    brain = cloud(300)
    coloured = brain_figure(brain).axes[0].collections[1]
    at = {
        tuple(place): value
        for place, value in zip(brain.positions[:, :2], brain.values, strict=True)
    }
    for place, value in zip(coloured.get_offsets(), coloured.get_array(), strict=True):
        assert at[tuple(place)] == value


def test_no_region_hides_another_by_the_order_of_drawing():
    brain = cloud(2000)
    order = np.argsort([name == "left" for name in brain.regions], kind="stable")
    brain = replace(
        brain,
        regions=tuple(brain.regions[index] for index in order),
        positions=brain.positions[order],
        values=brain.values[order],
    )
    region = dict(zip(map(tuple, brain.positions[:, :2]), brain.regions, strict=True))
    drawn = brain_figure(brain).axes[0].collections[1].get_offsets()
    last = [region[tuple(place)] for place in drawn[-400:]]
    assert 150 < last.count("left") < 250


@pytest.mark.parametrize("extent", [(800, 500, 0), (0, 0, 0), (10, 3000, 20), (9000, 1, 1)])
def test_any_extent_fits_a_page(tmp_path, extent):
    brain = cloud(50)
    brain = replace(brain, positions=brain.positions / (800, 500, 300) * extent)
    figure = brain_figure(brain)
    wide, high = figure.get_size_inches()
    assert wide < 7.3
    assert high < 10
    assert all(axes.get_window_extent().size.min() > 5 for axes in figure.axes)
    save({"brain": figure}, tmp_path, title="t", about="a")
    assert json.loads(as_text(brain_chart(brain)))


def test_many_neurons_make_a_page_that_is_not_blank_and_not_full(tmp_path):
    brain = cloud(20_000)
    files = save({"brain": brain_figure(brain)}, tmp_path, title="t", about="a")
    pixels = matplotlib.image.imread(files[0])[..., :3]
    height, width, _ = pixels.shape
    inside = pixels[height // 4 : height // 2, width // 5 : width // 2]
    covered = (inside < 0.97).any(axis=2).mean()
    assert 0.5 < covered < 0.999


def test_a_chart_of_few_neurons_has_a_mark_for_each():
    brain = cloud(60, unscored=4)
    for name, rows in rows_by_view(brain_chart(brain)).items():
        across, up = AXES[name]
        assert [row["neuron"] for row in rows] == list(brain.names[4:])
        for row, place, value in zip(rows, brain.positions[4:], brain.values[4:], strict=True):
            assert row["across"] == pytest.approx(place[across], rel=1e-5)
            assert row["up"] == pytest.approx(place[up], rel=1e-5)
            assert row["value"] == pytest.approx(value, rel=1e-5)


def test_a_chart_of_many_neurons_has_few_marks_and_says_how():
    brain = cloud(4000, unscored=5)
    spec = brain_chart(brain)
    assert 2000 < sum(map(len, spec["datasets"].values())) <= squares.MARKS
    for name, rows in rows_by_view(spec).items():
        across, up = AXES[name]
        assert sum(row["neurons"] for row in rows) == 3995
        for row in rows[::50]:
            inside = (
                (brain.positions[:, across] >= row["across"])
                & (brain.positions[:, across] < row["across_end"])
                & (brain.positions[:, up] >= row["up"])
                & (brain.positions[:, up] < row["up_end"])
                & np.isfinite(brain.values)
            )
            assert inside.sum() == row["neurons"]
            assert row["value"] == pytest.approx(brain.values[inside].mean(), rel=1e-5)
    assert "each square of" in spec["description"]
    assert "mean over its neurons" in spec["description"]


def test_marks_are_at_most_five_thousand_for_a_whole_brain():
    spec = brain_chart(cloud(71_721))
    assert sum(map(len, spec["datasets"].values())) <= 5000
    assert len(as_text(spec)) < 1_000_000


def test_views_of_a_chart_are_to_one_scale():
    spec = brain_chart(cloud(60))
    views = [*spec["vconcat"][0]["hconcat"], spec["vconcat"][1]]
    scales = []
    for view in views:
        for side, channel in (("width", "x"), ("height", "y")):
            low, high = view["encoding"][channel]["scale"]["domain"]
            scales.append(view[side] / (high - low))
    np.testing.assert_allclose(scales, scales[0], rtol=0.01)


HOSTILE = ("</script><script>alert(1)</script>", "$x^2$", "datum['a']", "\x1b[2J", "_", "")


def test_names_are_data_and_never_code(tmp_path):
    brain = replace(
        cloud(6), names=HOSTILE, regions=HOSTILE[::-1], title=f"{HOSTILE[0]} {HOSTILE[3]}"
    )
    spec = brain_chart(brain)
    text = as_text(spec)
    assert "<" not in text
    assert "\\u001b" not in text
    assert {row["neuron"] for row in spec["datasets"]["xy"]} >= {"$x^2$", "datum['a']"}
    assert text.count("http") == text.count('"$schema":"http') == 1
    save({"brain": brain_figure(brain)}, tmp_path, title="t", about="a")
