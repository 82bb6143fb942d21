"""Train, then forecast with what was learned; interrupted, killed, repeated, two at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr
from cli.conftest import tree
from cli.tiny import ARRAYS, HORIZON, NEURONS, TOML, WINDOWS, activity

PASSES = 4

PLUGIN = '''\
import os, pathlib, signal, time
import numpy as np
import zapeval

class Learner(zapeval.Forecaster):
    """Learns the mean of its training frames, pass by pass."""

    name = "learner"
    version = "1"
    size = 5

    def __init__(self, shift: float = 0, word: str = "plain"):
        self.shift, self.word = shift, word

    @property
    def parameters(self):
        return {"shift": self.shift, "word": self.word}

    def fit(self, training):
        kept = training.folder / "passes"
        done = int(kept.read_text()) if kept.exists() else 0
        if done:
            training.note(f"goes on after pass {done}")
        for number in range(done, 4):
            with open("passes", "a") as passes:
                passes.write(f"{training.seed}.{number} ")
            kept.write_text(str(number + 1))
            if os.environ.get("STOP_AT") == f"{training.seed}.{number}":
                stop()
            training.report(number + 1, 4, "pass")
        frames = [series.activity(span) for series in training.series for span in series.train]
        self.mean = np.concatenate(frames).mean(axis=0) + np.float32(training.seed)

    def save(self, folder):
        np.save(folder / "mean.npy", self.mean)

    def load(self, folder):
        self.mean = np.load(folder / "mean.npy")

    def forecast(self, contexts):
        shape = (len(contexts), contexts.horizon, contexts.activity.shape[2])
        return np.broadcast_to(self.mean + np.float32(self.shift), shape)

class Last(zapeval.Forecaster):
    name = "last"

    def forecast(self, contexts):
        return np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1)

def stop():
    how = os.environ.pop("STOP_WITH")
    del os.environ["STOP_AT"]
    if how == "exit":
        raise SystemExit(0)
    if how == "wait":
        pathlib.Path("reached").write_text("")
        time.sleep(60)
    os.kill(os.getpid(), getattr(signal, how))
'''
LEARNER, LAST = "learner.py:Learner", "learner.py:Last"


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "learner.py").write_text(PLUGIN)


def options(tiny, *more, context=3):
    return ("-b", tiny, "-c", context, *more)


def mean():
    """Returns the mean of the training frames: the first 0.4 of each half."""
    values = activity()
    return np.concatenate([values[:16], values[40:56]]).mean(axis=0)


def stored(path):
    group = zarr.open_group(str(path), mode="r")
    return {name: group[name][...] for name in ARRAYS}


def command(*arguments):
    return [sys.executable, "-m", "zapeval", *map(str, arguments)]


def wait_for(path):
    for _ in range(1200):
        if Path(path).exists():
            return
        time.sleep(0.05)
    raise TimeoutError(path)


# Train, forecast, score


def test_what_was_learned_is_forecast_and_scored(run, tiny, tmp_path):
    trained = run("train", LEARNER, *options(tiny), "--out", "new/runs", "--set", "shift=0.5")
    assert (trained.code, trained.out) == (0, "")
    assert trained.err == "new/runs/seed-0: written\n"
    assert sorted(path.name for path in Path("new/runs").iterdir()) == ["seed-0"]
    made = run(
        *("forecast", LEARNER, *options(tiny), "--out", "p.zarr"),
        *("--checkpoint", "new/runs/seed-0"),
    )
    assert (made.code, made.err) == (0, "p.zarr: 34 windows of tiny@2 written\n")
    for values in stored("p.zarr").values():
        expected = np.broadcast_to(mean() + 0.5, (WINDOWS, HORIZON, NEURONS))
        np.testing.assert_allclose(values, expected, rtol=1e-6)
    scored = run("score", "p.zarr", "-b", tiny, "--json", "-")
    assert scored.code == 0
    said = json.loads(scored.out)["forecaster"]
    checkpoint = json.loads(Path("new/runs/seed-0/checkpoint.json").read_text())
    assert (said["name"], said["seed"]) == ("learner", 0)
    assert said["parameters"] == {"shift": 0.5, "word": "plain"}
    assert said["training_data"] == "training frames of tiny@2"
    assert said["checkpoint"] == checkpoint["model"]
    assert said["cost"] == checkpoint["cost"]
    assert checkpoint["settings"] == {"shift": 0.5}


def test_each_seed_is_trained_once(run, tiny):
    what = ("train", LEARNER, *options(tiny), "--out", "runs")
    assert run(*what, "--seeds", 2).err == "runs/seed-0: written\nruns/seed-1: written\n"
    before = tree(Path("runs"))
    Path("passes").unlink()
    more = run(*what, "--seeds", 3)
    assert more.err == (
        "runs/seed-0: is trained already\nruns/seed-1: is trained already\nruns/seed-2: written\n"
    )
    assert Path("passes").read_text().split() == [f"2.{n}" for n in range(PASSES)]
    assert before.items() <= tree(Path("runs")).items()
    for seed in range(3):
        learned = np.load(f"runs/seed-{seed}/model/mean.npy")
        np.testing.assert_allclose(learned, mean() + seed, rtol=1e-6)


def test_quiet_says_nothing(run, tiny):
    outcome = run("train", LEARNER, *options(tiny), "--out", "runs", "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


# What is refused


def test_forecaster_that_learns_nothing_is_not_trained(run, tiny):
    outcome = run("train", LAST, *options(tiny), "--out", "runs")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error: last: learns nothing; forecast with it at once\n"
    assert not Path("runs").exists()


def test_learner_without_a_checkpoint_is_told_how_to_get_one(run, tiny):
    outcome = run("forecast", LEARNER, *options(tiny), "--out", "p.zarr")
    assert (outcome.code, outcome.out) == (2, "")
    told = f"zapeval train {LEARNER} -b {tiny} -c 3 --out DIR"
    assert f"learner: has to be trained; run {told}, then give --checkpoint" in outcome.err
    # The command is one that works.
    assert run(*told.split()[1:]).code == 0
    again = run(
        "forecast", LEARNER, *options(tiny), "--out", "p.zarr", "--checkpoint", "DIR/seed-0"
    )
    assert again.code == 0


def refused(run, tiny, *more, forecaster=LEARNER, context=3):
    """Returns exit code and message of a forecast that leaves nothing behind."""
    outcome = run("forecast", forecaster, *options(tiny, context=context), "--out", "p.zarr", *more)
    assert outcome.out == ""
    assert not list(Path.cwd().glob("*p.zarr*"))
    return outcome.code, outcome.err


@pytest.fixture
def runs(run, tiny):
    assert run("train", LEARNER, *options(tiny), "--out", "runs", "--seeds", 2).code == 0
    return Path("runs")


def test_folder_of_several_seeds_names_them(run, tiny, runs):
    code, said = refused(run, tiny, "--checkpoint", runs)
    assert code == 4
    assert "runs: holds no checkpoint.json; it holds seed-0, seed-1: give one of them" in said


def test_checkpoint_that_is_not_there_is_named(run, tiny):
    code, said = refused(run, tiny, "--checkpoint", "nowhere")
    assert code == 4
    assert "nowhere: does not exist; make it with: zapeval train" in said


def test_checkpoint_that_does_not_fit_is_named(run, tiny, runs):
    code, said = refused(run, tiny, "--checkpoint", runs / "seed-0", context=2)
    assert code == 3
    assert "runs/seed-0: was trained for context length 3, expected 2; train one that" in said
    code, said = refused(run, tiny, "--checkpoint", runs / "seed-0", forecaster=LAST)
    assert code == 2
    assert "last: learns nothing, so it takes no checkpoint" in said
    tiny.write_text(TOML.replace("version = 2", "version = 3"))
    code, said = refused(run, tiny, "--checkpoint", runs / "seed-0")
    assert code == 3
    assert "was trained for benchmark tiny@2, expected tiny@3" in said


def test_checkpoint_that_was_damaged_is_named(run, tiny, runs):
    model = runs / "seed-0" / "model" / "mean.npy"
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    code, said = refused(run, tiny, "--checkpoint", runs / "seed-0")
    assert code == 3
    assert "runs/seed-0/model: its files were changed or damaged" in said
    outcome = run("train", LEARNER, *options(tiny), "--out", "runs")
    assert outcome.code == 3
    assert "runs/seed-0/model: its files were changed or damaged" in outcome.err


def test_training_of_another_task_does_not_take_a_checkpoint_up(run, tiny, runs):
    before = tree(runs)
    for more, says in (
        (options(tiny, context=2), "is a checkpoint of context length 3, expected 2"),
        (options(tiny, "--set", "shift=1"), "is a checkpoint of parameters {'shift': 0"),
    ):
        outcome = run("train", LEARNER, *more, "--out", "runs")
        assert (outcome.code, says in outcome.err) == (3, True), outcome
    (Path.cwd() / "learner.py").write_text(PLUGIN + "\n# changed\n")
    outcome = run("train", LEARNER, *options(tiny), "--out", "runs")
    assert (outcome.code, "is a checkpoint of code sha256:" in outcome.err) == (3, True), outcome
    assert tree(runs) == before


def test_benchmark_without_training_frames_is_named(run, tiny):
    tiny.write_text(TOML.replace("train = [0.0, 0.4]\n", ""))
    outcome = run("train", LEARNER, *options(tiny), "--out", "runs")
    assert outcome.code == 3
    assert "tiny@2: no training range holds a window of 3 + 4 frames" in outcome.err
    assert not Path("runs").exists()


def test_place_that_is_a_file_is_named(run, tiny):
    Path("runs").write_text("kept")
    outcome = run("train", LEARNER, *options(tiny), "--out", "runs")
    assert (outcome.code, Path("runs").read_text()) == (2, "kept")
    assert "runs: is a file, expected a folder" in outcome.err


# --set


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-2.5", -2.5),
        ("true", True),
        ("null", None),
        ('"3"', "3"),
        ("[1, 2]", [1, 2]),
        ('{"a": 1}', {"a": 1}),
        ("a plain word", "a plain word"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_settings_are_json_or_plain_words(run, tiny, text, value):
    done = run("train", LEARNER, *options(tiny), "--out", "runs", "--set", f"word={text}")
    assert done.code == 0, done
    said = json.loads(Path("runs/seed-0/checkpoint.json").read_text())
    assert said["settings"] == {"word": value}
    assert said["forecaster"]["parameters"] == {"shift": 0, "word": value}


@pytest.mark.parametrize("text", ["word", "=3", "two words=3", "a-b=3", "3=3"])
def test_what_is_no_setting_is_a_wrong_usage(run, tiny, text):
    for verb in ("train", "forecast"):
        outcome = run(verb, LEARNER, *options(tiny), "--out", "new", "--set", text)
        assert (outcome.code, outcome.err) == (2, f"error: --set {text}: expected KEY=VALUE\n")


def test_unknown_setting_lists_the_known(run, tiny):
    for verb in ("train", "forecast"):
        outcome = run(verb, LEARNER, *options(tiny), "--out", "new", "--set", "colour=red")
        assert outcome.code == 2
        assert outcome.err == f"error: {LEARNER}: takes no 'colour'; it takes shift, word\n"
    outcome = run("forecast", LAST, *options(tiny), "--out", "new", "--set", "shift=1")
    assert (outcome.code, outcome.err) == (
        2,
        f"error: {LAST}: takes no 'shift'; it takes nothing\n",
    )
    assert not Path("new").exists()


def test_settings_change_a_forecast_and_its_manifest(run, tiny):
    done = run("forecast", "mean", *options(tiny), "--out", "p.zarr", "--set", "window=2")
    assert done.code == 0
    attributes = json.loads(Path("p.zarr/zarr.json").read_text())["attributes"]
    assert attributes["forecaster"]["parameters"] == {"window": 2}
    values = activity()
    expected = np.stack([values[o - 2 : o].mean(axis=0) for o in range(20, 37)])
    np.testing.assert_allclose(stored("p.zarr")["still"][:, 0], expected, rtol=1e-5, atol=1e-7)


def test_checkpoint_brings_its_own_settings(run, tiny, runs):
    more = ("--checkpoint", runs / "seed-0", "--set", "shift=1")
    code, said = refused(run, tiny, *more)
    assert code == 2
    assert "--set: a checkpoint brings its own settings; leave one of them out" in said


# Interruption


def test_an_interrupted_training_goes_on_where_it_stopped(run, tiny, monkeypatch):
    what = ("train", LEARNER, *options(tiny), "--out", "runs", "--seeds", 2)
    monkeypatch.setenv("STOP_AT", "1.1")
    monkeypatch.setenv("STOP_WITH", "SIGINT")
    stopped = run(*what)
    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.err == "runs/seed-0: written\ninterrupted; repeat the command to go on\n"
    assert sorted(path.name for path in Path("runs").iterdir()) == [".seed-1.part", "seed-0"]
    done = run(*what)
    assert done.code == 0
    assert "learner, C=3, seed 1: goes on after pass 2\n" in done.err
    passes = [f"{seed}.{number}" for seed in range(2) for number in range(PASSES)]
    assert Path("passes").read_text().split() == passes
    assert sorted(path.name for path in Path("runs").iterdir()) == ["seed-0", "seed-1"]
    np.testing.assert_allclose(np.load("runs/seed-1/model/mean.npy"), mean() + 1, rtol=1e-6)


def test_a_training_that_ends_the_process_is_an_error(run, tiny, monkeypatch):
    monkeypatch.setenv("STOP_AT", "0.1")
    monkeypatch.setenv("STOP_WITH", "exit")
    outcome = run("train", LEARNER, *options(tiny), "--out", "runs")
    assert outcome.code == 3
    assert "error: learner: training raised SystemExit: 0" in outcome.err
    assert not Path("runs/seed-0").exists()


def test_a_training_that_was_killed_goes_on_and_no_other_runs_beside_it(run, tiny):
    what = ("train", LEARNER, *options(tiny), "--out", "runs")
    environment = os.environ | {"STOP_AT": "0.2", "STOP_WITH": "wait"}
    with subprocess.Popen(command(*what), env=environment) as first:
        try:
            wait_for("reached")
            second = run(*what)
        finally:
            first.send_signal(signal.SIGKILL)
        assert first.wait(timeout=60) == -signal.SIGKILL
    assert (second.code, second.out) == (5, "")
    assert "runs/.seed-0.part: another training is writing it; wait until it ends" in second.err
    assert [path.name for path in Path("runs").iterdir()] == [".seed-0.part"]
    assert run(*what).code == 0
    assert Path("passes").read_text().split() == [f"0.{number}" for number in range(PASSES)]
    np.testing.assert_allclose(np.load("runs/seed-0/model/mean.npy"), mean(), rtol=1e-6)
