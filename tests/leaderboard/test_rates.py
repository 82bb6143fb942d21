from __future__ import annotations

import pytest
from accounts import Person
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from leaderboard.app import create_app
from leaderboard.problems import TooMany
from leaderboard.rates import FAILURES, Rate, network_of
from leaderboard.settings import Settings


class Bucket:
    """The plain twin: a bucket of tokens that fills with time."""

    def __init__(self, per_minute: int) -> None:
        self.size = per_minute
        self.tokens = float(per_minute)
        self.at = 0.0

    def hit(self, at: float) -> bool:
        self.tokens = min(self.size, self.tokens + (at - self.at) * self.size / 60)
        self.at = at
        if self.tokens < 1 - 1e-6:
            return False
        self.tokens -= 1
        return True


@given(
    st.integers(1, 30), st.lists(st.integers(0, 120), min_size=1, max_size=200), st.integers(1, 7)
)
def test_rate_passes_what_a_bucket_of_tokens_passes(
    per_minute: int, gaps: list[int], unit: int
) -> None:
    at = 0.0
    rate = Rate(per_minute, clock=lambda: at)
    bucket = Bucket(per_minute)
    for gap in gaps:
        at += gap / unit / 8
        assert (rate.hit("x") == 0.0) == bucket.hit(at)


@given(st.integers(1, 100))
def test_whoever_waits_as_told_passes(per_minute: int) -> None:
    at = 0.0
    rate = Rate(per_minute, clock=lambda: at)
    for _ in range(per_minute):
        assert rate.hit("x") == 0.0
    wait = rate.hit("x")
    assert 0 < wait <= 60 / per_minute * 1.001
    at += wait
    assert rate.hit("x") == 0.0


def test_clients_do_not_share() -> None:
    rate = Rate(1, clock=lambda: 0.0)
    assert rate.hit("a") == 0.0
    assert rate.hit("a") > 0.0
    assert rate.hit("b") == 0.0


def test_no_more_clients_are_kept_than_allowed() -> None:
    rate = Rate(1, clock=lambda: 0.0, clients=10)
    for index in range(1000):
        rate.hit(str(index))
    assert len(rate._empty) == 10


def test_zero_is_no_limit() -> None:
    rate = Rate(0)
    assert all(rate.hit("a") == 0.0 for _ in range(1000))


def test_refusal_says_when_to_come_back() -> None:
    rate = Rate(2, clock=lambda: 0.0)
    rate.require("a", "requests")
    rate.require("a", "requests")
    with pytest.raises(TooMany, match="more than 2 in a minute") as caught:
        rate.require("a", "requests")
    assert caught.value.headers == {"Retry-After": "30"}


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_addresses_of_one_customer_are_one_client(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
class TestOverHTTP:
    @pytest.fixture
    def app(self, settings: Settings) -> FastAPI:
        return create_app(settings.model_copy(update={"requests_per_minute": 3}))

    def test_too_many_requests_are_told_when_to_come_back(self, client: TestClient) -> None:
        statuses = [client.get("/api/v1/boards").status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = client.get("/api/v1/boards")
        assert 1 <= int(refused.headers["Retry-After"]) <= 20
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.json()["type"] == "about:blank#TooMany"

    def test_people_do_not_share_with_their_address(
        self, client: TestClient, member: Person, other: Person
    ) -> None:
        for _ in range(4):
            client.get("/api/v1/boards")
        for person in (member, other):
            got = client.get("/api/v1/boards", headers=person.headers)
            assert got.status_code == 200

    def test_supervisors_are_not_counted(self, client: TestClient) -> None:
        assert {client.get("/health").status_code for _ in range(10)} == {200}

    def test_wrong_tokens_have_a_limit_of_their_own(
        self, client: TestClient, member: Person
    ) -> None:
        wrong = {"Authorization": "Bearer zap_wrong"}
        statuses = [
            client.get("/api/v1/boards", headers=wrong).status_code for _ in range(FAILURES + 1)
        ]
        assert statuses == [401] * FAILURES + [429]
        right = client.get("/api/v1/boards", headers=member.headers)
        assert right.status_code == 200

    def test_wrong_invitations_count_as_wrong_tokens(self, settings: Settings) -> None:
        app = create_app(settings.model_copy(update={"requests_per_minute": 1000}))
        wrong = {"invitation": "zap_wrong", "name": "mallory"}
        with TestClient(app) as client:
            statuses = [
                client.post("/api/v1/accounts", json=wrong).status_code for _ in range(FAILURES + 1)
            ]
        assert statuses == [401] * FAILURES + [429]
