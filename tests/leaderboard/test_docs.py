"""The board's documents: their commands run, and their tables are what the code is."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import postgres
import pytest
from documents import PROJECT, Block, blocks, documents
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from servers import free_port

from leaderboard import problems
from leaderboard.api import deps
from leaderboard.choices import FACETS
from leaderboard.cli.serve import settings_of
from leaderboard.metrics import Metrics
from leaderboard.problems import Problem
from leaderboard.settings import API, Settings
from leaderboard.states import State
from zapeval.errors import UsageError

BOARD, SUBMIT, REFERENCE = (PROJECT / "docs" / f"{name}.md" for name in ("board", "submit", "api"))
ADDRESS = "http://127.0.0.1:8000"
SECRET = re.compile(r"zap_[\w-]{43}")

needs_tools = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq"
)
sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@dataclass
class Reader:
    """Somebody who types what stands in a document, and copies the secret that was printed last.

    Attributes:
        folder: Where they type.
        environment: Their environment.
        address: Address of the board, in place of the one that the document names.
        secret: The secret that was printed last.
    """

    folder: Path
    environment: dict[str, str]
    address: str = ""
    secret: str = ""

    def type(self, block: Block) -> None:
        """Runs a block, and waits until the board has done all that it asks for."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.text.replace(ADDRESS, self.address)],
            cwd=self.folder,
            env=self.environment | {"INVITATION": self.secret},
            input=f"{self.secret}\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
        self.secret = (SECRET.findall(done.stdout) or [self.secret])[-1]
        if self.address:
            until(lambda: not _active(self.address))

    @contextmanager
    def serve(self, block: Block) -> Iterator[None]:
        """Serves a board as a block says, on a free port, until its packaged entries are there."""
        out, log = self.folder / "serve.out", self.folder / "serve.log"
        with out.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {block.text.strip()} --port 0"],
                cwd=self.folder,
                env=self.environment,
                stdout=stdout,
                stderr=stderr,
            )
        try:
            ended = lambda: process.poll() is not None  # noqa: E731
            until(lambda: b"entries: " in log.read_bytes() or ended())
            said = out.read_text()
            assert not ended(), said + log.read_text()
            self.address = said.split("serving ")[1].split()[0]
            self.secret = SECRET.findall(said)[-1]
            until(lambda: not _active(self.address))
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that readers share, so that each brain is generated once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def reader(tmp_path: Path, data: Path) -> Reader:
    """A reader with a home of their own."""
    programs = Path(sys.executable).parent
    said = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
        "ZAPEVAL_DATA": str(data),
        "TERM": "dumb",
    }
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME") and not name.startswith("ZAPEVAL_")
    }
    return Reader(folder=tmp_path, environment=kept | said)


@pytest.mark.slow
@needs_tools
@pytest.mark.parametrize("document", [BOARD, SUBMIT, REFERENCE], ids=lambda path: path.stem)
def test_every_command_of_a_document_does_what_it_says(document: Path, reader: Reader) -> None:
    typed = list(blocks(document))
    for block in typed:
        if block.file:
            (reader.folder / block.file).write_text(block.text)
    (start,) = [b for b in blocks(BOARD) if b.text.startswith("zapeval serve --data-dir")]
    with reader.serve(start):
        for block in typed:
            if block.needs == "token":
                reader.secret = _new_token(reader)
            if block.needs in ("board", "token") and block != start:
                reader.type(block)


@pytest.mark.slow
def test_several_processes_serve_one_postgresql_database(
    reader: Reader, postgres_server: postgres.Server, tmp_path: Path
) -> None:
    (block,) = [one for one in blocks(BOARD) if one.needs == "postgresql"]
    name = postgres_server.create()
    text = re.sub(r"postgresql\+psycopg://\S+", postgres_server.url(name), block.text)
    ports = {said: free_port() for said in re.findall(r"--port (\d+)", text)}
    for said, port in ports.items():
        text = text.replace(said, str(port))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=tmp_path,
            env=reader.environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        assert len(ports) == 2
        for port in ports.values():
            until(lambda at=port: _is_ready(f"http://127.0.0.1:{at}"))  # type: ignore[misc]
        until(lambda: (tmp_path / "log").read_text().count(": begins") == 2)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)
        postgres_server.drop(name)


def test_no_other_document_has_commands_that_only_run_here() -> None:
    here = {"board", "token", "postgresql"}
    for document in set(documents()) - {BOARD, SUBMIT, REFERENCE}:
        assert not here & {block.needs for block in blocks(document)}, document.name


def test_settings_are_those_of_the_code_with_their_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [row for row in _rows(BOARD) if row[0].startswith("`ZAPEVAL_")]
    names = [row[0].strip("`").removeprefix("ZAPEVAL_").lower() for row in rows]
    assert names == list(Settings.model_fields)
    for name in names:
        monkeypatch.delenv(f"ZAPEVAL_{name.upper()}", raising=False)
    defaults = Settings()
    for variable, default, _ in rows:
        if default:
            monkeypatch.setenv(variable.strip("`"), default.strip("`"))
        else:
            assert not getattr(defaults, variable.strip("`").removeprefix("ZAPEVAL_").lower())
    assert Settings() == defaults


def test_what_the_command_line_reads_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = Settings()
    monkeypatch.setenv("ZAPEVAL_DATA", "/big/disk")
    monkeypatch.setenv("ZAPEVAL_TOKEN", "zap_secret")
    assert Settings() == defaults


def test_a_setting_that_can_not_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZAPEVAL_RECORDINGS", "/data/zapbench")
    with pytest.raises(UsageError, match="ZAPEVAL_RECORDINGS: is no JSON"):
        settings_of({})


@sqlite
def test_every_address_stands_in_the_reference_with_who_may_use_it(app: FastAPI) -> None:
    told = {
        (method, address.strip("`")): who
        for method, address, who, _ in (row for row in _rows(REFERENCE) if len(row) == 4)
        if method != "method"
    }
    schema = app.openapi()["paths"]
    assert set(told) == {
        (method.upper(), path.removeprefix(API)) for path in schema for method in schema[path]
    }
    guards = _guards(app)
    assert told == {address: guards[address] for address in told}


def test_every_status_of_a_problem_is_explained() -> None:
    told = {int(row[0]) for row in _rows(REFERENCE) if row[0].isdigit()}
    known = {one.status for one in vars(problems).values() if _is_problem(one)}
    assert told == known


def test_every_state_is_explained() -> None:
    rows = [row[0].strip("`") for row in _rows(SUBMIT)]
    assert [row for row in rows if row in set(State)] == list(State)


def test_reasons_are_quoted_from_the_code() -> None:
    rows = _rows(SUBMIT)
    begin = next(n for n, row in enumerate(rows) if row[0] == "reason") + 1
    quoted = [row[0].strip("`") for row in rows[begin:] if row[0].startswith("`")]
    said = list(_texts(PROJECT / "leaderboard"))
    assert len(quoted) > 10
    for reason in quoted:
        for part in reason.split(".."):
            assert any(part.strip() in text for text in said), reason


@sqlite
def test_figures_and_filters_are_those_of_the_code(app: FastAPI) -> None:
    figures = {row[0].strip("`") for row in _rows(BOARD) if row[0].startswith("`zapeval_")}
    metrics: Metrics = app.state.metrics
    found = re.findall(r"^# TYPE (zapeval_\w+) ", metrics.text().decode(), re.MULTILINE)
    assert figures == {name for name in found if not name.endswith("_created")}
    (row,) = [row for row in _rows(REFERENCE) if row[0] == "`filter=NAME`"]
    assert set(re.findall(r"`([a-z-]+)`", row[1])) == set(FACETS)


def _new_token(reader: Reader) -> str:
    done = subprocess.run(
        ["zapeval", "board", "token", "ada"],
        cwd=reader.folder,
        env=reader.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return SECRET.findall(done.stdout)[0]


def _rows(document: Path) -> list[list[str]]:
    """Returns the rows of every table of a document as cells."""
    lines = document.read_text(encoding="utf-8").splitlines()
    tables = [line for line in lines if line.startswith("| ") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in tables]


def _guards(app: FastAPI) -> dict[tuple[str, str], str]:
    """Returns by method and address the scope that a route asks for, by its dependencies."""
    names = {deps._reader: "read", deps._submitter: "submit", deps._admin: "admin"}
    found: dict[tuple[str, str], str] = {}
    for route in iter_route_contexts(app.routes):
        if not str(route.path).startswith(API) or not isinstance(route.original_route, APIRoute):
            continue
        asked = [names[one] for one in _calls(route.original_route.dependant) if one in names]
        path = str(route.path).removeprefix(API).replace(":path}", "}")
        found |= {(method, path): (asked or ["anyone"])[0] for method in route.methods or ()}
    return found


def _calls(dependant: Any) -> Iterator[Callable[..., Any]]:
    for one in dependant.dependencies:
        yield one.call
        yield from _calls(one)


def _is_problem(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Problem)


def _texts(package: Path) -> Iterator[str]:
    """Yields every text of a package's code, between the values that are put into it."""
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def _active(address: str) -> bool:
    """Tells whether a board has something to do."""
    text = httpx2.get(f"{address}/metrics", timeout=30).text
    return bool(re.search(r'^zapeval_jobs\{.*state="(queued|running)"\} [1-9]', text, re.MULTILINE))


def _is_ready(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/ready", timeout=10).status_code == 200
    except httpx2.HTTPError:
        return False


def until(what: Callable[[], object], seconds: float = 120) -> None:
    """Waits until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "did not come about"
        time.sleep(0.05)
