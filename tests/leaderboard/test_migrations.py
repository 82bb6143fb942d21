from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from leaderboard.database import Database
from leaderboard.migrations import HEAD, config, is_current, revision, upgrade
from leaderboard.settings import Settings
from leaderboard.tables import Base, User, new_id
from zapeval.errors import Refused


@pytest.fixture
def settings(tmp_path: Path, empty_url: str) -> Settings:
    """Settings of a board whose database has no tables."""
    return Settings(data_dir=tmp_path / "board", database=empty_url)


def steps(database: Database) -> list[str]:
    """Returns the names of all steps, the first one first."""
    with database.read() as session:
        script = ScriptDirectory.from_config(config(session.connection()))
    return [step.revision for step in reversed(list(script.walk_revisions()))]


def test_empty_database_gets_the_tables_of_this_version(database: Database) -> None:
    assert not is_current(database)
    upgrade(database)
    assert is_current(database)
    with database.read() as session:
        connection = session.connection()
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_constraints_have_the_names_that_the_tables_say(database: Database) -> None:
    upgrade(database)
    with database.read() as session:
        seen = inspect(session.connection())
        for table in Base.metadata.tables.values():
            assert seen.get_pk_constraint(table.name)["name"] == table.primary_key.name
            wanted = {key.name for key in table.foreign_key_constraints}
            assert {key["name"] for key in seen.get_foreign_keys(table.name)} == wanted
            indexes = {index.name for index in table.indexes}
            kept = {index["name"] for index in seen.get_indexes(table.name)}
            assert indexes <= kept


def test_head_is_the_last_step(database: Database) -> None:
    assert steps(database)[-1] == HEAD


def test_every_step_goes_up_with_rows_in_the_tables(database: Database) -> None:
    """A row of each table is written at the first step, and is there at the last."""
    first, *later = steps(database)
    upgrade(database, first)
    fill(database)
    before = counts(database)
    for step in later:
        upgrade(database, step)
        with database.read() as session:
            assert revision(session.connection()) == step
    assert {
        table: number for table, number in counts(database).items() if table in before
    } == before
    assert set(before.values()) == {1}


def fill(database: Database) -> None:
    """Writes a row into each table, of what the database itself says of its columns."""
    kinds = {"BOOLEAN": False, "JSON": "{}", "TEXT": "x", "VARCHAR": "x", "BIGINT": 1, "INTEGER": 1}
    times = {"DATETIME", "TIMESTAMP"}
    with database.write() as session:
        connection = session.connection()
        seen = inspect(connection)
        order = [table.name for table in Base.metadata.sorted_tables]
        present = set(seen.get_table_names()) - {"alembic_version"}
        for table in [name for name in order if name in present]:
            row = {}
            for column in seen.get_columns(table):
                kind = str(column["type"]).partition("(")[0].partition(" ")[0]
                if column["nullable"]:
                    continue
                row[column["name"]] = "2026-01-02 03:04:05+00:00" if kind in times else kinds[kind]
            names = ", ".join(f'"{name}"' for name in row)
            marks = ", ".join(f":{name}" for name in row)
            connection.execute(text(f'INSERT INTO "{table}" ({names}) VALUES ({marks})'), row)


def counts(database: Database) -> dict[str, int]:
    with database.read() as session:
        names = set(inspect(session.connection()).get_table_names()) - {"alembic_version"}
        return {
            name: session.execute(text(f'SELECT count(*) FROM "{name}"')).scalar_one()
            for name in names
        }


def test_upgrading_again_changes_nothing(database: Database) -> None:
    upgrade(database)
    with database.write() as session:
        session.add(User(name="ada"))
    upgrade(database)
    assert counts(database)["users"] == 1


def test_database_of_a_newer_version_is_refused(database: Database) -> None:
    upgrade(database)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Refused, match="step 9999, which this version"):
        upgrade(database)


def test_processes_that_start_at_once_upgrade_once(settings: Settings) -> None:
    program = (
        "import sys, pathlib\n"
        "from leaderboard.settings import Settings\n"
        "from leaderboard.database import Database\n"
        "from leaderboard.migrations import is_current, upgrade\n"
        "settings = Settings(data_dir=pathlib.Path(sys.argv[1]), database=sys.argv[2])\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "database = Database(settings)\n"
        "upgrade(database)\n"
        "assert is_current(database)\n"
    )
    command = (sys.executable, "-c", program, str(settings.data_dir), settings.database)
    started = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        _, said = process.communicate()
        assert process.returncode == 0, said


def test_a_step_that_fails_leaves_nothing_behind(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic import op

    def fails(*args: object, **options: object) -> None:
        raise RuntimeError("the last index can't be made")

    monkeypatch.setattr(op, "create_index", fails)
    with pytest.raises(RuntimeError, match="last index"):
        upgrade(database)
    with database.read() as session:
        assert inspect(session.connection()).get_table_names() == []
    monkeypatch.undo()
    upgrade(database)
    with database.write() as session:
        session.add(User(id=new_id(), name="ada"))
