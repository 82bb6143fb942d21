from __future__ import annotations

import pytest
from accounts import Enrol, Person
from starlette.testclient import TestClient

from leaderboard import audit
from leaderboard.database import Database

API = "/api/v1"


def test_invitation_that_was_taken_back_is_not_taken(client: TestClient, admin: Person) -> None:
    made = client.post(f"{API}/invitations", json={"days": 3}, headers=admin.headers).json()
    listed = client.get(f"{API}/invitations", headers=admin.headers)
    assert [one["id"] for one in listed.json()] == [made["id"]]
    assert made["secret"] not in listed.text
    path = f"{API}/invitations/{made['id']}"
    assert client.delete(path, headers=admin.headers).status_code == 204
    body = {"invitation": made["secret"], "name": "ada"}
    assert client.post(f"{API}/accounts", json=body).status_code == 401
    assert client.delete(path, headers=admin.headers).status_code == 404


def test_invitation_that_was_taken_stays(client: TestClient, admin: Person) -> None:
    made = client.post(f"{API}/invitations", json={}, headers=admin.headers).json()
    client.post(f"{API}/accounts", json={"invitation": made["secret"], "name": "ada"})
    path = f"{API}/invitations/{made['id']}"
    assert client.delete(path, headers=admin.headers).status_code == 404
    assert client.get(f"{API}/invitations", headers=admin.headers).json() == []


def test_disabled_account_is_shown_and_can_be_enabled(
    client: TestClient, admin: Person, member: Person
) -> None:
    path = f"{API}/users/{member.user_id}"
    disabled = client.post(f"{path}/disable", headers=admin.headers)
    assert disabled.json()["disabled"] is not None
    assert client.get(f"{API}/account", headers=member.headers).status_code == 401
    again = client.post(f"{path}/disable", headers=admin.headers)
    assert again.json() == disabled.json()
    assert client.post(f"{path}/enable", headers=admin.headers).json()["disabled"] is None
    assert client.get(f"{API}/account", headers=member.headers).status_code == 200


def test_admin_does_not_lock_themselves_out(client: TestClient, admin: Person) -> None:
    refused = client.post(f"{API}/users/{admin.user_id}/disable", headers=admin.headers)
    assert refused.status_code == 409
    assert client.get(f"{API}/account", headers=admin.headers).status_code == 200


def test_pages_of_accounts_hold_each_once(client: TestClient, enrol: Enrol, admin: Person) -> None:
    for number in range(7):
        enrol(f"person-{number}")
    names: list[str] = []
    after: str | None = ""
    while after is not None:
        query = {"after": after, "limit": "3"}
        page = client.get(f"{API}/users", params=query, headers=admin.headers).json()
        names += [user["name"] for user in page["users"]]
        after = page["next"]
    assert names == ["admin", *(f"person-{number}" for number in range(7))]


def test_pages_of_the_audit_log_hold_each_line_once(
    client: TestClient, database: Database, admin: Person
) -> None:
    with database.write() as session:
        for number in range(8):
            audit.record(session, "x", "did", "a" if number % 2 else "b", number=number)
    numbers: list[int] = []
    before: int | None = None
    while True:
        query = {"limit": "3"} | ({} if before is None else {"before": str(before)})
        page = client.get(f"{API}/audit", params=query, headers=admin.headers).json()
        numbers += [line["detail"]["number"] for line in page["lines"]]
        before = page["next"]
        if before is None:
            break
    assert numbers == list(range(7, -1, -1))
    of_a = client.get(f"{API}/audit", params={"subject": "a"}, headers=admin.headers).json()
    assert [line["detail"]["number"] for line in of_a["lines"]] == [7, 5, 3, 1]


@pytest.mark.parametrize(
    "query",
    ["before=0", "before=x", "before=9223372036854775808", "limit=0", "limit=201", "limit="],
)
def test_bad_pages_are_refused(client: TestClient, admin: Person, query: str) -> None:
    refused = client.get(f"{API}/audit?{query}", headers=admin.headers)
    assert refused.status_code == 422
