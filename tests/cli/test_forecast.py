"""Forecast, check and score, one after the other; interrupted, repeated, on a full disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from cli.conftest import tree
from cli.test_score import full_disk
from cli.tiny import ARRAYS, FRAMES, HORIZON, NEURONS, ORIGINS, WINDOWS, activity, write_benchmark

PLUGIN = '''\
import os, pathlib, signal
import numpy as np
import zapeval

class Last(zapeval.Forecaster):
    """Repeats the last frame, and notes each call."""

    name = "last"
    version = "3"

    def forecast(self, contexts):
        with open("calls", "a") as calls:
            calls.write(contexts.series + "\\n")
        stop = os.environ.get("STOP_AT")
        if contexts.series == stop:
            os.environ.pop("STOP_AT")
            os.kill(os.getpid(), getattr(signal, os.environ["STOP_WITH"]))
        return np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1)
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "last.py").write_text(PLUGIN)
    return "last.py:Last"


def contents(folder: Path) -> dict[str, bytes]:
    files = {str(p.relative_to(folder)): p for p in folder.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != "zarr.json"}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_forecast_check_and_score_follow_each_other(run, tiny, plugin, tmp_path, dtype):
    options = ("-b", tiny, "-c", 3)
    made = run("forecast", plugin, *options, "--out", "new/p.zarr", "--dtype", dtype)
    assert (made.code, made.out) == (0, "")
    assert made.err == "new/p.zarr: 34 windows of tiny@2 written\n"
    group = zarr.open_group("new/p.zarr", mode="r")
    for name in ARRAYS:
        last = np.stack([activity()[o - 1] for o in ORIGINS[name]])[:, None]
        expected = np.broadcast_to(last, (WINDOWS, HORIZON, NEURONS)).astype(dtype)
        np.testing.assert_array_equal(group[name][:], expected)
    checked = run("check", "new/p.zarr", "-b", tiny)
    assert (checked.code, checked.err) == (0, "")
    assert checked.out.startswith("new/p.zarr: covers tiny@2, 34 windows; values are checked when")
    scored = run("score", "new/p.zarr", "-b", tiny, "--json", "-")
    assert scored.code == 0
    card = json.loads(scored.out)
    assert card["benchmark"]["context"] == 3
    assert (card["forecaster"]["name"], card["forecaster"]["version"]) == ("last", "3")


def test_what_is_registered_needs_no_option_to_be_scored(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "recording"
    traces = np.random.default_rng(0).normal(size=(7879, 2)).astype("f4")
    zarr.create_array(store=str(data / "traces"), data=traces, chunks=(4000, 2))
    options = ("-b", "zapbench-smoke", "-c", 4, "--data", data, "--quiet")
    assert run("forecast", "mean", *options, "--out", "p.zarr").code == 0
    scored = run("score", "p.zarr", "--data", data, "--json", "-")
    assert scored.code == 0, scored
    card = json.loads(scored.out)
    assert (card["benchmark"]["id"], card["benchmark"]["context"]) == ("zapbench-smoke", 4)
    assert sum(line["windows"] for line in card["series"]) <= 64


def test_a_store_that_exists_is_not_touched(run, tiny, plugin, tmp_path):
    for place in ("folder", "file", "empty"):
        path = tmp_path / place
        path.write_text("kept") if place == "file" else path.mkdir()
        if place == "folder":
            (path / "kept").write_text("kept")
        before = tree(tmp_path)
        outcome = run("forecast", plugin, "-b", tiny, "-c", 2, "--out", path)
        assert outcome.code == 3
        assert f"{path}: exists; remove it or choose another name" in outcome.err
        assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("place", "code", "says"),
    [
        ("file/p.zarr", 3, "file/p.zarr: can't be written: "),
        ("gs://bucket/p.zarr", 2, "is an address; give a local path"),
    ],
)
def test_a_place_that_cannot_hold_predictions_is_named(run, tiny, plugin, place, code, says):
    Path("file").write_text("")
    outcome = run("forecast", plugin, "-b", tiny, "-c", 2, "--out", place)
    assert (outcome.code, says in outcome.err) == (code, True), outcome
    assert not Path("calls").exists()


def test_an_interrupted_forecast_goes_on_where_it_stopped(run, tiny, plugin, monkeypatch, tmp_path):
    options = ("forecast", plugin, "-b", tiny, "-c", 2, "--out")
    assert run(*options, "whole.zarr").code == 0
    Path("calls").unlink()
    monkeypatch.setenv("STOP_AT", "moving")
    monkeypatch.setenv("STOP_WITH", "SIGINT")
    stopped = run(*options, "p.zarr")
    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.err == "interrupted; repeat the command to go on\n"
    assert not Path("p.zarr").exists()
    assert run("score", "p.zarr", "-b", tiny).code == 4
    assert run(*options, "p.zarr").code == 0
    assert Path("calls").read_text().split() == ["still", "moving", "moving"]
    assert contents(Path("p.zarr")) == contents(Path("whole.zarr"))
    assert not list(tmp_path.glob(".*.part"))


def test_a_forecast_that_was_killed_goes_on_where_it_stopped(tiny, plugin, tmp_path):
    command = [
        *(sys.executable, "-m", "zapeval", "forecast", plugin, "-b", str(tiny), "-c", "2"),
        *("--out", "p.zarr"),
    ]
    environment = os.environ | {"STOP_AT": "moving", "STOP_WITH": "SIGKILL"}
    killed = subprocess.run(command, env=environment, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not Path("p.zarr").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert Path("calls").read_text().split() == ["still", "moving", "moving"]
    assert not list(tmp_path.glob(".*.part"))
    assert not list(Path("p.zarr").rglob("*.__lock"))


def test_a_begun_forecast_of_other_settings_is_not_mixed_in(run, tiny, plugin, monkeypatch):
    options = ("forecast", plugin, "-b", tiny, "--out", "p.zarr")
    monkeypatch.setenv("STOP_AT", "moving")
    monkeypatch.setenv("STOP_WITH", "SIGINT")
    assert run(*options, "-c", 2).code == 130
    Path("calls").unlink()
    assert run(*options, "-c", 3).code == 0
    assert Path("calls").read_text().split() == ["still", "moving"]
    assert json.loads(Path("p.zarr/zarr.json").read_text())["attributes"]["context"] == 3


def test_a_full_disk_is_named_and_a_repeat_goes_on(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = write_benchmark(tmp_path / "benchmark")
    # As many neurons as fill a mebibyte with the second series: noise that does not compress.
    rng = np.random.default_rng(0)
    np.save(tiny.parent / "fish.npy", rng.normal(size=(FRAMES, 1500)).astype("f4"))
    (tmp_path / "noise.py").write_text(
        "import numpy as np, zapeval\n"
        "class Noise(zapeval.Forecaster):\n"
        "    name = 'noise'\n"
        "    def forecast(self, contexts):\n"
        "        rng = np.random.default_rng(contexts.origins[0])\n"
        "        windows, _, neurons = contexts.activity.shape\n"
        "        return rng.normal(size=(windows, contexts.horizon, neurons)).astype('f4')\n"
    )
    disk = tmp_path / "disk"
    options = ("forecast", "noise.py:Noise", "-b", tiny, "-c", 2, "--out")
    with full_disk(disk, 500_000):
        outcome = run(*options, disk / "p.zarr")
        assert (outcome.code, outcome.out) == (3, "")
        assert "the disk is full; free some space and repeat the command" in outcome.err
        assert not (disk / "p.zarr").exists()
        (disk / "filler").unlink()
        assert run(*options, disk / "p.zarr").code == 0
        assert sorted(path.name for path in disk.iterdir()) == ["p.zarr"]
        assert run(*options, tmp_path / "other.zarr").code == 0
        assert contents(disk / "p.zarr") == contents(tmp_path / "other.zarr")


def test_a_disk_that_is_full_from_the_start_can_be_repeated_too(run, tiny, plugin, tmp_path):
    disk = tmp_path / "disk"
    options = ("forecast", plugin, "-b", tiny, "-c", 2, "--out", disk / "p.zarr")
    with full_disk(disk, 0):
        outcome = run(*options)
        assert outcome.code == 3
        assert "the disk is full" in outcome.err
        assert not (disk / "p.zarr").exists()
        (disk / "filler").unlink()
        assert run(*options).code == 0


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return contexts.activity", "returned shape [17, 2, 5], expected [windows, horizon"),
        ("return contexts.activity.astype('f8')", "returned float64, expected a float32 NumPy"),
        ("return None", "returned NoneType, expected a float32 NumPy array"),
        (
            "return np.full((len(contexts.origins), 4, 5), np.nan, np.float32)",
            "returned nan for window 0, step 1, neuron 0; expected finite numbers",
        ),
    ],
)
def test_a_forecaster_that_breaks_its_contract_is_named(run, tiny, tmp_path, out, body, says):
    file = tmp_path / "bad.py"
    file.write_text(
        "import numpy as np, zapeval\n"
        "class Bad(zapeval.Forecaster):\n"
        "    name = 'bad'\n"
        f"    def forecast(self, contexts):\n        {body}\n"
    )
    outcome = run("forecast", f"{file}:Bad", "-b", tiny, "-c", 2, "--out", out / "p.zarr")
    assert (outcome.code, outcome.out) == (3, "")
    assert f"error: bad: still, windows [0, 17): {says}" in outcome.err
    assert not (out / "p.zarr").exists()
