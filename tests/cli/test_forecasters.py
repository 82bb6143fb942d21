"""Forecasters from outside: listed, begun, installed for real, used, broken, taken out again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import zarr
from builders import distribution
from cli.conftest import tree

from zapeval import registry
from zapeval.cli.probe import probe
from zapeval.errors import UsageError
from zapeval.forecasting.scaffold import check_name, package_files
from zapeval.registry import FORECASTERS, plugins

PROJECT = Path(__file__).resolve().parents[2]

GOOD = '''\
import os
import numpy as np
import zapeval

class Mine(zapeval.Forecaster):
    """Repeats the last frame.

    More of it.
    """

    name = "mine"

    def forecast(self, contexts):
        return np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1)
'''


@pytest.fixture(autouse=True)
def import_path(monkeypatch):
    """Takes folders of plugin files out of the import path again."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(registry, "_folders", set())


def install(tmp_path, monkeypatch, codes):
    """Registers a plugin of each name, each in a package of its own, and returns them."""
    for name, code in codes.items():
        package = f"package_of_{name}"
        distribution(tmp_path, monkeypatch, package, {FORECASTERS: {name: f"{package}:Mine"}}, code)
    found = plugins(FORECASTERS)
    return [found[name] for name in codes]


# the list


def test_the_list_shows_name_package_and_first_line(run, tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, {"mine": GOOD})
    listed = run("forecasters", "list")
    assert (listed.code, listed.err) == (0, "")
    rows = {line.split()[0]: line for line in listed.out.splitlines()}
    assert list(rows) == sorted(plugins(FORECASTERS))
    assert re.fullmatch(r"mine +package_of_mine +Repeats the last frame\.", rows["mine"])
    assert re.fullmatch(
        r"persistence +zapeval +Repeats the last context frame at every step\.", rows["persistence"]
    )


def test_the_list_imports_no_plugin_into_the_program(run, tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, {"mine": GOOD})
    assert run("forecasters", "list").code == 0
    assert "package_of_mine" not in sys.modules


QUICK = {
    "raises": ("raise RuntimeError('no licence\\nat all')", "RuntimeError: no licence at all"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "interrupts": ("raise KeyboardInterrupt", "KeyboardInterrupt:"),
    "asks": ("input('your name?')", "EOFError: EOF when reading a line"),
    "lacks": ("", "AttributeError: module 'package_of_lacks' has no attribute 'Mine'"),
    "number": ("Mine = 3", "TypeError: is 3, expected a subclass of zapeval.Forecaster"),
    "ends": ("import os; os._exit(7)", "import ended the process with exit code 7"),
    "succeeds": ("import os; os._exit(0)", "import ended the process with exit code 0"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "import ended the process with signal 11"),
    # Its child lives on and holds the process's output open.
    "forks": (
        "import os, time\nif os.fork():\n    os._exit(5)\ntime.sleep(3600)",
        "import ended the process with exit code 5",
    ),
}
HANGS = {
    "loops": "while True: pass",
    "sleeps": "import time; time.sleep(3600)",
    "deaf": "import time\nwhile True:\n    try: time.sleep(9)\n    except BaseException: pass",
}
HARMLESS = {
    "prints": "import os, sys\nprint('{}', flush=True)\nos.write(1, b'{}\\n')\n" + GOOD,
    "threads": "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(3600,)).start()\n" + GOOD,
    "lingers": "import atexit, time\natexit.register(time.sleep, 3600)\n" + GOOD,
}


def test_a_plugin_that_cannot_be_imported_is_listed_and_breaks_nothing(run, tmp_path, monkeypatch):
    quick = {name: code for name, (code, _) in QUICK.items() if name != "forks"}
    install(tmp_path, monkeypatch, quick | HARMLESS)
    listed = run("forecasters", "list")
    assert (listed.code, listed.err) == (0, "")
    rows = {line.split()[0]: line for line in listed.out.splitlines()}
    assert list(rows) == sorted(plugins(FORECASTERS))
    for name in quick:
        assert re.fullmatch(rf"{name} +package_of_{name} +broken: .+", rows[name])
        assert rows[name].endswith(f"broken: {QUICK[name][1]}")
    for name in ("mean", "persistence", *HARMLESS):
        assert "broken" not in rows[name]


@pytest.mark.slow
def test_a_plugin_whose_import_does_not_end_is_left_behind(tmp_path, monkeypatch):
    codes = {"first": GOOD} | HANGS | {"forks": QUICK["forks"][0], "last": GOOD}
    found = {one.plugin.name: one for one in probe(install(tmp_path, monkeypatch, codes), 2.0)}
    assert list(found) == list(codes)
    for name in HANGS:
        assert found[name].broken == "import did not end within 2 s"
    assert found["forks"].broken == QUICK["forks"][1]
    for name in ("first", "last"):
        assert (found[name].about, found[name].broken) == ("Repeats the last frame.", "")


def test_findings_come_one_by_one_and_nothing_is_left_running(tmp_path, monkeypatch):
    noted = tmp_path / "process"
    code = f"import os, pathlib\npathlib.Path({str(noted)!r}).write_text(str(os.getpid()))\n"
    codes = {"first": code + GOOD, "sleeps": HANGS["sleeps"]}
    findings = probe(install(tmp_path, monkeypatch, codes), 3600)
    assert next(findings).about == "Repeats the last frame."
    findings.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int(noted.read_text()), 0)


def test_a_broken_plugin_is_broken_when_it_is_used(run, tiny, tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, {"raises": QUICK["raises"][0], "exits": QUICK["exits"][0]})
    for name in ("raises", "exits"):
        for command in (
            ("forecasters", "show", name),
            ("forecast", name, "-b", tiny, "-c", 2, "--out", tmp_path / "p.zarr"),
            ("train", name, "-b", tiny, "-c", 2, "--out", tmp_path / "checkpoints"),
        ):
            outcome = run(*command)
            assert (outcome.code, outcome.out) == (3, "")
            says = f"error: {name}: package_of_{name}:Mine of package package_of_{name} can't be"
            assert says in outcome.err
            assert QUICK[name][1].split()[0] in outcome.err


def test_a_taken_name_is_an_error_that_names_both_packages(run, tiny, tmp_path, monkeypatch):
    distribution(tmp_path, monkeypatch, "thief", {FORECASTERS: {"mean": "thief:Mine"}}, GOOD)
    outcome = run("forecast", "mean", "-b", tiny, "-c", 2, "--out", tmp_path / "p.zarr")
    assert (outcome.code, outcome.out) == (3, "")
    listed = run("forecasters", "list")
    assert listed.code == 0
    for text in (outcome.err, listed.out):
        assert "mean: is registered by " in text
        assert "zapeval (baselines.naive:Mean)" in text
        assert "thief (thief:Mine)" in text
    other = run("forecast", "persistence", "-b", tiny, "-c", 2, "--out", tmp_path / "p.zarr")
    assert other.code == 0, other.err


# a new package


@pytest.mark.parametrize("options", [(), ("--learns",)])
def test_a_new_package_is_written_where_one_is(run, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    made = run("forecasters", "new", "my-own_model", *options)
    assert (made.code, made.out) == (0, "")
    assert made.err.startswith("my-own_model: written; my-own_model/README.md says how to install")
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {
        "my-own_model/README.md",
        "my-own_model/pyproject.toml",
        "my-own_model/my_own_model.py",
        "my-own_model/tests/test_my_own_model.py",
    }
    assert not any(re.search("@[A-Z]+@", (tmp_path / file).read_text()) for file in files)
    shown = run("forecasters", "show", "my-own_model/my_own_model.py:MyOwnModel")
    assert shown.code == 0
    assert shown.out.startswith("my-own_model  ")


def test_a_new_package_goes_where_it_is_told_to(run, tmp_path):
    assert run("forecasters", "new", "mine", "--out", tmp_path / "a" / "b").code == 0
    assert (tmp_path / "a/b/mine/mine.py").is_file()


def test_a_new_forecaster_is_short():
    assert len(package_files("mine")["mine.py"].splitlines()) <= 25


@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("name", ["a", "my-own-model", "a" * 32, "-".join("abcdefghijklmnop")])
def test_a_new_package_is_clean(tmp_path, name, learns):
    for file, text in package_files(name, learns=learns).items():
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(text)
    (tmp_path / "ruff.toml").write_text("[lint]\nignore = ['D203', 'D213', 'COM812']\n")
    settings = ("--config", str(PROJECT / "pyproject.toml"), "--no-cache", ".")
    for command in (("check", *settings), ("format", "--check", *settings), ("check", ".")):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "expected a name of small letters"),
        ("Mine", "expected a name of small letters"),
        ("2d", "expected a name of small letters"),
        ("../mine", "expected a name of small letters"),
        ("my model", "expected a name of small letters"),
        ("my--model", "expected a name of small letters"),
        ("mine-", "expected a name of small letters"),
        ("mine\n", "expected a name of small letters"),
        ("ünder", "expected a name of small letters"),
        ("a" * 33, "at most 32 characters"),
        ("mean", r"mean: is registered by zapeval \(baselines.naive:Mean\); choose another name"),
        ("class", "Python or its tools use 'class'"),
        ("json", "Python or its tools use 'json'"),
        ("conftest", "Python or its tools use 'conftest'"),
        ("numpy", "a package of that name is installed"),
        ("google-crc32c", "a package of that name is installed"),
        ("baselines", r"a module of that name is installed, .*baselines/__init__\.py; choose"),
    ],
)
def test_a_name_that_cannot_be_had_is_refused(name, says):
    with pytest.raises(UsageError, match=says):
        check_name(name)


def test_a_name_that_a_plugin_has_is_refused_and_says_whose(run, tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, {"mine": GOOD})
    out = tmp_path / "out"
    outcome = run("forecasters", "new", "mine", "--out", out)
    assert (outcome.code, outcome.out) == (2, "")
    assert "mine: is registered by package_of_mine (package_of_mine:Mine)" in outcome.err
    assert not out.exists()


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_a_new_package_replaces_nothing(run, tmp_path, kind):
    path = tmp_path / "mine"
    if kind == "folder":
        path.mkdir()
    elif kind == "file":
        path.write_text("kept")
    else:
        path.symlink_to("nowhere")
    before = tree(tmp_path)
    outcome = run("forecasters", "new", "mine", "--out", tmp_path)
    assert (outcome.code, outcome.out) == (3, "")
    assert f"{path}: exists; remove it or choose another name" in outcome.err
    assert tree(tmp_path) == before


@pytest.mark.parametrize("options", [(), ("--learns",)])
def test_a_new_file_forecasts_and_is_scored_without_being_installed(run, tiny, tmp_path, options):
    assert run("forecasters", "new", "mine", "--out", tmp_path, *options).code == 0
    file, store = f"{tmp_path}/mine/mine.py:Mine", tmp_path / "p.zarr"
    trained = ()
    if options:
        refused = run("forecast", file, "-b", tiny, "-c", 2, "--out", store)
        assert (refused.code, "mine: has to be trained" in refused.err) == (2, True)
        out = tmp_path / "checkpoints"
        assert run("train", file, "-b", tiny, "-c", 2, "--out", out, "--seeds", 2).code == 0
        assert (out / "seed-1").is_dir()
        trained = ("--checkpoint", out / "seed-0")
    made = run("forecast", file, "-b", tiny, "-c", 2, "--out", store, *trained)
    assert made.code == 0, made
    scored = run("score", store, "-b", tiny, "--json", "-")
    assert json.loads(scored.out)["forecaster"]["name"] == "mine"


# a real installation


class Environment:
    """A virtual environment in which everything is installed that is installed here."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True, symlinks=True)
        self.folder = folder
        scheme = sysconfig.get_path("purelib", "venv", {"base": str(folder)})
        self.site = Path(scheme)
        here = [path for path in sys.path if path.endswith("site-packages")]
        # Not as plain lines: .pth files there, as of editable installations, have to count too.
        lines = [f"import site; site.addsitedir({path!r})" for path in here]
        (self.site / "of_the_tests.pth").write_text("\n".join([*lines, str(PROJECT)]) + "\n")

    def __call__(self, *command: object, cwd: Path, code: int = 0) -> str:
        """Runs a module of Python and returns what it printed."""
        done = subprocess.run(
            [str(self.folder / "bin" / "python"), "-m", *map(str, command)],
            cwd=cwd,
            env=os.environ | {"ZAPEVAL_DATA": str(self.folder / "data"), "PYTHONPATH": ""},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def pip(self, *arguments: object, cwd: Path) -> str:
        return self("pip", "--disable-pip-version-check", *arguments, cwd=cwd)

    def installed(self) -> set[str]:
        return {
            str(path.relative_to(self.folder))
            for path in [*self.site.rglob("*"), *(self.folder / "bin").rglob("*")]
            if "__pycache__" not in path.parts
        }


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return Environment(tmp_path_factory.mktemp("venv"))


def summary(environment, store, folder):
    environment("zapeval", "score", store, "--quiet", "--json", "card.json", cwd=folder)
    card = json.loads((folder / "card.json").read_text())
    (folder / "card.json").unlink()
    return card["forecaster"]["name"], card["summary"]["value"]


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--learns",)])
def test_a_new_package_lives_from_installation_to_removal(environment, tmp_path, options):
    name = "lesson" if options else "my-model"
    before, work = environment.installed(), tmp_path / "work"
    work.mkdir()
    environment("zapeval", "forecasters", "new", name, *options, cwd=tmp_path)
    package = tmp_path / name
    offline = ("--no-index", "--no-build-isolation", "--no-deps")
    environment.pip("install", *offline, package, cwd=work)
    assert environment.installed() > before
    assert name not in plugins(FORECASTERS)

    for block in re.findall(r"```\n(.*?)```", (package / "README.md").read_text(), re.DOTALL):
        for line in block.splitlines():
            if line.startswith("pip"):
                assert line == "pip install -e '.[dev]'"
                continue
            out = environment(*line.split(), cwd=package if line == "pytest" else work)
            if line == "zapeval forecasters list":
                assert re.search(rf"^{name} +{name} +(?!broken)\w", out, re.MULTILINE)
            if line == "pytest":
                assert re.search(r"\b13 passed\b", out)
                assert "failed" not in out
    assert (work / f"{name}.zarr").is_dir()
    said, value = summary(environment, f"{name}.zarr", work)
    persist = ("persistence", "-b", "zapbench-mini", "-c", 4, "--quiet", "--out", "last.zarr")
    environment("zapeval", "forecast", *persist, cwd=work)
    assert said == name
    assert value < summary(environment, "last.zarr", work)[1]

    environment.pip("uninstall", "--yes", name, cwd=work)
    assert name not in environment("zapeval", "forecasters", "list", cwd=work)
    assert environment.installed() == before
    environment("zapeval", "forecasters", "show", name, cwd=work, code=4)


# plugins that misbehave when they are used


BAD = """\
import os, sys
import numpy as np
import zapeval

class Mine(zapeval.Forecaster):
    name = "mine"

    def __init__(self):
        if os.environ.get("FAILS") == "init":
            sys.exit("no licence")

    def forecast(self, contexts):
        with open("calls", "a") as calls:
            calls.write(contexts.series + "\\n")
        last = np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1)
        if contexts.series != "moving":
            return last
        match os.environ.get("FAILS"):
            case "exit":
                sys.exit("no licence")
            case "raise":
                raise RuntimeError("out of memory")
            case "shape":
                return last[:, 1:]
            case "nan":
                last[3, 1, 2] = np.nan
            case "list":
                return last.tolist()
            case "double":
                return last.astype(np.float64)
            case "mutate":
                contexts.activity[0] = 0
        return last
"""
SAYS = {
    "exit": "raised SystemExit: no licence",
    "raise": "raised RuntimeError: out of memory",
    "shape": "returned shape [17, 3, 5], expected [windows, horizon, neurons] = [17, 4, 5]",
    "nan": "returned nan for window 3, step 2, neuron 2; expected finite numbers",
    "list": "returned list, expected a float32 NumPy array",
    "double": "returned float64, expected a float32 NumPy array",
    "mutate": "changed its contexts in place; expected it to work on a copy",
}


@pytest.mark.parametrize("fails", SAYS)
def test_a_plugin_that_fails_is_named_and_finished_blocks_stay(
    run, tiny, tmp_path, monkeypatch, fails
):
    monkeypatch.chdir(tmp_path)
    install(tmp_path, monkeypatch, {"mine": BAD})
    command = ("forecast", "mine", "-b", tiny, "-c", 2, "--out", "p.zarr")
    monkeypatch.setenv("FAILS", fails)
    failed = run(*command)
    assert (failed.code, failed.out) == (3, "")
    assert failed.err == f"error: mine: moving, windows [0, 17): {SAYS[fails]}\n"
    assert not Path("p.zarr").exists()
    monkeypatch.delenv("FAILS")
    assert run(*command).code == 0
    assert Path("calls").read_text().split() == ["still", "moving", "moving"]
    assert run(*command[:-1], "whole.zarr").code == 0
    for array in ("still", "moving"):
        one, other = (zarr.open_group(p, mode="r")[array][:] for p in ("p.zarr", "whole.zarr"))
        assert one.tobytes() == other.tobytes()


def test_a_plugin_that_was_mended_starts_anew(run, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "own.py"
    file.write_text(BAD.replace('os.environ.get("FAILS")', '"raise"'))
    command = ("forecast", "own.py:Mine", "-b", tiny, "-c", 2, "--out", "p.zarr")
    assert run(*command).code == 3
    file.write_text(BAD)
    assert run(*command).code == 0
    assert Path("calls").read_text().split() == ["still", "moving", "still", "moving"]


def test_a_plugin_that_cannot_be_made_is_named(run, tiny, tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, {"mine": BAD})
    monkeypatch.setenv("FAILS", "init")
    outcome = run("forecast", "mine", "-b", tiny, "-c", 2, "--out", tmp_path / "p.zarr")
    assert (outcome.code, outcome.out) == (3, "")
    assert outcome.err == "error: mine: could not be made: SystemExit: no licence\n"
