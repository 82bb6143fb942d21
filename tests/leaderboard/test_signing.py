from __future__ import annotations

import re

import pytest
from accounts import Enrol, Person
from fastapi import FastAPI
from starlette.testclient import TestClient

from leaderboard.app import create_app
from leaderboard.auth import Scope, csrf_of
from leaderboard.database import Database
from leaderboard.rates import FAILURES
from leaderboard.settings import Settings
from leaderboard.tables import Token
from leaderboard.visitors import COOKIE

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


def sign_in(client: TestClient, person: Person) -> str:
    """Signs a browser in; returns what its forms hold."""
    answer = client.post("/sign-in", data={"token": person.secret})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    return csrf_of(client.cookies[COOKIE])


def test_session_has_a_token_of_its_own(client: TestClient, member: Person) -> None:
    sign_in(client, member)
    assert client.cookies[COOKIE] != member.secret
    tokens = client.get("/api/v1/tokens").json()
    assert [token["name"] for token in tokens] == ["tests", "browser"]
    assert tokens[1]["expires"] <= tokens[0]["expires"]
    assert client.get("/api/v1/account").json()["name"] == "member"


def test_cookie_is_out_of_reach_of_scripts_and_other_sites(
    client: TestClient, member: Person
) -> None:
    cookie = client.post("/sign-in", data={"token": member.secret}).headers["Set-Cookie"]
    parts = {part.strip().lower().partition("=")[0] for part in cookie.split(";")}
    assert "httponly" in parts
    assert "samesite=strict" in cookie.lower()
    assert "path=/" in cookie.lower()


def test_cookie_is_for_https_where_the_board_is(settings: Settings, member: Person) -> None:
    app = create_app(settings.model_copy(update={"public_url": "https://board.example"}))
    with TestClient(app, follow_redirects=False) as client:
        cookie = client.post("/sign-in", data={"token": member.secret}).headers["Set-Cookie"]
    assert re.search(r";\s*secure", cookie, re.IGNORECASE)


def test_wrong_token_signs_nobody_in(client: TestClient, member: Person) -> None:
    for token in ("", "zap_wrong", member.secret + "x"):
        answer = client.post("/sign-in", data={"token": token})
        assert answer.status_code == 401
        assert "Set-Cookie" not in answer.headers
        assert "text/html" in answer.headers["Content-Type"]
        assert token not in answer.text or not token


def test_guessing_tokens_is_slowed_down(client: TestClient) -> None:
    statuses = [
        client.post("/sign-in", data={"token": "zap_wrong"}).status_code
        for _ in range(FAILURES + 1)
    ]
    assert statuses == [401] * FAILURES + [429]


@pytest.mark.parametrize(
    ("next_", "location"),
    [
        ("/entries/x?y=1", "/entries/x?y=1"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=1", "/"),
        ("", "/"),
    ],
)
def test_nobody_is_led_to_another_site(
    client: TestClient, member: Person, next_: str, location: str
) -> None:
    data = {"token": member.secret, "next": next_}
    answer = client.post("/sign-in", data=data)
    assert (answer.status_code, answer.headers["Location"]) == (303, location)


def test_next_is_kept_by_the_form(client: TestClient) -> None:
    assert 'value="/entries/x"' in client.get("/sign-in?next=/entries/x").text
    assert "evil.example" not in client.get("/sign-in?next=//evil.example").text


def test_form_of_another_site_signs_nobody_in(client: TestClient, member: Person) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    answer = client.post("/sign-in", data={"token": member.secret}, headers=headers)
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers


def test_signing_out_ends_the_session_for_good(
    client: TestClient, database: Database, member: Person
) -> None:
    csrf = sign_in(client, member)
    stolen = client.cookies[COOKIE]
    answer = client.post("/sign-out", data={"csrf": csrf})
    assert answer.status_code == 303
    assert COOKIE not in client.cookies
    client.cookies.set(COOKIE, stolen)
    assert client.get("/api/v1/account").status_code == 401
    assert client.get("/").status_code == 200
    assert client.get("/api/v1/account", headers=member.headers).status_code == 200


@pytest.mark.parametrize("csrf", [None, "", "x", "0" * 64])
def test_post_by_cookie_needs_the_token_of_its_form(
    client: TestClient, database: Database, member: Person, csrf: str | None
) -> None:
    sign_in(client, member)
    data = {} if csrf is None else {"csrf": csrf}
    assert client.post("/sign-out", data=data).status_code == 403
    headers = {} if csrf is None else {"X-CSRF-Token": csrf}
    assert client.post("/api/v1/tokens", json={"name": "x"}, headers=headers).status_code == 403
    with database.read() as session:
        assert session.query(Token).count() == 2


def test_form_token_of_another_session_is_refused(
    client: TestClient, app: FastAPI, member: Person, other: Person
) -> None:
    with TestClient(app, follow_redirects=False) as elsewhere:
        foreign = sign_in(elsewhere, other)
        sign_in(client, member)
        assert client.post("/sign-out", data={"csrf": foreign}).status_code == 403


def test_api_by_cookie_takes_the_form_token_as_a_header(client: TestClient, member: Person) -> None:
    csrf = sign_in(client, member)
    made = client.post("/api/v1/tokens", json={"name": "x"}, headers={"X-CSRF-Token": csrf})
    assert made.status_code == 201


def test_token_in_the_header_needs_no_form(
    client: TestClient, member: Person, other: Person
) -> None:
    """What a program sends itself counts before the cookie."""
    sign_in(client, member)
    made = client.post("/api/v1/tokens", json={"name": "x"}, headers=other.headers)
    assert made.status_code == 201
    assert client.get("/api/v1/account", headers=other.headers).json()["name"] == "other"


def test_session_may_do_no_more_than_its_token(client: TestClient, enrol: Enrol) -> None:
    csrf = sign_in(client, enrol("reader", scopes={Scope.read}))
    body = {"name": "x", "scopes": ["submit"]}
    refused = client.post("/api/v1/tokens", json=body, headers={"X-CSRF-Token": csrf})
    assert refused.status_code == 403


def test_session_that_ended_reads_as_nobody(
    client: TestClient, database: Database, member: Person
) -> None:
    client.cookies.set(COOKIE, "zap_gone")
    assert client.get("/").status_code == 200
    assert client.get("/api/v1/boards").status_code == 200
    assert client.get("/api/v1/account").status_code == 401
