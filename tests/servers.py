"""Real storage servers on free loopback ports."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUCKET = "zapbench-release"
PROGRAMS = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(port: int, *command: str) -> Iterator[str]:
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert server.poll() is None, f"{command[0]} ended at once"
                assert time.monotonic() < end, f"{command[0]} does not answer"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@contextmanager
def gcs_emulator() -> Iterator[str]:
    """Runs Google's storage with the public bucket, empty; gives its address."""
    port = free_port()
    options = ["--port", str(port), "--in-memory", "--default-bucket", BUCKET, "-q"]
    with running(port, str(PROGRAMS / "gcp-storage-emulator"), "start", *options) as address:
        yield address


@contextmanager
def s3_server() -> Iterator[str]:
    """Runs an S3 server without buckets; gives its address."""
    port = free_port()
    with running(port, str(PROGRAMS / "moto_server"), "-p", str(port)) as address:
        yield address
