"""Stores that are fetched from an address: only from where it is allowed, within limits."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from accounts import Person
from certificates import certificate
from queued import write_store
from recordings.conftest import gcs, s3, s3_address  # noqa: F401
from servers import BUCKET
from starlette.testclient import TestClient
from uploading import SUBMISSIONS, announcement

from leaderboard import pinned
from leaderboard.pinned import reachable
from leaderboard.settings import Settings
from leaderboard.sources import check_source, fetch
from leaderboard.storage import Storage
from leaderboard.tables import Submission
from zapeval.errors import InvalidInput, NotFound, Refused, StorageError, ZapevalError

ALLOWED = Settings(
    hosts=("data.example.org", "inner.example.org:8443"), buckets=("gs://good", "s3://fine")
)
GOOD = [
    "https://data.example.org/a/predictions.zarr",
    "https://DATA.example.org:443/a",
    "https://inner.example.org:8443/a",
    "gs://good/a/b",
    "gs://good",
    "s3://fine/a",
]
BAD = [
    "",
    "data.example.org/a",
    "file:///etc/passwd",
    "/etc/passwd",
    "http://data.example.org/a",
    "ftp://data.example.org/a",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/a",
    "https://[/a",
    "https://data.example.org@evil.example/a",
    "https://evil.example#data.example.org/a",
    "https://evil.example\\data.example.org/a",
    "https://data.example.org.evil.example/a",
    "https://evil-data.example.org/a",
    "https://data.example.org./a",
    "https://data.example.org:8443/a",
    "https://data.example.org:0/a",
    "https://data.example.org:99999/a",
    "https://inner.example.org/a",
    "https://user:password@data.example.org/a",
    "https://data.example.org/a?x=http://evil.example",
    "https://data.example.org/a|zarr3:",
    "https://data.example.org/a/../b",
    "https://data.example.org/%2e%2e/b",
    "https://data.example.org/a b",
    "https://dätä.example.org/a",
    "gs://good|json:",
    "gs://goods/a",
    "gs://evil/good",
    "s3://good/a",
    '{"driver": "file", "path": "/etc"}',
    "https://data.example.org/\n",
]


@pytest.mark.parametrize("address", GOOD)
def test_what_is_on_the_list_is_fetched(address: str) -> None:
    assert list(check_source(address, ALLOWED)) == []


@pytest.mark.parametrize("address", BAD)
def test_everything_else_is_not_and_why_is_said(address: str) -> None:
    (finding,) = check_source(address, ALLOWED)
    assert finding.startswith("source: ")
    assert "password" not in finding


def test_nothing_is_fetched_where_nobody_allows_it() -> None:
    (finding,) = check_source(GOOD[0], Settings())
    assert finding == "source: this board fetches no stores; send the files"


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.7"],
        ["169.254.169.254"],
        ["192.168.1.1", "8.8.8.8"],
        ["8.8.8.8", "::1"],
        ["fd00::1"],
        ["::ffff:127.0.0.1"],
        ["2002:7f00:1::"],
        ["64:ff9b::7f00:1"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["100.64.0.1"],
        ["fe80::1%eth0"],
    ],
)
def test_a_host_with_an_address_inside_is_not_reached(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    def resolve(host: str, port: int, **options: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(Refused, match="not public"):
        reachable("data.example.org", 443, private=False)
    assert reachable("data.example.org", 443, private=True) == addresses[0].partition("%")[0]


@dataclass
class Site:
    """A web server over a folder, by https.

    Attributes:
        root: The folder.
        place: Its host and port.
        rule: Answers a path itself, where it returns true.
        asked: The paths that were asked for.
    """

    root: Path
    place: str = ""
    rule: Callable[[BaseHTTPRequestHandler], bool] = lambda request: False
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    served = Site(tmp_path / "site")
    served.root.mkdir()
    chain, key = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    monkeypatch.setattr(pinned, "WAITS", (0.0,))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            served.asked.append(self.path)
            if served.rule(self):
                return
            file = served.root / self.path.lstrip("/")
            body = file.read_bytes() if file.is_file() else b""
            self.send_response(200 if file.is_file() else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, address: object) -> None:
            pass  # a client that breaks off, as these do

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    served.place = f"localhost:{server.server_port}"
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def good_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("stores") / "good.zarr")


@pytest.fixture
def place(site: Site, tmp_path: Path, good_store: Path) -> tuple[Submission, Settings, Storage]:
    """A submission of a store on that server, which is allowed."""
    shutil.copytree(good_store, site.root / "p.zarr")
    settings = Settings(data_dir=tmp_path / "board", hosts=(site.place,))
    return submission(f"https://{site.place}/p.zarr"), settings, Storage(settings)


def submission(source: str) -> Submission:
    return Submission(id="one", benchmark="zapbench-smoke", source=source)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


Place = tuple[Submission, Settings, Storage]


def test_a_store_behind_https_is_copied_whole(place: Place, good_store: Path, site: Site) -> None:
    fetched = fetch(*place)
    files = tree(place[2].store("one"))
    assert files == tree(good_store)
    assert (fetched.files, fetched.bytes) == (len(files), sum(map(len, files.values())))
    before = len(site.asked)
    assert fetch(*place) == fetched
    assert len(site.asked) == before


def test_a_copy_goes_on_where_it_was(place: Place, good_store: Path, site: Site) -> None:
    chunks = [path for path in tree(good_store) if "/c/" in path]
    site.rule = lambda request: (
        request.path.endswith(chunks[-1]) and bool(request.send_error(503) or True)
    )
    with pytest.raises(StorageError, match=r"could not be read \(HTTP 503\)"):
        fetch(*place)
    assert not place[2].store("one").exists()
    site.rule = lambda request: False
    site.asked.clear()
    fetch(*place)
    assert tree(place[2].store("one")) == tree(good_store)
    assert len([path for path in site.asked if "/c/" in path]) < len(chunks)


def answers(
    status: int, body: bytes = b"", *, only: str = "zarr.json", **headers: str
) -> Callable[[BaseHTTPRequestHandler], bool]:
    """Returns a rule that answers so where a path ends so."""

    def rule(request: BaseHTTPRequestHandler) -> bool:
        if not request.path.endswith(only):
            return False
        request.send_response(status)
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in ({"Content-Length": str(len(body))} | said).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)
        request.close_connection = True
        return True

    return rule


CHUNK = "test_condition_1/c/0/0/0"


@pytest.mark.parametrize(
    ("rule", "error", "says"),
    [
        (answers(302, Location="http://169.254.169.254/"), Refused, "leads elsewhere (HTTP 302)"),
        (answers(301, Location="/p.zarr/other"), Refused, "give the final address"),
        (answers(403), StorageError, "HTTP 403"),
        (answers(500), StorageError, "HTTP 500"),
        (answers(200, b"{"), InvalidInput, "is not valid JSON"),
        (answers(200, b"x" * (2 << 20)), InvalidInput, "is over 1,048,576 bytes"),
        (answers(200, b"{}", Content_Length="9"), StorageError, "could not be read"),
        (answers(404, only=CHUNK), InvalidInput, f"{CHUNK}: does not exist"),
        (answers(302, only=CHUNK, Location="/x"), Refused, "leads elsewhere"),
        (answers(200, b"12", only=CHUNK, Content_Length="5"), StorageError, "could not be read"),
        (answers(404, only="test_condition_1/zarr.json"), NotFound, "holds no zarr array"),
    ],
)
def test_a_server_that_does_not_give_what_it_should_is_named(
    place: Place, site: Site, rule: Any, error: type[ZapevalError], says: str
) -> None:
    site.rule = rule
    with pytest.raises(error) as caught:
        fetch(*place)
    assert type(caught.value) is error
    assert says in str(caught.value)
    assert not place[2].store("one").exists()


def endless(request: BaseHTTPRequestHandler) -> bool:
    """Answers a chunk with bytes that never end."""
    if not request.path.endswith(CHUNK):
        return False
    request.send_response(200)
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    try:
        while True:
            request.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
    except OSError:
        request.close_connection = True
    return True


@pytest.mark.parametrize("limit", ["max_file_bytes", "max_store_bytes", "room"])
def test_a_file_without_end_is_cut_off_at_the_limit(place: Place, site: Site, limit: str) -> None:
    site.rule = endless
    left = 3_000_000 if limit == "room" else None
    settings = place[1]
    if limit != "room":
        settings = settings.model_copy(update={limit: 3_000_000})
    with pytest.raises(InvalidInput, match="is over 3,000,000 bytes"):
        fetch(place[0], settings, place[2], room_left=left)
    left_behind = tree(place[2].fetching("one"))
    assert sum(map(len, left_behind.values())) < 3_000_000
    assert not any(path.endswith(".part") for path in left_behind)


def test_metadata_that_promises_too_many_files_is_refused_before_a_chunk(
    place: Place, site: Site, good_store: Path
) -> None:
    document = json.loads((good_store / "test_condition_1/zarr.json").read_text())
    document["chunk_grid"]["configuration"]["chunk_shape"] = [1, 1, 1]
    document["codecs"] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    (site.root / "p.zarr/test_condition_1/zarr.json").write_text(json.dumps(document))
    settings = place[1].model_copy(update={"max_files": 100})
    with pytest.raises(InvalidInput, match="has over 100 files"):
        fetch(place[0], settings, place[2])
    assert not [path for path in site.asked if "/c/" in path]


def test_a_certificate_of_nobody_is_not_trusted(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(StorageError, match="certificate can't be verified"):
        fetch(*place)


def test_a_local_server_that_is_listed_without_its_port_is_not_reached(place: Place) -> None:
    settings = place[1].model_copy(update={"hosts": ("localhost",)})
    with pytest.raises(Refused, match="fetches nothing from localhost:"):
        fetch(place[0], settings, place[2])
    with pytest.raises(Refused, match="not public"):
        fetch(submission("https://localhost/p.zarr"), settings, place[2])


def test_a_fetch_that_is_stopped_ends(place: Place) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(StorageError, match="stopped"):
        fetch(*place, stop=stop)


def test_a_store_in_an_s3_bucket_is_copied(
    s3: Any,  # noqa: F811
    tmp_path: Path,
    good_store: Path,
) -> None:
    for path, data in tree(good_store).items():
        s3.put_object(Bucket=BUCKET, Key=f"below/{path}", Body=data)
    s3.put_object(Bucket=BUCKET, Key="below/run.py", Body=b"import os")
    s3.put_object(Bucket=BUCKET, Key="below/a/../../../b", Body=b"climbs")
    settings = Settings(data_dir=tmp_path / "board", buckets=(f"s3://{BUCKET}",))
    storage = Storage(settings)
    fetch(submission(f"s3://{BUCKET}/below"), settings, storage)
    assert tree(storage.store("one")) == tree(good_store)
    few = settings.model_copy(update={"max_files": 3})
    other = Submission(id="two", benchmark="zapbench-smoke", source=f"s3://{BUCKET}/below")
    with pytest.raises(InvalidInput, match="has over 3 files"):
        fetch(other, few, storage)
    small = settings.model_copy(update={"max_store_bytes": 1000})
    with pytest.raises(InvalidInput, match="is over 1,000 bytes"):
        fetch(other, small, storage)
    nowhere = Submission(id="three", benchmark="zapbench-smoke", source=f"s3://{BUCKET}/nothing")
    with pytest.raises(NotFound, match="holds no files of a zarr store"):
        fetch(nowhere, settings, storage)


GOOGLE = """
import pathlib, sys
import tensorstore as ts
from leaderboard.settings import Settings
from leaderboard.sources import fetch
from leaderboard.storage import Storage
from leaderboard.tables import Submission
folder, board = map(pathlib.Path, sys.argv[1:])
bucket = ts.KvStore.open({"driver": "gcs", "bucket": "zapbench-release"}).result()
for file in folder.rglob("*"):
    if file.is_file():
        bucket.write(f"fetched/{file.relative_to(folder)}", file.read_bytes()).result()
settings = Settings(data_dir=board, buckets=("gs://zapbench-release",))
one = Submission(id="one", benchmark="zapbench-smoke", source="gs://zapbench-release/fetched")
print(fetch(one, settings, Storage(settings)).files)
"""


def test_a_store_in_a_google_bucket_is_copied(
    gcs: Any,  # noqa: F811
    tmp_path: Path,
    good_store: Path,
) -> None:
    printed = gcs.run(GOOGLE, good_store, tmp_path / "board")
    files = tree(tmp_path / "board" / "files" / "stores" / "one")
    assert files == tree(good_store)
    assert int(printed) == len(files)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_an_address_is_announced_instead_of_files(
    client: TestClient, member: Person, app: Any, settings: Settings
) -> None:
    def announce(source: str) -> Any:
        body = announcement() | {"files": [], "source": source}
        return client.post(SUBMISSIONS, json=body, headers=member.headers)

    refused = announce("https://data.example.org/a")
    assert (refused.status_code, "this board fetches no stores" in refused.text) == (422, True)
    app.state.settings = settings.model_copy(update={"hosts": ("data.example.org",)})
    assert announce("https://evil.example/a").status_code == 422
    found = announce("https://data.example.org/a")
    assert (found.status_code, found.json()["missing"]) == (201, [])
    assert announce("https://data.example.org/a").json()["id"] == found.json()["id"]
    path = f"{SUBMISSIONS}/{found.json()['id']}"
    queued = client.post(f"{path}/commit", headers=member.headers).json()
    assert (queued["state"], queued["source"]) == ("queued", "https://data.example.org/a")
    client.post(f"{path}/cancel", headers=member.headers)
    assert client.post(f"{path}/rerun", headers=member.headers).json()["state"] == "queued"
