"""The child: one program run apart, watched from outside, and killed when it takes too much."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, final

import psutil

from leaderboard.confinement import Limits

LINE, LINES = 4096, 1000
"""Longest line that is listened to, and most of them; the rest is read and thrown away."""

TAIL = 8192
"""How much of standard error is kept, in bytes: the end."""

ORDER = "order.json"
"""File in its working folder that holds what a child reads from standard input."""

_POLL = 0.1
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "ZAPEVAL_DATA", "XDG_CACHE_HOME")

Killed = Literal["", "memory", "time", "stopped"]


@final
@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a child ended.

    Attributes:
        code: Its exit status, or minus the signal.
        killed: Why its watcher killed it, or "".
        tail: End of what it said on standard error.
        memory: Most memory that was seen, in bytes.
        seconds: How long it took.
    """

    code: int
    killed: Killed
    tail: str
    memory: int
    seconds: float

    @property
    def signal(self) -> str:
        """Name of the signal that ended it, or ""."""
        if self.code >= 0:
            return ""
        with contextlib.suppress(ValueError):
            return signal.Signals(-self.code).name
        return f"signal {-self.code}"


def run_child(
    arguments: Sequence[str],
    order: str,
    limits: Limits,
    *,
    folder: Path,
    heard: Callable[[str], None],
    stop: Callable[[], bool],
    extra: Mapping[str, str] | None = None,
) -> Ended:
    """Runs Python with arguments as a group of processes of its own, until it ends or is killed.

    Args:
        arguments: What follows ``python``.
        order: What it reads from standard input.
        limits: What it may use; the program confines itself, this watches it.
        folder: Its working folder.
        heard: Told of each line that it prints.
        stop: Whether it is to be killed; asked several times a second.
        extra: Further variables of its environment, which otherwise holds nothing of ours.

    Raises:
        OSError: It can't be started.
    """
    asked = folder / ORDER
    asked.write_text(order, encoding="utf-8")
    with asked.open("rb") as stdin:
        process = subprocess.Popen(
            [sys.executable, "-P", *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment(folder) | dict(extra or {}),
            start_new_session=True,
        )
    begun = time.monotonic()
    watch = _Watch(process, limits, heard, stop)
    try:
        watch.until_it_ends()
    finally:
        kill_group(process)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return Ended(
        code=process.returncode,
        killed=watch.killed,
        tail=bytes(watch.tail).decode(errors="replace"),
        memory=watch.memory,
        seconds=time.monotonic() - begun,
    )


def environment(folder: Path) -> dict[str, str]:
    """Returns the environment of a child: no token, no address of a database."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    alone = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    cache = os.environ.get("NUMBA_CACHE_DIR")
    return (
        kept
        | alone
        | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "4"}
        | ({"NUMBA_CACHE_DIR": cache} if cache else {})
    )


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a child with all that it started, and waits until it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@final
class _Watch:
    """Listens to a child, and kills it where it must be."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        limits: Limits,
        heard: Callable[[str], None],
        stop: Callable[[], bool],
    ) -> None:
        self.killed: Killed = ""
        self.tail = bytearray()
        self.memory = 0
        self._process, self._limits = process, limits
        self._heard, self._stop = heard, stop
        self._line, self._lines = bytearray(), 0
        self._next = 0.0
        self._end = time.monotonic() + limits.wall

    def until_it_ends(self) -> None:
        with selectors.DefaultSelector() as selector:
            for pipe in (self._process.stdout, self._process.stderr):
                if pipe is not None:
                    os.set_blocking(pipe.fileno(), False)
                    selector.register(pipe, selectors.EVENT_READ)
            while self._process.poll() is None:
                for key, _ in selector.select(_POLL):
                    if not self._read(key.fileobj):  # type: ignore[arg-type]
                        selector.unregister(key.fileobj)
                if not selector.get_map():
                    time.sleep(_POLL / 10)
                self._judge()
            for key in list(selector.get_map().values()):
                while self._read(key.fileobj):  # type: ignore[arg-type]
                    pass

    def _judge(self) -> None:
        if time.monotonic() < self._next:
            return
        # A child that prints without end must not make its watcher look without end.
        self._next = time.monotonic() + _POLL
        used = _memory(self._process.pid)
        self.memory = max(self.memory, used)
        if used > self._limits.memory:
            self._kill("memory")
        elif time.monotonic() > self._end:
            self._kill("time")
        elif self._stop():
            self._kill("stopped")

    def _kill(self, why: Killed) -> None:
        if self._process.poll() is None:
            self.killed = self.killed or why
            kill_group(self._process)

    def _read(self, pipe: IO[bytes]) -> bool:
        """Takes what a pipe holds now; tells whether there may be more."""
        try:
            data = os.read(pipe.fileno(), 1 << 16)
        except BlockingIOError:
            return self._process.poll() is None
        if pipe is self._process.stderr:
            self.tail += data
            del self.tail[:-TAIL]
        else:
            self._listen(data)
        return bool(data)

    def _listen(self, data: bytes) -> None:
        *whole, rest = data.split(b"\n")
        for part in whole:
            line = bytes(self._line) + part
            self._line.clear()
            self._lines += 1
            if len(line) <= LINE and self._lines <= LINES:
                self._heard(line.decode(errors="replace"))
        if len(self._line) <= LINE:
            self._line += rest


def _memory(pid: int) -> int:
    """Returns the memory of a process and its descendants in bytes, without files they map."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                said = one.memory_info()
                total += said.rss - getattr(said, "shared", 0)
    return total
