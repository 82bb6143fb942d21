"""The program as it is run: in this process for speed, in one of its own where it could die."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli.tiny import TOML, write_benchmark
from recordings.conftest import gcs, s3, s3_address  # noqa: F401

from zapeval.cli.app import main

PROGRAM = "from zapeval.cli.app import main; main()"
MEASURED = """
import atexit, re
def tell():
    with open("/proc/self/status") as status:
        peak = re.search(r"VmHWM:\\s+(\\d+) kB", status.read())
    with open({path!r}, "w") as file:
        file.write(peak[1])
atexit.register(tell)
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: Exit code; negative where a signal ended it.
        out: Standard output.
        err: Standard error.
        peak: Largest memory in MB, where it was measured.
    """

    code: int
    out: str
    err: str
    peak: float = 0.0


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No colours asked for, nothing in the user's own data folder touched."""
    for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZAPEVAL_DATA", str(tmp_path / "data"))
    yield


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """Runs a command in this process."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["zapeval", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            code: Any = 0
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        return Outcome(code=code, out=out, err=err)

    return run


@pytest.fixture
def spawn(tmp_path: Path) -> Callable[..., Outcome]:
    """Runs a command in a process of its own, and measures its memory."""

    def spawn(*arguments: object, env: dict[str, str] | None = None) -> Outcome:
        peak = tmp_path / "peak"
        done = subprocess.run(
            [sys.executable, "-c", MEASURED.format(path=str(peak)) + PROGRAM, *map(str, arguments)],
            env=os.environ | (env or {}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        measured = int(peak.read_text()) / 1024 if peak.exists() else 0.0
        return Outcome(code=done.returncode, out=done.stdout, err=done.stderr, peak=measured)

    return spawn


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The file of the tiny benchmark, its recording beside it."""
    return write_benchmark(tmp_path / "benchmark", TOML)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An empty folder for what a command writes."""
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def wanted(out: Path) -> list[object]:
    """Options that ask for every output, below the folder ``out``."""
    return [
        *("--json", out / "card.json", "--csv", out / "scores.csv"),
        *("--maps", out / "maps.zarr", "--figures", out / "figures"),
    ]


def tree(folder: Path) -> dict[str, int]:
    """Returns every path below a folder with its size, to tell whether anything was written."""
    return {str(path): path.lstat().st_size for path in sorted(folder.rglob("*"))}
