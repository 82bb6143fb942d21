"""Migrations: the steps that lead a database from any version to this one's tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text
from sqlalchemy.engine import Connection

from leaderboard.database import Database
from zapeval.errors import Refused

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0001"
"""The step that this version's tables are of."""

FOLDER = Path(__file__).parent

_LOCK = 7_265_076_172
"""Number of the lock that PostgreSQL knows; SQLite locks with the transaction."""


def upgrade(database: Database, to: str = HEAD) -> None:
    """Brings a database to a step, all or nothing; a second process waits for the first.

    Raises:
        Refused: It is of a newer version.
    """
    from alembic import command
    from alembic.util import CommandError

    with database.write() as session:
        connection = session.connection()
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        at = revision(connection)
        try:
            command.upgrade(config(connection), to)
        except CommandError as error:
            raise Refused(
                f"the database: is at step {at}, which this version ({HEAD}) does not know; "
                "start the newer version that made it"
            ) from error


def is_current(database: Database) -> bool:
    """Tells whether a database has this version's tables."""
    with database.read() as session:
        return revision(session.connection()) == HEAD


def revision(connection: Connection) -> str:
    """Returns the step that a database is at; "" of an empty one."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return str(found or "")


def config(connection: Connection) -> Config:
    """Returns what alembic works with: this folder, on an open connection."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made
