from __future__ import annotations

import errno
import json
import platform
from dataclasses import replace
from datetime import datetime

import learning
import numpy as np
import pytest
from learning import CONTEXT

from zapeval.errors import (
    BrokenPlugin,
    InvalidInput,
    NotFound,
    Refused,
    StorageError,
    UsageError,
)
from zapeval.forecasting import train as module
from zapeval.forecasting.checkpoint import load_checkpoint, read_checkpoint
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.train import train

PASSES = 6


class Learner(Forecaster):
    """Learns the mean of the targets in several passes, and keeps each in the folder it is given.

    Args:
        stop: Raised after two passes, where none is kept yet.
        parameters: What it says of itself.
    """

    name = "learner"
    version = "1"
    size = 6

    def __init__(self, stop=None, **parameters):
        self.stop, self._parameters = stop, parameters
        self.mean = None
        self.passes = 0
        self.found = None

    @property
    def parameters(self):
        return self._parameters

    def fit(self, training):
        kept = training.folder / "passes.npy"
        self.found = sorted(path.name for path in training.folder.iterdir())
        begin = int(np.load(kept)) if kept.is_file() else 0
        for done in range(begin, PASSES):
            self.passes += 1
            training.report(done + 1, PASSES, "pass")
            np.save(kept, done + 1)
            if self.stop is not None and done + 1 == 2:
                raise self.stop
        (training.record / "curve.csv").write_text("pass,loss\n")
        series = training.series[0]
        self.mean = series.targets(series.train_origins).mean(axis=(0, 1)) + training.seed

    def save(self, folder):
        np.save(folder / "mean.npy", self.mean)

    def load(self, folder):
        self.mean = np.load(folder / "mean.npy")

    def forecast(self, contexts):
        shape = (len(contexts), contexts.horizon, contexts.activity.shape[2])
        return np.broadcast_to(self.mean.astype(np.float32), shape)


def run(folder, forecaster=None, benchmark=None, *, recordings=None, **options):
    forecaster = forecaster or Learner()
    benchmark = benchmark or learning.benchmark()
    recordings = recordings or learning.opened(folder / "data")
    options = {"context": CONTEXT, "seed": 0} | options
    return train(forecaster, benchmark, recordings, folder / "out" / "seed-0", **options)


def tree(folder):
    """Returns the bytes of every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# What a finished training leaves


def test_checkpoint_says_who_learned_what_from_what(tmp_path):
    learner = Learner(width=3)
    made = run(tmp_path, learner, seed=7, settings={"width": 3})
    folder = tmp_path / "out" / "seed-0"
    assert set(tree(folder)) == {"checkpoint.json", "curve.csv", "model/mean.npy"}
    assert [path.name for path in folder.parent.iterdir()] == ["seed-0"]
    said = json.loads((folder / "checkpoint.json").read_text())
    benchmark = learning.benchmark()
    assert said["schema"] == "zapeval.checkpoint/1"
    assert said["forecaster"]["name"] == "learner"
    assert said["forecaster"]["version"] == "1"
    assert said["forecaster"]["parameters"] == said["settings"] == {"width": 3}
    assert said["forecaster"]["code"].startswith("sha256:")
    assert said["benchmark"] == {"id": "oscillators", "version": 1, "digest": benchmark.digest}
    assert (said["context"], said["neurons"], said["seed"]) == (CONTEXT, {"fish0": 6}, 7)
    assert said["training_data"] == "training frames of oscillators@1"
    assert said["model"].startswith("sha256:")
    assert said["cost"]["parameters"] == 6
    assert said["cost"]["training_seconds"] >= 0
    assert said["cost"]["hardware"] == f"{platform.machine()} {platform.system()}"
    assert set(said["software"]) == {"zapeval", "python"}
    assert datetime.fromisoformat(said["created"]).tzinfo is not None
    assert read_checkpoint(folder) == made


def test_what_was_learned_is_what_the_training_frames_say(tmp_path):
    run(tmp_path, seed=2)
    benchmark, activity = learning.benchmark(), learning.activity()
    series = benchmark.series[0]
    ((start, stop),) = series.train
    windows = [
        activity[o : o + benchmark.horizon]
        for o in range(start + CONTEXT, stop - benchmark.horizon + 1)
    ]
    expected = np.mean(np.stack(windows), axis=(0, 1)) + 2
    loaded = Learner()
    load_checkpoint(
        loaded,
        tmp_path / "out" / "seed-0",
        benchmark,
        learning.opened(tmp_path / "data"),
        CONTEXT,
    )
    np.testing.assert_allclose(loaded.mean, expected, rtol=1e-6)


def test_training_is_told_its_task_and_reports(tmp_path):
    told, notes = [], []

    class Watching(Learner):
        def fit(self, training):
            self.training = training
            training.note("begins")
            super().fit(training)

    watching = Watching()
    run(
        tmp_path,
        watching,
        seed=5,
        report=lambda *step: told.append(step),
        note=notes.append,
    )
    training = watching.training
    assert (training.benchmark, training.context, training.horizon) == ("oscillators@1", 8, 4)
    assert training.seed == 5
    assert [series.name for series in training.series] == ["early 0", "late 0"]
    assert told == [(n, PASSES, "pass") for n in range(1, PASSES + 1)]
    assert notes == ["begins"]


# A checkpoint that is there


def test_finished_checkpoint_of_the_same_task_is_taken_up(tmp_path):
    first = run(tmp_path, Learner(width=3))
    before = tree(tmp_path / "out")
    again = Learner(width=3)
    assert run(tmp_path, again) == first
    assert again.passes == 0
    np.testing.assert_array_equal(again.mean, np.load(tmp_path / "out/seed-0/model/mean.npy"))
    assert tree(tmp_path / "out") == before


def test_what_a_run_killed_at_its_very_end_left_is_cleared_away(tmp_path):
    run(tmp_path)
    before = tree(tmp_path / "out")
    (tmp_path / "out/seed-0/unfinished").mkdir()
    (tmp_path / "out/seed-0/unfinished/passes.npy").write_bytes(b"")
    again = Learner()
    run(tmp_path, again)
    assert again.passes == 0
    assert tree(tmp_path / "out") == before


class Renamed(Learner):
    name = "other"


class Renewed(Learner):
    version = "2"


class Seeing(Learner):
    leaks = "all"


def moved():
    benchmark = learning.benchmark()
    return replace(benchmark, version=2)


OTHERS = {
    "forecaster": ({"forecaster": Renamed()}, "forecaster learner, expected other"),
    "version": ({"forecaster": Renewed()}, "version 1, expected 2"),
    "parameters": (
        {"forecaster": Learner(width=3)},
        r"parameters \{\}, expected \{'width': 3\}",
    ),
    "settings": ({"settings": {"width": 3}}, r"settings \{\}, expected \{'width': 3\}"),
    "benchmark": (
        {"benchmark": moved()},
        r"benchmark oscillators@1 .*expected oscillators@2 \(.*\)",
    ),
    "ranges": (
        {"benchmark": learning.benchmark(mask=(True,) * 5 + (False,))},
        r"benchmark oscillators@1 \(sha256:.*expected oscillators@1 \(sha256:\w+\)",
    ),
    "context": ({"context": 5}, "context length 8, expected 5"),
    "seed": ({"seed": 1}, "seed 0, expected 1"),
    "leaks": ({"forecaster": Seeing()}, "leaks , expected all"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_finished_checkpoint_of_another_task_is_refused_and_named(tmp_path, name):
    options, says = OTHERS[name]
    run(tmp_path)
    before = tree(tmp_path / "out")
    with pytest.raises(InvalidInput, match=rf"seed-0: is a checkpoint of {says}; remove it or"):
        run(tmp_path, **options)
    assert tree(tmp_path / "out") == before


def test_finished_checkpoint_of_other_neurons_is_refused(tmp_path):
    run(tmp_path)
    fewer = learning.opened(tmp_path / "few", neurons=4)
    with pytest.raises(InvalidInput, match=r"neurons \{'fish0': 6\}, expected \{'fish0': 4\}"):
        run(tmp_path, recordings=fewer)


def test_finished_checkpoint_of_other_code_is_refused(tmp_path):
    run(tmp_path)
    path = tmp_path / "out/seed-0/checkpoint.json"
    said = json.loads(path.read_text())
    said["forecaster"]["code"] = "sha256:" + "0" * 64
    path.write_text(json.dumps(said))
    with pytest.raises(InvalidInput, match="checkpoint of code sha256:0"):
        run(tmp_path)


def test_damaged_model_is_not_taken_for_a_trained_one(tmp_path):
    run(tmp_path)
    file = tmp_path / "out/seed-0/model/mean.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(InvalidInput, match=r"seed-0/model: its files were changed or damaged"):
        run(tmp_path)


@pytest.mark.parametrize("what", ["file", "folder", "link"])
def test_something_else_under_its_name_is_left_alone(tmp_path, what):
    place = tmp_path / "out" / "seed-0"
    place.parent.mkdir()
    if what == "file":
        place.write_text("kept")
    elif what == "folder":
        (place / "kept").mkdir(parents=True)
    else:
        place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="seed-0: exists and is no checkpoint; choose another"):
        run(tmp_path)
    assert [path.name for path in place.parent.iterdir()] == ["seed-0"]


# Interruption


STOPS = {
    "Ctrl-C": (KeyboardInterrupt(), KeyboardInterrupt, None),
    "an error": (ValueError("went wrong"), BrokenPlugin, "training raised ValueError: went wrong"),
    "an exit": (SystemExit(0), BrokenPlugin, "learner: training raised SystemExit: 0"),
    "an error of ours": (InvalidInput("no good"), InvalidInput, "no good"),
    "a missing file": (
        FileNotFoundError(errno.ENOENT, "No such file", "weights.bin"),
        BrokenPlugin,
        "training raised FileNotFoundError: .*weights.bin",
    ),
    "a full disk": (
        OSError(errno.ENOSPC, "No space left on device"),
        StorageError,
        r"\.seed-0\.part: could not be written: the disk is full; free some space and repeat",
    ),
}


@pytest.mark.parametrize("name", STOPS)
def test_training_that_ends_early_leaves_nothing_under_its_name_and_goes_on(tmp_path, name):
    stop, raised, says = STOPS[name]
    with pytest.raises(raised, match=says):
        run(tmp_path, Learner(stop))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".seed-0.part"]
    again = Learner()
    run(tmp_path, again)
    assert again.passes == PASSES - 2
    assert "passes.npy" in again.found
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["seed-0"]
    run(tmp_path / "whole")
    assert tree(tmp_path / "out/seed-0/model") == tree(tmp_path / "whole/out/seed-0/model")


class Clock:
    """A clock that a fit moves on."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


class Slow(Learner):
    def __init__(self, clock, seconds, stop=None):
        super().__init__(stop)
        self.clock, self.seconds = clock, seconds

    def fit(self, training):
        self.clock.now += self.seconds
        super().fit(training)


def test_seconds_of_all_attempts_add_up(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    for seconds in (10.0, 5.5):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, Slow(clock, seconds, KeyboardInterrupt()))
        (tmp_path / "out/.seed-0.part/unfinished/passes.npy").unlink()
    assert run(tmp_path, Slow(clock, 2.25)).cost.training_seconds == 17.75


@pytest.mark.parametrize("kept", ["", "12.", "twelve", "nan?"])
def test_seconds_that_were_not_written_whole_cost_no_training(tmp_path, kept):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Learner(KeyboardInterrupt()))
    (tmp_path / "out/.seed-0.part/unfinished/seconds.txt").write_text(kept)
    again = Learner()
    run(tmp_path, again)
    assert again.passes == PASSES - 2


@pytest.mark.parametrize("name", OTHERS)
def test_unfinished_training_of_another_task_is_begun_anew(tmp_path, name):
    options, _ = OTHERS[name]
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Learner(KeyboardInterrupt()))
    (tmp_path / "out/.seed-0.part/left").mkdir()
    other = options.get("forecaster") or Learner()
    other.passes = 0
    run(tmp_path, **options | {"forecaster": other})
    assert other.passes == PASSES
    assert other.found == ["checkpoint.json"]
    assert set(tree(tmp_path / "out/seed-0")) == {"checkpoint.json", "curve.csv", "model/mean.npy"}
    assert not (tmp_path / "out/seed-0/left").exists()


def test_save_that_raises_does_not_finish_and_is_not_mixed_into_the_next(tmp_path):
    class Torn(Learner):
        def save(self, folder):
            (folder / "half.npy").write_bytes(b"half")
            raise ValueError("no")

    with pytest.raises(BrokenPlugin, match="learner: training raised ValueError: no"):
        run(tmp_path, Torn())
    assert not (tmp_path / "out/seed-0").exists()
    run(tmp_path)
    assert set(tree(tmp_path / "out/seed-0/model")) == {"mean.npy"}


class Rival(Learner):
    """Starts a second training into the same folder in the middle of the first."""

    def __init__(self, place):
        super().__init__()
        self.place = place

    def fit(self, training):
        with pytest.raises(Refused, match=r"\.seed-0\.part: another training is writing it"):
            run(self.place)
        super().fit(training)


def test_second_training_into_the_folder_is_refused(tmp_path):
    run(tmp_path, Rival(tmp_path))
    assert read_checkpoint(tmp_path / "out/seed-0").seed == 0


# What is refused at once


class Simple(Forecaster):
    name = "simple"

    def forecast(self, contexts):
        return contexts.activity[:, -1:]


class Greedy(Learner):
    covariates = ("smell",)


def test_forecaster_that_learns_nothing_is_refused(tmp_path):
    with pytest.raises(UsageError, match="simple: learns nothing"):
        run(tmp_path, Simple())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"forecaster": Greedy()}, BrokenPlugin, "learner: covariates are .*smell"),
        ({"forecaster": Learner(at=float("nan"))}, BrokenPlugin, "learner: .*parameters"),
        (
            {"benchmark": replace(learning.benchmark(), frames=(("fish0", 250),))},
            InvalidInput,
            r"240 frames, expected 250 \(oscillators@1\)",
        ),
    ],
    ids=["covariate", "parameters", "frames"],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    tmp_path, options, error, says
):
    with pytest.raises(error, match=says):
        run(tmp_path, **options)
    assert not (tmp_path / "out").exists()


def test_benchmark_without_training_windows_is_refused_and_leaves_nothing(tmp_path):
    benchmark = learning.benchmark()
    bare = tuple(replace(series, train=()) for series in benchmark.series)
    with pytest.raises(InvalidInput, match="no training range holds a window"):
        run(tmp_path, benchmark=replace(benchmark, series=bare))
    assert not (tmp_path / "out").exists()


def test_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(StorageError, match=r"\.seed-0\.part: could not be made"):
        run(tmp_path)


def test_learner_without_save_is_named(tmp_path):
    class Forgetful(Learner):
        save = Forecaster.save

    with pytest.raises(BrokenPlugin, match=r"learner: training raised NotImplementedError: .*save"):
        run(tmp_path, Forgetful())
    with pytest.raises(NotFound):
        read_checkpoint(tmp_path / "out/seed-0")


def test_a_folder_that_came_to_be_meanwhile_is_not_replaced(tmp_path):
    class Slowpoke(Learner):
        def save(self, folder):
            (tmp_path / "out/seed-0/kept").mkdir(parents=True)
            super().save(folder)

    with pytest.raises(StorageError, match=r"could not be written: Directory not empty"):
        run(tmp_path, Slowpoke())
    assert (tmp_path / "out/seed-0/kept").is_dir()
    # What was learned is not lost with that.
    (tmp_path / "out/seed-0/kept").rmdir()
    (tmp_path / "out/seed-0").rmdir()
    again = Learner()
    run(tmp_path, again)
    assert again.passes == 0
