from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from builders import CONTEXT, horizon_case, manifest, targets_of, worms_case, write_store
from reports.test_groups import table, with_tables
from scoring.test_volumes import recorded, volume_case

from zapeval.errors import InvalidInput, NotFound, UsageError
from zapeval.reports.figures.excerpts import Contender, traces_of
from zapeval.reports.figures.look import save
from zapeval.reports.figures.traces import traces_chart, traces_figure
from zapeval.reports.figures.vega import as_text


def drawn(case, folder, *, names=("mean",), contexts=(CONTEXT,), recordings=None, **options):
    """Returns the traces of a case, whose predictions stand under several names."""
    predictions = case.predictions(folder / "predictions")
    contenders = [
        Contender(name=name, predictions=predictions, context=context)
        for name, context in zip(names, contexts, strict=True)
    ]
    given = recordings or case.recordings(folder / "recordings")
    wanted = {"series": case.benchmark.series[1].name, "windows": [0, 3], "neurons": ["2", "5"]}
    return traces_of(contenders, case.benchmark, given, **{**wanted, **options})


def lines_of(traces):
    """Returns (neuron, window, line) to (step, frame, value) of each point."""
    found = {}
    for point in traces.points:
        key = point.neuron, point.window, point.line
        found.setdefault(key, []).append((point.step, point.frame, point.value))
    return found


def test_lines_are_what_was_seen_what_came_and_what_was_forecast(tmp_path):
    case = horizon_case()
    traces = drawn(case, tmp_path)
    found = lines_of(traces)
    series, activity = case.benchmark.series[1], case.activity["fish"]
    assert len(found) == 2 * 2 * 3
    for neuron in (2, 5):
        for window in (0, 3):
            origin = series.origins[window]
            at = f"neuron {neuron}", f"condition 1, window {window}"
            assert found[*at, "context"] == [
                (step, origin + step - 1, activity[origin + step - 1, neuron])
                for step in range(1 - CONTEXT, 1)
            ]
            assert found[*at, "actual"] == [
                (step, origin + step - 1, activity[origin + step - 1, neuron])
                for step in range(case.benchmark.horizon + 1)
            ]
            own = case.values[series.array][window, :, neuron]
            assert found[*at, "mean, C = 4"] == [
                (step, origin + step - 1, value) for step, value in enumerate(own, 1)
            ]
            np.testing.assert_array_equal(
                [value for step, _, value in found[*at, "actual"] if step],
                targets_of(case, series)[window, :, neuron],
            )


def test_positions_of_next_step_are_forecast_from_the_frame_before(tmp_path):
    case = worms_case()
    traces = drawn(case, tmp_path, neurons=["0"], windows=[1])
    found = lines_of(traces)
    at = "neuron 0", "worm 1, window 1"
    origin = case.benchmark.series[1].origins[1]
    assert [(step, frame) for step, frame, _ in found[*at, "context"]] == [(0, origin - 1)]
    values = [value for _, _, value in found[*at, "mean"]]
    assert values == case.values["worm_1"][1, :, 0].tolist()


def test_volumes_are_drawn_as_traces_of_their_voxels(tmp_path):
    volumes = volume_case()
    case = volumes.case
    note = manifest(case.benchmark, grid=volumes.grid)
    store = write_store(tmp_path / "volumes", case.values, said=note)
    recordings = recorded(tmp_path / "recording", case, volumes.labels)
    one = Contender(name="unet", predictions=store, context=CONTEXT)
    traces = traces_of(
        [one], case.benchmark, recordings, series="condition 0", windows=[2], neurons=["4"]
    )
    values = [p.value for p in traces.points if p.kind == "forecast"]
    wanted = volumes.traces().values["test_condition_0"][2, :, 4]
    np.testing.assert_allclose(values, wanted, rtol=1e-6)


def test_neurons_are_called_by_name_and_region(tmp_path):
    case = horizon_case()
    recordings = with_tables(case, tmp_path / "tables", {"fish": table()})
    traces = drawn(case, tmp_path, recordings=recordings, neurons=["n3", "1", "3"])
    assert traces.neurons == ("n3, tectum", "n1")
    assert traces.windows == ("condition 1, window 0", "condition 1, window 3")


def test_a_long_context_is_cut_and_said(tmp_path):
    case = horizon_case()
    traces = drawn(case, tmp_path, names=("a", "b", "a"), contexts=(2, CONTEXT, 1))
    assert traces.marks == [(-3.5, "C = 4"), (-1.5, "C = 2"), (-0.5, "C = 1")]
    assert traces.span == (-3, 5)
    short = horizon_case(horizon=2)
    traces = drawn(short, tmp_path / "short", names=("a", "b"), contexts=(1, CONTEXT))
    assert traces.marks == [(-1.5, "C = 4, its last 2 frames"), (-0.5, "C = 1")]
    assert traces.span == (-1, 2)


def test_every_panel_shows_its_lines(tmp_path):
    case = horizon_case()
    traces = drawn(case, tmp_path, names=("a", "b"), contexts=(4, 2))
    figure = traces_figure(traces)
    assert len(figure.axes) == 4
    found = lines_of(traces)
    for axes, (neuron, window) in zip(
        figure.axes,
        [(neuron, window) for neuron in traces.neurons for window in traces.windows],
        strict=True,
    ):
        shown = {(tuple(map(tuple, line.get_xydata())), line.get_color()) for line in axes.lines}
        for line, colour in traces.colours.items():
            points = found[neuron, window, line]
            key = tuple((float(step), value) for step, _, value in points)
            assert (key, colour) in shown
    assert [text.get_text() for text in figure.axes[0].texts] == ["C = 4", "C = 2"]
    legend = [text.get_text().strip() for text in figure.legends[0].get_texts()]
    assert legend == ["context", "actual", "a, C = 4", "b, C = 2"]
    save({"traces": figure}, tmp_path / "out", title="t", about="a")


def test_names_of_contexts_stand_above_every_line(tmp_path):
    traces = drawn(horizon_case(), tmp_path, names=("a", "b"), contexts=(4, 2))
    figure = traces_figure(traces)
    figure.draw_without_rendering()
    for axes in figure.axes[:2]:
        top = max(line.get_ydata().max() for line in axes.lines if len(line.get_xdata()) > 2)
        for text in axes.texts:
            box = text.get_window_extent().transformed(axes.transData.inverted())
            assert box.y0 >= top


def test_the_chart_has_the_same_points(tmp_path):
    traces = drawn(horizon_case(), tmp_path, names=("a", "b"), contexts=(4, 2))
    spec = traces_chart(traces)
    rows = [row for name, of in spec["datasets"].items() if name != "contexts" for row in of]
    assert [(row["line"], row["step"], row["frame"], row["value"]) for row in rows] == [
        (point.line, point.step, point.frame, point.value) for point in traces.points
    ]
    assert "a, C = 4 saw 4 frames" in spec["description"]


def test_a_neuron_that_is_missing_is_a_gap(tmp_path):
    case = horizon_case()
    values = case.values["test_condition_1"].copy()
    values[:, :, 2] = np.nan
    traces = drawn(case.with_values(test_condition_1=values), tmp_path, neurons=["2"])
    text = as_text(traces_chart(traces))
    assert json.loads(text)
    assert "NaN" not in text
    save({"traces": traces_figure(traces)}, tmp_path / "out", title="t", about="a")


def test_hostile_names_are_lines_of_their_own(tmp_path):
    names = ("actual", "</script>", "</script>", "$a$", "_")
    case = worms_case()
    traces = drawn(case, tmp_path, names=names, contexts=(CONTEXT,) * 5, neurons=["0"])
    assert list(traces.colours) == [
        *("context", "actual", "actual (2)", "</script>", "</script> (2)", "$a$", "_")
    ]
    text = as_text(traces_chart(traces))
    assert "<" not in text
    assert text.count("http") == 1
    save({"traces": traces_figure(traces)}, tmp_path / "out", title="t", about="a")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"windows": [4]}, UsageError, "window 4 is not in condition 1, which has windows 0 to 3"),
        ({"windows": [-1]}, UsageError, "window -1"),
        ({"windows": []}, UsageError, "0 windows, expected 1 to 4"),
        ({"windows": [0, 1, 2, 3, 0]}, UsageError, "5 windows, expected 1 to 4"),
        ({"neurons": []}, UsageError, "0 neurons, expected 1 to 8"),
        ({"neurons": ["7"]}, NotFound, "neuron '7'"),
        ({"series": "x"}, NotFound, "known: condition 0"),
        ({"names": ("a",) * 7, "contexts": (4,) * 7}, UsageError, "7 forecasters"),
    ],
)
def test_what_is_not_there_or_too_much_is_said(tmp_path, options, error, said):
    with pytest.raises(error, match=said):
        drawn(horizon_case(), tmp_path, **options)


def test_predictions_that_can_not_be_scored_are_not_drawn(tmp_path):
    case = horizon_case()
    short = replace(
        case, values=case.values | {"test_condition_1": case.values["test_condition_0"]}
    )
    with pytest.raises(InvalidInput, match="test_condition_1"):
        drawn(short, tmp_path)
