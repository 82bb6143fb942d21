"""What is announced is held against what the board takes, before a byte is sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from accounts import Person
from fastapi import FastAPI
from starlette.testclient import TestClient
from submitted import SHEET
from uploading import FILES, SUBMISSIONS, announce, announcement, manifest

from leaderboard.database import Database
from leaderboard.intake import sheet_of
from leaderboard.settings import Settings
from leaderboard.tables import Submission

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    limits = {"max_files": 6, "max_file_bytes": 20_000, "max_store_bytes": 50_000}
    return settings.model_copy(update=limits)


def refused(client: TestClient, who: Person, status: int = 422, **changes: Any) -> str:
    """Announces, and returns all that the problem says."""
    answer = client.post(SUBMISSIONS, json=announcement(**changes), headers=who.headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    return "\n".join([document["detail"], *map(str, document.get("findings", ()))])


def listed(*files: tuple[str, int, str]) -> list[dict[str, Any]]:
    return [{"path": path, "size": size, "sha256": digest * 64} for path, size, digest in files]


def changed_benchmark(**changes: Any) -> dict[str, Any]:
    said = manifest()
    return said | {"benchmark": said["benchmark"] | changes}


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (changed_benchmark(id="nothing"), "benchmark nothing: has no board here; known: "),
        (changed_benchmark(id="/etc/passwd"), "benchmark.id"),
        (changed_benchmark(id="../own.toml"), "benchmark.id"),
        (changed_benchmark(version=7), "zapbench-smoke@7 has no board here; known version: zapben"),
        (changed_benchmark(digest="sha256:" + "0" * 64), "another definition of zapbench-smoke@0"),
        (manifest(context=7), "context length 7 has no board; those of 4 and 256 have"),
        (manifest(context=0), "context"),
        (manifest(schema="other/1"), "schema is 'other/1', expected 'zapeval.predictions/1'"),
        (manifest(extra=1), "extra"),
        ({}, "has no schema"),
    ],
)
def test_a_manifest_that_has_no_board_is_refused_with_what_is_known(
    client: TestClient, member: Person, said: dict[str, Any], says: str
) -> None:
    assert says in refused(client, member, manifest=said)


@pytest.mark.parametrize("name", ["", "..", ".a", "a/b", "A", "my model", "a" * 65, "a\n", "é"])
def test_a_name_that_makes_no_address_is_refused(
    client: TestClient, member: Person, name: str
) -> None:
    assert "expected 1 to 64 of a-z" in refused(client, member, name=name)


def test_a_name_is_refused_with_one_like_it_that_is_none(
    client: TestClient, member: Person
) -> None:
    assert "such as 'my-model-2'" in refused(client, member, name="My Model 2")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ([], "there are none; list every file of the store, or give a source"),
        (listed(("../zarr.json", 1, "a")), "has an empty name, '.' or '..'"),
        (listed(("/zarr.json", 1, "a")), "expected a relative path"),
        (listed(("a/zarr.json", 1, "a"), ("A/zarr.json", 1, "a")), "would be one file"),
        (listed(("a/zarr.json", 1, "a"), ("a/zarr.json", 1, "a")), "is listed twice"),
        (listed(("a/0", 1, "a"), ("a/0/1", 1, "b")), "lies in a/0, which is a file"),
        (listed(("a/c/0", 1, "a"), ("a/c/1", 2, "a")), "the SHA-256 of a file of another size"),
        (listed(("a/c/0", 0, "a")), "files.0.size"),
        (listed(("a/c/0", -1, "a")), "files.0.size"),
        (listed(("a/c/0", 1 << 70, "a")), "files.0.size"),
        (listed(("a/c/0", 1, "A")), "files.0.sha256"),
        (listed(("a\0/c/0", 1, "a")), "a character that cannot be printed"),
        ([{"path": "a/c/0", "size": "1", "sha256": "a" * 64}], "files.0.size"),
        ([{"path": "a/c/0", "size": 1.5, "sha256": "a" * 64}], "files.0.size"),
        ([{"path": "a/c/0", "size": 1, "sha256": "a" * 64, "mode": 7}], "files.0.mode"),
    ],
)
def test_a_file_list_that_no_store_has_is_refused(
    client: TestClient, member: Person, files: list[Any], says: str
) -> None:
    answer = client.post(
        SUBMISSIONS, json=announcement() | {"files": files}, headers=member.headers
    )
    assert answer.status_code == 422, answer.text
    assert says in answer.text


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (listed(*((f"a/c/{i}", 1, "a") for i in range(7))), "files: 7, expected at most 6"),
        (listed(("a/c/0", 20_001, "a")), "a/c/0: 20,001 bytes, expected at most 20,000"),
        (
            listed(*((f"a/c/{i}", 17_000, "abc"[i]) for i in range(3))),
            "files: 51,000 bytes together, expected at most 50,000",
        ),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_sent(
    client: TestClient, member: Person, files: list[Any], says: str
) -> None:
    answer = client.post(
        SUBMISSIONS, json=announcement() | {"files": files}, headers=member.headers
    )
    assert (answer.status_code, says in answer.text) == (413, True), answer.text


def test_all_that_is_wrong_is_said_at_once(client: TestClient, member: Person) -> None:
    says = refused(
        client,
        member,
        name="My Model",
        manifest=manifest(context=7),
        fact_sheet=SHEET | {"code": "javascript:alert(1)", "authors": []},
    )
    for part in ("4 things are wrong", "name: ", "context length 7", "code: ", "authors: "):
        assert part in says, says


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"null",
        b'{"name": "a", "name": "b"}',
        b"\xff\xfe",
        b'{"name": "a", "manifest": {"a": NaN}}',
        b'{"name": "a", "manifest": {"a": 1e999}}',
        b'{"name": "a", "manifest": {"a": ' + b"9" * 5000 + b"}}",
        b'{"name": "a", "manifest": ' + b'{"a":' * 100 + b"1" + b"}" * 101,
        b'{"name": "a", "manifest": ' + b"[" * 200_000,
        b'{"name": "a", "manifest": {"a": "\\ud800"}}',
        b'{"name": "a", "manifest": {"a": "\\u0000"}}',
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_what_is_no_plain_json_is_refused(
    client: TestClient, member: Person, body: bytes, kind: str
) -> None:
    headers = member.headers | {"Content-Type": kind}
    answer = client.post(SUBMISSIONS, content=body, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_manifest_of_a_megabyte_is_refused(client: TestClient, member: Person) -> None:
    said = manifest()
    said["forecaster"]["parameters"] = {"a": "x" * (1 << 20)}
    assert "manifest and fact sheet have" in refused(client, member, manifest=said)


def kept(database: Database, submission: str) -> dict[str, Any]:
    with database.read() as session:
        found = session.get(Submission, submission)
        assert found is not None
        return found.fact_sheet


def test_a_fact_sheet_is_kept_as_it_was_written(
    client: TestClient, member: Person, database: Database
) -> None:
    sheet = kept(database, announce(client, member, fact_sheet=SHEET)["id"])
    assert sheet["complete"] is True
    assert sheet_of(sheet).model_dump(exclude_defaults=True) == SHEET


def test_without_a_fact_sheet_the_manifest_makes_one_that_is_marked(
    client: TestClient, member: Person, database: Database
) -> None:
    said = manifest()
    said["forecaster"] |= {
        "seed": 3,
        "covariates": ["future_stimulus"],
        "training_data": "frames\x1b[31m 0 to 9",
        "cost": {"parameters": 12, "training_seconds": 7200.0, "hardware": "one core"},
    }
    sheet = kept(database, announce(client, member, manifest=said)["id"])
    assert sheet["complete"] is False
    made = sheet_of(sheet)
    assert (made.name, made.authors, made.seeds) == ("model", ["member"], [3])
    assert made.training_data == "frames [31m 0 to 9"
    assert (made.future_stimulus, made.leakage) == (True, "not said")
    assert (made.cost.parameters, made.cost.training_hours) == (12, 2.0)


def test_files_and_an_address_together_are_refused(client: TestClient, member: Person) -> None:
    says = refused(client, member, source="https://example.org/a")
    assert "leave them out" in says
    assert "this board fetches no stores" in says


def test_the_schema_of_an_announcement_is_published(app: FastAPI) -> None:
    post = app.openapi()["paths"][SUBMISSIONS]["post"]
    schema = post["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["required"]) == {"name", "manifest"}
    assert schema["properties"]["files"]["items"]["properties"]["sha256"]["pattern"]
    assert "$ref" not in json.dumps(schema)


def test_a_list_at_the_limit_is_taken(client: TestClient, member: Person) -> None:
    found = announce(client, member, FILES | {"a/c/0": b"1", "a/c/1": b"2"})
    assert len(found["missing"]) == 6


def test_a_nul_in_a_manifest_is_refused_and_what_only_looks_like_one_is_not(
    client: TestClient, member: Person
) -> None:
    said = manifest()
    said["forecaster"]["parameters"] = {"a": "b\0"}
    assert "holds a NUL character" in refused(client, member, manifest=said)
    said["forecaster"]["parameters"] = {"a": "b\\u0000"}
    assert announce(client, member, manifest=said)["state"] == "uploading"
