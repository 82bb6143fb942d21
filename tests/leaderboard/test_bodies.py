from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from accounts import Person
from fastapi import FastAPI
from starlette.testclient import TestClient
from webserver import said, serving, status_of

from leaderboard.app import create_app
from leaderboard.bodies import JSON_BYTES, LIST_BYTES, Bodies, limit_of
from leaderboard.settings import Settings

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)

TOKENS = "/api/v1/tokens"
SUBMISSIONS = "/api/v1/submissions"


@pytest.fixture
def app(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The application, which waits half a second for the next bytes."""
    monkeypatch.setattr("leaderboard.app.Bodies", _impatient)
    return create_app(settings)


def _impatient(app: object, settings: Settings) -> Bodies:
    return Bodies(app, settings=settings, stall=0.5)  # type: ignore[arg-type]


@pytest.fixture
def port(app: FastAPI) -> Iterator[int]:
    with serving(app) as port:
        yield port


def open_request(
    port: int, path: str, person: Person | None, *headers: str, method: str = "POST"
) -> socket.socket:
    """Opens a connection and sends the head of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: board", "Connection: close", *headers]
    if person is not None:
        lines.append(f"Authorization: Bearer {person.secret}")
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


JSON = "Content-Type: application/json"


def test_each_address_has_a_limit(settings: Settings) -> None:
    assert limit_of("POST", TOKENS, settings) == JSON_BYTES
    assert limit_of("POST", SUBMISSIONS, settings) == LIST_BYTES
    assert limit_of("POST", f"{SUBMISSIONS}/x/commit", settings) == JSON_BYTES
    for path in ("c/0/0", "a\nb", "%2e%2e"):
        file = f"{SUBMISSIONS}/x/files/{path}"
        assert limit_of("PUT", file, settings) == settings.max_file_bytes
        assert limit_of("POST", file, settings) == JSON_BYTES


@pytest.mark.parametrize("chunked", [False, True])
def test_body_over_the_limit_is_told_so(port: int, member: Person, chunked: bool) -> None:
    """The client hears why, though it is still sending."""
    size = JSON_BYTES + 70_000
    length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    with open_request(port, TOKENS, member, JSON, length) as connection:
        body = b" " * size
        connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (size, body) if chunked else body)
        answer = said(connection)
    assert status_of(answer) == 413
    assert b"1048576 bytes, the most that are taken here" in answer
    assert b"application/problem+json" in answer


def test_body_at_the_limit_is_read(port: int, member: Person) -> None:
    body = b'{"name": "x"}'.ljust(JSON_BYTES)
    with open_request(port, TOKENS, member, JSON, f"Content-Length: {len(body)}") as connection:
        connection.sendall(body)
        assert status_of(said(connection)) == 201


def test_announced_size_over_the_limit_is_refused_before_it_comes(
    port: int, member: Person
) -> None:
    size = 1 << 50
    head = (JSON, f"Content-Length: {size}", "Expect: 100-continue")
    with open_request(port, TOKENS, member, *head) as connection:
        assert status_of(said(connection)) == 413


def test_what_nobody_sends_is_not_read_to_its_end(port: int) -> None:
    size = LIST_BYTES
    head = (JSON, f"Content-Length: {size}", "Expect: 100-continue")
    with open_request(port, SUBMISSIONS, None, *head) as connection:
        assert status_of(said(connection)) == 401


def test_client_that_stalls_is_ended_and_others_go_on(port: int, member: Person) -> None:
    stalled = open_request(port, TOKENS, member, JSON, "Content-Length: 100")
    stalled.sendall(b'{"name"')
    with open_request(port, TOKENS, member, JSON, "Content-Length: 13") as quick:
        quick.sendall(b'{"name": "x"}')
        assert status_of(said(quick)) == 201
    with stalled:
        answer = said(stalled)
    assert status_of(answer) == 408
    assert b"7 bytes arrived" in answer


def test_client_that_drips_is_ended(
    port: int, member: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then keeps every deadline between bytes, and not the pace."""
    monkeypatch.setattr("leaderboard.bodies._GRACE", 1.0)
    with open_request(port, TOKENS, member, JSON, "Content-Length: 1000") as dripping:
        dripping.settimeout(0.1)
        answer = b""
        end = time.monotonic() + 20
        while not answer and time.monotonic() < end:
            try:
                dripping.sendall(b" ")
                answer = dripping.recv(65536)
            except TimeoutError:
                continue
    assert status_of(answer) == 408


@pytest.mark.parametrize(
    "headers",
    [
        ("Content-Length: -1",),
        ("Content-Length: ten",),
        ("Content-Length: 1e3",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 99999999999999999999999",),
        ("Transfer-Encoding: gzip",),
        ("Transfer-Encoding: chunked", "Content-Length: 5"),
    ],
)
def test_wrong_sizes_end_the_connection_and_nothing_else(
    port: int, member: Person, headers: tuple[str, ...]
) -> None:
    with open_request(port, TOKENS, member, JSON, *headers) as connection:
        with suppress(OSError):  # the server may have ended it already
            connection.sendall(b'{"name": "x"}')
            connection.shutdown(socket.SHUT_WR)
        assert status_of(said(connection)) in (0, 400, 413, 422, 501)
    with open_request(port, "/health", None, method="GET") as connection:
        assert status_of(said(connection)) == 200


def test_client_that_leaves_in_the_middle_changes_nothing(port: int, member: Person) -> None:
    with open_request(port, TOKENS, member, JSON, "Content-Length: 100") as connection:
        connection.sendall(b'{"name"')
    with open_request(port, TOKENS, member, method="GET") as connection:
        answer = said(connection)
    assert [token["name"] for token in json.loads(answer.partition(b"\r\n\r\n")[2])] == ["tests"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"name": "\xff"}',
        b"[" * 100_000,
        b'{"name": "\\u0000"}',
        b'{"name": "\\ud800"}',
        b'{"na\\u0000me": "x"}',
        b'{"name": "x", "days": 1' + b"0" * 5000 + b"}",
        b'{"name": "x"} trailing',
    ],
)
def test_what_is_no_sound_json_is_refused(client: TestClient, member: Person, body: bytes) -> None:
    headers = member.headers | {"Content-Type": "application/json"}
    answer = client.post(TOKENS, content=body, headers=headers)
    assert answer.status_code in (400, 422)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_where_something_is_wrong_is_said_and_not_what(client: TestClient, member: Person) -> None:
    body = {"name": "x", "scopes": ["secret-thing"]}
    answer = client.post(TOKENS, json=body, headers=member.headers).json()
    assert answer["findings"][0]["where"] == "body.scopes.0"
    assert "secret-thing" not in json.dumps(answer)
    content = b'{"name": "x", "more": [{"deep": NaN}]}'
    headers = member.headers | {"Content-Type": "application/json"}
    deep = client.post(TOKENS, content=content, headers=headers).json()
    assert "body.more.0.deep" in deep["detail"]


@pytest.mark.parametrize(
    "path",
    ["/api/v1/boards?x=%00", "/api/v1/entries/%00", "/entries/a%00b", "/api/v1/audit?subject=%00"],
)
def test_nul_in_an_address_is_refused(client: TestClient, admin: Person, path: str) -> None:
    assert client.get(path, headers=admin.headers).status_code in (404, 422)


def test_other_content_types_are_no_json(client: TestClient, member: Person) -> None:
    """A form of another site can send text, and no JSON."""
    headers = member.headers | {"Content-Type": "text/plain"}
    answer = client.post(TOKENS, content=b'{"name": "x"}', headers=headers)
    assert answer.status_code == 422
