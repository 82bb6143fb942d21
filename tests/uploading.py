"""Stores as they are submitted: files by path, and what announces them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from starlette.testclient import TestClient
from submitted import benchmark

from zapeval.forecasting.manifest import BenchmarkPart, ForecasterPart, Manifest

SUBMISSIONS = "/api/v1/submissions"
FILES = {
    "zarr.json": b'{"zarr_format": 3, "node_type": "group"}',
    "test_condition_0/zarr.json": b'{"zarr_format": 3, "node_type": "array"}',
    "test_condition_0/c/0/0/0": bytes(range(256)) * 40,
    "test_condition_0/c/1/0/0": bytes(range(255, -1, -1)) * 40,
}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def manifest(**changes: Any) -> dict[str, Any]:
    """Returns the manifest of predictions for the embedded benchmark."""
    task = benchmark()
    said = Manifest(
        benchmark=BenchmarkPart(id=task.id, version=task.version, digest=task.digest),
        context=4,
        forecaster=ForecasterPart(name="model", version="1"),
    )
    return said.to_attributes() | changes


def announcement(files: Mapping[str, bytes] = FILES, **changes: Any) -> dict[str, Any]:
    """Returns what announces files."""
    listed = [{"path": p, "size": len(data), "sha256": digest(data)} for p, data in files.items()]
    return {"name": "model", "manifest": manifest(), "files": listed} | changes


def announce(
    client: TestClient, who: Any, files: Mapping[str, bytes] = FILES, **changes: Any
) -> dict[str, Any]:
    """Announces a store, and returns the answer."""
    answer = client.post(SUBMISSIONS, json=announcement(files, **changes), headers=who.headers)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


def put(
    client: TestClient,
    who: Any,
    submission: str,
    path: str,
    data: bytes,
    start: int = 0,
    total: int | None = None,
) -> Any:
    """Sends bytes of a file, which begin at an offset."""
    size = len(data) + start if total is None else total
    headers = {"Content-Range": f"bytes {start}-{start + len(data) - 1}/{size}"}
    return client.put(
        f"{SUBMISSIONS}/{submission}/files/{path}", content=data, headers=who.headers | headers
    )


def send_all(
    client: TestClient, who: Any, submission: str, files: Mapping[str, bytes] = FILES
) -> None:
    """Sends files whole."""
    for path, data in files.items():
        answer = put(client, who, submission, path, data)
        assert answer.status_code == 200, answer.text


def submit(client: TestClient, who: Any, **changes: Any) -> str:
    """Announces, sends and commits a store; returns the submission's id."""
    files = changes.pop("files", FILES)
    found = announce(client, who, files, **changes)
    if found["state"] == "uploading":
        send_all(client, who, found["id"], files)
        answer = client.post(f"{SUBMISSIONS}/{found['id']}/commit", headers=who.headers)
        assert answer.status_code == 200, answer.text
    return str(found["id"])
