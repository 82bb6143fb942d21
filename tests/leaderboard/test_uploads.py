"""The upload protocol through the real HTTP interface, on both databases."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from accounts import Person
from sqlalchemy import func, select
from starlette.testclient import TestClient
from uploading import FILES, SUBMISSIONS, announce, announcement, digest, put, send_all, submit

from leaderboard.database import Database
from leaderboard.settings import Settings
from leaderboard.states import State, locked, move
from leaderboard.storage import Storage
from leaderboard.sweeping import sweep
from leaderboard.tables import Blob, Board, Entry, Job, Submission, SubmissionFile, now

SMALL, LARGE = "zarr.json", "test_condition_0/c/0/0/0"
ONE_BACKEND = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_open": 50, "max_daily": 50})


@pytest.fixture
def storage(settings: Settings) -> Storage:
    return Storage(settings)


def show(client: TestClient, who: Person, submission: str) -> dict[str, Any]:
    answer = client.get(f"{SUBMISSIONS}/{submission}", headers=who.headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def act(client: TestClient, who: Person, submission: str, action: str) -> Any:
    return client.post(f"{SUBMISSIONS}/{submission}/{action}", headers=who.headers)


def set_state(database: Database, submission: str, *states: State, **how: Any) -> None:
    """Moves a submission as a worker would."""
    with database.write() as session:
        found = locked(session, submission)
        assert found is not None
        for state in states:
            move(found, state, **(how if state == states[-1] else {}))
        for job in session.scalars(select(Job).where(Job.subject == submission)):
            job.state = "done"


def test_a_store_arrives_and_is_queued(
    client: TestClient, member: Person, database: Database, storage: Storage
) -> None:
    found = announce(client, member)
    assert [one["sha256"] for one in found["missing"]] == [
        digest(FILES[path]) for path in sorted(FILES)
    ]
    send_all(client, member, found["id"])
    before = show(client, member, found["id"])
    assert (before["state"], before["received"]) == ("uploading", before["bytes"])
    answer = act(client, member, found["id"], "commit")
    assert answer.status_code == 200
    after = answer.json()
    assert (after["state"], after["position"], after["files"]) == ("queued", 1, len(FILES))
    store = storage.store(found["id"])
    there = {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}
    assert there == FILES
    with database.read() as session:
        jobs = session.execute(select(Job.kind, Job.state).where(Job.subject == found["id"]))
        assert [tuple(job) for job in jobs] == [("score", "queued")]
        submission = session.get(Submission, found["id"])
        assert submission is not None and submission.counted is not None


@ONE_BACKEND
def test_a_file_arrives_in_parts_and_says_how_far_it_is(client: TestClient, member: Person) -> None:
    found, data = announce(client, member), FILES[LARGE]
    path = f"{SUBMISSIONS}/{found['id']}/files/{LARGE}"
    for start in range(0, len(data), 3000):
        at = client.head(path, headers=member.headers)
        assert at.headers["upload-offset"] == str(start)
        answer = put(client, member, found["id"], LARGE, data[start : start + 3000], start, 10240)
        assert answer.status_code == 200
        assert answer.json()["received"] == min(start + 3000, len(data))
    done = client.get(path, headers=member.headers).json()
    assert (done["received"], done["complete"], done["size"]) == (10240, True, 10240)
    whole = client.put(
        f"{SUBMISSIONS}/{found['id']}/files/{SMALL}", content=FILES[SMALL], headers=member.headers
    )
    assert (whole.status_code, whole.json()["complete"]) == (200, True)
    page = client.get(f"{SUBMISSIONS}/{found['id']}/files", headers=member.headers).json()
    assert [(f["path"], f["complete"]) for f in page["files"]] == [
        (path, path in (SMALL, LARGE)) for path in sorted(FILES)
    ]


@ONE_BACKEND
def test_the_same_part_twice_is_the_same_as_once(client: TestClient, member: Person) -> None:
    submission, data = announce(client, member)["id"], FILES[LARGE]
    for _ in range(2):
        answer = put(client, member, submission, LARGE, data[:4000], 0, len(data))
        assert (answer.status_code, answer.json()["received"]) == (200, 4000)
    assert put(client, member, submission, LARGE, data[4000:], 4000).json()["complete"]
    for start in (0, 4000):
        answer = put(client, member, submission, LARGE, data[start:], start)
        assert (answer.status_code, answer.json()["complete"]) == (200, True)


@ONE_BACKEND
@pytest.mark.parametrize("headers", [{"Content-Range": "bytes */10240"}, {}])
def test_a_file_that_arrived_as_a_whole_before_a_crash_is_finished(
    client: TestClient, member: Person, storage: Storage, headers: dict[str, str]
) -> None:
    submission, data = announce(client, member)["id"], FILES[LARGE]
    path = f"{SUBMISSIONS}/{submission}/files/{LARGE}"
    early = client.put(path, headers=member.headers | {"Content-Range": "bytes */10240"})
    assert (early.status_code, early.json()["received"]) == (200, 0)
    with storage.arrive(submission, digest(data)) as part:
        part.write(data)
    found = client.get(path, headers=member.headers).json()
    assert (found["received"], found["complete"]) == (10240, False)
    content = b"" if headers else data
    answer = client.put(path, content=content, headers=member.headers | headers)
    assert (answer.status_code, answer.json()["complete"]) == (200, True)


@ONE_BACKEND
@pytest.mark.parametrize(("start", "stop"), [(4001, 5000), (3999, 5000), (9000, 10240)])
def test_bytes_that_do_not_follow_are_refused_with_how_much_is_there(
    client: TestClient, member: Person, start: int, stop: int
) -> None:
    submission, data = announce(client, member)["id"], FILES[LARGE]
    put(client, member, submission, LARGE, data[:4000], 0, len(data))
    answer = put(client, member, submission, LARGE, data[start:stop], start, len(data))
    assert (answer.status_code, answer.json()["received"]) == (416, 4000)


@ONE_BACKEND
@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 0-9/99"},
        {"Content-Range": "bytes 5-2/10240"},
        {"Content-Range": "bytes 0-10240/10240"},
        {"Content-Range": "bytes */10240"},
        {"Content-Range": "bytes 0-99999999999999999999/10240"},
        {"Content-Range": "items 0-9/10240"},
        {"Content-Range": "bytes 0-8/10240"},
        {"Content-Range": "bytes 0-10/10240"},
        {},
        {"Content-Encoding": "gzip", "Content-Range": "bytes 0-9/10240"},
    ],
)
def test_a_request_that_contradicts_itself_is_refused(
    client: TestClient, member: Person, headers: dict[str, str]
) -> None:
    submission = announce(client, member)["id"]
    path = f"{SUBMISSIONS}/{submission}/files/{LARGE}"
    answer = client.put(path, content=b"0123456789", headers=member.headers | headers)
    assert answer.status_code == 422, answer.text
    assert client.get(path, headers=member.headers).json()["received"] == 0


@ONE_BACKEND
def test_a_body_of_another_length_than_its_range_keeps_what_belongs(
    client: TestClient, member: Person
) -> None:
    submission, data = announce(client, member)["id"], FILES[LARGE]
    path = f"{SUBMISSIONS}/{submission}/files/{LARGE}"

    def chunked(content: bytes, start: int, stop: int) -> Any:
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
        return client.put(path, content=iter([content]), headers=member.headers | headers)

    short = chunked(data[:100], 0, 200)
    assert (short.status_code, short.json()["received"]) == (422, 100)
    long = chunked(data[100:400], 100, 200)
    assert (long.status_code, "more than the 100 bytes" in long.text) == (422, True)
    assert client.get(path, headers=member.headers).json()["received"] == 200
    assert chunked(data[200:], 200, len(data)).json()["complete"]


def test_tampered_bytes_are_refused_by_name_and_can_be_sent_again(
    client: TestClient, member: Person, storage: Storage
) -> None:
    submission, data = announce(client, member)["id"], bytearray(FILES[LARGE])
    data[5000] ^= 1
    answer = put(client, member, submission, LARGE, bytes(data))
    assert answer.status_code == 422
    assert LARGE in answer.json()["detail"]
    assert storage.received(submission) == {}
    send_all(client, member, submission)
    assert act(client, member, submission, "commit").json()["state"] == "queued"


@ONE_BACKEND
def test_a_file_that_was_not_announced_is_not_taken(client: TestClient, member: Person) -> None:
    submission = announce(client, member)["id"]
    for path in ("test_condition_0/c/9/0/0", "%2e%2e/%2e%2e/x", "a%00b", "a//b", "x" * 900):
        answer = client.put(
            f"{SUBMISSIONS}/{submission}/files/{path}", content=b"x", headers=member.headers
        )
        assert answer.status_code in (404, 422), (path, answer.text)


@ONE_BACKEND
def test_equal_files_are_sent_once(client: TestClient, member: Person, storage: Storage) -> None:
    files = {"a/c/0": b"same", "a/c/1": b"same", "b/c/0": b"same", "zarr.json": b"{}"}
    found = announce(client, member, files)
    assert len(found["missing"]) == 2
    put(client, member, found["id"], "b/c/0", b"same")
    put(client, member, found["id"], "zarr.json", b"{}")
    assert act(client, member, found["id"], "commit").json()["state"] == "queued"
    store = storage.store(found["id"])
    assert all((store / path).read_bytes() == data for path, data in files.items())


def test_the_same_announced_again_goes_on_where_it_was(client: TestClient, member: Person) -> None:
    first = announce(client, member)
    put(client, member, first["id"], SMALL, FILES[SMALL])
    put(client, member, first["id"], LARGE, FILES[LARGE][:77], 0, 10240)
    again = client.post(SUBMISSIONS, json=announcement(), headers=member.headers)
    assert again.status_code == 200
    found = again.json()
    assert found["id"] == first["id"]
    missing = {one["sha256"]: one["received"] for one in found["missing"]}
    assert digest(FILES[SMALL]) not in missing
    assert missing[digest(FILES[LARGE])] == 77
    assert announce(client, member, name="another")["id"] != first["id"]


def test_the_same_announced_by_many_at_once_is_one(client: TestClient, member: Person) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: announce(client, member)["id"], range(8)))
    assert len(set(found)) == 1


def test_parts_of_one_file_at_once_leave_it_whole(client: TestClient, member: Person) -> None:
    submission, data = announce(client, member)["id"], FILES[LARGE]
    with ThreadPoolExecutor(8) as pool:
        parts = pool.map(lambda _: put(client, member, submission, LARGE, data), range(8))
        statuses = [answer.status_code for answer in parts]
    assert set(statuses) <= {200, 409, 416}
    assert 200 in statuses
    path = f"{SUBMISSIONS}/{submission}/files/{LARGE}"
    assert client.get(path, headers=member.headers).json()["complete"]


def test_what_oneself_has_sent_need_not_be_sent_again(client: TestClient, member: Person) -> None:
    submit(client, member)
    files = {**FILES, SMALL: b'{"another": 1}'}
    found = announce(client, member, files, name="second")
    assert [one["sha256"] for one in found["missing"]] == [digest(files[SMALL])]


def test_nobody_learns_what_others_have_sent(
    client: TestClient, member: Person, other: Person, storage: Storage
) -> None:
    submit(client, member)
    found = announce(client, other, name="theirs")
    assert len(found["missing"]) == len(FILES)
    assert {one["received"] for one in found["missing"]} == {0}
    assert act(client, other, found["id"], "commit").status_code == 409
    send_all(client, other, found["id"])
    assert act(client, other, found["id"], "commit").json()["state"] == "queued"
    assert (storage.store(found["id"]) / LARGE).stat().st_nlink == 3  # blob and two stores


def test_committing_twice_or_at_once_queues_once(
    client: TestClient, member: Person, database: Database
) -> None:
    submission = announce(client, member)["id"]
    send_all(client, member, submission)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: act(client, member, submission, "commit"), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    with database.read() as session:
        of = select(func.count()).select_from(Job).where(Job.subject == submission)
        assert session.scalar(of) == 1
        assert session.scalar(select(func.count()).select_from(Blob)) == len(FILES)


@ONE_BACKEND
def test_committing_what_lacks_files_names_one(client: TestClient, member: Person) -> None:
    submission = announce(client, member)["id"]
    put(client, member, submission, SMALL, FILES[SMALL])
    answer = act(client, member, submission, "commit")
    assert answer.status_code == 409
    assert "3 of its files lack, test_condition_0/c/0/0/0 for one" in answer.json()["detail"]


def test_the_daily_quota_refuses_the_commit_and_loses_nothing(
    client: TestClient, member: Person, app: Any, settings: Settings
) -> None:
    app.state.settings = settings.model_copy(update={"max_daily": 1})
    submit(client, member)
    second = announce(client, member, name="second")
    answer = act(client, member, second["id"], "commit")
    assert answer.status_code == 429
    assert "next slot at" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 3600
    assert show(client, member, second["id"])["state"] == "uploading"
    app.state.settings = settings
    assert act(client, member, second["id"], "commit").json()["state"] == "queued"


def test_as_many_may_be_open_as_the_quota_says(
    client: TestClient, member: Person, app: Any, settings: Settings
) -> None:
    app.state.settings = settings.model_copy(update={"max_open": 2})

    def try_it(number: int) -> int:
        return client.post(
            SUBMISSIONS, json=announcement(name=f"n{number}"), headers=member.headers
        ).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(try_it, range(6)))
    assert statuses == [201, 201, 429, 429, 429, 429]


ROUTES = [
    ("GET", ""),
    ("GET", "/files"),
    ("GET", f"/files/{SMALL}"),
    ("HEAD", f"/files/{SMALL}"),
    ("PUT", f"/files/{SMALL}"),
    ("POST", "/commit"),
    ("POST", "/cancel"),
    ("POST", "/rerun"),
]


@ONE_BACKEND
@pytest.mark.parametrize(("method", "below"), ROUTES)
def test_others_find_nothing_and_strangers_are_asked_who_they_are(
    client: TestClient, member: Person, other: Person, method: str, below: str
) -> None:
    submission = announce(client, member)["id"]
    path = f"{SUBMISSIONS}/{submission}{below}"
    theirs = client.request(method, path, headers=other.headers)
    nowhere = client.request(method, f"{SUBMISSIONS}/nothing{below}", headers=other.headers)
    assert (theirs.status_code, nowhere.status_code) == (404, 404)
    if method != "HEAD":
        assert theirs.json()["detail"].replace(submission, "nothing") == nowhere.json()["detail"]
    assert client.request(method, path).status_code == 401
    assert show(client, member, submission)["state"] == "uploading"


@ONE_BACKEND
def test_an_admin_sees_and_cancels_what_others_submit_and_sends_nothing(
    client: TestClient, member: Person, admin: Person
) -> None:
    submission = announce(client, member)["id"]
    assert show(client, admin, submission)["user"] == "member"
    assert put(client, admin, submission, SMALL, FILES[SMALL]).status_code == 403
    assert act(client, admin, submission, "commit").status_code == 403
    assert act(client, admin, submission, "cancel").json()["reason"] == "cancelled by an admin"


@ONE_BACKEND
def test_a_list_holds_ones_own_newest_first(
    client: TestClient, member: Person, other: Person
) -> None:
    mine = [announce(client, member, name=f"n{i}")["id"] for i in range(3)]
    announce(client, other, name="theirs")
    found = client.get(SUBMISSIONS, headers=member.headers).json()
    assert [one["id"] for one in found["submissions"]] == mine[::-1]
    assert (found["total"], found["pages"]) == (3, 1)
    assert client.get(f"{SUBMISSIONS}?page=2", headers=member.headers).json()["submissions"] == []
    assert client.get(f"{SUBMISSIONS}?page=0", headers=member.headers).status_code == 422


def test_a_name_that_is_taken_or_was_withdrawn_is_refused_at_once(
    client: TestClient, member: Person, other: Person, database: Database
) -> None:
    submission = submit(client, member)
    answer = client.post(SUBMISSIONS, json=announcement(), headers=other.headers)
    assert answer.status_code == 409
    assert "'model' is taken on the board of zapbench-smoke@0, C=4" in answer.json()["detail"]
    set_state(database, submission, State.failed, reason="broken", fault="submission")
    assert announce(client, other)["state"] == "uploading"
    with database.write() as session:
        task = announcement()["manifest"]["benchmark"]
        board = Board(
            benchmark=task["id"], version=0, digest=task["digest"], context=4, data="blake3:0"
        )
        session.add(board)
        session.flush()
        session.add(Entry(board_id=board.id, slug="from-package", name="P", fact_sheet={}))
        own = {"user_id": member.user_id, "visibility": "withdrawn", "fact_sheet": {}}
        session.add(Entry(board_id=board.id, slug="gone", name="Gone", **own))
    body = announcement(name="from-package")
    assert client.post(SUBMISSIONS, json=body, headers=member.headers).status_code == 409
    answer = client.post(SUBMISSIONS, json=announcement(name="gone"), headers=member.headers)
    assert answer.status_code == 409
    assert "'gone' was withdrawn from the board of" in answer.json()["detail"]


def test_cancelling_an_upload_drops_it_and_takes_no_more(
    client: TestClient, member: Person, storage: Storage, database: Database
) -> None:
    submission = announce(client, member)["id"]
    put(client, member, submission, SMALL, FILES[SMALL])
    put(client, member, submission, LARGE, FILES[LARGE][:10], 0, 10240)
    for _ in range(2):
        answer = act(client, member, submission, "cancel")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert storage.received(submission) == {}
    assert put(client, member, submission, LARGE, FILES[LARGE]).status_code in (404, 409)
    assert act(client, member, submission, "commit").status_code == 409
    assert act(client, member, submission, "rerun").status_code == 409
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(SubmissionFile)) == 0


def test_what_is_queued_is_cancelled_with_its_job_and_runs_again(
    client: TestClient, member: Person, database: Database, storage: Storage
) -> None:
    submission = submit(client, member)
    assert put(client, member, submission, SMALL, FILES[SMALL]).status_code == 200  # it is there
    assert (
        act(client, member, submission, "cancel").json()["reason"] == "cancelled by its submitter"
    )
    with database.read() as session:
        assert session.scalars(select(Job.state)).all() == ["cancelled"]
    assert act(client, member, submission, "commit").status_code == 409
    again = act(client, member, submission, "rerun").json()
    assert (again["state"], again["reason"]) == ("queued", "")
    assert storage.store(submission).exists()
    with database.read() as session:
        assert sorted(session.scalars(select(Job.state)).all()) == ["cancelled", "queued"]


@pytest.mark.parametrize("fault", ["submission", "platform"])
def test_what_failed_runs_again_and_only_platform_faults_are_free(
    client: TestClient,
    member: Person,
    other: Person,
    admin: Person,
    database: Database,
    app: Any,
    settings: Settings,
    fault: str,
) -> None:
    submission = submit(client, member)
    set_state(database, submission, State.failed, reason="it broke", fault=fault)
    assert show(client, member, submission)["reason"] == "it broke"
    second = submit(client, member, name="second")
    app.state.settings = settings.model_copy(update={"max_daily": 1})
    answer = act(client, member, submission, "rerun")
    assert answer.status_code == (200 if fault == "platform" else 409)
    if fault == "submission":
        assert "and would again; mend the" in answer.json()["detail"]
        assert act(client, admin, submission, "rerun").status_code == 429
        app.state.settings = settings
        assert act(client, admin, submission, "rerun").json()["state"] == "queued"
    app.state.settings = settings
    with database.read() as session:
        counted = session.scalars(select(Submission).order_by(Submission.created)).all()
        assert [one.counted is not None for one in counted] == [True, True]
    assert act(client, other, second, "rerun").status_code == 404
    assert act(client, member, second, "rerun").status_code == 409


@ONE_BACKEND
def test_in_every_state_every_call_answers_and_scored_stays_scored(
    client: TestClient, member: Person, database: Database
) -> None:
    states = (State.queued, State.checking, State.scoring, State.scored, State.withdrawn)
    submission = submit(client, member)
    for index, state in enumerate(states):
        if index:
            set_state(database, submission, state)
        for action in ("commit", "rerun"):
            answer = act(client, member, submission, action)
            fine = action == "commit" and state != State.withdrawn
            assert answer.status_code == (200 if fine else 409), (state, action)
        assert show(client, member, submission)["state"] == state
        if state in (State.scored, State.withdrawn):
            assert act(client, member, submission, "cancel").status_code == 409


@ONE_BACKEND
def test_what_was_scored_is_found_by_the_same_announcement(
    client: TestClient, member: Person, database: Database
) -> None:
    submission = submit(client, member)
    set_state(database, submission, State.checking, State.scoring, State.scored)
    assert announce(client, member) == {"id": submission, "state": "scored", "missing": []}
    set_state(database, submission, State.withdrawn)
    assert announce(client, member)["id"] != submission


def set_age(database: Database, submission: str, days: float) -> None:
    with database.write() as session:
        found = locked(session, submission)
        assert found is not None
        found.changed = now() - timedelta(days=days)


def blobs(storage: Storage) -> set[str]:
    return {path.name for path in (storage.root / "blobs").glob("*/*")}


def test_an_upload_that_nobody_went_on_with_is_swept(
    client: TestClient, member: Person, database: Database, storage: Storage, settings: Settings
) -> None:
    old, fresh = announce(client, member)["id"], announce(client, member, name="fresh")["id"]
    put(client, member, old, SMALL, FILES[SMALL])
    put(client, member, old, LARGE, FILES[LARGE][:10], 0, 10240)
    set_age(database, old, 8)
    sweep(storage, database, settings)
    assert show(client, member, old)["state"] == "uploading"  # bytes came a moment ago
    os.utime(storage.incoming(old, digest(FILES[LARGE])), (0, 0))
    assert sweep(storage, database, settings) == len(FILES[SMALL])
    found = show(client, member, old)
    assert (found["state"], "nothing arrived for 7 days" in found["reason"]) == ("cancelled", True)
    assert (storage.received(old), blobs(storage)) == ({}, set())
    assert show(client, member, fresh)["state"] == "uploading"


def test_blobs_stay_as_long_as_a_submission_needs_them(
    client: TestClient,
    member: Person,
    admin: Person,
    database: Database,
    storage: Storage,
    settings: Settings,
) -> None:
    first = submit(client, member)
    second = submit(client, member, files={"a/c/0": b"own", LARGE: FILES[LARGE]}, name="second")
    set_state(database, first, State.failed, reason="broken", fault="submission")
    set_state(database, second, State.checking, State.scoring, State.scored)
    assert sweep(storage, database, settings) == 0
    set_age(database, first, 8)
    assert sweep(storage, database, settings) == sum(
        len(data) for path, data in FILES.items() if path != LARGE
    )
    assert blobs(storage) == {digest(b"own"), digest(FILES[LARGE])}
    assert (storage.store(first).exists(), storage.store(second).exists()) == (False, True)
    answer = act(client, admin, first, "rerun")
    assert (answer.status_code, "submit it again" in answer.text) == (409, True)
    gone = settings.model_copy(update={"keep_predictions": False})
    sweep(storage, database, gone)
    assert (blobs(storage), storage.store(second).exists()) == (set(), False)


def test_what_a_crash_left_is_swept(
    client: TestClient, member: Person, database: Database, storage: Storage, settings: Settings
) -> None:
    submission = submit(client, member)
    orphan = storage.blob("ab" + "0" * 62)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"lost")
    partial = storage.root / "stores" / f".{submission}.123.part"
    partial.mkdir()
    os.utime(partial, (0, 0))
    assert sweep(storage, database, settings) == 4
    assert not partial.exists()
    assert storage.store(submission).exists()
    assert blobs(storage) == {digest(data) for data in FILES.values()}


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@ONE_BACKEND
def test_a_full_disk_is_said_keeps_the_part_and_is_gone_on_with(
    client: TestClient, member: Person, storage: Storage
) -> None:
    files = {"a/c/0": os.urandom(900_000)}
    submission = announce(client, member, files)["id"]
    with small_disk(storage.root / "incoming"):
        answer = put(client, member, submission, "a/c/0", files["a/c/0"])
        assert answer.status_code == 507, answer.text
        assert str(storage.root) not in answer.text
        path = f"{SUBMISSIONS}/{submission}/files/a/c/0"
        size = client.get(path, headers=member.headers).json()["received"]
        assert 0 < size < 900_000
        assert (
            storage.incoming(submission, digest(files["a/c/0"])).read_bytes()
            == (files["a/c/0"][:size])
        )
    assert client.get(path, headers=member.headers).json()["received"] == 0
    send_all(client, member, submission, files)
    assert act(client, member, submission, "commit").json()["state"] == "queued"
