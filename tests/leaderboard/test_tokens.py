from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from accounts import Enrol, Person
from starlette.testclient import TestClient

from leaderboard.auth import Scope
from leaderboard.database import Database
from leaderboard.settings import Settings
from leaderboard.tables import Token, User, now

TOKENS = "/api/v1/tokens"


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_new_token_works_and_is_shown_once(client: TestClient, member: Person) -> None:
    made = client.post(TOKENS, json={"name": "laptop"}, headers=member.headers)
    assert made.status_code == 201
    secret = made.json()["secret"]
    assert client.get("/api/v1/account", headers=bearer(secret)).json()["name"] == "member"
    listed = client.get(TOKENS, headers=member.headers)
    assert [token["name"] for token in listed.json()] == ["tests", "laptop"]
    assert secret not in listed.text


def test_token_has_the_scopes_and_days_asked_for(client: TestClient, member: Person) -> None:
    body = {"name": "ci", "scopes": ["submit", "submit"], "days": 2}
    made = client.post(TOKENS, json=body, headers=member.headers).json()
    assert made["scopes"] == ["submit"]
    left = datetime.fromisoformat(made["expires"]) - now()
    assert abs(left - timedelta(days=2)) < timedelta(minutes=1)


def test_no_token_gives_more_than_it_has(client: TestClient, enrol: Enrol) -> None:
    reader = enrol("reader", scopes={Scope.read})
    for scopes in (["submit"], ["read", "admin"]):
        body = {"name": "more", "scopes": scopes}
        refused = client.post(TOKENS, json=body, headers=reader.headers)
        assert refused.status_code == 403
        assert "this token has read" in refused.json()["detail"]
    same = client.post(TOKENS, json={"name": "same"}, headers=reader.headers)
    assert same.json()["scopes"] == ["read"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["root"]},
        {"name": "x", "days": 0},
        {"name": "x", "days": -1},
        {"name": "x", "days": 366},
        {"name": "x", "days": 1e300},
        {"name": "x", "user_id": "somebody"},
        {"name": 3},
        [],
        None,
    ],
)
def test_what_is_no_token_is_refused(client: TestClient, member: Person, body: object) -> None:
    refused = client.post(TOKENS, json=body, headers=member.headers)
    assert refused.status_code == 422
    assert refused.headers["Content-Type"] == "application/problem+json"


def test_revoked_token_is_refused_at_once(client: TestClient, member: Person) -> None:
    made = client.post(TOKENS, json={"name": "lost"}, headers=member.headers).json()
    assert client.get(TOKENS, headers=bearer(made["secret"])).status_code == 200
    gone = client.delete(f"{TOKENS}/{made['id']}", headers=member.headers)
    assert (gone.status_code, gone.content) == (204, b"")
    refused = client.get(TOKENS, headers=bearer(made["secret"]))
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert "revoked" in refused.json()["detail"]
    listed = client.get(TOKENS, headers=member.headers).json()
    assert [token["name"] for token in listed] == ["tests"]


def test_nobody_revokes_the_token_of_another(
    client: TestClient, database: Database, member: Person, other: Person, admin: Person
) -> None:
    for person in (other, admin):
        path = f"{TOKENS}/{member.identity.token_id}"
        assert client.delete(path, headers=person.headers).status_code == 404
    with database.read() as session:
        assert session.get_one(Token, member.identity.token_id).revoked is None


def test_lists_are_of_ones_own_tokens(client: TestClient, member: Person, other: Person) -> None:
    mine = client.get(TOKENS, headers=member.headers).json()
    assert [token["id"] for token in mine] == [member.identity.token_id]


def test_last_use_is_shown(client: TestClient, member: Person) -> None:
    client.get(TOKENS, headers=member.headers)
    shown = client.get(TOKENS, headers=member.headers).json()[0]["last_used"]
    assert abs(datetime.fromisoformat(shown) - now()) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic abc", "zap_x", "Bearer zap_x y", "bearer\tzap"]
)
def test_malformed_authorization_is_nobody_even_where_all_may_read(
    client: TestClient, header: str
) -> None:
    refused = client.get("/api/v1/boards", headers={"Authorization": header})
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_disabled_account_is_refused_at_once(
    client: TestClient, database: Database, member: Person
) -> None:
    assert client.get("/api/v1/account", headers=member.headers).status_code == 200
    with database.write() as session:
        session.get_one(User, member.user_id).disabled = now()
    assert client.get("/api/v1/account", headers=member.headers).status_code == 401


def test_token_lives_no_longer_than_the_setting(
    client: TestClient, settings: Settings, member: Person
) -> None:
    body = {"name": "x", "days": settings.token_days + 1}
    refused = client.post(TOKENS, json=body, headers=member.headers)
    assert refused.json()["detail"] == "days: 366, expected more than 0 and at most 365"
