from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import videos

from baselines.volumetric.studies.figure import figure_of
from baselines.volumetric.studies.run import run
from baselines.volumetric.studies.table import as_csv, as_markdown
from zapeval.errors import InvalidInput, Refused, UsageError
from zapeval.forecasting.predictions import open_predictions
from zapeval.recordings.recording import open_recording
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import Layout, write_array

STEPS = (1, videos.HORIZON)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("studies") / "head"


@pytest.fixture
def outcomes(ground, folder):
    """The study of heads with two seeds; done once, then taken up."""
    return run(ground("head"), folder, seeds=2, quiet=True)


def test_cells_that_are_trained_one_after_another_stand_in_one_table(ground, tmp_path):
    for label, there in (("direct", ["direct"]), ("lead-time", ["lead-time", "direct"])):
        some = replace(ground("head"), only=(label,))
        found = run(some, tmp_path, seeds=1, quiet=True)
        assert [one.cell.label for one in found if not one.cell.reference] == there


def errors(store, scored, every_frame):
    """Returns the error of a store at each step, by loops."""
    (series,) = scored.series
    values = open_predictions(str(store)).arrays[series.array].read()
    mask = np.ones(values.shape[2], bool) if series.mask is None else np.array(series.mask)
    found = []
    for step in range(videos.HORIZON):
        wrong = [
            abs(float(values[window, step, neuron]) - float(every_frame[origin + step, neuron]))
            for window, origin in enumerate(series.origins)
            for neuron in np.flatnonzero(mask)
        ]
        found.append(sum(wrong) / len(wrong))
    return found


def test_table_holds_what_the_stored_predictions_score(ground, folder, outcomes):
    scored, recorded = ground("head").scored, videos.traces(videos.video(), videos.labels())
    assert scored.windows == 3
    rows = list(csv.DictReader(io.StringIO(as_csv(outcomes, STEPS))))
    labels = ["persistence-C3", "lead-time", "direct", "autoregression"]
    assert [row["cell"] for row in rows] == labels
    for row in rows:
        seeds = 1 if row["forecaster"] == "persistence" else 2
        stores = [folder / row["cell"] / f"seed-{seed}.zarr" for seed in range(seeds)]
        found = np.array([errors(store, scored, recorded) for store in stores])
        columns = {"mae_1": found[:, 0], "mae_4": found[:, -1], "mae": found[:, [0, -1]].mean(1)}
        for name, values in columns.items():
            assert float(row[name]) == pytest.approx(values.mean(), rel=1e-6)
            if seeds == 2:
                margin = abs(values[0] - values[1])  # 2 s / sqrt(2), where s = |a - b| / sqrt(2)
                assert float(row[f"{name}_2se"]) == pytest.approx(margin, rel=1e-3)
                assert margin > 0
            else:
                assert row[f"{name}_2se"] == ""
        assert (row["seeds"], row["windows"], row["neurons"]) == (str(seeds), "3", "6")
    assert [row["head"] for row in rows] == ["", "lead-time", "direct", "autoregression"]


def test_the_page_holds_the_tables_numbers(outcomes):
    lines = as_markdown(outcomes, STEPS, "head").splitlines()
    assert lines[0].startswith("MAE (df/f) by head: 3 windows of waves-every-4, 6 neurons;")
    rows = {row["cell"]: row for row in csv.DictReader(io.StringIO(as_csv(outcomes, STEPS)))}
    best = min(rows, key=lambda label: float(rows[label]["mae"]))
    for line in lines[4:]:
        label, *cells = (part.strip() for part in line.strip("|").split("|"))
        assert cells[3].startswith(f"{float(rows[label]['mae_1']):.5f}")
        assert cells[-1].startswith("**") == (label == best)
    assert len(lines) == 8


def test_the_figure_draws_the_tables_numbers(ground, outcomes):
    figure = figure_of(outcomes, ground("head").study)
    left, right = figure.axes
    (bars,) = left.containers
    rows = list(csv.DictReader(io.StringIO(as_csv(outcomes, STEPS))))
    means = [float(row["mae"]) for row in rows]
    assert left.lines[0].get_ydata() == pytest.approx([means[0]] * 2)
    assert bars[0].get_ydata() == pytest.approx(means[1:])
    assert bars[0].get_linestyle() == "None"
    for row, segment in zip(rows[1:], bars[2][0].get_segments(), strict=True):
        (_, low), (_, high) = segment
        assert high - low == pytest.approx(2 * float(row["mae_2se"]), rel=1e-6)
    assert [label.get_text() for label in left.get_xticklabels()] == [r["cell"] for r in rows[1:]]
    for row, line in zip(rows, right.lines, strict=True):
        assert line.get_label() == row["cell"]
        ends = [float(row["mae_1"]), float(row["mae_4"])]
        assert line.get_ydata()[[0, -1]] == pytest.approx(ends)


def test_what_is_done_is_not_done_again(ground, folder, outcomes):
    def written():
        return {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}

    before = written()
    again = run(ground("head"), folder, seeds=2, quiet=True)
    after = written()
    assert again == outcomes
    assert {p for p in after if after[p] != before.get(p)} == {folder / "study.json"}
    assert set(before) == set(after)


def test_a_cell_with_other_settings_is_refused(ground, folder, outcomes, fish, tmp_path):
    with pytest.raises(Refused, match=r"lead-time: settings .*'steps': 3.*, not .*'steps': 4"):
        run(ground("head", steps=4), folder, seeds=2, quiet=True)
    with pytest.raises(Refused, match="holds a study of study head, not loss"):
        run(ground("loss"), folder, seeds=1, quiet=True)
    with pytest.raises(Refused, match="benchmark waves-every-4@1, not waves-every-2@1"):
        run(ground("head", every=2), folder, seeds=2, quiet=True)
    other = tmp_path / "other"
    videos.write(other, seed=5)
    elsewhere = replace(ground("head"), recordings=videos.opened(other))
    with pytest.raises(Refused, match="a study of data sha256:"):
        run(elsewhere, folder, seeds=2, quiet=True)


def test_a_scorecard_of_another_cell_is_refused(ground, tmp_path, folder, outcomes):
    (tmp_path / "direct").mkdir()
    taken = (folder / "lead-time" / "seed-0.json").read_bytes()
    (tmp_path / "direct" / "seed-0.json").write_bytes(taken)
    only = ground("head")
    direct = tuple(cell for cell in only.study.cells if cell.label == "direct")
    alone = replace(only, study=replace(only.study, cells=direct))
    with pytest.raises(Refused, match="is no scorecard of direct, seed 0"):
        run(alone, tmp_path, seeds=1, quiet=True)


def test_others_join_the_training_frames_of_the_whole_benchmark(ground, companion, tmp_path):
    found = run(ground("pretraining"), tmp_path, seeds=1, quiet=True)
    said = {one.cell.label: one.cards[0].forecaster for one in found}
    for number, others in enumerate(([], [companion])):
        one = said[f"others-{number}"]
        assert one["training_data"] == "training frames of waves@1"
        assert one["parameters"]["others"] == others
    rows = csv.DictReader(io.StringIO(as_csv(found, STEPS)))
    assert [row["others"] for row in rows] == ["", "0", "1"]
    stores = [tmp_path / f"others-{n}" / "seed-0.zarr" for n in (0, 1)]
    alone, both = (open_predictions(str(store)).arrays["all"].read() for store in stores)
    assert alone.shape == both.shape == (3, videos.HORIZON, videos.NEURONS)
    assert np.abs(alone - both).max() > 0


def test_what_a_study_lacks_is_said_before_anything_is_trained(ground, tmp_path, fish):
    long = ground("head")
    cells = tuple(replace(cell, context=4) for cell in long.study.cells)
    with pytest.raises(UsageError, match="context length 4 is not allowed"):
        run(replace(long, study=replace(long.study, cells=cells)), tmp_path, seeds=1)
    bare = tmp_path / "bare"
    traces = videos.traces(videos.video(), videos.labels())
    write_array(open_store(bare).child("traces"), traces, Layout(chunk=traces.shape))
    recordings = {"fish": open_recording(str(bare))}
    with pytest.raises(InvalidInput, match="has no segmentation"):
        run(replace(ground("head"), recordings=recordings), tmp_path / "out", seeds=1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bare"]
