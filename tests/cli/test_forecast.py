"""Forecast, check and score, one after the other; interrupted, repeated, on a full disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from cli.conftest import tree
from cli.test_score import full_disk
from cli.tiny import (
    ARRAYS,
    FRAMES,
    HORIZON,
    NEURONS,
    ORIGINS,
    TOML,
    WINDOWS,
    activity,
    write_benchmark,
)

from zapeval.benchmarks.synthetic import generate_brain, write_brain

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


# Killed in the middle of a series


SLOW = '''\
import pathlib, time
import numpy as np
import zapeval

class Slow(zapeval.Forecaster):
    """Repeats the last frame; after some blocks it says so and falls asleep."""

    name = "slow"

    def forecast(self, contexts):
        with open("windows", "a") as windows:
            windows.writelines(f"{origin}\\n" for origin in contexts.origins)
        wait = pathlib.Path("wait")
        if wait.exists() and contexts.origins[0] == int(wait.read_text()):
            wait.unlink()
            pathlib.Path("reached").write_text("")
            time.sleep(60)
        return np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1)
'''


@pytest.fixture
def long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A benchmark of two series of three blocks, the last of five windows; a plugin beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slow.py").write_text(SLOW)
    file = write_benchmark(tmp_path / "long", TOML.replace("[0, 40]", "[0, 144]"))
    file.write_text(file.read_text().replace("[40, 80]", "[144, 288]"))
    np.save(file.parent / "fish.npy", activity(288))
    return file


def taken():
    """Returns the windows that were forecast since the last call."""
    windows = [int(line) for line in Path("windows").read_text().split()]
    Path("windows").unlink()
    return windows


def kill_at(origin, command):
    """Runs a command until a window is forecast, and kills it there."""
    Path("wait").write_text(str(origin))
    Path("reached").unlink(missing_ok=True)
    with subprocess.Popen(command) as process:
        try:
            for _ in range(1200):
                if Path("reached").exists():
                    break
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=60) == -signal.SIGKILL
    assert Path("reached").exists()


def whole_of(folder):
    """Returns the bytes of each file of a store, but for when it was made."""
    document = json.loads((folder / "zarr.json").read_text())
    document["attributes"]["created"] = ""
    return contents(folder) | {"zarr.json": json.dumps(document).encode()}


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def halve(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


FIRST, SECOND = list(range(72, 141)), list(range(216, 285))
"""Origins of the two series."""


@pytest.mark.parametrize("layout", ["--compress", "--raw"])
def test_a_forecast_killed_twice_and_damaged_is_the_same_byte_for_byte(run, long, layout):
    what = ("forecast", "slow.py:Slow", "-b", long, "-c", 2, layout, "--out")
    assert run(*what, "whole.zarr").code == 0
    assert taken() == FIRST + SECOND
    command = [sys.executable, "-m", "zapeval", *map(str, what), "p.zarr"]

    kill_at(FIRST[64], command)
    assert taken() == FIRST
    assert not Path("p.zarr").exists()
    flip(Path(".p.zarr.part/still/c/1/0/0"))

    kill_at(SECOND[32], command)
    # The damaged block and the one at which it was killed, then those that were never begun.
    assert taken() == FIRST[32:64] + FIRST[64:] + SECOND[:64]
    halve(Path(".p.zarr.part/still/c/2/0/0"))
    with Path(".p.zarr.part/.blocks.jsonl").open("a") as journal:
        journal.write('{"block": "moving/c/1/0/0", "si')

    assert run(*what, "p.zarr").code == 0
    assert taken() == FIRST[64:] + SECOND[32:]
    assert whole_of(Path("p.zarr")) == whole_of(Path("whole.zarr"))
    assert not list(Path.cwd().glob(".*.part"))


def test_a_second_forecast_into_the_store_is_refused(run, long):
    what = ("forecast", "slow.py:Slow", "-b", long, "-c", 2, "--out", "p.zarr")
    Path("wait").write_text(str(FIRST[32]))
    with subprocess.Popen([sys.executable, "-m", "zapeval", *map(str, what)]) as first:
        try:
            for _ in range(1200):
                if Path("reached").exists():
                    break
                time.sleep(0.05)
            second = run(*what)
        finally:
            first.send_signal(signal.SIGKILL)
    assert (second.code, second.out) == (5, "")
    assert ".p.zarr.part: another forecast is writing it; wait until it ends" in second.err
    assert run(*what).code == 0


def test_raw_is_not_mixed_with_compressed(run, long):
    what = ("forecast", "slow.py:Slow", "-b", long, "-c", 2, "--out")
    assert run(*what, "whole.zarr", "--raw").code == 0
    taken()
    kill_at(SECOND[0], [sys.executable, "-m", "zapeval", *map(str, what), "p.zarr"])
    taken()
    assert run(*what, "p.zarr", "--raw").code == 0
    assert taken() == FIRST + SECOND
    assert whole_of(Path("p.zarr")) == whole_of(Path("whole.zarr"))
    assert zarr.open_group("p.zarr", mode="r")["still"].compressors == ()


# Next steps


STEPS = """\
import numpy as np
import zapeval

class Causal(zapeval.NextStepForecaster):
    name = "causal"

    def next_steps(self, contexts):
        sums = np.cumsum(contexts.activity, axis=1)
        return sums / np.arange(1, sums.shape[1] + 1, dtype=np.float32)[:, None]

class Ahead(zapeval.NextStepForecaster):
    name = "ahead"

    def next_steps(self, contexts):
        return np.roll(contexts.activity, -1, axis=1)

class Growing(zapeval.Forecaster):
    name = "growing"

    def forecast(self, contexts):
        mean = contexts.activity.mean(axis=1, keepdims=True)
        return np.repeat(mean, contexts.horizon, axis=1)
"""


@pytest.fixture
def worm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steps.py").write_text(STEPS)
    text = TOML.replace("context_lengths = [2, 3]\n", 'protocol = "next-step"\n')
    return write_benchmark(tmp_path / "worm", text)


def test_next_steps_of_a_causal_forecaster_are_those_of_growing_contexts(run, worm):
    for name in ("Causal", "Growing"):
        done = run("forecast", f"steps.py:{name}", "-b", worm, "--out", f"{name}.zarr")
        assert done.code == 0, done
    groups = [zarr.open_group(f"{name}.zarr", mode="r") for name in ("Causal", "Growing")]
    values = activity()
    for name in ARRAYS:
        found, grown = (group[name][...] for group in groups)
        np.testing.assert_allclose(found, grown, rtol=1e-5, atol=1e-6)
        for window, origin in enumerate(ORIGINS[name]):
            for k in range(1, HORIZON + 1):
                expected = values[origin - 1 : origin + k - 1].mean(axis=0)
                np.testing.assert_allclose(found[window, k - 1], expected, rtol=1e-5, atol=1e-6)


def test_a_forecaster_that_looks_ahead_is_refused(run, worm):
    outcome = run("forecast", "steps.py:Ahead", "-b", worm, "--out", "p.zarr")
    assert (outcome.code, outcome.out) == (3, "")
    assert "error: ahead: still: is not causal: its output at position" in outcome.err
    assert not Path("p.zarr").exists()


# Covariates and video


VIDEO = """\
import numpy as np
import zapeval

class Repeated(zapeval.VideoForecaster):
    name = "repeated"
    some = staticmethod(lambda given: given)

    def frames(self, contexts):
        last = [contexts.video[window][-1] for window in range(len(contexts))]
        steps = range(1, contexts.horizon + 1)
        for window, step in self.some([(w, h) for w in range(len(contexts)) for h in steps]):
            yield window, step, last[window]

class Lacking(Repeated):
    name = "lacking"
    some = staticmethod(lambda given: given[:-1])

class Twice(Repeated):
    name = "twice"
    some = staticmethod(lambda given: [*given, given[5]])

class Driven(zapeval.Forecaster):
    name = "driven"
    covariates = ("future_stimulus",)

    def forecast(self, contexts):
        return contexts.future_stimulus[..., :1] + np.zeros_like(contexts.activity[:, :1])
"""


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("brain")
    write_brain(generate_brain(), folder)
    return folder


@pytest.fixture
def video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brain: Path) -> list[object]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "video.py").write_text(VIDEO)
    return ["-b", "zapbench-smoke", "-c", 4, "--data", brain]


def test_repeated_frames_are_persistence(run, video, brain):
    for forecaster in ("video.py:Repeated", "persistence"):
        done = run("forecast", forecaster, *video, "--out", f"{forecaster[:5]}.zarr")
        assert done.code == 0, done
    groups = [zarr.open_group(f"{name}.zarr", mode="r") for name in ("video", "persi")]
    assert groups[0].attrs["forecaster"]["covariates"] == ["video"]
    assert sorted(groups[0].array_keys()) == sorted(groups[1].array_keys())
    for name in groups[0].array_keys():
        assert np.abs(groups[0][name][...] - groups[1][name][...]).max() <= 1e-6
    cards = []
    for name in ("video", "persi"):
        scored = run("score", f"{name}.zarr", "--data", brain, "--json", "-")
        assert scored.code == 0, scored
        cards.append(json.loads(scored.out))
    assert [card["partial"] for card in cards] == [False, False]
    for ours, theirs in zip(cards[0]["scores"], cards[1]["scores"], strict=True):
        assert abs(ours["value"] - theirs["value"]) <= 1e-5


def test_a_neuron_without_voxel_is_missing_and_the_scorecard_partial(run, video, brain, tmp_path):
    lost = tmp_path / "lost"
    shutil.copytree(brain, lost)
    labels = zarr.open_array(lost / "segmentation", mode="r+")
    labels[...] = np.where(labels[...] == 8, 0, labels[...])
    options = [*video[:-1], lost]
    done = run("forecast", "video.py:Repeated", *options, "--out", "p.zarr")
    assert done.code == 0, done
    group = zarr.open_group("p.zarr", mode="r")
    for _, array in group.arrays():
        missing = np.isnan(array[...])
        assert missing[:, :, 7].all()
        assert not np.delete(missing, 7, axis=2).any()
    scored = run("score", "p.zarr", "--data", lost, "--json", "-")
    assert scored.code == 0, scored
    card = json.loads(scored.out)
    assert card["partial"] is True
    counts = {(s["neurons"], s["scored"], s["missing"]) for s in card["series"]}
    assert counts == {(256, 255, 1)}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Lacking", r"lacking: gain: gave no frame for window 3, step 32; expected one for each"),
        ("Twice", r"twice: gain: gave a frame for window 0, step 6; expected each of 4 windows"),
    ],
)
def test_frames_that_are_lacking_or_twice_there_are_named(run, video, name, says):
    outcome = run("forecast", f"video.py:{name}", *video, "--out", "p.zarr")
    assert (outcome.code, outcome.out) == (3, "")
    assert f"error: {says}" in outcome.err
    assert not Path("p.zarr").exists()


@pytest.mark.parametrize(("name", "lacks"), [("Repeated", "segmentation"), ("Driven", "stimulus")])
def test_a_recording_without_a_covariate_is_named(run, tiny, tmp_path, monkeypatch, name, lacks):
    monkeypatch.chdir(tmp_path)
    Path("video.py").write_text(VIDEO)
    outcome = run("forecast", f"video.py:{name}", "-b", tiny, "-c", 2, "--out", "p.zarr")
    assert (outcome.code, outcome.out) == (3, "")
    assert f"fish.npy: has no {lacks}, which the forecaster asks for" in outcome.err
    assert not Path("p.zarr").exists()
