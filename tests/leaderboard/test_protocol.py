"""The upload protocol against a model of it: whatever is called in whatever order, no 500."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from starlette.testclient import TestClient
from uploading import SUBMISSIONS, announcement, digest

from leaderboard.app import create_app
from leaderboard.auth import SCOPES, issue
from leaderboard.settings import Settings
from leaderboard.storage import Storage
from leaderboard.sweeping import sweep
from leaderboard.tables import User

A, B = b"0123456789" * 3, b"abcdefghij"
STORES = (
    {"zarr.json": B, "a/c/0": A},
    {"zarr.json": B, "a/c/0": A, "a/c/1": A},
    {"a/c/0": B},
)
PATHS = ("zarr.json", "a/c/0", "a/c/1")


class Who:
    """Somebody's header."""

    def __init__(self, secret: str) -> None:
        self.headers = {"Authorization": f"Bearer {secret}"}


class Model:
    """What a submission should be: its state, and how much of each digest has arrived."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.name = ""
        self.state = "uploading"
        self.received = {digest(data): 0 for data in files.values()}

    @property
    def whole(self) -> bool:
        return all(self.received[digest(data)] == len(data) for data in self.files.values())


class Protocol(RuleBasedStateMachine):
    """One submitter, and the calls that they may make. The board is that of all submitters."""

    settings: Settings
    client: TestClient
    numbers = itertools.count()

    @initialize()
    def begin(self) -> None:
        self.number = next(self.numbers)
        with self.client.app.state.database.write() as session:
            user = User(name=f"member-{self.number}")
            session.add(user)
            session.flush()
            self.who = Who(issue(session, user.id, "t", SCOPES["member"], 1.0)[1])
        self.storage = Storage(self.settings)
        self.models: dict[str, Model] = {}

    def ask(self, method: str, path: str, **how: Any) -> Any:
        headers = self.who.headers | how.pop("headers", {})
        answer = self.client.request(method, SUBMISSIONS + path, headers=headers, **how)
        assert answer.status_code < 500, (method, path, how, answer.text)
        return answer

    @rule(store=st.sampled_from(STORES), name=st.sampled_from(["one", "two"]))
    def announce(self, store: dict[str, bytes], name: str) -> None:
        answer = self.ask("POST", "", json=announcement(store, name=f"{name}-{self.number}"))
        found = answer.json()
        alive = [
            one
            for one, model in self.models.items()
            if (model.files, model.name) == (store, name) and model.state in ("uploading", "queued")
        ]
        assert answer.status_code == (200 if alive else 201)
        if alive:
            assert found["id"] == alive[0]
        else:
            self.models[found["id"]] = model = Model(store)
            model.name = name
        model = self.models[found["id"]]
        assert found["state"] == model.state
        if model.state == "uploading":
            self.take_owned(model)
            lacks = {d: n for d, n in model.received.items() if n < self.size(model, d)}
            assert {one["sha256"]: one["received"] for one in found["missing"]} == lacks

    def size(self, model: Model, wanted: str) -> int:
        return next(len(data) for data in model.files.values() if digest(data) == wanted)

    def take_owned(self, model: Model) -> None:
        """What was completed in another of one's submissions counts."""
        for other in self.models.values():
            if other is model or other.state == "dropped":
                continue
            for data in other.files.values():
                if other.received.get(digest(data)) == len(data) and digest(data) in model.received:
                    model.received[digest(data)] = len(data)

    @rule(
        number=st.integers(0, 3),
        path=st.sampled_from(PATHS),
        start=st.integers(0, 30),
        length=st.integers(1, 31),
        honest=st.booleans(),
        follow=st.booleans(),
    )
    def send(
        self, number: int, path: str, start: int, length: int, honest: bool, follow: bool
    ) -> None:
        if not self.models:
            return
        submission = sorted(self.models)[number % len(self.models)]
        model = self.models[submission]
        data = model.files.get(path, A)
        there = model.received.get(digest(data), 0)
        start = there if follow and there < len(data) else min(start, len(data) - 1)
        stop = min(start + length, len(data))
        sent = data[start:stop] if honest else bytes(stop - start)
        answer = self.ask(
            "PUT",
            f"/{submission}/files/{path}",
            content=sent,
            headers={"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"},
        )
        if path not in model.files or model.state == "dropped":
            assert answer.status_code == 404
        elif there == len(data) or (model.state == "uploading" and stop <= there):
            assert (answer.status_code, answer.json()["received"]) == (200, there)
        elif model.state != "uploading":
            assert answer.status_code == 409
        elif start != there:
            assert (answer.status_code, answer.json()["received"]) == (416, there)
        else:
            self.received(model, submission, path, stop, answer)

    def received(self, model: Model, submission: str, path: str, stop: int, answer: Any) -> None:
        data = model.files[path]
        if stop < len(data):
            assert (answer.status_code, answer.json()["received"]) == (200, stop)
            model.received[digest(data)] = stop
        elif answer.status_code == 200:
            assert answer.json()["complete"]
            assert self.storage.blob(digest(data)).read_bytes() == data
            model.received[digest(data)] = len(data)
        else:  # some of what was sent were other bytes
            assert answer.status_code == 422
            assert path in answer.json()["detail"]
            assert digest(data) not in self.storage.received(submission)
            model.received[digest(data)] = 0

    @rule(number=st.integers(0, 3), action=st.sampled_from(["commit", "cancel", "rerun"]))
    def act(self, number: int, action: str) -> None:
        if not self.models:
            return
        submission = sorted(self.models)[number % len(self.models)]
        model = self.models[submission]
        if action == "commit" and model.state == "uploading":
            self.take_owned(model)
        answer = self.ask("POST", f"/{submission}/{action}")
        fine, after = {
            ("commit", "uploading"): (model.whole, "queued"),
            ("commit", "queued"): (True, "queued"),
            ("cancel", "uploading"): (True, "dropped"),
            ("cancel", "dropped"): (True, "dropped"),
            ("cancel", "queued"): (True, "cancelled"),
            ("cancel", "cancelled"): (True, "cancelled"),
            ("rerun", "cancelled"): (True, "queued"),
        }.get((action, model.state), (False, ""))
        assert answer.status_code == (200 if fine else 409), (action, model.state, answer.text)
        if fine:
            model.state = after

    @rule()
    def tidy(self) -> None:
        sweep(self.storage, self.client.app.state.database, self.settings)

    @invariant()
    def what_it_says_is_what_is_there(self) -> None:
        for submission, model in getattr(self, "models", {}).items():
            found = self.ask("GET", f"/{submission}").json()
            assert found["state"] == ("cancelled" if model.state == "dropped" else model.state)
            store = self.storage.store(submission)
            assert store.exists() == (model.state in ("queued", "cancelled"))
            if model.state == "queued":
                there = {
                    str(path.relative_to(store)): path.read_bytes()
                    for path in store.rglob("*")
                    if path.is_file()
                }
                assert there == model.files


@pytest.fixture(scope="module", autouse=True)
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One board for all."""
    Protocol.settings = Settings(
        data_dir=tmp_path_factory.mktemp("board"),
        max_open=1000,
        max_daily=1000,
        requests_per_minute=0,
    )
    with TestClient(create_app(Protocol.settings)) as client:
        Protocol.client = client
        yield


TestProtocol = Protocol.TestCase
TestProtocol.settings = settings(
    max_examples=12,
    stateful_step_count=20,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
