"""Commands that list and show, and what a plugin may do to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from zapeval.benchmarks.zapbench import ZAPBENCH

COMMANDS = ("demo", "benchmarks", "data", "forecasters", "forecast", "check", "score")


def zapeval(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the program as it is installed, with a folder of packages in its reach."""
    environment = os.environ | ({"PYTHONPATH": str(folder)} if folder else {})
    command = [sys.executable, "-m", "zapeval", *map(str, arguments)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_help_names_every_command():
    done = zapeval("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        assert f" {command} " in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run, command):
    outcome = run(command, "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"Usage: zapeval {command}" in outcome.out
    assert "\x1b" not in outcome.out


def test_a_command_without_arguments_shows_its_help(run):
    for arguments in ((), ("benchmarks",), ("data",), ("forecasters",)):
        outcome = run(*arguments)
        assert outcome.code == 2
        assert "Usage: zapeval" in outcome.out + outcome.err


def test_version_is_that_of_the_package(run):
    outcome = run("--version")
    assert (outcome.code, outcome.out, outcome.err) == (0, version("zapeval") + "\n", "")


def test_benchmarks_are_listed(run):
    outcome = run("benchmarks", "list")
    assert (outcome.code, outcome.err) == (0, "")
    labels = [line.split()[0] for line in outcome.out.splitlines()]
    assert {"zapbench@1", "zapbench-mini@1", "zapbench-smoke@0", "zebrafish-regions@1"} <= {*labels}
    assert {"celegans@1", "celegans-generation@1", "sines@1", "random-walk@1"} <= {*labels}
    assert labels == sorted(labels, key=lambda label: label.partition("@")[0])


@pytest.mark.parametrize("name", ["zapbench", "zapbench@1"])
def test_a_benchmark_is_shown_with_its_digest_and_windows(run, name):
    outcome = run("benchmarks", "show", name)
    assert (outcome.code, outcome.err) == (0, "")
    assert ZAPBENCH.digest in outcome.out
    assert "1,557 windows" in outcome.out
    for series in ZAPBENCH.series:
        rows = [line.split() for line in outcome.out.splitlines() if series.array in line]
        assert len(rows) == 1
        assert str(series.windows) in rows[0]
        assert str(series.origins[0]) in rows[0]


def test_a_benchmark_of_ones_own_is_shown_from_its_file(run, tiny):
    outcome = run("benchmarks", "show", tiny)
    assert (outcome.code, outcome.err) == (0, "")
    assert "tiny@2" in outcome.out
    assert "34 windows" in outcome.out
    elsewhere = run("benchmarks", "show", tiny, "--data", tiny.parent)
    assert elsewhere.out == outcome.out


def test_an_unknown_benchmark_is_not_shown(run):
    outcome = run("benchmarks", "show", "zapbenhc")
    assert (outcome.code, outcome.out) == (4, "")
    assert "did you mean 'zapbench'?" in outcome.err


def test_data_says_where_a_recording_lies(run, tmp_path, tiny):
    outcome = run("data", "where", "zapbench")
    assert (outcome.code, outcome.out) == (0, f"{tmp_path / 'data' / 'zapbench'}\n")
    own = run("data", "where", tiny)
    assert (own.code, "is defined over recordings of your own" in own.err) == (5, True)
    none = run("data", "verify", "zapbench")
    assert none.code == 4
    assert "zapbench: does not exist; fetch it with `zapeval data fetch zapbench`" in none.err


def test_forecasters_are_listed_and_shown(run):
    listed = run("forecasters", "list")
    assert (listed.code, listed.err) == (0, "")
    names = {line.split()[0] for line in listed.out.splitlines()}
    assert {"mean", "persistence"} <= names
    shown = run("forecasters", "show", "mean")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("mean  Repeats the mean")


def test_an_unknown_forecaster_lists_the_known_and_the_nearest(run, tiny, tmp_path):
    for command in (
        ("forecasters", "show", "persistense"),
        ("forecast", "persistense", "-b", tiny, "-c", 2, "--out", tmp_path / "p"),
    ):
        outcome = run(*command)
        assert (outcome.code, outcome.out) == (4, "")
        assert "forecaster 'persistense': is not registered; known: " in outcome.err
        assert {"mean,", "persistence,"} <= set(outcome.err.split())
        assert "did you mean 'persistence'?" in outcome.err


def package(folder: Path, name: str, group: str, points: dict[str, str], code: str) -> Path:
    """Installs a package of one module into a folder, as an installer would leave it."""
    (folder / f"{name}.py").write_text(code)
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"[{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("raise SystemExit(7)", "SystemExit: 7"),
        ("x = (", "SyntaxError: "),
        ("y = 1", "AttributeError: module 'broken' has no attribute 'Broken'"),
    ],
)
def test_a_broken_plugin_is_listed_with_its_error_and_breaks_nothing_else(tmp_path, code, says):
    folder = package(tmp_path, "broken", "zapeval.forecasters", {"broken": "broken:Broken"}, code)
    listed = zapeval("forecasters", "list", folder=folder)
    assert (listed.returncode, listed.stderr) == (0, "")
    rows = {line.split()[0]: line for line in listed.stdout.splitlines()}
    assert {"broken", "mean", "persistence"} <= set(rows)
    assert f"broken: {says}" in rows["broken"]
    if "licence" in code:
        used = zapeval("forecasters", "show", "broken", folder=folder)
        assert (used.returncode, used.stdout) == (3, "")
        assert says in used.stderr


def test_a_broken_benchmark_is_listed_with_its_error(tmp_path):
    points = {"broken": "broken:Broken", "wrong": "broken:wrong"}
    folder = package(tmp_path, "broken", "zapeval.benchmarks", points, "wrong = 3")
    listed = zapeval("benchmarks", "list", folder=folder)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "zapbench@1" in listed.stdout
    assert "broken: broken: broken:Broken of package broken can't be imported" in listed.stdout
    assert "broken: wrong: is a int, expected a Recipe" in listed.stdout


def test_two_packages_of_one_name_are_a_clash(tmp_path):
    for name in ("one", "two"):
        package(tmp_path, name, "zapeval.forecasters", {"same": f"{name}:X"}, "")
    listed = zapeval("forecasters", "list", folder=tmp_path)
    assert listed.returncode == 0
    shown = zapeval("forecasters", "show", "same", folder=tmp_path)
    assert (shown.returncode, shown.stdout) == (3, "")
    for text in (listed.stdout, shown.stderr):
        assert "same: is registered by " in text
        assert "one (one:X)" in text
        assert "two (two:X)" in text


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("Mine = 3", "is 3, expected a subclass of zapeval.Forecaster"),
        ("class Mine: pass", "expected a subclass of zapeval.Forecaster"),
        (
            "import zapeval\nclass Mine(zapeval.Forecaster):\n  name = 'x'",
            "could not be made: TypeError: Can't instantiate abstract class Mine",
        ),
        (
            "import zapeval\nclass Mine(zapeval.Forecaster):\n  def forecast(self, c): ...",
            "has no name; give the class an attribute name",
        ),
        (
            "import zapeval\nclass Mine(zapeval.Forecaster):\n"
            "  def __init__(self): 1 / 0\n  def forecast(self, c): ...",
            "could not be made: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_a_file_that_holds_no_forecaster_says_so(run, tmp_path, code, says):
    (tmp_path / "mine.py").write_text(code)
    outcome = run("forecasters", "show", f"{tmp_path}/mine.py:Mine")
    assert (outcome.code, outcome.out) == (3, "")
    assert says in outcome.err


def test_a_file_or_class_that_is_not_there_is_not_found(run, tmp_path):
    assert run("forecasters", "show", f"{tmp_path}/mine.py:Mine").code == 4
    (tmp_path / "mine.py").write_text("")
    outcome = run("forecasters", "show", f"{tmp_path}/mine.py:Mine")
    assert (outcome.code, "defines no 'Mine'" in outcome.err) == (4, True)


@pytest.mark.slow
@pytest.mark.slow
def test_demo_goes_the_whole_round(run, tmp_path):
    outcome = run("demo", "--out", tmp_path / "demo", "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    cards = sorted((tmp_path / "demo/scorecards").glob("*.json"))
    names = ("least-squares", "linear", "mean", "persistence")
    assert [card.stem for card in cards] == [f"{n}-c{c}" for n in names for c in (256, 4)]
    assert {json.loads(card.read_text())["benchmark"]["id"] for card in cards} == {"zapbench-mini"}
    again = run("demo", "--out", tmp_path / "demo")
    assert again.code == 0
    assert "persistence" in again.out
    assert "\x1b" not in again.out + again.err
    assert list((tmp_path / "demo/figures").iterdir())


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_a_generated_recording_is_neither_fetched_nor_verified(run, command):
    outcome = run("data", command, "zapbench-mini")
    assert outcome.code == 5
    assert "zapbench-mini: has no public recording" in outcome.err
