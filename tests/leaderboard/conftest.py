"""A board of its own for each test: settings, database, application, client and people."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import postgres
import pytest
from accounts import Enrol, Person, enrolled
from fastapi import FastAPI
from starlette.testclient import TestClient

from leaderboard.app import create_app
from leaderboard.database import Database
from leaderboard.migrations import upgrade
from leaderboard.settings import Settings

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Server]:
    """One server for the session; what asks for it is skipped where there is none installed."""
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip("needs PostgreSQL: install the package postgresql")
    with postgres.running(binaries) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres_server: postgres.Server) -> str:
    """Name of an empty board's database, from which others are copied."""
    name = postgres_server.create(name="board_template")
    _prepare(Settings(database=postgres_server.url(name)))
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of an empty board's database, from which others are copied."""
    settings = Settings(data_dir=tmp_path_factory.mktemp("template"))
    _prepare(settings)
    return settings.data_dir / "board.sqlite"


def _prepare(settings: Settings) -> None:
    database = Database(settings)
    upgrade(database)
    database.close()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """Which database; ``parametrize("backend", ["sqlite"], indirect=True)`` says one is enough."""
    return str(request.param)


@pytest.fixture
def empty_url(backend: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of a database without tables; "" is SQLite in the folder of the settings."""
    if backend == "sqlite":
        yield ""
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def database_url(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """URL of an empty board's database; "" is SQLite in the folder of the settings."""
    if backend == "sqlite":
        (tmp_path / "board").mkdir()
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "board")
        yield ""
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    name = server.create(request.getfixturevalue("postgres_template"))
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Settings of a board in the test's own folder; a module may override this fixture."""
    return Settings(data_dir=tmp_path / "board", database=database_url)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """The board's database, opened beside the application's own connection."""
    database = Database(settings)
    yield database
    database.close()


@pytest.fixture
def app(settings: Settings) -> Iterator[FastAPI]:
    """The application, as it is served."""
    app = create_app(settings)
    yield app
    app.state.database.close()


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """A client of the started application, which follows no redirects."""
    with TestClient(app, follow_redirects=False) as client:
        yield client


@pytest.fixture
def enrol(database: Database) -> Enrol:
    """Makes people: ``enrol(name, role="member", scopes=None, days=1.0)``."""

    return partial(enrolled, database)


@pytest.fixture
def member(enrol: Enrol) -> Person:
    """A member."""
    return enrol("member")


@pytest.fixture
def other(enrol: Enrol) -> Person:
    """Another member, who owns nothing of the first one's."""
    return enrol("other")


@pytest.fixture
def admin(enrol: Enrol) -> Person:
    """An admin."""
    return enrol("admin", "admin")
