from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from accounts import Person
from sqlalchemy import func, select
from starlette.testclient import TestClient

from leaderboard import audit, people
from leaderboard.auth import SCOPES
from leaderboard.database import Database
from leaderboard.problems import Conflict, Problem, Unauthenticated
from leaderboard.settings import Settings
from leaderboard.tables import Audit, Invitation, User, now


def invitation(database: Database, **values: object) -> str:
    with database.write() as session:
        return people.invite(session, audit.OPERATOR, **values)[1]  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["member", "admin"])
def test_invitation_makes_an_account_with_a_token(
    client: TestClient, database: Database, role: str
) -> None:
    body = {"invitation": invitation(database, role=role), "name": "ada"}
    made = client.post("/api/v1/accounts", json=body)
    assert made.status_code == 201
    token = made.json()["token"]
    assert set(token["scopes"]) == SCOPES[role]
    seen = client.get("/api/v1/account", headers={"Authorization": f"Bearer {token['secret']}"})
    assert (seen.json()["name"], seen.json()["role"]) == ("ada", role)
    assert seen.json()["usage"]["max_daily"] == 20


def test_invitation_is_taken_once(client: TestClient, database: Database) -> None:
    secret = invitation(database)
    answers = [
        client.post("/api/v1/accounts", json={"invitation": secret, "name": name}).status_code
        for name in ("ada", "bob")
    ]
    assert answers == [201, 401]


def test_of_parallel_takers_of_an_invitation_one_gets_an_account(
    database: Database, settings: Settings
) -> None:
    secret = invitation(database)
    barrier = Barrier(8)

    def take(number: int) -> bool:
        barrier.wait()
        try:
            with database.write() as session:
                people.join(session, settings, secret, f"taker-{number}")
        except Unauthenticated:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(take, range(8))) == 1
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(User)) == 1


def test_of_parallel_takers_of_a_name_one_gets_it(database: Database, settings: Settings) -> None:
    secrets = [invitation(database) for _ in range(6)]
    barrier = Barrier(6)

    def take(secret: str) -> type[Problem] | None:
        barrier.wait()
        try:
            with database.write() as session:
                people.join(session, settings, secret, "ada")
        except Problem as problem:
            return type(problem)
        return None

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(take, secrets))
    assert answers.count(None) == 1
    assert answers.count(Conflict) == 5
    with database.read() as session:  # whoever lost can choose another name
        assert session.scalar(select(func.count()).where(Invitation.used.is_(None))) == 5


def test_expired_invitation_is_not_taken(client: TestClient, database: Database) -> None:
    secret = invitation(database)
    with database.write() as session:
        session.scalars(select(Invitation)).one().expires = now() - timedelta(seconds=1)
    refused = client.post("/api/v1/accounts", json={"invitation": secret, "name": "ada"})
    assert refused.status_code == 401
    assert "expired" in refused.json()["detail"]


def test_a_token_is_no_invitation(client: TestClient, member: Person) -> None:
    body = {"invitation": member.secret, "name": "ada"}
    assert client.post("/api/v1/accounts", json=body).status_code == 401


@pytest.mark.parametrize(
    "name",
    [
        "Ada",
        "ada lovelace",
        "-ada",
        ".",
        "\u0430da",
        "a" * 40,
        "ada\n",
        "a/b",
        "<b>",
        "ada\u202e",
        "é",
    ],
)
def test_names_that_could_look_like_others_are_refused(
    client: TestClient, database: Database, name: str
) -> None:
    body = {"invitation": invitation(database), "name": name}
    refused = client.post("/api/v1/accounts", json=body)
    if name.strip() != name:
        assert refused.status_code == 201
        assert refused.json()["name"] == name.strip()
        return
    assert refused.status_code == 422
    assert "expected 1 to 39 of a-z" in refused.json()["detail"]


def test_name_that_is_taken_can_be_chosen_anew(
    client: TestClient, database: Database, member: Person
) -> None:
    secret = invitation(database)
    taken = client.post("/api/v1/accounts", json={"invitation": secret, "name": member.name})
    assert taken.status_code == 409
    again = client.post("/api/v1/accounts", json={"invitation": secret, "name": "free"})
    assert again.status_code == 201


def test_audit_log_holds_who_invited_and_who_came(
    client: TestClient, database: Database, admin: Person
) -> None:
    secret = client.post("/api/v1/invitations", json={}, headers=admin.headers).json()["secret"]
    ada = client.post("/api/v1/accounts", json={"invitation": secret, "name": "ada"}).json()
    with database.read() as session:
        rows = session.execute(select(Audit.actor, Audit.action).order_by(Audit.id)).all()
        detail = repr([row.detail for row in session.scalars(select(Audit))])
    assert [tuple(row) for row in rows] == [
        (admin.user_id, "invitation.create"),
        (ada["id"], "user.create"),
        (ada["id"], "invitation.take"),
    ]
    assert secret not in detail
    assert ada["token"]["secret"] not in detail
