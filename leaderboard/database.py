"""The database: one engine, and transactions that either read or write.

The same code runs on SQLite (WAL; a transaction that writes takes the lock at its start, so it can
never be refused in the middle) and on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from leaderboard.settings import Settings

_BUSY = 30.0
"""Seconds that a transaction waits for another one's lock on SQLite."""

_WRITES = "zapeval_writes"


@final
class Database:
    """An engine. It is made in every process anew, never shared over a fork."""

    def __init__(self, settings: Settings) -> None:
        """Opens it; a folder that SQLite needs is made."""
        url = settings.database_url
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.engine = _engine(url, sqlite=self.is_sqlite)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Gives a session that sees one state of the database, and must not change it."""
        with Session(self.engine, expire_on_commit=False, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Gives a session whose changes are kept at the end, all or, after an error, none."""
        engine = self.engine.execution_options(**{_WRITES: True})
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    def close(self) -> None:
        """Closes its connections."""
        self.engine.dispose()


def _engine(url: str, *, sqlite: bool) -> Engine:
    if not sqlite:
        return create_engine(
            url, pool_pre_ping=True, pool_size=10, max_overflow=30, hide_parameters=True
        )
    options = {"timeout": _BUSY, "check_same_thread": False}
    engine = create_engine(url, connect_args=options, hide_parameters=True)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, record: object) -> None:
    # The driver would begin transactions late and by itself; _begin does instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
