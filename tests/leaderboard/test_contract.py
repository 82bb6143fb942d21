"""The API against its own description: whatever is sent, the answer is one that it documents."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import placed
import pytest
import schemathesis
from accounts import Person, enrolled
from hypothesis import HealthCheck, given, settings
from schemathesis import checks
from schemathesis.core.failures import FailureGroup
from uploading import FILES, announcement, put
from webserver import serving

from leaderboard.app import create_app
from leaderboard.auth import Scope, issue
from leaderboard.database import Database
from leaderboard.people import invite
from leaderboard.settings import API, Settings
from leaderboard.tables import Board, User

EXAMPLES = 8
BODIES = {f"POST {API}/submissions": announcement(name="another")}
"""What can't be made up from a description."""

NEVER = {
    f"POST {API}/accounts",
    f"PUT {API}/submissions/{{submission_id}}/files/{{path}}",
    f"POST {API}/submissions/{{submission_id}}/commit",
    f"POST {API}/submissions/{{submission_id}}/rerun",
    f"GET {API}/boards/{{benchmark}}/{{context}}/changes",
    f"GET {API}/entries/{{entry_id}}/results/{{result_id}}/receipt.json",
}
"""What this board has nothing for: no secret, no bytes, no failure, no earlier version."""

PROBLEM = "application/problem+json"

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@dataclass(frozen=True, kw_only=True)
class World:
    """A served board.

    Attributes:
        schema: What it says of itself.
        people: Who sends requests.
        known: Values of path parameters that lead somewhere.
        succeeded: Operations that were answered with what was asked for.
    """

    schema: Any
    people: dict[str, Person | None]
    known: dict[str, str]
    succeeded: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    board = Settings(
        data_dir=tmp_path_factory.mktemp("contract"), requests_per_minute=0, max_open=1000
    )
    app = create_app(board)
    with serving(app) as port:
        database: Database = app.state.database
        people = {
            "nobody": None,
            "member": enrolled(database, "member"),
            "admin": enrolled(database, "admin", "admin"),
        }
        address = f"http://127.0.0.1:{port}"
        yield World(
            schema=schemathesis.openapi.from_url(f"{address}{API}/openapi.json"),
            people=people,
            known=_known(database, people["member"], address),
        )


def _known(database: Database, member: Person | None, address: str) -> dict[str, str]:
    assert member is not None
    there = placed.place(database, user_id=member.user_id)
    placed.rank(database, there.board)
    with httpx2.Client(base_url=address) as client:
        made = client.post(
            f"{API}/submissions", json=announcement(name="fresh"), headers=member.headers
        ).json()
        put(client, member, made["id"], "zarr.json", FILES["zarr.json"])  # type: ignore[arg-type]
    with database.write() as session:
        token, _ = issue(session, member.user_id, "spare", [Scope.read], 1)
        spare = User(name="spare")
        invitation, _ = invite(session, member.user_id)
        session.add(spare)
        board = session.get_one(Board, there.board)
        session.flush()
        return {
            "entry_id": there.entries["linear"],
            "submission_id": made["id"],
            "token_id": token.id,
            "user_id": spare.id,
            "invitation_id": invitation.id,
            "entries": ",".join(sorted(there.entries.values())),
            "benchmark": board.benchmark,
            "context": str(placed.CONTEXT),
            "ending": "csv",
            "name": "steps",
            "path": "zarr.json",
        } | {"result_id": placed.result_id(database, there.entries["linear"])}


@pytest.mark.slow
def test_every_answer_is_one_that_is_documented(world: World) -> None:
    operations = [found.ok() for found in world.schema.get_all_operations()]
    assert len(operations) > 40
    wrong = [told for operation in operations for told in _wrong(world, operation)]
    assert not wrong, "\n\n".join(wrong)
    # It would hold of a board that refuses everything, too.
    assert {one.label for one in operations} - world.succeeded == NEVER


def _wrong(world: World, operation: Any) -> list[str]:
    """Returns what was found wrong with an operation: the smallest request that shows it."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=_cases(operation))
    def holds(case: Any) -> None:
        for role, person in world.people.items():
            # Nobody in particular asks for what was made up, the others for what is there.
            for name in (case.path_parameters or {}) if person else ():
                case.path_parameters[name] = world.known.get(name, case.path_parameters[name])
            if role == "admin":
                case.query = {name: world.known[name] for name in case.query if name in world.known}
                case.body = BODIES.get(operation.label, case.body)
            response = case.call(headers=person.headers if person else None)
            if response.status_code < 300:
                world.succeeded.add(operation.label)
            try:
                case.validate_response(response, checks=CHECKS)
                assert_problem(response)
            except (AssertionError, FailureGroup) as error:
                said = "\n".join(map(str, getattr(error, "exceptions", [error])))
                raise AssertionError(f"{operation.label}, as {role}: {said}") from None

    try:
        holds()
    except AssertionError as error:
        return [str(error)]
    return []


def _cases(operation: Any) -> Any:
    """Returns requests as the description asks for them and, where it asks for something, not."""
    cases = operation.as_strategy()
    if operation.body or operation.query:
        cases |= operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)
    return cases


def assert_problem(response: Any) -> None:
    """An answer that says what is wrong has the one form, and tells nothing of the machine."""
    if response.status_code < 400:
        return
    assert response.headers["content-type"] == [PROBLEM]
    said = response.json()
    assert said["status"] == response.status_code
    assert said["detail"] and "Traceback" not in said["detail"]
