"""Real storage servers on free loopback ports, and a web server that can be told to misbehave."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from servers import BUCKET, gcs_emulator, s3_server


@dataclass(frozen=True)
class Gcs:
    """The emulator. TensorStore reads its address on import, so what uses gs:// runs apart."""

    address: str

    def run(self, code: str, *arguments: object) -> str:
        """Runs a program whose gs:// is the emulator; returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
            env=os.environ | {"TENSORSTORE_GCS_HTTP_URL": self.address},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def gcs() -> Iterator[Gcs]:
    with gcs_emulator() as address:
        yield Gcs(address)


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def s3(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A boto3 client of an S3 server with one empty bucket; s3:// leads to that server."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    client = boto3.client("s3", endpoint_url=s3_address, region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    yield client
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for found in page.get("Contents", ()):
            client.delete_object(Bucket=BUCKET, Key=found["Key"])
    client.delete_bucket(Bucket=BUCKET)
    client.close()


@dataclass
class Web:
    """A web server over a folder.

    Attributes:
        root: The folder.
        url: Its address.
        requests: How often each path was asked for.
        rule: Is asked before a path is answered: the status to fail with, or None. It may block.
        closing: Is set when the test is over, so that a rule that blocks can end.
    """

    root: Path
    url: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    rule: Callable[[str], int | None] = lambda path: None
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str) -> tuple[int, bytes]:
        with self.lock:
            self.requests[path] += 1
        status = self.rule(path)
        if status is not None:
            return status, b""
        file = self.root / path
        return (200, file.read_bytes()) if file.is_file() else (404, b"")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    site = Web(tmp_path / "site")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            status, body = site.answer(unquote(self.path).lstrip("/"))
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                self.close_connection = True  # the client was killed, or had enough

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    yield site
    site.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()
