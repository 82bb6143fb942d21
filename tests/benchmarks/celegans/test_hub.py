"""The hub: a server that lists and serves as Hugging Face does, and can misbehave."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from zapeval.benchmarks.celegans import hub
from zapeval.benchmarks.celegans.hub import REPOSITORY, fetch_export
from zapeval.errors import InvalidInput, NotFound, Refused, StorageError, UsageError
from zapeval.recordings.mirror import verify

REVISION = "a" * 40


class Hub:
    """The server and what it does wrong.

    Attributes:
        files: Content by path.
        cuts: Paths whose next answer ends early.
        failing: Statuses of the next answers by path.
        ranges: Whether it goes on where a download was cut off.
        asked: Header ``Range`` of each download.
    """

    def __init__(self):
        self.files = {}
        self.cuts = Counter()
        self.failing = {}
        self.ranges = True
        self.asked = []
        self.revision = REVISION
        self.lies = {}
        self.pages = False
        self.address = ""

    def listing(self):
        found = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "data"}]
        for path, content in self.files.items():
            sha = hashlib.sha256(self.lies.get(path, content)).hexdigest()
            item = {"type": "file", "oid": "1" * 40, "size": len(content), "path": path}
            if path.endswith("small.parquet"):
                git = hashlib.sha1(b"blob %d\0" % len(content) + content)
                item["oid"] = git.hexdigest()
            else:
                item["lfs"] = {"oid": sha, "size": len(content), "pointerSize": 131}
            found.append(item)
        return found


def handler_of(served):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            path, _, query = self.path.partition("?")
            api = f"/api/datasets/{REPOSITORY}"
            resolve = f"/datasets/{REPOSITORY}/resolve/{served.revision}/"
            if path == api:
                self.answer(json.dumps({"id": REPOSITORY, "sha": served.revision}).encode())
            elif path == f"{api}/tree/{served.revision}":
                self.tree(query)
            elif path.startswith(resolve) and path.removeprefix(resolve) in served.files:
                self.send_file(path.removeprefix(resolve))
            else:
                self.send_error(404)

        def tree(self, query):
            found = served.listing()
            if not served.pages:
                self.answer(json.dumps(found).encode())
            elif "cursor" in query:
                self.answer(json.dumps(found[2:]).encode())
            else:
                url = f"{served.address}{self.path}&cursor=x"
                self.answer(json.dumps(found[:2]).encode(), {"Link": f'<{url}>; rel="next"'})

        def send_file(self, name):
            content, start = served.files[name], 0
            asked = self.headers.get("Range")
            served.asked.append((name, asked))
            if served.failing.get(name):
                self.send_error(served.failing[name].pop(0))
                return
            status = 200
            if asked and served.ranges:
                start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
            rest = content[start:]
            self.send_response(status)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            if served.cuts[name]:
                served.cuts[name] -= 1
                rest = rest[: len(rest) // 2]
                self.close_connection = True
            self.wfile.write(rest)

        def answer(self, data, headers=None):
            self.send_response(200)
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


@pytest.fixture
def served(monkeypatch):
    """A hub of two large files, a small one, and one that is no parquet."""
    monkeypatch.setattr(hub, "_FIRST_DELAY", 0.001)
    found = Hub()
    found.files = {
        "data/one.parquet": bytes(range(256)) * 5000,
        "data/two.parquet": b"two" * 10_000,
        "small.parquet": b"small",
        "README.md": b"hello",
    }
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(found))
    found.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def same(served, folder):
    for path, content in served.files.items():
        if path.endswith(".parquet"):
            assert (folder / path).read_bytes() == content
    assert not list(folder.rglob("*.part"))
    assert not (folder / "README.md").exists()
    assert verify(folder) == []


@pytest.mark.parametrize("pages", [False, True])
def test_the_export_is_downloaded_and_checked(served, tmp_path, pages):
    served.pages = pages
    told = []
    report = fetch_export(
        tmp_path / "e", source=served.address, progress=lambda d, t: told.append((d, t))
    )
    same(served, tmp_path / "e")
    total = sum(len(c) for p, c in served.files.items() if p.endswith(".parquet"))
    assert (report.files, report.fetched, report.fetched_bytes) == (3, 3, total)
    assert report.revision == REVISION
    assert told[-1] == (total, total)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    again = fetch_export(tmp_path / "e", source=served.address)
    assert (again.files, again.fetched, again.fetched_bytes) == (3, 0, 0)


def test_a_connection_that_breaks_goes_on_where_it_was(served, tmp_path):
    served.cuts["data/one.parquet"] = 2
    fetch_export(tmp_path / "e", source=served.address)
    same(served, tmp_path / "e")
    asked = [given for name, given in served.asked if name == "data/one.parquet"]
    whole = len(served.files["data/one.parquet"])
    assert asked == [None, f"bytes={whole // 2}-", f"bytes={whole // 2 + whole // 4}-"]


def test_a_server_without_ranges_sends_it_all_again(served, tmp_path):
    served.cuts["data/one.parquet"] = 1
    served.ranges = False
    fetch_export(tmp_path / "e", source=served.address)
    same(served, tmp_path / "e")


def test_a_repeated_command_resumes_a_file_that_was_cut(served, tmp_path):
    served.failing["data/two.parquet"] = [403]
    with pytest.raises(StorageError, match="the server answers 403; repeat the command"):
        fetch_export(tmp_path / "e", source=served.address)
    part = tmp_path / "e" / "data" / "two.parquet.part"
    part.write_bytes(served.files["data/two.parquet"][:1000])
    served.asked.clear()
    report = fetch_export(tmp_path / "e", source=served.address)
    assert report.fetched == 2
    assert ("data/two.parquet", "bytes=1000-") in served.asked
    assert "data/one.parquet" not in {name for name, _ in served.asked}
    same(served, tmp_path / "e")


def test_servers_that_are_busy_are_asked_again_a_few_times(served, tmp_path):
    served.failing["data/two.parquet"] = [503, 429]
    fetch_export(tmp_path / "e", source=served.address)
    same(served, tmp_path / "e")
    served.failing["data/two.parquet"] = [503] * 5
    with pytest.raises(StorageError, match="the server answers 503"):
        fetch_export(tmp_path / "f", source=served.address)


@pytest.mark.parametrize("path", ["data/two.parquet", "small.parquet"])
def test_content_other_than_listed_is_thrown_away(served, tmp_path, path):
    right = served.files[path]
    fetch_export(tmp_path / "whole", source=served.address)
    part = tmp_path / "e" / f"{path}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"X" * (len(right) - 1))
    with pytest.raises(StorageError, match="is not what the hub lists"):
        fetch_export(tmp_path / "e", source=served.address)
    assert not part.exists()
    fetch_export(tmp_path / "e", source=served.address)
    same(served, tmp_path / "e")


def test_a_newer_revision_is_not_mixed_in(served, tmp_path):
    fetch_export(tmp_path / "e", source=served.address)
    (tmp_path / "e" / "data" / "two.parquet").unlink()
    before = served.revision
    served.revision = "b" * 40
    with pytest.raises(NotFound, match="does not exist, or is not public"):
        fetch_export(tmp_path / "e", source=served.address)
    served.revision = before
    fetch_export(tmp_path / "e", source=served.address)
    same(served, tmp_path / "e")


def test_a_folder_of_something_else_is_refused(served, tmp_path):
    fetch_export(tmp_path / "e", source=served.address)
    other = served.address.replace("127.0.0.1", "localhost")
    with pytest.raises(Refused, match="is a mirror of"):
        fetch_export(tmp_path / "e", source=other)


def test_paths_that_climb_are_refused(served, tmp_path):
    served.files["../evil.parquet"] = b"x"
    with pytest.raises(InvalidInput, match="is no listing of files"):
        fetch_export(tmp_path / "e", source=served.address)


def test_a_hub_without_parquet_files_says_so(served, tmp_path):
    served.files = {"README.md": b"hello"}
    with pytest.raises(NotFound, match="lists no parquet file"):
        fetch_export(tmp_path / "e", source=served.address)


def test_only_web_addresses_are_asked(tmp_path):
    with pytest.raises(UsageError, match="expected the address of a hub"):
        fetch_export(tmp_path / "e", source=f"file://{tmp_path}")


def test_nobody_there_is_said_with_the_remedy(served, tmp_path):
    with pytest.raises(StorageError, match=r"could not be read: .*repeat the command"):
        fetch_export(tmp_path / "e", source="http://127.0.0.1:9")
