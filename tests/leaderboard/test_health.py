from __future__ import annotations

import shutil
from collections import namedtuple

import pytest
from accounts import Person
from fastapi import FastAPI
from sqlalchemy import text
from starlette.testclient import TestClient

from leaderboard.app import create_app
from leaderboard.database import Database
from leaderboard.settings import Settings
from leaderboard.tables import Job


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_process_and_service_are_well(client: TestClient, prefix: str) -> None:
    assert client.get(f"{prefix}/health").json()["status"] == "ok"
    ready = client.get(f"{prefix}/ready")
    assert (ready.status_code, ready.json()) == (
        200,
        {"database": True, "migrations": True, "disk": True},
    )


def test_tables_of_another_version_are_not_ready(client: TestClient, database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    ready = client.get("/ready")
    assert ready.status_code == 503
    assert ready.json()["detail"] == "not ready: migrations"
    assert client.get("/health").status_code == 200


def test_full_disk_is_not_ready(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1 << 40, 1 << 40, 1 << 20))
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()["disk"]) == (503, False)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_database_that_is_gone_is_not_ready(settings: Settings) -> None:
    url = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
    app = create_app(settings.model_copy(update={"database": url}))
    client = TestClient(app)  # not entered: the application would not start
    ready = client.get("/ready")
    assert ready.status_code == 503
    assert ready.json()["database"] is False
    assert "127.0.0.1" not in ready.text
    assert client.get("/health").status_code == 200
    boards = client.get("/api/v1/boards")
    assert (boards.status_code, boards.json()["type"]) == (503, "about:blank#Unavailable")
    assert boards.headers["Retry-After"] == "5"


def values(client: TestClient) -> dict[str, float]:
    """Returns the samples that /metrics shows, by name and labels."""
    answer = client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_metrics_count_by_route_template(client: TestClient, member: Person) -> None:
    for number in range(3):
        client.get(f"/api/v1/entries/nothing-{number}")
    client.post("/api/v1/tokens", json={"name": "x"}, headers=member.headers)
    client.request("BREW", "/no/such/address")
    found = values(client)
    entries = 'method="GET",route="/api/v1/entries/{entry_id}",status="404"'
    assert found[f"zapeval_requests_total{{{entries}}}"] == 3
    tokens = 'method="POST",route="/api/v1/tokens",status="201"'
    assert found[f"zapeval_requests_total{{{tokens}}}"] == 1
    assert found['zapeval_requests_total{method="other",route="unknown",status="404"}'] == 1
    assert found['zapeval_request_seconds_count{route="/api/v1/tokens"}'] == 1
    assert found["zapeval_received_bytes_total"] == len(b'{"name":"x"}')


def test_metrics_show_the_queue_and_the_size_of_the_database(
    client: TestClient, database: Database
) -> None:
    with database.write() as session:
        for state in ("queued", "queued", "running"):
            session.add(Job(kind="score", subject="s", state=state))
    found = values(client)
    assert found['zapeval_jobs{kind="score",state="queued"}'] == 2
    assert found['zapeval_jobs{kind="score",state="running"}'] == 1
    assert found["zapeval_database_bytes"] > 10_000


def test_two_applications_count_apart(app: FastAPI, client: TestClient, settings: Settings) -> None:
    client.get("/api/v1/boards")
    with TestClient(create_app(settings)) as fresh:
        assert not any("boards" in name for name in values(fresh))
