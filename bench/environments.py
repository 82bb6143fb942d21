"""Environments: what each extra brings, how large it is, and that its part runs.

    python bench/environments.py                                 every extra, every Python found
    python bench/environments.py --extras base,baselines --pythons 3.11,3.13

Builds the wheel, and for each extra and Python installs it with the pinned versions of
constraints.txt into a new virtual environment, where it runs what the extra is for, on a recording
of eight neurons. Needs a package index. An environment is deleted as soon as it is measured; what
it takes on disk is what lies in it more than in an empty one, compiled modules too.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
BASE = "base"
NOT_FOR_USERS = ("dev", "docs")

DEFINITION = """\
id = "tiny"
context_lengths = [4]
horizon = 4

[split]
train = [0.0, 0.7]
validation = [0.7, 0.8]
test = [0.8, 1.0]

[[recordings]]
key = "fish"
activity = "traces.npy"
"""

TRACES = """
import numpy as np
walks = np.random.default_rng(0).normal(size=(400, 8)).cumsum(axis=0)
np.save("traces.npy", walks.astype(np.float32))
"""


@dataclass(frozen=True, kw_only=True)
class Environment:
    """One virtual environment, and the folder that its programs run in."""

    root: Path
    folder: Path

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.root / "bin" / "python")

    def zapeval(self, *words: str) -> str:
        """Runs ``zapeval`` and returns what it printed."""
        return _run([str(self.root / "bin" / "zapeval"), *words], cwd=self.folder)

    def imports(self, *modules: str) -> None:
        """Imports modules."""
        _run([self.python, "-W", "error", "-c", f"import {', '.join(modules)}"], cwd=self.folder)


def main() -> None:
    """Measures each environment and prints a row for it."""
    options = _options()
    pythons = dict(_pythons(options.pythons.split(",")))
    print("| extra | Python | packages | MB | install, s | what ran |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="environments-", dir=options.folder) as made:
        folder = Path(made)
        wheel = _build(folder)
        for extra in options.extras.split(","):
            for version, python in pythons.items():
                print(_row(extra, version, python, wheel, folder), flush=True)


def _row(extra: str, version: str, python: str, wheel: Path, folder: Path) -> str:
    """Returns the row of one environment, which is gone again."""
    root, work = folder / "env", folder / "work"
    work.mkdir()
    _run([python, "-m", "venv", str(root)])
    before = _megabytes(root)
    began = time.monotonic()
    named = str(wheel) if extra == BASE else f"{wheel}[{extra}]"
    here = Environment(root=root, folder=work)
    pip = [here.python, "-m", "pip", "--disable-pip-version-check"]
    _run([*pip, "install", "--quiet", "-c", str(PROJECT / "constraints.txt"), named])
    seconds, size = time.monotonic() - began, _megabytes(root) - before
    packages = len(_run([*pip, "freeze", "--exclude", "zapeval"]).splitlines())
    _prepare(here)
    for check in _checks(extra):
        check(here)
    shutil.rmtree(root)
    shutil.rmtree(work)
    names = ["everything"] if extra == "all" else [check.__name__ for check in _checks(extra)]
    said = ", ".join(names).replace("_", " ")
    return f"| `{extra}` | {version} | {packages} | {size:.0f} | {seconds:.0f} | {said} |"


def _prepare(here: Environment) -> None:
    """Writes the recording and its benchmark."""
    (here.folder / "tiny.toml").write_text(DEFINITION)
    _run([here.python, "-c", TRACES], cwd=here.folder)


def forecast_and_score(here: Environment) -> None:
    """What comes without an extra."""
    here.zapeval("forecast", "mean", "-b", "tiny.toml", "--out", "mean.zarr")
    assert "average" in here.zapeval("score", "mean.zarr", "-b", "tiny.toml")


def train_and_forecast(here: Environment) -> None:
    """A neural baseline learns, forecasts and is scored."""
    here.zapeval("train", "linear", "-b", "tiny.toml", "--out", "linear")
    here.zapeval(
        *("forecast", "linear", "-b", "tiny.toml"),
        *("--checkpoint", "linear/seed-0", "--out", "linear.zarr"),
    )
    assert "average" in here.zapeval("score", "linear.zarr", "-b", "tiny.toml")


def draw(here: Environment) -> None:
    """Figures in every format."""
    here.zapeval("score", "mean.zarr", "-b", "tiny.toml", "--figures", "figures", "--quiet")
    kinds = {path.suffix for path in (here.folder / "figures").iterdir()}
    assert {".pdf", ".png"} <= kinds, kinds


def serve(here: Environment) -> None:
    """A board starts, answers and ends."""
    command = [str(here.root / "bin" / "zapeval"), "serve", "--port", "0", "--no-worker"]
    with (here.folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=here.folder, stdout=subprocess.PIPE, stderr=log, text=True
        )
    assert process.stdout is not None
    try:
        line = next((line for line in process.stdout if "serving" in line), "")
        assert line, (here.folder / "serve.log").read_text()
        (address,) = re.findall(r"http://\S+", line)
        for path in ("/health", "/ready"):
            with urllib.request.urlopen(f"{address}{path}", timeout=60) as answer:
                assert answer.status == 200
    finally:
        process.terminate()
        assert process.wait(60) == 0


def reach_for_a_board(here: Environment) -> None:
    """Nobody listens there: what is needed to ask is installed, and says so."""
    done = subprocess.run(
        [str(here.root / "bin" / "zapeval"), "login", "http://127.0.0.1:9"],
        cwd=here.folder,
        input="zap_none\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "127.0.0.1:9" in done.stderr, done.stderr
    assert "install" not in done.stderr, done.stderr


def import_the_driver(here: Environment) -> None:
    """PostgreSQL."""
    here.imports("psycopg")


def import_the_readers(here: Environment) -> None:
    """The formats that recordings of worms come in."""
    here.imports("pyarrow", "pynwb", "scipy.io")


def import_the_scheduler(here: Environment) -> None:
    """Dask."""
    here.imports("dask.distributed")


PARTS: dict[str, tuple[Callable[[Environment], None], ...]] = {
    "baselines": (train_and_forecast,),
    "dask": (import_the_scheduler,),
    "figures": (draw,),
    "leaderboard": (serve,),
    "postgres": (import_the_driver,),
    "submit": (reach_for_a_board,),
    "worms": (import_the_readers,),
}
"""What an extra is for, by its name; without one, and with each, zapeval forecasts and scores."""


def _checks(extra: str) -> tuple[Callable[[Environment], None], ...]:
    everything = tuple(check for part in PARTS.values() for check in part)
    own = everything if extra == "all" else PARTS.get(extra, ())
    return (forecast_and_score, *own)


def _extras() -> list[str]:
    """Returns the extras of pyproject.toml that users install, after none."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return [BASE, *sorted(set(project["optional-dependencies"]) - set(NOT_FOR_USERS))]


def _supported() -> list[str]:
    """Returns the Pythons that pyproject.toml names."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))


def _pythons(versions: list[str]) -> Iterator[tuple[str, str]]:
    """Yields version and path of each that is found on the PATH, and works."""
    for version in versions:
        path = shutil.which(f"python{version}")
        works = path and subprocess.run([path, "-c", ""], capture_output=True, check=False)
        if path and works and works.returncode == 0:
            yield version, path
        else:
            print(f"python{version}: not found; left out", file=sys.stderr)


def _build(folder: Path) -> Path:
    """Returns the wheel of this tree."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    _run([*pip, "wheel", "--quiet", "--no-deps", "-w", str(folder), str(PROJECT)])
    (wheel,) = folder.glob("*.whl")
    return wheel


def _megabytes(folder: Path) -> float:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def _run(command: list[str], *, cwd: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--extras", default=",".join(_extras()), help="names, with commas between")
    parser.add_argument("--pythons", default=",".join(_supported()), help="such as 3.11,3.13")
    parser.add_argument("--folder", help="where environments are made, one at a time")
    return parser.parse_args()


if __name__ == "__main__":
    main()
