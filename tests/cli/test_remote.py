"""Predictions and recordings that lie behind http, s3 and gs: the scores of a local copy."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli.tiny import (
    ABSENT,
    LAYOUTS,
    TOML,
    Layout,
    activity,
    index_of,
    with_index,
    write_array,
    write_predictions,
)

from zapeval.recordings import stores

BUCKET = "zapbench-release"
REMOTE = {
    "raw v2": LAYOUTS["raw v2"],
    "blosc v2": LAYOUTS["blosc v2"],
    "gzip v3": LAYOUTS["gzip v3"],
    "shards": LAYOUTS["shards"],
}


@dataclass
class Place:
    """A folder as it is published: its address, and what to do when the folder is ready."""

    folder: Path
    uri: str
    publish: Callable[[], None] = field(default=lambda: None)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stores.RETRIES, "initial_delay", "10ms")
    monkeypatch.setitem(stores.RETRIES, "max_retries", 1)


@dataclass
class Site:
    """A web server over a folder, which answers ranges as web servers do.

    Attributes:
        root: The folder.
        url: Its address.
        rule: The status to fail with for a path, or None.
        ranges: Whether it answers ranges; a simple server sends the whole file.
    """

    root: Path
    url: str = ""
    rule: Callable[[str], int | None] = lambda path: None
    ranges: bool = True


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    served = Site(tmp_path / "site")
    served.root.mkdir()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            file = served.root / self.path.lstrip("/")
            status = served.rule(self.path) or (200 if file.is_file() else 404)
            body = file.read_bytes() if status == 200 else b""
            asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            size = len(body)
            self.send_response(206 if status == 200 and asked and served.ranges else status)
            if status == 200 and asked and served.ranges:
                last = int(asked[2] or size - 1) if asked[1] else size - 1
                first = int(asked[1] or size - int(asked[2] or 0))
                body = body[first : last + 1]
                end = first + len(body) - 1
                self.send_header("Content-Range", f"bytes {first}-{end}/{size}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["http", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "http":
        served = request.getfixturevalue("site")
        return Place(served.root, served.url)
    folder = tmp_path / "site"
    folder.mkdir()
    client = request.getfixturevalue("s3")

    def publish() -> None:
        for file in folder.rglob("*"):
            if file.is_file():
                key = f"below/{file.relative_to(folder)}"
                client.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())

    return Place(folder, f"s3://{BUCKET}/below", publish)


def write_site(folder: Path, layout: Layout) -> Path:
    """Writes recording and predictions into a folder, and returns the benchmark's file beside."""
    file = folder.parent / "tiny.toml"
    file.write_text(TOML.replace("fish.npy", "fish"))
    chunk = (32, 3)
    codecs = layout.codecs
    shard = None if layout.shard is None else (64, 6)
    stored = Layout(
        zarr_format=layout.zarr_format,
        chunk=chunk,
        shard=shard,
        codecs=codecs,
        compressor=layout.compressor,
    )
    write_array(folder / "fish", activity(), stored)
    write_predictions(folder / "p", layout)
    return file


def identity(card: str) -> dict[str, Any]:
    return json.loads(card) | {"seconds": 0}


@pytest.mark.parametrize("layout", REMOTE)
def test_a_remote_store_scores_like_a_local_one(run, place, layout):
    tiny = write_site(place.folder, REMOTE[layout])
    place.publish()
    options = ("-b", tiny, "-c", 2, "--json", "-")
    local = run("score", place.folder / "p", *options, "--data", place.folder)
    assert local.code == 0, local
    remote = run("score", f"{place.uri}/p", *options, "--data", place.uri)
    assert remote.code == 0, remote
    assert identity(remote.out) == identity(local.out)
    checked = run("check", f"{place.uri}/p", "-b", tiny, "-c", 2, "--data", place.uri)
    assert (checked.code, checked.err) == (0, "")


@pytest.mark.parametrize(
    ("layout", "key"),
    [
        ("raw v2", "p/moving/1.2.0"),
        ("gzip v3", "p/moving/c/1/2/0"),
        ("shards", "p/moving/c/1/0/0"),
        ("raw v2", "fish/1.1"),
        ("gzip v3", "fish/c/1/1"),
        ("shards", "fish/c/1/0"),
    ],
)
def test_a_missing_remote_chunk_is_refused(run, place, layout, key, out, wanted):
    tiny = write_site(place.folder, REMOTE[layout])
    (place.folder / key).unlink()
    place.publish()
    data = ("--data", place.uri)
    outcome = run("score", f"{place.uri}/p", "-b", tiny, "-c", 2, *data, *wanted)
    assert (outcome.code, outcome.out) == (3, ""), outcome
    assert key in outcome.err
    assert "missing" in outcome.err
    assert list(out.iterdir()) == []


def test_a_missing_inner_chunk_of_a_remote_shard_is_refused(run, place):
    tiny = write_site(place.folder, REMOTE["shards"])
    file = place.folder / "p/still/c/0/0/0"
    index = index_of(file.read_bytes(), 16)
    index[5] = ABSENT
    file.write_bytes(with_index(file.read_bytes(), index))
    place.publish()
    outcome = run("score", f"{place.uri}/p", "-b", tiny, "-c", 2, "--data", place.uri)
    assert (outcome.code, outcome.out) == (3, "")
    assert "/p/still[" in outcome.err
    assert "missing" in outcome.err


@pytest.mark.parametrize("layout", ["raw v2", "gzip v3", "blosc v2"])
def test_a_remote_chunk_of_another_length_is_refused(run, place, layout):
    tiny = write_site(place.folder, REMOTE[layout])
    file = sorted(path for path in (place.folder / "p/still").rglob("*0") if path.is_file())[0]
    file.write_bytes(file.read_bytes()[:-5])
    place.publish()
    outcome = run("score", f"{place.uri}/p", "-b", tiny, "-c", 2, "--data", place.uri)
    assert (outcome.code, outcome.out) == (3, "")
    assert "/p/still[0:8, 0:1, 0:3]: could not be read" in outcome.err


def test_a_missing_remote_array_is_refused(run, place):
    tiny = write_site(place.folder, REMOTE["raw v2"])
    shutil.rmtree(place.folder / "p/moving")
    place.publish()
    outcome = run("score", f"{place.uri}/p", "-b", tiny, "-c", 2, "--data", place.uri)
    assert (outcome.code, outcome.out) == (3, "")
    assert f"{place.uri}/p/moving: " in outcome.err


def test_remote_metadata_passes_the_same_gate(run, place):
    tiny = write_site(place.folder, REMOTE["raw v2"])
    file = place.folder / "p/still/.zarray"
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | {"chunks": [17, 4, 1 << 40]}))
    place.publish()
    outcome = run("score", f"{place.uri}/p", "-b", tiny, "-c", 2, "--data", place.uri)
    assert (outcome.code, outcome.out) == (3, "")
    assert "/p/still: chunk size in bytes: declared" in outcome.err


def test_nothing_at_a_remote_address_is_not_found(run, place):
    tiny = write_site(place.folder, REMOTE["raw v2"])
    place.publish()
    outcome = run("score", f"{place.uri}/nothing", "-b", tiny, "-c", 2, "--data", place.uri)
    assert (outcome.code, outcome.out) == (4, "")
    assert f"{place.uri}/nothing: holds no predictions" in outcome.err
    outcome = run("score", f"{place.uri}/p", "-b", tiny, "-c", 2, "--data", f"{place.uri}/nothing")
    assert (outcome.code, outcome.out) == (4, "")
    assert f"{place.uri}/nothing/fish/traces: holds no zarr array" in outcome.err


@pytest.mark.parametrize("status", [403, 500])
def test_a_server_that_refuses_or_fails_is_named_with_its_status(run, site, status):
    tiny = write_site(site.root, REMOTE["raw v2"])
    site.rule = lambda path: status if path.endswith("p/moving/1.2.0") else None
    outcome = run("score", f"{site.url}/p", "-b", tiny, "-c", 2, "--data", site.url)
    assert (outcome.code, outcome.out) == (3, "")
    assert "/p/moving[8:16, 2:3, 0:3]: could not be read: " in outcome.err
    assert f"(HTTP {status})" in outcome.err
    site.rule = lambda path: status
    outcome = run("score", f"{site.url}/p", "-b", tiny, "-c", 2, "--data", site.url)
    assert (outcome.code, f"(HTTP {status})" in outcome.err) == (3, True)


def test_a_server_that_answers_no_ranges_cannot_serve_shards(run, site):
    tiny = write_site(site.root, REMOTE["shards"])
    site.ranges = False
    outcome = run("score", f"{site.url}/p", "-b", tiny, "-c", 2, "--data", site.url)
    assert (outcome.code, outcome.out) == (3, "")
    assert "Error reading shard index" in outcome.err


GOOGLE = """
import contextlib, io, json, pathlib, sys
import tensorstore as ts
from zapeval.cli.app import main
folder, tiny = pathlib.Path(sys.argv[1]), sys.argv[2]
bucket = ts.KvStore.open({"driver": "gcs", "bucket": "zapbench-release"}).result()
for file in folder.rglob("*"):
    if file.is_file():
        bucket.write(f"below/{file.relative_to(folder)}", file.read_bytes()).result()
def run(*arguments):
    sys.argv = ["zapeval", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
    return code, out.getvalue(), err.getvalue()
uri = "gs://zapbench-release/below"
options = ("-b", tiny, "-c", 2, "--json", "-")
local = run("score", folder / "p", *options, "--data", folder)
remote = run("score", f"{uri}/p", *options, "--data", uri)
bucket.write("below/p/moving/1.2.0", None).result()
broken = run("score", f"{uri}/p", *options, "--data", uri)
nothing = run("score", f"{uri}/nothing", *options, "--data", uri)
print(json.dumps([local, remote, broken, nothing]))
"""


def test_google_storage_scores_like_a_local_store(gcs, tmp_path):
    folder = tmp_path / "site"
    tiny = write_site(folder, REMOTE["raw v2"])
    local, remote, broken, nothing = json.loads(gcs.run(GOOGLE, folder, tiny))
    assert local[0] == remote[0] == 0, remote
    assert identity(remote[1]) == identity(local[1])
    assert broken[:2] == [3, ""]
    assert "p/moving/1.2.0: chunk is missing; write it again" in broken[2]
    assert nothing[:2] == [4, ""]
