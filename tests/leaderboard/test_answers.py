from __future__ import annotations

import errno
import json

import pytest
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, OperationalError
from starlette.exceptions import HTTPException

from leaderboard.answers import problem_of
from leaderboard.problems import (
    Conflict,
    Forbidden,
    Full,
    Invalid,
    Missing,
    Problem,
    TooLarge,
    TooMany,
    Unavailable,
)
from zapeval.errors import (
    InvalidInput,
    NotFound,
    Refused,
    StorageError,
    UsageError,
    ZapevalError,
)

PATH = "/var/lib/zapeval/board/blobs/ab/cdef"


@pytest.mark.parametrize(
    ("error", "kind", "status"),
    [
        (Forbidden("no"), Forbidden, 403),
        (InvalidInput("x"), Invalid, 422),
        (UsageError("x"), Invalid, 422),
        (NotFound("x"), Missing, 404),
        (Refused("x"), Conflict, 409),
        (StorageError(PATH), Unavailable, 503),
        (ZapevalError(PATH), Problem, 500),
        (HTTPException(404), Missing, 404),
        (HTTPException(413), TooLarge, 413),
        (HTTPException(418, PATH), Problem, 418),
        (OSError(errno.ENOSPC, PATH), Full, 507),
        (OSError(errno.EDQUOT, PATH), Full, 507),
        (PermissionError(errno.EACCES, PATH), Problem, 500),
        (OperationalError(PATH, {}, Exception("database or disk is full")), Full, 507),
        (OperationalError(PATH, {}, Exception("database is locked")), Unavailable, 503),
        (DataError(PATH, {}, Exception("bigint out of range")), Invalid, 422),
        (RuntimeError(PATH), Problem, 500),
        (RecursionError(), Problem, 500),
    ],
)
def test_every_error_is_a_problem(error: Exception, kind: type[Problem], status: int) -> None:
    problem = problem_of(error)
    assert type(problem) is kind
    assert problem.status == status


@pytest.mark.parametrize(
    "error",
    [
        StorageError(PATH),
        ZapevalError(PATH),
        OSError(errno.ENOSPC, "no space", PATH),
        FileNotFoundError(errno.ENOENT, "none", PATH),
        OperationalError(f"SELECT '{PATH}'", {}, Exception(PATH)),
        RuntimeError(PATH),
    ],
)
def test_nothing_of_the_machine_is_told(error: Exception) -> None:
    assert PATH not in json.dumps(problem_of(error).document("/x"))


def test_findings_come_along() -> None:
    document = problem_of(InvalidInput("two things", ["one", "two"])).document("/x")
    assert document["findings"] == ["one", "two"]


def test_what_was_sent_is_not_sent_back() -> None:
    found = {"type": "t", "loc": ("body", "a", 3), "msg": "is wrong", "input": float("nan")}
    document = problem_of(RequestValidationError([found])).document("/x")
    assert document["findings"] == [{"where": "body.a.3", "what": "is wrong"}]
    assert document["detail"] == "body.a.3: is wrong"
    json.dumps(document, allow_nan=False)


def test_document_has_what_rfc_9457_asks_for() -> None:
    problem = TooMany("wait", 61.4, next_slot="later")
    assert problem.document("/x") == {
        "type": "about:blank#TooMany",
        "title": "That is too much for now",
        "status": 429,
        "detail": "wait",
        "instance": "/x",
        "next_slot": "later",
    }
    assert problem.headers == {"Retry-After": "62"}  # whoever waits as told gets in
