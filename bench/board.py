"""A board of 10,000 entries: how fast its page and its JSON are answered.

    python bench/board.py                                       SQLite
    python bench/board.py --database postgresql+psycopg://..    another database, empty

Fills the database, serves it with uvicorn in a process of its own (one worker, no rate limit), and
asks for pages with wrk, where that is installed, else with threads of httpx2. Beside the board, in
the same run, stands a bare FastAPI route on the same server: one answer of a few bytes, and one of
the bytes of the page. The first request of a revision, which reads and draws everything, is timed
apart.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from sqlalchemy import insert

from leaderboard.database import Database
from leaderboard.migrations import upgrade
from leaderboard.settings import Settings
from leaderboard.tables import Board, Entry, Result, now

BOARD = "/boards/zapbench/4"
API = f"/api/v1{BOARD}"
STEPS = (1, 4, 8, 16, 32)
PACKED = {"Accept-Encoding": "gzip"}

SERVED = """
import sys, uvicorn
from leaderboard.app import create_app
from leaderboard.settings import Settings
uvicorn.run(create_app(Settings()), port=int(sys.argv[1]), log_level="error", access_log=False)
"""
BARE = """
import sys, uvicorn
from pathlib import Path
from fastapi import FastAPI, Response
app, body = FastAPI(), Path(sys.argv[2]).read_bytes()
@app.get("/small")
def small():
    return {"status": "ok"}
@app.get("/same")
def same():
    return Response(body, media_type="text/html", headers={"Content-Encoding": "gzip"})
uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
"""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """How fast one address is answered: times in milliseconds, requests a second."""

    median: float
    p99: float
    rate: float


def main() -> None:
    """Fills, serves and asks; prints what took how long."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-board-") as folder:
        given = {"ZAPEVAL_DATA_DIR": folder, "ZAPEVAL_REQUESTS_PER_MINUTE": "0"}
        given |= {"ZAPEVAL_DATABASE": options.database} if options.database else {}
        database = Database(Settings(data_dir=Path(folder), database=options.database))
        upgrade(database)
        begun = time.monotonic()
        board = _fill(database, options.entries)
        print(f"{options.entries:,} entries filled in {time.monotonic() - begun:.1f} s")
        print("SQLite" if database.is_sqlite else "PostgreSQL", "wrk" if _wrk() else "httpx2")
        with _serving(SERVED, given) as address:
            _first(address, database, board, options.entries)
            page = httpx2.get(f"{address}{BOARD}", headers=PACKED)
            same = Path(folder) / "page.gz"
            same.write_bytes(gzip.compress(page.content, 5))
            print(f"page {len(page.content):,} bytes, packed {same.stat().st_size:,}")
            with _serving(BARE, given, str(same)) as bare:
                _compare(address, bare, page.headers["etag"], options)
        database.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--database", default="", help="SQLAlchemy URL; default: SQLite")
    parser.add_argument("--seconds", type=int, default=5, help="for each address")
    parser.add_argument("--clients", type=int, default=8, help="connections at once")
    return parser.parse_args()


def _compare(address: str, bare: str, tag: str, options: argparse.Namespace) -> None:
    """Asks for each address in turn; prints its figures, and its rate as a share of the bare."""
    asked = {
        "bare route, a few bytes": (f"{bare}/small", PACKED),
        "bare route, the page's bytes": (f"{bare}/same", PACKED),
        "board page": (f"{address}{BOARD}", PACKED),
        "board page, sorted and filtered": (f"{address}{BOARD}?sort=-step-8&text=1", PACKED),
        "board page, not modified": (f"{address}{BOARD}", PACKED | {"If-None-Match": tag}),
        "board JSON": (f"{address}{API}", PACKED),
        "board CSV, page 50": (f"{address}{API}.csv?page=50", PACKED),
        "/health": (f"{address}/health", PACKED),
    }
    print("| address | median, ms | p99, ms | requests/s | bare / this |")
    print("|---|---|---|---|---|")
    base = 0.0
    for name, (url, headers) in asked.items():
        found = _measure(url, headers, options.seconds, options.clients)
        base = base or found.rate
        figures = f"{found.median:.2f} | {found.p99:.2f} | {found.rate:,.0f}"
        print(f"| {name} | {figures} | {base / found.rate:.2f} |", flush=True)


def _first(address: str, database: Database, board: str, entries: int) -> None:
    """Prints how long the first answer of a revision takes, which reads every row."""
    for what in (BOARD, API, f"{BOARD}?sort=-step-8"):
        times = []
        for _ in range(3):
            with database.write() as session:
                session.get_one(Board, board).revision += 1
            begun = time.monotonic()
            httpx2.get(f"{address}{what}", timeout=120).raise_for_status()
            times.append(time.monotonic() - begun)
        print(f"{statistics.median(times):6.3f} s  first answer of a revision: {what}", flush=True)


def _measure(url: str, headers: dict[str, str], seconds: int, clients: int) -> Figures:
    httpx2.get(url, headers=headers, timeout=120)
    program = _wrk()
    if program is None:
        return _with_threads(url, headers, seconds, clients)
    said = [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    command = [program, "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", *said, url]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text and "If-None-Match" not in headers:
        raise SystemExit(f"{url}: not answered:\n{text}")
    median, p99 = (_milliseconds(text, share) for share in ("50", "99"))
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate is not None
    return Figures(median=median, p99=p99, rate=float(rate[1]))


def _milliseconds(text: str, share: str) -> float:
    found = re.search(rf"\s{share}%\s+([\d.]+)(us|ms|s)", text)
    assert found is not None
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found[2]]


def _with_threads(url: str, headers: dict[str, str], seconds: int, clients: int) -> Figures:
    end = time.monotonic() + seconds

    def ask(_: int) -> list[float]:
        times = []
        with httpx2.Client(headers=headers) as client:
            while time.monotonic() < end:
                begun = time.monotonic()
                client.get(url)
                times.append(1e3 * (time.monotonic() - begun))
        return times

    with ThreadPoolExecutor(clients) as pool:
        times = sorted(one for each in pool.map(ask, range(clients)) for one in each)
    p99 = times[int(0.99 * len(times))]
    return Figures(median=statistics.median(times), p99=p99, rate=len(times) / seconds)


def _wrk() -> str | None:
    return shutil.which("wrk")


@contextmanager
def _serving(program: str, given: dict[str, str], *arguments: str) -> Iterator[str]:
    """Runs a server on a free port; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", program, str(port), *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=os.environ | given, **quiet)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit("the server ended at once") from None
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _fill(database: Database, entries: int) -> str:
    """Puts made-up entries, their results and a ranked board into a database."""
    with database.write() as session:
        board = Board(
            benchmark="zapbench",
            version=1,
            digest="sha256:" + "0" * 64,
            context=4,
            data="blake3:" + "0" * 64,
            main=True,
            ranked=1,
        )
        session.add(board)
        session.flush()
        rows = [_row(index, entries) for index in range(entries)]
        board.standings = {
            "revision": 1,
            "metric": "mae",
            "steps": list(STEPS),
            "baseline": "entry-9",
            "method": "made up",
            "reason": None,
            "rows": rows,
            "pairs": [],
        }
        for start in range(0, entries, 1000):
            part = rows[start : start + 1000]
            session.execute(insert(Entry), [_entry(row, board.id) for row in part])
            session.execute(insert(Result), [_result(row) for row in part])
        return board.id


def _row(index: int, entries: int) -> dict[str, object]:
    value = 0.02 + 0.04 * index / entries

    def number(scale: float) -> dict[str, float]:
        return {"value": scale * value, "low": scale * value - 1e-3, "high": scale * value + 1e-3}

    return {
        "entry": f"id{index:020d}",
        "slug": f"entry-{index}",
        "name": f"Forecaster number {index}",
        "origin": "submission",
        "baseline": index % 50 == 9,
        "mark": "",
        "rank": index + 1,
        "ranks": [max(1, index - 40), min(entries, index + 40)],
        "group": 1 + index // 30,
        "summary": number(1.0),
        "two_se": 1e-4,
        "seeds": 3,
        "version": 1,
        "by_step": {str(step): number(0.8 + 0.01 * step) for step in STEPS},
        "average": number(1.1),
        "held_out": number(1.2),
        "correlation": number(9.0),
        "skill": number(10.0),
        "wins": number(12.0),
        "cost": {"parameters": 1000 * index, "training_seconds": 60.0 + index, "hardware": "GPU"},
        "future_stimulus": index % 3 == 0,
        "verified": index % 7 == 0,
        "flag": "",
        "submitted": now().isoformat(),
    }


def _entry(row: dict[str, object], board: str) -> dict[str, object]:
    plain = {key: row[key] for key in ("slug", "name", "baseline")}
    own = {"id": row["entry"], "board_id": board, "visibility": "public", "fact_sheet": {}}
    return plain | own | {"created": now(), "flag": "", "withdrawn": "", "origin": "submission"}


def _result(row: dict[str, object]) -> dict[str, object]:
    return {
        "id": f"r{row['entry']}",
        "entry_id": row["entry"],
        "version": 1,
        "seed": "0",
        "predictions": "blake3:" + "0" * 64,
        "partial": False,
        "card": "{}",
        "findings": [],
        "created": now(),
    }


if __name__ == "__main__":
    main()
