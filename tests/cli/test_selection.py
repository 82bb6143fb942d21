"""What a command is asked to work on: names, context lengths, manifests, places of data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.tiny import (
    ARRAYS,
    FRAMES,
    NEURONS,
    ORIGINS,
    RAW3,
    TOML,
    Layout,
    activity,
    forecasts,
    write_array,
    write_predictions,
)

from zapeval.benchmarks.own import read_own
from zapeval.benchmarks.zapbench import CONDITIONS, ZAPBENCH
from zapeval.benchmarks.zapbench import FRAMES as ALL_FRAMES

SUBSET = 3


def manifest(tiny: Path, **changes: Any) -> dict[str, Any]:
    """A manifest of predictions for the tiny benchmark, with changes."""
    recipe = read_own(str(tiny))
    digest = recipe.resolve(recipe.recordings()).digest
    return {
        "schema": "zapeval.predictions/1",
        "benchmark": {"id": "tiny", "version": 2, "digest": digest},
        "context": 2,
        "forecaster": {"name": "of the test", "version": "1", "parameters": {"width": 3}},
    } | changes


# Names


@pytest.mark.parametrize("command", ["score", "check"])
def test_an_unknown_benchmark_lists_the_known_and_the_nearest(run, tmp_path, command):
    store = write_predictions(tmp_path / "p")
    outcome = run(command, store, "-b", "zapbenhc", "-c", 4)
    assert outcome.code == 4
    said, _, known = outcome.err.partition("; known: ")
    assert "benchmark 'zapbenhc': is not registered" in said
    assert "zapbench, zapbench-mini, zapbench-smoke" in known
    assert "did you mean 'zapbench'?" in outcome.err


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("zapbench@2", "benchmark 'zapbench@2': known version: zapbench@1"),
        ("nowhere.toml", "nowhere.toml: does not exist; expected a TOML file"),
    ],
)
def test_a_version_or_a_file_that_is_not_there_is_not_found(run, tmp_path, name, says):
    outcome = run("score", write_predictions(tmp_path / "p"), "-b", name, "-c", 4)
    assert (outcome.code, outcome.out) == (4, "")
    assert says in outcome.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-c", "0"), "tiny@2: context length 0 is not allowed; expected 1 to 3 frames"),
        (("-c", "-4"), "context length -4 is not allowed"),
        (("-c", "4"), "tiny@2: context length 4 is not allowed; expected 1 to 3 frames"),
        (("-c", "four"), "as an integer"),
        ((), "tiny@2: has several context lengths; say -c 2 or 3"),
    ],
)
def test_a_context_length_that_is_not_allowed_is_a_usage_error(
    run, tiny, tmp_path, arguments, says
):
    outcome = run("score", write_predictions(tmp_path / "p"), "-b", tiny, *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert says in " ".join(outcome.err.replace("│", "").split())


def test_any_context_length_that_is_allowed_scores(run, tiny, tmp_path):
    outcome = run("score", write_predictions(tmp_path / "p"), "-b", tiny, "-c", 1, "--json", "-")
    assert json.loads(outcome.out)["benchmark"]["context"] == 1


def test_a_bare_store_needs_the_name_of_its_benchmark(run, tmp_path):
    store = write_predictions(tmp_path / "p")
    outcome = run("score", store)
    assert outcome.code == 2
    assert f"{store}: has no manifest; name the benchmark with -b" in outcome.err


@pytest.mark.parametrize("command", ["score", "check"])
def test_a_store_that_is_not_there_is_not_found(run, tiny, tmp_path, command):
    for place in (tmp_path / "nowhere", tiny):  # the second is a file
        outcome = run(command, place, "-b", tiny, "-c", 2)
        assert outcome.code == 4
        assert f"{place}: is no folder; expected a predictions store" in outcome.err


@pytest.mark.parametrize(
    ("uri", "code", "says"),
    [
        ("ftp://place/p", 3, "scheme 'ftp' is not one of file, gs, s3, http, https"),
        ("gs://place/p|zip:x", 3, "expected a plain address"),
        ('{"driver": "file"}', 4, "is no folder"),
    ],
)
def test_only_plain_addresses_are_taken(run, tiny, uri, code, says):
    outcome = run("score", uri, "-b", tiny, "-c", 2)
    assert outcome.code == code
    assert says in outcome.err


def test_an_unknown_option_is_a_usage_error(run, tmp_path):
    assert run("score", tmp_path, "--nonsense").code == 2
    assert run("nonsense").code == 2
    assert run("score").code == 2
    assert run("score", tmp_path, "--workers", 0).code == 2
    assert run("score", tmp_path, "--missing", "sometimes").code == 2


# Data


def test_data_that_is_not_there_is_not_found(run, tiny, tmp_path):
    store = write_predictions(tmp_path / "p")
    nowhere = run("score", store, "-b", tiny, "-c", 2, "--data", tmp_path / "nowhere")
    assert nowhere.code == 4
    assert "nowhere: is no folder; expected the one that holds the recordings" in nowhere.err
    (tmp_path / "empty").mkdir()
    empty = run("score", store, "-b", tiny, "-c", 2, "--data", tmp_path / "empty")
    assert empty.code == 4
    assert "[[recordings]] 'fish': activity: " in empty.err
    assert "fish.npy: does not exist" in empty.err


def test_zapbench_data_that_is_not_there_is_not_found(run, tmp_path):
    store = write_predictions(tmp_path / "p")
    nowhere = run("score", store, "-b", "zapbench", "-c", 4, "--data", tmp_path / "nowhere")
    assert (nowhere.code, "nowhere: does not exist" in nowhere.err) == (4, True)
    (tmp_path / "empty").mkdir()
    empty = run("score", store, "-b", "zapbench", "-c", 4, "--data", tmp_path / "empty")
    assert empty.code == 4
    assert "empty/traces: holds no zarr array (neither zarr.json nor .zarray)" in empty.err


# Manifests


def test_the_manifest_fills_the_context_length(run, tiny, tmp_path):
    store = write_predictions(tmp_path / "p", RAW3, attributes=manifest(tiny))
    outcome = run("score", store, "-b", tiny, "--json", "-")
    assert outcome.code == 0, outcome
    card = json.loads(outcome.out)
    assert card["benchmark"]["context"] == 2
    assert card["forecaster"]["name"] == "of the test"
    assert card["forecaster"]["parameters"] == {"width": 3}


@pytest.mark.parametrize(
    ("part", "options", "says"),
    [
        ({"id": "other"}, (), "is for other@2, not for tiny@2"),
        ({"version": 1}, (), "is for tiny@1, not for tiny@2"),
        ({"digest": "sha256:0"}, (), "was forecast for another definition of tiny@2 (digest"),
        ({}, ("-c", 3), "was forecast from 2 frames of context, not from 3; leave -c out"),
    ],
)
def test_options_that_contradict_the_manifest_are_refused(run, tiny, tmp_path, part, options, says):
    said = manifest(tiny)
    said["benchmark"] |= part
    store = write_predictions(tmp_path / "p", RAW3, attributes=said)
    for command in ("score", "check"):
        outcome = run(command, store, "-b", tiny, *options)
        assert (outcome.code, outcome.out) == (3, "")
        assert f"{store}: {says}" in outcome.err


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": "zapeval.predictions/2"}, "schema is 'zapeval.predictions/2', expected"),
        ({"schema": [[[]]]}, "manifest: schema is [[[]]], expected"),
        ({"colour": "red"}, "manifest: colour: Extra inputs are not permitted, got 'red'"),
        ({"x\x1b[2J": 1}, "manifest: x\ufffd[2J: Extra inputs are not permitted"),
        ({"context": 0}, "manifest: context: Input should be greater than or equal to 1, got 0"),
        ({"context": "many"}, "manifest: context: Input should be a valid integer"),
        ({"benchmark": "tiny"}, "manifest: benchmark: Input should be a valid dictionary"),
        ({"forecaster": {}}, "manifest: forecaster.name: Field required, got {}"),
        ({"forecaster": {"name": "x" * 3000}}, "forecaster.name: String should have at most 2000"),
        ({"grid": {"stride": [1, 1]}}, "manifest: grid.stride.2: Field required"),
    ],
)
def test_a_manifest_that_does_not_follow_the_schema_is_refused(run, tiny, tmp_path, changes, says):
    store = write_predictions(tmp_path / "p", RAW3, attributes=manifest(tiny, **changes))
    outcome = run("score", store, "-b", tiny)
    assert (outcome.code, outcome.out) == (3, "")
    assert f"error: {store}: manifest: " in outcome.err
    assert says in outcome.err


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_a_manifest_with_a_number_that_is_none_is_refused(run, tiny, tmp_path, number):
    store = write_predictions(tmp_path / "p", RAW3, attributes=manifest(tiny))
    text = (store / "zarr.json").read_text()
    (store / "zarr.json").write_text(text.replace('"width": 3', f'"width": {number}'))
    outcome = run("score", store, "-b", tiny)
    assert (outcome.code, outcome.out) == (3, "")
    assert f"{store}/zarr.json: is not valid JSON: {number}" in outcome.err


def test_everything_wrong_in_a_manifest_is_said_at_once(run, tiny, tmp_path):
    said = manifest(tiny, colour="red", context=-1)
    store = write_predictions(tmp_path / "p", RAW3, attributes=said)
    err = run("score", store, "-b", tiny).err
    assert "colour" in err
    assert "context" in err


def test_a_manifest_can_name_a_benchmark_and_nothing_else(run, tiny, tmp_path, monkeypatch):
    # A name like file.py:Class on the command line is executed, and one like file.toml is read.
    monkeypatch.chdir(tmp_path)
    said = manifest(tiny)
    store = write_predictions(tmp_path / "p", RAW3, attributes=said)
    (store / "evil.py").write_text("import pathlib\npathlib.Path('harm').touch()\nclass X: pass\n")
    shutil.copy(tiny, tmp_path / "evil.toml")
    for name in ("p/evil.py:X", f"{store}/evil.py:X", "evil.toml", "", "../x", "a b"):
        said["benchmark"]["id"] = name
        group = {"zarr_format": 3, "node_type": "group", "attributes": said}
        (store / "zarr.json").write_text(json.dumps(group))
        outcome = run("score", store)
        assert outcome.code == 3, name
        assert "manifest: benchmark.id: String should match pattern" in outcome.err
        assert not (tmp_path / "harm").exists()


def test_a_manifest_of_a_benchmark_that_is_not_registered_asks_for_its_file(run, tiny, tmp_path):
    store = write_predictions(tmp_path / "p", RAW3, attributes=manifest(tiny))
    outcome = run("score", store)
    assert outcome.code == 4
    assert f"{store}: manifest: benchmark 'tiny': is not registered; known: " in outcome.err
    assert "where a TOML file defines it, give the file with -b" in outcome.err


def test_a_manifest_with_a_context_length_that_is_not_allowed_is_invalid(run, tiny, tmp_path):
    store = write_predictions(tmp_path / "p", RAW3, attributes=manifest(tiny, context=300))
    outcome = run("score", store, "-b", tiny)
    assert outcome.code == 3
    assert f"{store}: manifest: tiny@2: context length 300 is not allowed" in outcome.err


def test_a_changed_definition_is_another_benchmark(run, tiny, tmp_path):
    store = write_predictions(tmp_path / "p", RAW3, attributes=manifest(tiny))
    tiny.write_text(TOML.replace("validation = [0.4, 0.5]", "validation = [0.45, 0.5]"))
    outcome = run("score", store, "-b", tiny)
    assert outcome.code == 3
    assert "was forecast for another definition of tiny@2" in outcome.err


# ZAPBench itself, over a recording of a few neurons


@pytest.fixture(scope="module")
def zapbench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``recording/traces`` and predictions that resemble them, of 3 neurons."""
    folder = tmp_path_factory.mktemp("zapbench")
    rng = np.random.default_rng(3)
    traces = rng.normal(0, 1, (ALL_FRAMES, SUBSET)).astype(np.float32)
    write_array(folder / "recording/traces", traces, Layout(zarr_format=3, chunk=(4096, SUBSET)))
    for series in ZAPBENCH.series:
        truth = np.stack([traces[o : o + 32] for o in series.origins])
        write_array(folder / "p" / series.array, truth + 1, Layout(chunk=(400, 32, SUBSET)))
    return folder


@pytest.fixture
def official(zapbench: Path, tmp_path: Path) -> Path:
    """A copy of those predictions, to change."""
    return Path(shutil.copytree(zapbench / "p", tmp_path / "official"))


def scored(run, zapbench: Path, store: Path, *options: object):
    data = ("--data", zapbench / "recording")
    return run("score", store, "-b", "zapbench", "-c", 4, *data, "--json", "-", *options)


def test_a_subset_of_the_neurons_scores(run, zapbench):
    outcome = scored(run, zapbench, zapbench / "p")
    assert outcome.code == 0, outcome
    card = json.loads(outcome.out)
    assert [line["name"] for line in card["series"]] == list(CONDITIONS)
    assert {line["neurons"] for line in card["series"]} == {SUBSET}
    assert [line["name"] for line in card["series"] if line["held_out"]] == ["taxis"]
    rows = [*CONDITIONS, "average", "pooled"]
    assert len(card["scores"]) == len(rows) * 32 * 3
    for score in card["scores"]:
        expected = {"mae": 1, "mse": 1, "correlation": 1}[score["metric"]]
        assert score["value"] == pytest.approx(expected, abs=1e-6)


def test_a_window_too_few_is_named(run, zapbench, official):
    file = official / "test_holdout_condition_3/.zarray"
    document = json.loads(file.read_text())
    assert document["shape"] == [368, 32, SUBSET]
    file.write_text(json.dumps(document | {"shape": [367, 32, SUBSET]}))
    outcome = scored(run, zapbench, official)
    assert (outcome.code, outcome.out) == (3, "")
    assert "test_holdout_condition_3: 367 windows, expected 368 (zapbench@1, taxis)" in outcome.err


@pytest.mark.parametrize("steps", [31, 33])
def test_a_step_too_few_or_too_many_is_named(run, zapbench, official, steps):
    values = np.zeros((98, steps, SUBSET), np.float32)
    shutil.rmtree(official / "test_condition_0")
    write_array(official / "test_condition_0", values, Layout(chunk=(98, steps, SUBSET)))
    outcome = scored(run, zapbench, official)
    assert outcome.code == 3
    assert f"test_condition_0: {steps} steps, expected 32 (zapbench@1, gain)" in outcome.err


def test_a_recording_of_other_frames_is_refused(run, zapbench, tmp_path):
    traces = np.zeros((ALL_FRAMES - 1, SUBSET), np.float32)
    write_array(tmp_path / "other/traces", traces, Layout(chunk=traces.shape))
    data = ("--data", tmp_path / "other")
    outcome = run("score", zapbench / "p", "-b", "zapbench", "-c", 4, *data)
    assert outcome.code == 3
    assert "other/traces: has 7878 frames, expected 7879 (zapbench@1)" in outcome.err


def test_a_recording_that_is_no_matrix_or_empty_is_refused(run, zapbench, tmp_path):
    for shape in ((ALL_FRAMES,), (ALL_FRAMES, 3, 1), (ALL_FRAMES, 0)):
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        layout = Layout(chunk=(8000, 3, 1)[: len(shape)])
        write_array(tmp_path / "other/traces", np.zeros(shape, "f4"), layout)
        data = ("--data", tmp_path / "other")
        outcome = run("score", zapbench / "p", "-b", "zapbench", "-c", 4, *data)
        assert outcome.code == 3
        assert f"other/traces: {'is empty' if 0 in shape else 'has shape'}" in outcome.err


def test_recordings_without_neurons_cannot_be_forecast(run, tiny, tmp_path):
    np.save(tiny.parent / "fish.npy", np.zeros((FRAMES, 0), "f4"))
    outcome = run("forecast", "mean", "-b", tiny, "-c", 2, "--out", tmp_path / "p")
    assert outcome.code == 3
    assert "fish.npy: is empty: it has shape [80, 0]" in outcome.err


def test_a_missing_part_of_the_recording_is_named(run, zapbench, tmp_path):
    shutil.copytree(zapbench / "recording", tmp_path / "recording")
    (tmp_path / "recording/traces/c/1/0").unlink()
    data = ("--data", tmp_path / "recording")
    outcome = run("score", zapbench / "p", "-b", "zapbench", "-c", 4, *data, "--json", "-")
    assert (outcome.code, outcome.out) == (3, "")
    assert "recording/traces/c/1/0: chunk is missing" in outcome.err


def test_the_tiny_benchmark_is_what_its_file_says(tiny):
    recipe = read_own(str(tiny))
    benchmark = recipe.resolve(recipe.recordings())
    assert tuple(series.array for series in benchmark.series) == ARRAYS
    for series in benchmark.series:
        assert series.origins == tuple(ORIGINS[series.array])
        assert forecasts(series.array).shape == (series.windows, benchmark.horizon, NEURONS)
    assert activity().shape == (FRAMES, NEURONS)
