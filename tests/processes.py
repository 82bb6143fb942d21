"""Processes: a board as its operator starts it, and commands as its users type them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil

from leaderboard.settings import Settings

PROGRAM = [sys.executable, "-m", "zapeval"]


def environment(settings: Settings) -> dict[str, str]:
    """Returns the variables that say what was set, but for the folder."""
    said = settings.model_dump(mode="json", include=settings.model_fields_set - {"data_dir"})
    return dict(os.environ) | {
        f"ZAPEVAL_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in said.items()
    }


@contextmanager
def serving(
    settings: Settings, *arguments: str, log: Path | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], str, str]]:
    """``zapeval serve`` as a process; gives it, its address and what it printed at first."""
    out = settings.data_dir.with_name("serve.out")
    port = () if "--port" in arguments else ("--port", "0")
    with out.open("wb") as file, (log or Path(os.devnull)).open("ab") as errors:
        process = subprocess.Popen(
            [*PROGRAM, "serve", "--data-dir", str(settings.data_dir), *port, *arguments],
            stdout=file,
            stderr=errors,
            env=environment(settings),
            cwd=settings.data_dir.parent,
            start_new_session=True,
        )
    try:
        until(lambda: b"serving http" in out.read_bytes() or process.poll() is not None)
        found = re.search(r"http://\S+", out.read_text())
        assert found, out.read_text()
        until(lambda: answers(found[0]) or process.poll() is not None)
        assert process.poll() is None
        yield process, found[0], out.read_text()
    finally:
        for one in family(process):
            with_no_error(one.kill)
        process.wait()


@contextmanager
def working(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """``zapeval worker`` as a process of its own."""
    process = subprocess.Popen(
        [*PROGRAM, "worker", "--data-dir", str(settings.data_dir)],
        stderr=subprocess.DEVNULL,
        env=environment(settings),
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for one in family(process):
            with_no_error(one.kill)
        process.wait()


def run(*arguments: object, given: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs ``zapeval`` with arguments, as it is typed."""
    return subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        env=os.environ | variables,
    )


def answers(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/api/v1/ready", timeout=10).status_code == 200
    except httpx2.HTTPError:
        return False


def until(what: Callable[[], Any], seconds: float = 120) -> Any:
    """Waits for something to be there, and returns it."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "did not come about"
        time.sleep(0.05)
    return found


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        own = psutil.Process(process.pid)
        return [own, *own.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def with_no_error(what: Callable[[], object]) -> None:
    with suppress(psutil.Error):
        what()


def workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return [one for one in family(process) if "leaderboard.worker" in command(one)]


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [one for one in processes if lives(one)]


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
