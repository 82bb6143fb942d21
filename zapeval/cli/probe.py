"""The probe: a process of its own that imports plugins, to see which of them can be.

An import can raise, end the process, crash it, or not end at all. None of that reaches the program:
the process tells of each plugin when it has looked at it; of the one where it dies or stays silent
the program knows enough, and another process looks at the rest.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from zapeval.errors import BrokenPlugin
from zapeval.registry import Plugin

SECONDS = 20.0
"""How long an import may take, unless more is asked for."""

_PROGRAM = """\
import json, sys
request = json.load(sys.stdin)
sys.path[:] = request["path"]
from zapeval.cli.probe import tell
tell(request["plugins"])
"""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found out about a plugin.

    Attributes:
        plugin: Which one.
        about: First line of what its class says of itself.
        broken: Why it can't be used, or "".
    """

    plugin: Plugin
    about: str = ""
    broken: str = ""


def probe(plugins: Sequence[Plugin], seconds: float = SECONDS) -> Iterator[Finding]:
    """Yields what is found out about each forecaster, in order, as it is found out.

    Args:
        plugins: Whom to import.
        seconds: How long each import may take.

    Raises:
        BrokenPlugin: No process could be started.
    """
    left = tuple(plugins)
    while left:
        done = 0
        for finding in _findings(left, seconds):
            yield finding
            done += 1
        left = left[done:]


def _findings(plugins: Sequence[Plugin], seconds: float) -> Iterator[Finding]:
    """Yields what one process finds out, up to the plugin that it does not get past."""
    with _started(plugins) as process:
        lines = _Lines(process)
        if lines.next(None) is None:
            raise BrokenPlugin(f"{sys.executable}: could not be started to look at plugins")
        for plugin in plugins:
            try:
                line = lines.next(seconds)
            except TimeoutError:
                yield Finding(plugin=plugin, broken=f"import did not end within {seconds:g} s")
                return
            if line is None:
                yield Finding(plugin=plugin, broken=f"import ended the process {_end(process)}")
                return
            yield Finding(plugin=plugin, **json.loads(line))


@contextmanager
def _started(plugins: Sequence[Plugin]) -> Iterator[subprocess.Popen[bytes]]:
    request = {"path": sys.path, "plugins": [asdict(plugin) for plugin in plugins]}
    # A session of its own, so that whatever the plugins start ends with it.
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            with suppress(BrokenPipeError), process.stdin as asked:  # type: ignore[union-attr]
                asked.write(json.dumps(request).encode())
            yield process
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


class _Lines:
    """Lines of what a process writes, each waited for."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        self._process, self._file, self._read = process, process.stdout.fileno(), b""

    def next(self, seconds: float | None) -> bytes | None:
        """Returns the next line, or None where the process has ended.

        Raises:
            TimeoutError: It writes nothing for that long.
        """
        until = None if seconds is None else time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._file, selectors.EVENT_READ)
            while b"\n" not in self._read:
                left = None if until is None else max(0.0, until - time.monotonic())
                if not selector.select(left):
                    # What it has started may hold its output open when it is gone.
                    if self._process.poll() is not None:
                        return None
                    raise TimeoutError
                data = os.read(self._file, 1 << 16)
                if not data:
                    return None
                self._read += data
        line, _, self._read = self._read.partition(b"\n")
        return line


def _end(process: subprocess.Popen[bytes]) -> str:
    with suppress(subprocess.TimeoutExpired):
        process.wait(1)
    code = process.returncode
    if code is None:
        return "'s output"
    return f"with signal {-code}" if code < 0 else f"with exit code {code}"


def tell(plugins: Sequence[dict[str, str]]) -> None:
    """Is the other process: writes a line, then one of JSON for each plugin.

    What plugins themselves print goes nowhere.
    """
    from zapeval.cli.forecasters import about

    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        out.write(b"\n")  # From here on the time that passes is a plugin's.
        for plugin in plugins:
            try:
                told = {"about": about(Plugin(**plugin).load(seconds=None))}
            except BaseException as error:
                why = error.__cause__ or error
                told = {"broken": " ".join(f"{type(why).__name__}: {why}".split())}
            out.write(json.dumps(told).encode() + b"\n")
    # Neither what a plugin does at exit nor a thread that it left may hold this up.
    os._exit(0)
