"""HEAD says what GET would, and sends no body."""

from __future__ import annotations

import placed
import pytest
from accounts import Person
from fastapi import FastAPI
from starlette.testclient import TestClient
from webserver import serving

from leaderboard.database import Database
from leaderboard.settings import API

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)

CHANGING = ("date", "x-request-id")


@pytest.fixture
def addresses(database: Database) -> tuple[str, ...]:
    there = placed.place(database)
    placed.rank(database, there.board)
    return (
        *("/", "/boards/zapbench-mini/4", "/entries/id-of-var", "/docs", "/sign-in", "/nothing"),
        *("/health", f"{API}/health", f"{API}/ready", f"{API}/boards", f"{API}/account"),
        *(f"{API}/boards/zapbench-mini/4", f"{API}/boards/zapbench-mini/4.csv"),
        *(f"{API}/entries/id-of-var", f"{API}/openapi.json"),
    )


def test_head_is_get_without_its_body(client: TestClient, addresses: tuple[str, ...]) -> None:
    for address in addresses:
        whole, head = client.get(address), client.head(address)
        assert head.status_code == whole.status_code, address
        assert head.content == b""
        for name, value in whole.headers.items():
            assert name in CHANGING or head.headers[name] == value, (address, name)


def test_head_of_what_the_reader_has_is_not_modified(
    client: TestClient, addresses: tuple[str, ...]
) -> None:
    tag = client.get(f"{API}/boards/zapbench-mini/4").headers["etag"]
    answer = client.head(f"{API}/boards/zapbench-mini/4", headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_head_where_nothing_is_read_is_not_allowed(client: TestClient, member: Person) -> None:
    answer = client.head("/sign-out", headers=member.headers)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_heads_are_counted_as_what_they_are(client: TestClient) -> None:
    client.head(f"{API}/boards")
    figures = client.get("/metrics").text
    assert 'zapeval_requests_total{method="HEAD",route="/api/v1/boards",status="200"} 1' in figures


def test_a_connection_goes_on_after_a_head(app: FastAPI) -> None:
    import http.client

    with serving(app) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for method in ("HEAD", "GET", "HEAD", "GET"):
            connection.request(method, f"{API}/boards")
            answer = connection.getresponse()
            assert answer.status == 200
            assert (len(answer.read()) > 0) == (method == "GET")
        connection.close()
