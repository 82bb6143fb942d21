"""Conformance: scores of every condition against numbers that loops over windows gave."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from published import (
    HORIZON,
    NEURONS,
    TARGETS,
    TRACES,
    activity,
    encoded,
    errors_of_mean,
    rows,
    write_bucket,
)

from baselines.naive import Mean, Persistence
from zapeval.benchmarks.published import TOLERANCE, Published, read_published
from zapeval.benchmarks.zapbench import SUMMARY_STEPS, ZAPBENCH, ZapBench
from zapeval.errors import InvalidInput, StorageError
from zapeval.forecasting.forecast import forecast
from zapeval.forecasting.predictions import open_predictions
from zapeval.recordings.recording import Recordings, open_recording
from zapeval.reports.agreement import plain_agreement, require_agreement
from zapeval.reports.conformance import verify
from zapeval.scoring.score import score

CELL = ("mae", "turning", 5)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    return write_bucket(tmp_path_factory.mktemp("public") / "bucket")


@pytest.fixture(scope="module")
def recordings(bucket):
    return ZapBench().recordings(str((bucket / TRACES).parent))


@pytest.fixture(scope="module")
def published(bucket) -> Published:
    return read_published(str((bucket / TRACES).parent), None, method="mean", context=4)


@pytest.fixture(scope="module")
def agreement(recordings, published):
    return verify(Mean(), ZAPBENCH, recordings, published, context=4)


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The folder in which temporary folders are made."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def against(agreement, cell, value):
    """Returns the comparisons as they are where one published number is another."""
    changed = [
        replace(one, published=value) if (one.metric, one.series, one.step) == cell else one
        for one in agreement.comparisons
    ]
    return replace(agreement, comparisons=tuple(changed))


def test_every_condition_and_step_is_what_a_loop_over_windows_gives(agreement):
    found = {(one.metric, one.series, one.step): one.ours for one in agreement.comparisons}
    assert len(found) == len(agreement.comparisons) == 2 * 9 * HORIZON
    for name, (first, windows) in TARGETS.items():
        for metric, values in zip(
            ("mae", "mse"), errors_of_mean(activity(), first, windows), strict=True
        ):
            ours = [found[metric, name, step] for step in range(1, HORIZON + 1)]
            np.testing.assert_allclose(ours, values, rtol=1e-12)
    require_agreement(agreement)


def test_each_condition_scores_as_it_does_among_the_others(agreement, recordings, tmp_path):
    forecast(Mean(), ZAPBENCH, recordings, tmp_path / "all.zarr", context=4)
    opened = open_predictions(str(tmp_path / "all.zarr"))
    card, _ = score(opened, ZAPBENCH, recordings, context=4)
    for one in agreement.comparisons:
        assert one.ours == card.value(one.series, one.step, one.metric)


def test_another_forecaster_does_not_agree(recordings, published):
    found = verify(Persistence(), ZAPBENCH, recordings, published, context=4)
    assert len(found.disagreements) == len(found.comparisons)
    with pytest.raises(InvalidInput, match="576 of 576 values differ"):
        require_agreement(found)


def test_another_recording_does_not_agree(published, tmp_path):
    np.save(tmp_path / "later.npy", np.roll(activity(), 1, axis=0))
    recordings = Recordings({"zapbench": lambda: open_recording(str(tmp_path / "later.npy"))})
    found = verify(Mean(), ZAPBENCH, recordings, published, context=4)
    assert len(found.disagreements) > 500


@pytest.mark.parametrize("metric", ["mae", "mse"])
def test_a_number_that_is_off_in_the_seventh_decimal_is_found(agreement, metric):
    cell = (metric, "turning", 5)
    value = agreement.at(*cell).ours
    for off in (1e-7, -1e-7, 1.2 * TOLERANCE):
        changed = against(agreement, cell, value + off)
        with pytest.raises(InvalidInput) as caught:
            require_agreement(changed)
        text = str(caught.value)
        assert "1 of 576 values differ in the first 8 decimals" in text
        assert f"first: {metric} of turning at step 5: {value:.10f} here, " in text
        assert f"largest, by {abs(off):.1e}: {metric} of turning at step 5" in text
        assert f"({NEURONS} neurons)" in text
    require_agreement(against(agreement, cell, value + 0.8 * TOLERANCE))


def test_numbers_that_round_apart_but_are_near_agree(agreement):
    edge = replace(agreement.comparisons[0], ours=0.0199999949, published=0.0199999951)
    assert f"{edge.ours:.8f}" != f"{edge.published:.8f}"
    assert edge.agrees


def test_first_and_largest_disagreement_are_named(agreement):
    changed = against(agreement, CELL, agreement.at(*CELL).ours + 2e-7)
    changed = against(changed, ("mse", "dark", 32), 0.5)
    with pytest.raises(InvalidInput) as caught:
        require_agreement(changed)
    assert "first: mae of turning at step 5: " in str(caught.value)
    assert "mse of dark at step 32: " in str(caught.value).partition("largest")[2]
    assert len(caught.value.findings) == 2


def test_published_numbers_with_few_decimals_are_called_so(agreement):
    cut = [replace(one, published=round(one.published, 6)) for one in agreement.comparisons]
    with pytest.raises(InvalidInput, match="published values have at most 6 decimals"):
        require_agreement(replace(agreement, comparisons=tuple(cut)))
    ten = [replace(one, published=round(one.published, 10)) for one in agreement.comparisons]
    require_agreement(replace(agreement, comparisons=tuple(ten)))


def test_table_without_mse_compares_mae_alone(recordings, tmp_path):
    file = tmp_path / "table.json"
    file.write_text(encoded({k: v for k, v in row.items() if k != "MSE"} for row in rows()))
    table = read_published(None, str(file), method="mean", context=4)
    found = verify(Mean(), ZAPBENCH, recordings, table, context=4)
    assert {one.metric for one in found.comparisons} == {"mae"}
    assert len(found.comparisons) == 9 * HORIZON
    heads = [
        line for line in plain_agreement(found, SUMMARY_STEPS).splitlines() if " of mean" in line
    ]
    assert heads == ["# mae of mean, context 4, on zapbench@1"]
    require_agreement(found)


def test_one_condition_at_a_time_lies_on_disk_and_none_is_left(recordings, published, scratch):
    seen: list[tuple[str, ...]] = []
    reported = 0

    def progress(windows):
        nonlocal reported
        reported += windows
        seen.append(tuple(path.name for path in scratch.glob("zapeval-*/.*/test_*")))

    verify(Mean(), ZAPBENCH, recordings, published, context=4, progress=progress)
    assert {len(names) for names in seen} == {1}
    assert {names[0] for names in seen} == {series.array for series in ZAPBENCH.series}
    assert reported == ZAPBENCH.windows
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interruption_leaves_nothing(recordings, published, scratch, error):
    def stop(windows):
        assert list(scratch.iterdir()) != []
        raise error

    with pytest.raises(error):
        verify(Mean(), ZAPBENCH, recordings, published, context=4, progress=stop)
    assert list(scratch.iterdir()) == []


def test_too_small_a_disk_is_told_beforehand(published, scratch):
    folder = scratch / "huge"
    folder.mkdir()
    write_huge(folder / "zarr.json")
    recordings = Recordings({"zapbench": lambda: open_recording(str(folder))})
    with pytest.raises(StorageError, match=r"bytes free, and forecasts of one condition take"):
        verify(Mean(), ZAPBENCH, recordings, published, context=4)
    assert [path.name for path in scratch.iterdir()] == ["huge"]


def write_huge(file: Path) -> None:
    """Writes the metadata of an array that no disk holds the forecasts of."""
    regular = {"chunk_shape": [512, 1 << 17]}
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [7879, 1 << 31],
        "data_type": "float32",
        "chunk_grid": {"name": "regular", "configuration": regular},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    }
    file.write_text(json.dumps(document))


def test_a_folder_that_cannot_be_made_is_named(recordings, published, scratch, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(scratch / "nothing"))
    with pytest.raises(StorageError, match=r"temporary folder: could not be made: .*set TMPDIR"):
        verify(Mean(), ZAPBENCH, recordings, published, context=4)


def test_a_recording_of_other_frames_is_refused(published, tmp_path):
    np.save(tmp_path / "short.npy", activity()[:-1])
    recordings = Recordings({"zapbench": lambda: open_recording(str(tmp_path / "short.npy"))})
    with pytest.raises(InvalidInput, match="has 7878 frames, expected 7879"):
        verify(Mean(), ZAPBENCH, recordings, published, context=4)


def test_text_shows_each_condition_at_the_steps_with_both_numbers(agreement):
    changed = against(agreement, ("mae", "open loop", 4), 0.25)
    lines = plain_agreement(changed, SUMMARY_STEPS).splitlines()
    assert lines[0] == "# mae of mean, context 4, on zapbench@1"
    assert lines[1].split() == [word for step in SUMMARY_STEPS for word in ("step", str(step))]
    begin = next(i for i, line in enumerate(lines) if line.startswith("open loop  here "))
    ours = [agreement.at("mae", "open loop", step).ours for step in SUMMARY_STEPS]
    assert lines[begin].split()[3:] == [f"{value:.8f}" for value in ours]
    assert lines[begin + 1].split()[2] == "0.25000000"
    assert lines[begin + 2].split()[2] == f"{ours[1] - 0.25:+.1e}"
    assert lines[-1].startswith("# 575 of 576 values (mae and mse of 9 conditions, 32 steps) agree")
    assert lines[-1].endswith("mae of open loop at step 4")
    assert sum(line.lstrip().startswith("difference") for line in lines) == 2 * 9


def test_json_holds_every_number_and_where_it_comes_from(agreement, published, bucket):
    document = json.loads(agreement.to_json())
    assert document["schema"] == "zapeval.conformance/1"
    assert document["benchmark"]["digest"] == ZAPBENCH.digest
    assert document["forecaster"] == {"name": "mean", "version": "1"}
    assert document["published"]["digest"] == published.digest
    assert document["published"]["xids"] == ["101", "102"]
    assert document["recording"] == str(bucket / TRACES)
    assert [one["windows"] for one in document["series"]] == [w for _, w in TARGETS.values()]
    assert {one["neurons"] for one in document["series"]} == {NEURONS}
    assert (document["compared"], document["disagreements"], document["agrees"]) == (576, 0, True)
    first = document["values"][0]
    assert (first["series"], first["step"], first["metric"]) == ("gain", 1, "mae")
    assert first["difference"] == first["ours"] - first["published"]
