from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import videos
from typer.testing import CliRunner

from baselines.volumetric.studies.command import app
from zapeval.errors import NotFound, UsageError
from zapeval.forecasting.predictions import open_predictions

PROJECT = Path(__file__).resolve().parents[4]
PROGRAM = "import sys; from baselines.volumetric.studies.command import app; app(sys.argv[1:])"

TINY = ("levels=0", "features=2", "groups=1", "blocks=1", "validation=2", "validate_every=20")

TOML = f"""
id = "waves"
title = "Waves along x"
context_lengths = [{videos.CONTEXT}]
horizon = {videos.HORIZON}

[[recordings]]
key = "fish"
activity = "."

[[series]]
name = "all"
frames = [0, {videos.FRAMES}]
train = [0, 30]
validation = [30, 42]
test = [46, {videos.FRAMES}]
"""


@pytest.fixture(scope="module")
def toml(tmp_path_factory):
    folder = tmp_path_factory.mktemp("waves")
    videos.write(folder)
    (folder / "waves.toml").write_text(TOML)
    return folder / "waves.toml"


def words(toml, out, *more, name="head", settings=TINY, steps=80):
    given = [name, "-b", str(toml), "--out", str(out), "-c", "3", "--seeds", "1"]
    given += ["--windows", "1/4", "--reference", "persistence"]
    for setting in (*settings, f"steps={steps}"):
        given += ["--set", setting]
    return [*given, *more]


def typed(given):
    return CliRunner().invoke(app, given, catch_exceptions=False)


@pytest.fixture(scope="module")
def whole(toml, tmp_path_factory):
    """A study that nothing interrupted: its folder, and how it ended."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, typed(words(toml, folder))


def test_a_study_ends_with_a_table_and_a_figure(toml, whole):
    folder, done = whole
    assert done.exit_code == 0
    files = {p.name for p in folder.iterdir() if p.is_file()}
    figures = {"figure.png", "figure.pdf", "figure.svg"}
    assert files == {"study.json", "table.csv", "table.md", *figures}
    assert (folder / "table.md").read_text() == done.stdout
    said = done.stderr
    assert "study head: 4 cells, trained and scored 4 times in all" in said
    assert "lead-time, seed 0: by its first steps, about" in said
    assert "autoregression, seed 0: 4 of 4, about" in said
    before = {name: (folder / name).read_bytes() for name in files}
    assert typed(words(toml, folder)).stdout == done.stdout
    assert {name: (folder / name).read_bytes() for name in files} == before
    assert typed(words(toml, folder, "--quiet")).output == ""


def test_a_killed_study_goes_on_and_ends_as_one_that_was_not(toml, tmp_path, whole, compiled):
    folder, ended = whole
    environment = os.environ | {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": compiled,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    program = [sys.executable, "-c", PROGRAM, *words(toml, tmp_path)]
    with subprocess.Popen(program, cwd=PROJECT, env=environment, stderr=subprocess.PIPE) as first:
        states = tmp_path / "direct" / ".seed-0.part" / "unfinished" / "states"
        while first.poll() is None and not list(states.glob("*/counters.json")):
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
        first.communicate()
    assert first.returncode == -signal.SIGKILL
    card = tmp_path / "lead-time" / "seed-0.json"
    kept = card.stat().st_mtime_ns
    assert not (tmp_path / "direct" / "seed-0").exists()
    done = typed(words(toml, tmp_path))
    assert "direct, seed 0: goes on at step" in done.stderr
    assert card.stat().st_mtime_ns == kept
    assert done.stdout == ended.stdout
    for label in ("persistence-C3", "lead-time", "direct", "autoregression"):
        both = [
            open_predictions(str(out / label / "seed-0.zarr")).arrays["all"].read()
            for out in (folder, tmp_path)
        ]
        np.testing.assert_array_equal(*both)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--spatial", "S21"], "--spatial: only for the study of context, not head"),
        (["-c", "1"], "several context lengths: only for the study of context"),
        (["--specimen", "zapbench-smoke"], "is for the study pretraining, not head"),
        (["--windows", "16"], "expected 1/N"),
        (["--set", "head=direct"], "varies head itself"),
    ],
)
def test_options_that_do_not_fit_together_are_refused(toml, tmp_path, more, message):
    with pytest.raises(UsageError, match=message):
        typed(words(toml, tmp_path / "out", *more))
    assert not (tmp_path / "out").exists()


def test_the_grid_of_contexts_is_for_the_user_to_choose(toml, tmp_path):
    more = ("-c", "1", "--spatial", "S21", "--size", "small")
    settings = ("features=2", "groups=1", "blocks=1", "validation=2")
    done = typed(words(toml, tmp_path, *more, name="context", settings=settings, steps=3))
    table = (tmp_path / "table.csv").read_text().splitlines()
    labels = [row.split(",")[0] for row in table[1:]]
    assert labels == ["persistence-C3", "persistence-C1", "S21-C3", "S21-C1"]
    assert done.exit_code == 0
    with pytest.raises(NotFound, match="known are S21, S64, S256"):
        typed(words(toml, tmp_path, "--spatial", "S22", name="context", settings=settings))
