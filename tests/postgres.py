"""A real PostgreSQL server on a free loopback port, and databases copied from a template."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
from servers import free_port

_OWNER = "postgres" if os.geteuid() == 0 else None
"""The server refuses to run as root."""


def programs() -> Path | None:
    """Returns the folder of the server's programs, the newest version first."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: int(one.parts[-2]))
    return folders[-1] if folders else None


@dataclass
class Server:
    """A running server.

    Attributes:
        port: Where it listens on 127.0.0.1.
    """

    port: int
    _names: Iterator[int] = field(default_factory=count)

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://zapeval@127.0.0.1:{self.port}/{name}"

    def create(self, template: str = "template0", name: str = "") -> str:
        """Makes a database as a copy of another one; returns its name."""
        name = name or f"board_{next(self._names)}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop(self, name: str) -> None:
        self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _run(self, statement: str) -> None:
        address = f"host=127.0.0.1 port={self.port} user=zapeval dbname=postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def running(binaries: Path) -> Iterator[Server]:
    """Runs a server whose data is gone afterwards; crash safety is off, for speed."""
    with tempfile.TemporaryDirectory(prefix="zapeval-pg-") as folder:
        if _OWNER:
            shutil.chown(folder, _OWNER)
        data = f"{folder}/data"
        _call(binaries / "initdb", "-D", data, "-U", "zapeval", "-A", "trust", "--no-sync", "-E",
              "UTF8", "--locale=C", cwd=folder)  # fmt: skip
        port = free_port()
        options = f"-p {port} -h 127.0.0.1 -k {folder} -F -c max_connections=200"
        control = (binaries / "pg_ctl", "-D", data, "-l", f"{folder}/log", "-w")
        _call(*control, "-o", options, "start", cwd=folder)
        try:
            yield Server(port)
        finally:
            _call(*control, "-m", "immediate", "stop", cwd=folder)


def _call(*command: str | Path, cwd: str) -> None:
    done = subprocess.run(
        command,
        check=False,
        cwd=cwd,
        user=_OWNER,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
