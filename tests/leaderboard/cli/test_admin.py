from __future__ import annotations

from pathlib import Path

import pytest
from accounts import Person
from click.testing import Result
from starlette.testclient import TestClient
from typer.testing import CliRunner

from leaderboard.cli.admin import app
from leaderboard.database import Database
from leaderboard.settings import Settings
from zapeval.errors import NotFound, Refused

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def run(settings: Settings, *arguments: str) -> Result:
    """Runs a command on a board's folder; raises what it raises."""
    command = [*arguments, "--data-dir", str(settings.data_dir)]
    return CliRunner().invoke(app, command, catch_exceptions=False)


@pytest.mark.parametrize(("options", "role"), [((), "member"), (("--admin",), "admin")])
def test_printed_invitation_makes_an_account(
    settings: Settings, client: TestClient, options: tuple[str, ...], role: str
) -> None:
    invited = run(settings, "invite", *options)
    assert (invited.exit_code, role in invited.stderr) == (0, True)
    secret = invited.stdout.strip()
    body = {"invitation": secret, "name": "ada"}
    made = client.post("/api/v1/accounts", json=body).json()
    assert (made["name"], made["role"]) == ("ada", role)


def test_new_token_of_somebody_works_and_the_old_ones_go_on(
    settings: Settings, client: TestClient, member: Person
) -> None:
    secret = run(settings, "token", "member").stdout.strip()
    for headers in ({"Authorization": f"Bearer {secret}"}, member.headers):
        assert client.get("/api/v1/account", headers=headers).json()["name"] == "member"


def test_disabled_account_is_out_until_it_is_enabled(
    settings: Settings, client: TestClient, member: Person
) -> None:
    run(settings, "disable", "member")
    assert client.get("/api/v1/account", headers=member.headers).status_code == 401
    assert "disabled" in run(settings, "people").stdout
    run(settings, "enable", "member")
    assert client.get("/api/v1/account", headers=member.headers).status_code == 200


def test_operator_is_in_the_audit_log(settings: Settings, member: Person) -> None:
    run(settings, "disable", "member")
    secret = run(settings, "invite").stdout.strip()
    log = run(settings, "audit").stdout
    lines = [line.split("  ") for line in log.splitlines()]
    assert [line[1:3] for line in lines] == [
        ["operator", "invitation.create"],
        ["operator", "user.disable"],
    ]
    assert secret not in log
    assert run(settings, "audit", "-n", "1").stdout == log.splitlines(keepends=True)[0]


def test_unknown_account_is_not_found(settings: Settings, database: Database) -> None:
    with pytest.raises(NotFound, match="nobody: no such account"):
        run(settings, "disable", "nobody")


def test_folder_without_a_board_is_not_made_one(tmp_path: Path, backend: str) -> None:
    settings = Settings(data_dir=tmp_path / "nothing")
    with pytest.raises(NotFound, match="is no board's folder"):
        run(settings, "people")
    assert not settings.data_dir.exists()


def test_board_of_a_newer_version_is_refused(settings: Settings, database: Database) -> None:
    with database.write() as session:
        connection = session.connection()
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Refused, match="does not know"):
        run(settings, "people")
