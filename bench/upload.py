"""An upload that is interrupted five times: how long it takes, and how many bytes go twice.

    python bench/upload.py                    2 GB in 256 files; 4.2 GB of disk
    python bench/upload.py --megabytes 20     a smaller trial

A board serves in a process of its own, a client sends in another, and a proxy between them counts
the bytes of files on the wire, each by its place in its file. When a sixth of the store has passed,
and again at two to five sixths, something breaks: the connections are cut, the client is killed,
they are cut, the server is killed, they are cut. Whoever was killed is started again; nothing else
is done. Lastly a byte of a file is changed on its way. Ends with 1 where a byte went twice
that was in no part in flight.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from leaderboard.auth import SCOPES, issue
from leaderboard.client import Board
from leaderboard.database import Database
from leaderboard.sending import PART, THREADS, Sender, files_of, hashed
from leaderboard.settings import Settings
from leaderboard.tables import User
from zapeval.benchmarks.catalogue import find_recipe
from zapeval.errors import InvalidInput
from zapeval.forecasting.manifest import BenchmarkPart, ForecasterPart, Manifest

BREAKS = ("cut", "client", "cut", "server", "cut")
_HEAD = re.compile(rb"PUT (\S+) .*?[Cc]ontent-[Rr]ange: bytes (\d+)-(\d+)/", re.DOTALL)
_LENGTH = re.compile(rb"[Cc]ontent-[Ll]ength: (\d+)")
_BLOCK = 1 << 16


def main() -> None:
    """Runs it and prints what happened."""
    options = _options()
    if options.client:
        _send(options.client, options.token, Path(options.folder), options.part)
        return
    folder = Path(tempfile.mkdtemp(prefix="bench-upload-", dir=options.folder))
    try:
        sys.exit(_run(folder, options.megabytes * 1_000_000, options.part))
    finally:
        shutil.rmtree(folder)


def _run(folder: Path, size: int, part: int) -> int:
    store = _write_store(folder / "store", size)
    board = _Server(folder / "board")
    proxy = _Proxy(board.port)
    command = [sys.executable, __file__, "--client", proxy.address, "--token", board.token]
    command += ["--folder", str(store), "--part", str(part)]
    begun = time.monotonic()
    client = subprocess.Popen(command)
    try:
        for number, what in enumerate(BREAKS, start=1):
            proxy.pass_until(size * number // (len(BREAKS) + 1), client.poll)
            if what == "cut":
                proxy.cut()
            elif what == "client":
                client.kill()
                client.wait()
                client = subprocess.Popen(command)
            else:
                board.kill()
                board.start()
        code = client.wait()
    finally:
        client.kill()
        client.wait()
    seconds = time.monotonic() - begun
    twice, longest = proxy.sent_twice()
    tampered = _tamper(proxy, board.token, store, part) if code == 0 else ""
    board.kill()
    proxy.close()
    allowed = len(BREAKS) * THREADS * part
    print(
        json.dumps(
            {
                "bytes": size,
                "interruptions": len(BREAKS),
                "seconds": round(seconds, 2),
                "megabytes_per_second": round(size / seconds / 1e6, 1),
                "sent_twice": twice,
                "longest_in_one_part": longest,
                "part": part,
                "client_exit": code,
                "tampered": tampered,
            },
            indent=1,
        )
    )
    fine = code == 0 and twice <= allowed and longest <= part and "SHA-256" in tampered
    return 0 if fine else 1


def _write_store(folder: Path, size: int) -> Path:
    """Writes what looks like a store: a group and 256 chunks of random bytes."""
    chunks = folder / "test_condition_0" / "c"
    chunks.mkdir(parents=True)
    (folder / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    rng = np.random.default_rng(0)
    for number in range(256):
        (chunks / str(number)).write_bytes(rng.bytes(size // 256))
    return folder


def _announcement(name: str) -> dict[str, object]:
    recipe = find_recipe("zapbench-smoke")
    task = recipe.resolve(recipe.recordings())
    manifest = Manifest(
        benchmark=BenchmarkPart(id=task.id, version=task.version, digest=task.digest),
        context=4,
        forecaster=ForecasterPart(name="noise"),
    )
    return {"name": name, "manifest": manifest.to_attributes()}


def _send(address: str, token: str, store: Path, part: int, name: str = "noise") -> None:
    """Is the client: announces, sends and commits."""
    with Board(address, token) as board:
        files = hashed(files_of(store)[0], lambda done: None)
        listed = [file.announced for file in files]
        found = board.post("/submissions", _announcement(name) | {"files": listed})
        Sender(board, found["id"], lambda done: None, part=part).send(files, found["missing"])
        board.post(f"/submissions/{found['id']}/commit")


def _tamper(proxy: _Proxy, token: str, store: Path, part: int) -> str:
    """Returns what the board says of a file of which a byte is changed on its way."""
    (store / "test_condition_0" / "c" / "0").write_bytes(np.random.default_rng(1).bytes(part // 2))
    proxy.tampers = True
    try:
        _send(proxy.address, token, store, part, "tampered")
    except InvalidInput as error:
        return str(error)
    return ""


class _Server:
    """A board in a process of its own, with one account."""

    def __init__(self, folder: Path) -> None:
        self.port = _free_port()
        self._settings = Settings(data_dir=folder)
        self.start()
        database = Database(self._settings)
        with database.write() as session:
            user = User(name="bench")
            session.add(user)
            session.flush()
            _, self.token = issue(session, user.id, "bench", SCOPES["member"], 1.0)
        database.close()

    def start(self) -> None:
        program = (
            "import sys, uvicorn\n"
            "from pathlib import Path\n"
            "from leaderboard.app import create_app\n"
            "from leaderboard.settings import Settings\n"
            "app = create_app(Settings(data_dir=Path(sys.argv[1]), requests_per_minute=0))\n"
            "uvicorn.run(app, port=int(sys.argv[2]), log_level='warning', access_log=False)\n"
        )
        arguments = [sys.executable, "-c", program, str(self._settings.data_dir), str(self.port)]
        self._process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("the board does not start")
            time.sleep(0.05)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


class _Proxy:
    """Passes bytes on, notes which bytes of which files pass, and can break off."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._passed: dict[bytes, list[tuple[int, int]]] = defaultdict(list)
        self._lock = threading.Condition()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.total = 0
        self.tampers = False
        threading.Thread(target=self._accept, daemon=True).start()

    def pass_until(self, total: int, ended: Callable[[], object]) -> None:
        """Returns when so many bytes of files have passed, or the client has ended."""
        with self._lock:
            while self.total < total and ended() is None:
                self._lock.wait(0.2)

    def cut(self) -> None:
        """Breaks every connection off."""
        with self._lock:
            for one in self._open:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def sent_twice(self) -> tuple[int, int]:
        """Returns how many bytes passed twice, and the longest run of them."""
        twice = longest = 0
        for spans in self._passed.values():
            there = 0
            for start, stop in spans:
                again = max(0, min(stop, there) - start)
                twice += again
                longest = max(longest, again)
                there = max(there, stop)
        return twice, longest

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._port))
        except OSError:
            client.close()
            return
        with self._lock:
            self._open |= {client, server}
        back = threading.Thread(target=_pump, args=(server, client), daemon=True)
        back.start()
        with suppress(OSError):
            self._forward(client, server)
        for one in (client, server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        """Passes requests on, each head as a whole and then its body."""
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = client.recv(_BLOCK)
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            server.sendall(head + b"\r\n\r\n")
            length = _LENGTH.search(head)
            left = int(length[1]) if length else 0
            found = _HEAD.match(head)
            at = int(found[2]) if found else 0
            while left:
                block = data[:left] or client.recv(min(left, _BLOCK))
                if not block:
                    return
                data = data[len(block) :] if data else b""
                server.sendall(self._changed(block) if found else block)
                left -= len(block)
                if found:
                    self._note(found[1], at, at + len(block))
                    at += len(block)

    def _changed(self, block: bytes) -> bytes:
        if not self.tampers:
            return block
        self.tampers = False
        return bytes([block[0] ^ 1]) + block[1:]

    def _note(self, path: bytes, start: int, stop: int) -> None:
        with self._lock:
            spans = self._passed[path]
            if spans and spans[-1][1] == start:
                spans[-1] = (spans[-1][0], stop)
            else:
                spans.append((start, stop))
            self.total += stop - start
            self._lock.notify_all()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(_BLOCK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--part", type=int, default=PART, help="bytes of a request")
    parser.add_argument("--folder", default=os.environ.get("TMPDIR"), help="where to work")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--token", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
