from __future__ import annotations

from typing import Any

import pytest
from accounts import Person
from sqlalchemy import select
from starlette.testclient import TestClient

from leaderboard.database import Database
from leaderboard.tables import Audit, Board, Entry, Job, Submission, new_id

API = "/api/v1/entries"


@pytest.fixture
def entry(database: Database, member: Person) -> str:
    """Id of a private entry of the member's, with a scored submission."""
    return add_entry(database, member)


def add_entry(database: Database, owner: Person, visibility: str = "private") -> str:
    with database.write() as session:
        board = Board(benchmark="b", version=1, digest=new_id(), context=4, data="d")
        session.add(board)
        session.flush()
        entry = Entry(
            board_id=board.id,
            user_id=owner.user_id,
            slug="mine",
            name="Mine",
            visibility=visibility,
            fact_sheet={},
        )
        session.add(entry)
        session.flush()
        submission = Submission(
            user_id=owner.user_id,
            name="mine",
            benchmark="b",
            version=1,
            digest="d",
            context=4,
            manifest={},
            fact_sheet={},
            identity="i",
            state="scored",
            entry_id=entry.id,
        )
        session.add(submission)
        return entry.id


def kept(database: Database, entry_id: str) -> tuple[Entry, int, int, list[dict[str, Any]]]:
    """Returns the entry, its board's revision, the ranks that are queued, and its audit lines."""
    with database.read() as session:
        entry = session.get_one(Entry, entry_id)
        jobs = session.scalars(select(Job).where(Job.subject == entry.board_id)).all()
        lines = session.scalars(
            select(Audit).where(Audit.subject == entry_id).order_by(Audit.id)
        ).all()
        return entry, entry.board.revision, len(jobs), [line.detail for line in lines]


def post(
    client: TestClient, person: Person, entry: str, what: str, reason: str | None = None
) -> Any:
    body = None if reason is None else {"reason": reason}
    return client.post(f"{API}/{entry}/{what}", json=body, headers=person.headers)


def test_owner_publishes_and_hides(
    client: TestClient, database: Database, member: Person, entry: str
) -> None:
    published = post(client, member, entry, "publish")
    assert (published.status_code, published.json()["visibility"]) == (200, "public")
    first = published.json()["published"]
    assert first is not None
    assert kept(database, entry)[1:] == (2, 1, [{"visibility": "public"}])
    assert post(client, member, entry, "unpublish").json()["visibility"] == "private"
    again = post(client, member, entry, "publish").json()
    assert again["published"] == first
    assert kept(database, entry)[1] == 4


def test_publishing_twice_changes_nothing_the_second_time(
    client: TestClient, database: Database, member: Person, entry: str
) -> None:
    answers = [post(client, member, entry, "publish").json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert kept(database, entry)[1:] == (2, 1, [{"visibility": "public"}])


def test_withdrawn_entry_stays_withdrawn_with_its_reason(
    client: TestClient, database: Database, member: Person, entry: str
) -> None:
    post(client, member, entry, "publish")
    gone = post(client, member, entry, "withdraw", "the data were wrong").json()
    assert (gone["visibility"], gone["withdrawn"]) == ("withdrawn", "the data were wrong")
    with database.read() as session:
        submission = session.scalars(select(Submission)).one()
    assert submission.state == "withdrawn"
    for what in ("publish", "unpublish"):
        assert post(client, member, entry, what).status_code == 409
    assert post(client, member, entry, "withdraw", "again").status_code == 409


def test_admin_flags_for_all_to_read_and_takes_it_back(
    client: TestClient, database: Database, member: Person, admin: Person, entry: str
) -> None:
    flagged = post(client, admin, entry, "flag", "looks like a copy of the targets")
    assert flagged.json()["flag"] == "looks like a copy of the targets"
    assert post(client, admin, entry, "unflag").json()["flag"] == ""
    assert kept(database, entry)[1:] == (
        3,
        1,
        [{"flag": "looks like a copy of the targets"}, {"flag": ""}],
    )


def test_admin_verifies_and_takes_it_back(
    client: TestClient, database: Database, admin: Person, entry: str
) -> None:
    verified = [post(client, admin, entry, "verify").json()["verified"] for _ in range(2)]
    assert verified[0] is not None
    assert verified[0] == verified[1]
    assert post(client, admin, entry, "unverify").json()["verified"] is None
    assert kept(database, entry)[1:] == (3, 1, [{"verified": True}, {"verified": False}])


@pytest.mark.parametrize("what", ["publish", "unpublish", "withdraw"])
@pytest.mark.parametrize(("visibility", "status"), [("private", 404), ("public", 403)])
def test_nobody_changes_the_entry_of_another(
    client: TestClient,
    database: Database,
    member: Person,
    other: Person,
    what: str,
    visibility: str,
    status: int,
) -> None:
    """What is private is not even there for others."""
    entry = add_entry(database, member, visibility)
    reason = "because" if what == "withdraw" else None
    assert post(client, other, entry, what, reason).status_code == status
    found, revision, jobs, lines = kept(database, entry)
    assert (found.visibility, revision, jobs, lines) == (visibility, 1, 0, [])


def test_private_entry_that_was_withdrawn_leaves_nothing(
    client: TestClient, member: Person, other: Person, entry: str
) -> None:
    post(client, member, entry, "withdraw", "never mind")
    assert post(client, other, entry, "publish").status_code == 404


def test_admin_withdraws_the_entry_of_a_member(
    client: TestClient, admin: Person, entry: str
) -> None:
    gone = post(client, admin, entry, "withdraw", "breaks the rules")
    assert gone.json()["visibility"] == "withdrawn"


@pytest.mark.parametrize("reason", [None, "", "  ", "no", "x" * 1001, "a\0b"])
@pytest.mark.parametrize("what", ["withdraw", "flag"])
def test_reasons_have_to_be_given(
    client: TestClient, database: Database, admin: Person, entry: str, what: str, reason: str | None
) -> None:
    assert post(client, admin, entry, what, reason).status_code == 422
    assert kept(database, entry)[1:] == (1, 0, [])


def test_unknown_entries_are_missing(client: TestClient, admin: Person) -> None:
    for entry in ("nothing", "a" * 22, "%00", "'"):
        assert post(client, admin, entry, "verify").status_code in (404, 422)
