from __future__ import annotations

import json
import logging

import pytest
from accounts import Person
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from leaderboard.api.deps import Db
from leaderboard.logs import JsonLines
from leaderboard.problems import Problem
from leaderboard.shell import HEADERS

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)

SECRET = "tell-nobody"


@pytest.fixture
def lines() -> list[str]:
    """What is logged, a line a record."""
    return []


@pytest.fixture(autouse=True)
def logged(lines: list[str]) -> object:
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(JsonLines().format(record))  # type: ignore[method-assign]
    logger = logging.getLogger("leaderboard")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def app(app: FastAPI) -> FastAPI:
    """The application, with routes that go wrong in front."""

    def unexpected() -> None:
        raise RuntimeError(f"{SECRET} at /var/lib/board/secret.sqlite")

    def nothing_of_it(database: Db) -> None:
        with database.read() as session:
            session.execute(text("SELECT 1 FROM no_such_table"))

    def not_a_number() -> dict[str, float]:
        return {"value": float("nan"), "other": float("inf")}

    def full() -> None:
        raise OSError(28, f"No space left on device: {SECRET}")

    def busy() -> None:
        raise OperationalError("SELECT", {"secret": SECRET}, Exception("database is locked"))

    def lying() -> str:
        raise Problem(f"{SECRET}")

    routes = len(app.router.routes)
    for route in (unexpected, nothing_of_it, not_a_number, full, busy, lying):
        app.add_api_route(f"/broken/{route.__name__}", route)
    app.router.routes[:] = app.router.routes[routes:] + app.router.routes[:routes]
    return app


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health", 200),
        ("/api/v1/boards", 200),
        ("/api/v1/account", 401),
        ("/api/v1/nothing", 404),
        ("/nothing", 404),
        ("/broken/unexpected", 500),
        ("/static/nothing.css", 404),
    ],
)
def test_every_answer_has_the_headers_of_safety(client: TestClient, path: str, status: int) -> None:
    answer = client.get(path)
    assert answer.status_code == status
    for name in HEADERS:
        assert name in answer.headers
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert len(answer.headers["X-Request-Id"]) == 16


def test_unexpected_error_tells_nothing_and_is_logged(client: TestClient, lines: list[str]) -> None:
    answer = client.get("/broken/unexpected")
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert SECRET not in answer.text
    assert "/var" not in answer.text
    request_id = answer.headers["X-Request-Id"]
    assert answer.json()["request"] == request_id
    error = next(json.loads(line) for line in lines if "error" in json.loads(line)["level"])
    assert error["id"] == request_id
    assert SECRET in error["error"]


def test_database_error_tells_no_statement(client: TestClient) -> None:
    answer = client.get("/broken/nothing_of_it")
    assert answer.status_code == 503
    assert "no_such_table" not in answer.text


@pytest.mark.parametrize(
    ("path", "status", "kind"), [("full", 507, "Full"), ("busy", 503, "Unavailable")]
)
def test_faults_of_the_machine_have_their_own_status(
    client: TestClient, path: str, status: int, kind: str
) -> None:
    answer = client.get(f"/broken/{path}")
    assert answer.status_code == status
    assert answer.json()["type"] == f"about:blank#{kind}"
    assert SECRET not in answer.text


def test_nan_in_an_answer_is_no_500(client: TestClient) -> None:
    answer = client.get("/broken/not_a_number")
    assert answer.status_code == 200
    assert answer.json() == {"value": None, "other": None}


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_nan_in_a_request_is_no_500(client: TestClient, member: Person, value: str) -> None:
    headers = member.headers | {"Content-Type": "application/json"}
    for body in (
        f'{{"name": "x", "days": {value}}}',
        f'{{"name": {value}}}',
        f'{{"unknown": [{{"deep": {value}}}], "name": "x"}}',
        value,
    ):
        answer = client.post("/api/v1/tokens", content=body, headers=headers)
        assert answer.status_code == 422, body
        assert answer.json()["status"] == 422


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST", "TRACE", "NONSENSE"])
def test_wrong_methods_are_answered_as_problems(client: TestClient, method: str) -> None:
    answer = client.request(method, "/api/v1/boards")
    assert answer.status_code == 405
    assert answer.json()["type"] == "about:blank#Problem"
    assert answer.json()["title"] == "Method Not Allowed"
    assert "GET" in answer.headers["Allow"]


def test_browsers_get_a_page_and_programs_json(client: TestClient) -> None:
    page = client.get("/nothing", headers={"Accept": "text/html,*/*"})
    assert page.status_code == 404
    assert page.headers["Content-Type"].startswith("text/html")
    api = client.get("/api/v1/nothing", headers={"Accept": "text/html,*/*"})
    assert api.headers["Content-Type"] == "application/problem+json"


def test_requests_are_logged_without_secrets(
    client: TestClient, member: Person, lines: list[str]
) -> None:
    client.get("/api/v1/account?token=zap_query", headers=member.headers)
    client.cookies.set("zapeval_session", member.secret)
    client.post("/api/v1/accounts", json={"invitation": "zap_invitation", "name": "x"})
    requests = [json.loads(line) for line in lines if json.loads(line)["event"] == "request"]
    assert [(one["route"], one["status"]) for one in requests] == [
        ("/api/v1/account", 200),
        ("/api/v1/accounts", 401),
    ]
    assert requests[0]["user"] == member.user_id
    everything = "".join(lines)
    assert member.secret not in everything
    assert "zap_query" not in everything
    assert "zap_invitation" not in everything


def test_lines_are_json_whatever_is_in_them(client: TestClient, lines: list[str]) -> None:
    client.get("/api/v1/%0A%22%7D%1b%5b31m")
    client.get("/" + "x" * 5000)
    assert all("\n" not in line and "\x1b" not in line for line in lines)
    assert all(len(line) < 5000 for line in lines)
    assert [json.loads(line)["route"] for line in lines] == ["unknown", "unknown"]
