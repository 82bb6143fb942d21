"""Every route for everybody: who gets in, who is told to sign in, for whom there is nothing."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from accounts import Person, enrolled
from fastapi.routing import iter_route_contexts
from sqlalchemy import select
from sqlalchemy.orm import undefer
from starlette.testclient import TestClient

from leaderboard import audit
from leaderboard.app import create_app
from leaderboard.auth import Scope, issue
from leaderboard.database import Database
from leaderboard.people import invite
from leaderboard.seeding import seed
from leaderboard.settings import API, Settings
from leaderboard.tables import (
    Entry,
    Result,
    Submission,
    SubmissionFile,
    User,
    new_id,
)
from submissions.entries import ENTRIES

ROLES = ("nobody", "reading", "submitting", "other", "owner", "admin")
"""Columns. ``reading`` and ``submitting`` are the owner's, with a token of that scope alone."""

PUBLIC = "......"
SIGNED_IN = "1.3..."
SUBMITTERS = "13...."
ADMINS = "13333."
OWN_TO_READ = "1.34.."
OWN_TO_CHANGE = "13.4.."
PRIVATE = "4.44.."
NOT_THERE = "444444"

MATRIX = {
    "GET /": PUBLIC,
    "GET /benchmarks": PUBLIC,
    "GET /benchmarks/{benchmark}": PUBLIC,
    "GET /boards": PUBLIC,
    "GET /boards/{benchmark}/{context}": PUBLIC,
    "GET /boards/{benchmark}/{context}.{ending}": PUBLIC,
    "GET /boards/{benchmark}/{context}/changes": NOT_THERE,
    "GET /compare": PUBLIC,
    "GET /compare.{ending}": PUBLIC,
    "GET /docs": PUBLIC,
    "GET /entries/{entry_id}": PRIVATE,
    "GET /entries/{entry_id}.{ending}": PUBLIC,  # leads to the API, which looks who asks
    "GET /health": PUBLIC,
    "GET /metrics": PUBLIC,
    "GET /ready": PUBLIC,
    "GET /sign-in": PUBLIC,
    "GET /static/{digest}/{name}": NOT_THERE,
    "GET /submissions": PUBLIC,  # leads to the sign-in page
    "GET /submissions/{submission_id}": "...4..",
    "POST /entries/{entry_id}/publish": OWN_TO_CHANGE,
    "POST /entries/{entry_id}/unpublish": OWN_TO_CHANGE,
    "POST /entries/{entry_id}/withdraw": OWN_TO_CHANGE,
    "POST /sign-in": "111111",  # with no token in the form
    "POST /sign-out": PUBLIC,
    "POST /submissions/{submission_id}/cancel": OWN_TO_CHANGE,
    "POST /submissions/{submission_id}/rerun": OWN_TO_CHANGE,
    f"DELETE {API}/invitations/{{invitation_id}}": ADMINS,
    f"DELETE {API}/tokens/{{token_id}}": "1.34.4",
    f"GET {API}/account": SIGNED_IN,
    f"GET {API}/audit": ADMINS,
    f"GET {API}/benchmarks": PUBLIC,
    f"GET {API}/benchmarks/{{benchmark}}": PUBLIC,
    f"GET {API}/boards": PUBLIC,
    f"GET {API}/boards/{{benchmark}}/{{context}}": PUBLIC,
    f"GET {API}/boards/{{benchmark}}/{{context}}.{{ending}}": PUBLIC,
    f"GET {API}/boards/{{benchmark}}/{{context}}/changes": NOT_THERE,
    f"GET {API}/boards/{{benchmark}}/{{context}}/charts/{{name}}": NOT_THERE,
    f"GET {API}/compare": PUBLIC,
    f"GET {API}/compare.{{ending}}": PUBLIC,
    f"GET {API}/compare/charts/{{name}}": PUBLIC,
    f"GET {API}/entries/{{entry_id}}": PRIVATE,
    f"GET {API}/entries/{{entry_id}}.{{ending}}": PRIVATE,
    f"GET {API}/entries/{{entry_id}}/charts/{{name}}": PRIVATE,
    f"GET {API}/entries/{{entry_id}}/fact-sheet.toml": PRIVATE,
    f"GET {API}/entries/{{entry_id}}/results/{{result_id}}/receipt.json": PRIVATE,
    f"GET {API}/entries/{{entry_id}}/results/{{result_id}}/scorecard.json": PRIVATE,
    f"GET {API}/entries/{{entry_id}}/results/{{result_id}}/windows.npz": PRIVATE,
    f"GET {API}/entries/{{entry_id}}/scores": PRIVATE,
    f"GET {API}/entries/{{entry_id}}/scores.csv": PRIVATE,
    f"GET {API}/forecasters": PUBLIC,
    f"GET {API}/health": PUBLIC,
    f"GET {API}/invitations": ADMINS,
    f"GET {API}/key": PUBLIC,
    f"GET {API}/metrics": PUBLIC,
    f"GET {API}/openapi.json": PUBLIC,
    f"GET {API}/ready": PUBLIC,
    f"GET {API}/submissions": SIGNED_IN,
    f"GET {API}/submissions/{{submission_id}}": OWN_TO_READ,
    f"GET {API}/submissions/{{submission_id}}/files": OWN_TO_READ,
    f"GET {API}/submissions/{{submission_id}}/files/{{path:path}}": OWN_TO_READ,
    f"GET {API}/tokens": SIGNED_IN,
    f"GET {API}/users": ADMINS,
    f"POST {API}/accounts": PUBLIC,
    f"POST {API}/entries/{{entry_id}}/flag": ADMINS,
    f"POST {API}/entries/{{entry_id}}/publish": OWN_TO_CHANGE,
    f"POST {API}/entries/{{entry_id}}/unflag": ADMINS,
    f"POST {API}/entries/{{entry_id}}/unpublish": OWN_TO_CHANGE,
    f"POST {API}/entries/{{entry_id}}/unverify": ADMINS,
    f"POST {API}/entries/{{entry_id}}/verify": ADMINS,
    f"POST {API}/entries/{{entry_id}}/withdraw": OWN_TO_CHANGE,
    f"POST {API}/invitations": ADMINS,
    f"POST {API}/submissions": SUBMITTERS,
    f"POST {API}/submissions/{{submission_id}}/cancel": OWN_TO_CHANGE,
    f"POST {API}/submissions/{{submission_id}}/commit": "13.4.3",
    f"POST {API}/submissions/{{submission_id}}/rerun": OWN_TO_CHANGE,
    f"POST {API}/tokens": SIGNED_IN,
    f"POST {API}/users/{{user_id}}/disable": ADMINS,
    f"POST {API}/users/{{user_id}}/enable": ADMINS,
    f"PUT {API}/submissions/{{submission_id}}/files/{{path:path}}": "13.4.3",
}
"""What each role gets: ``.`` gets in, ``1`` is 401, ``3`` is 403, ``4`` is 404."""

BODIES = {
    "/accounts": {"invitation": "{invitation}", "name": "{fresh}"},
    "/entries/{entry_id}/flag": {"reason": "because"},
    "/entries/{entry_id}/withdraw": {"reason": "because"},
    "/tokens": {"name": "x"},
}
"""What is sent, where something is."""


@dataclass(frozen=True, kw_only=True)
class World:
    """A board with an entry that everybody sees, and people.

    Attributes:
        client: A client of its application.
        database: Its database.
        people: Who has which role.
    """

    client: TestClient
    database: Database
    people: dict[str, Person | None]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("matrix")
    shutil.copytree(ENTRIES / "persistence", folder / "entries" / "persistence")
    settings = Settings(
        data_dir=folder / "board", entries=folder / "entries", requests_per_minute=0, max_open=1000
    )
    app = create_app(settings)
    with TestClient(app, follow_redirects=False) as client:
        database: Database = app.state.database
        seed(database, settings)
        yield World(client=client, database=database, people=_people(database))


def _people(database: Database) -> dict[str, Person | None]:
    owner = enrolled(database, "owner")
    people: dict[str, Person | None] = {
        "nobody": None,
        "other": enrolled(database, "other"),
        "owner": owner,
        "admin": enrolled(database, "admin", "admin"),
    }
    with database.write() as session:
        for role, scope in (("reading", Scope.read), ("submitting", Scope.submit)):
            _, secret = issue(session, owner.user_id, role, [scope], 1)
            people[role] = Person(identity=owner.identity, secret=secret)
    return people


def parameters(world: World) -> dict[str, str]:
    """Returns what stands for each parameter of a path: private things of the owner's, new ones."""
    owner = world.people["owner"]
    assert owner is not None
    with world.database.write() as session:
        seeded = session.scalars(
            select(Result).options(undefer(Result.card), undefer(Result.sums))
        ).first()
        assert seeded is not None
        board = seeded.entry.board
        entry = Entry(
            board_id=board.id,
            user_id=owner.user_id,
            slug=new_id(),
            name="Private",
            fact_sheet=seeded.entry.fact_sheet,
        )
        user = User(name=new_id())
        invitation, secret = invite(session, audit.OPERATOR)
        session.add_all([entry, user])
        session.flush()
        submission = _submission(owner, seeded)
        session.add(submission)
        session.flush()
        session.add(SubmissionFile(submission_id=submission.id, path="a", digest="d", size=1))
        result = Result(
            entry_id=entry.id,
            version=1,
            predictions="p",
            partial=False,
            summary=seeded.summary,
            low=seeded.low,
            high=seeded.high,
            card=seeded.card,
            sums=seeded.sums,
            receipt={},
        )
        session.add(result)
        token, _ = issue(session, owner.user_id, "to revoke", [Scope.read], 1)
        session.flush()
        return {
            "entry_id": entry.id,
            "result_id": result.id,
            "submission_id": submission.id,
            "token_id": token.id,
            "invitation_id": invitation.id,
            "invitation": secret,
            "user_id": user.id,
            "benchmark": board.benchmark,
            "context": str(board.context),
            "path:path": "a",
            "name": "steps",
            "digest": "0",
            "fresh": new_id().lower(),
            "ending": "csv",
        }


def _submission(owner: Person, seeded: Result) -> Submission:
    board = seeded.entry.board
    return Submission(
        user_id=owner.user_id,
        name=new_id(),
        benchmark=board.benchmark,
        version=board.version,
        digest=board.digest,
        context=board.context,
        manifest={},
        fact_sheet={},
        identity=new_id(),
    )


def routes(app: Any) -> list[str]:
    """Returns every route of an application, as ``GET /path/{parameter}``."""
    return sorted(
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        for method in route.methods or ()
        if method not in ("HEAD", "OPTIONS")
    )


@pytest.fixture(scope="module")
def shown(world: World) -> dict[str, str]:
    """What routes that only read are asked for, once for all."""
    return parameters(world)


def mark(status: int) -> str:
    """Returns the letter of the matrix for a status."""
    assert status < 500, status
    assert status != 405
    return {401: "1", 403: "3", 404: "4"}.get(status, ".")


def ask(world: World, route: str, role: str, values: dict[str, str]) -> int:
    """Asks as somebody; returns the status."""
    method, path = route.split()
    for name, value in values.items():
        path = path.replace(f"{{{name}}}", value)
    person = world.people[role]
    headers = person.headers if person else {}
    body: dict[str, Any] = {}
    if method in ("POST", "PUT"):
        said = BODIES.get(route.removeprefix("POST ").removeprefix(API), {})
        filled = {name: value.format(**values) for name, value in said.items()}
        body = {"json": filled} if path.startswith(API) else {"data": filled}
    return world.client.request(method, path, headers=headers, **body).status_code


def test_every_route_has_a_line(world: World) -> None:
    assert sorted(MATRIX) == routes(world.client.app)


@pytest.mark.parametrize("route", sorted(MATRIX))
def test_everybody_gets_what_the_matrix_says(
    world: World, shown: dict[str, str], route: str
) -> None:
    got = "".join(
        mark(ask(world, route, role, shown if route.startswith("GET") else parameters(world)))
        for role in ROLES
    )
    assert got == MATRIX[route]


def test_what_is_private_is_missing_in_the_same_words_as_what_never_was(world: World) -> None:
    """Nobody learns from an answer whether an id exists."""
    values = parameters(world)
    for route, marks in MATRIX.items():
        if marks[ROLES.index("other")] != "4" or not PARTS & set(values_in(route)):
            continue
        never = values | {name: new_id() for name in PARTS}
        method, path = route.split()
        bodies = []
        for chosen in (values, never):
            person = world.people["other"]
            assert person is not None
            where = path
            for name, value in chosen.items():
                where = where.replace(f"{{{name}}}", value)
            said = BODIES.get(path.removeprefix(API), {})
            body = {"json" if path.startswith(API) else "data": said} if method != "GET" else {}
            answer = world.client.request(method, where, headers=person.headers, **body)
            text = answer.text
            for name in PARTS:
                text = text.replace(chosen[name], name)
            bodies.append((answer.status_code, text))
        assert bodies[0] == bodies[1], route


PARTS = frozenset({"entry_id", "submission_id", "token_id", "result_id"})


def values_in(route: str) -> list[str]:
    """Returns the names of the parameters of a path."""
    return re.findall(r"{(\w+)", route)
