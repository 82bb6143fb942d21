"""The whole board killed, at any moment, while users submit: nothing is lost, nothing doubled."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from accounts import enrolled
from processes import PROGRAM, answers, command, environment, family, lives, until
from queued import write_store
from servers import free_port
from sqlalchemy import func, select

from leaderboard import jobs
from leaderboard.cli.submit import submit
from leaderboard.database import Database
from leaderboard.jobs import JobState
from leaderboard.settings import Settings
from leaderboard.states import State
from leaderboard.storage import Storage
from leaderboard.tables import Board, Entry, Job, Result, Submission
from submissions.entries import ENTRIES
from zapeval.errors import ZapevalError

ROUNDS = int(os.environ.get("ZAPEVAL_FAULT_ROUNDS", "3"))
AT_ONCE = 3
PATIENCE = 180.0

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(ENTRIES / "persistence", tmp_path / "entries" / "persistence")
    changes = {
        "port": free_port(),
        "entries": tmp_path / "entries",
        "lease": 2.0,
        "attempts": 100,
        "max_open": 100,
        "max_daily": 10_000,
        "requests_per_minute": 0,
    }
    return settings.model_copy(update=changes)


@contextmanager
def serving(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A board, which need not answer yet."""
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--data-dir", str(settings.data_dir)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(settings),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


class Submitter:
    """A user's command that is repeated until the board has scored what it sends."""

    def __init__(self, name: str, store: Path, address: str) -> None:
        self.name, self.store = name, store
        self.errors: list[str] = []
        self._address = address
        self._thread = threading.Thread(target=self._repeat, name=name, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def _repeat(self) -> None:
        end = time.monotonic() + PATIENCE * ROUNDS
        while time.monotonic() < end:
            try:
                return submit(str(self.store), self._address, self.name, wait=True, quiet=True)
            except ZapevalError as error:
                self.errors.append(str(error))
                time.sleep(0.2)


def states(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(Submission.state)))


def counted(database: Database, state: State) -> int:
    with database.read() as session:
        query = select(func.count()).where(Submission.state == state)
        return session.scalar(query) or 0


def idle(database: Database) -> bool:
    with database.read() as session:
        return not session.scalar(select(func.count()).where(Job.state.in_(jobs.ACTIVE)))


def of_the_board(settings: Settings, servers: set[int]) -> list[psutil.Process]:
    """Returns workers of servers that were killed, and children that score for this board."""
    found = []
    for one in psutil.process_iter():
        said = command(one)
        orphan = "leaderboard.worker" in said and int(said[-1]) in servers
        if (orphan or ("leaderboard.scoring" in said and _below(one, settings))) and lives(one):
            found.append(one)
    return found


def _below(process: psutil.Process, settings: Settings) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(settings.data_dir)
    except psutil.Error:
        return False


def test_a_board_killed_at_any_moment_ends_every_submission_in_one_result(
    database: Database, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    monkeypatch.setenv("ZAPEVAL_TOKEN", enrolled(database, "ann").secret)
    address = f"http://127.0.0.1:{settings.port}"
    submitters: list[Submitter] = []
    servers: set[int] = set()
    hit: list[set[str]] = []

    def keep_busy() -> None:
        while sum(not one.done for one in submitters) < AT_ONCE:
            number = len(submitters)
            store = write_store(tmp_path / f"{number}.zarr", name=f"n{number}", rng=number)
            submitters.append(Submitter(f"n{number}", store, address))

    moments: list[Callable[[int], object]] = [
        lambda _: State.uploading in states(database),
        lambda _: State.checking in states(database),
        lambda before: counted(database, State.scored) > before,
        lambda _: State.scoring in states(database),
        lambda _: State.queued in states(database),
        lambda _: True,  # while it starts
    ]
    # Few rounds are shared out: each database begins with other moments.
    first = 0 if database.is_sqlite else 3
    for number in range(first, first + ROUNDS):
        keep_busy()
        before = counted(database, State.scored)
        with serving(settings) as server:
            servers.add(server.pid)
            moment = moments[number % len(moments)]
            waited(lambda moment=moment, before=before: moment(before), 20)  # type: ignore[misc]
            time.sleep(float(rng.uniform(0, 0.3)))
            hit.append(states(database))
            everything = family(server)
            server.send_signal(signal.SIGKILL)
            # Power is lost for all, or the server alone is killed: then the others end by it.
            for one in everything if rng.random() < 0.3 else ():
                one.kill()
            server.wait()
    with serving(settings) as server:
        until(lambda: answers(address))
        until(lambda: all(one.done for one in submitters), PATIENCE)
        until(lambda: idle(database))
        until(lambda: not of_the_board(settings, servers), 30)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    assert not of_the_board(settings, servers | {server.pid})
    assert_whole(database, settings, submitters)
    # Some were hit at work.
    assert any(one & {State.checking, State.scoring} for one in hit)


def waited(what: Callable[[], object], seconds: float) -> None:
    """Waits for something for a while; it need not come."""
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.01)


def assert_whole(database: Database, settings: Settings, submitters: list[Submitter]) -> None:
    """Every submission has one result; nothing of the quota was given back, no file is half."""
    storage = Storage(settings)
    with database.read() as session:
        found = {one.name: one for one in session.scalars(select(Submission))}
        rows = session.scalar(select(func.count()).select_from(Submission))
        assert len(found) == rows == len(submitters)
        for one in submitters:
            submission = found[one.name]
            results = session.scalars(
                select(Result).where(Result.submission_id == submission.id)
            ).all()
            assert (submission.state, len(results)) == (State.scored, 1), submission.log
            assert submission.entry_id == results[0].entry_id
            assert submission.counted is not None and submission.counted >= submission.created
            assert contents(storage.store(submission.id)) == contents(one.store)
        assert not session.scalars(select(Job).where(Job.state == JobState.failed)).all()
        for board in session.scalars(select(Board)):
            assert board.ranked == board.revision
        seeded = select(func.count()).where(Entry.slug == "persistence")
        assert session.scalar(seeded.group_by(Entry.board_id).limit(1)) == 1
        stores = {one.name for one in (storage.root / "stores").iterdir() if one.name[0] != "."}
        assert stores == {one.id for one in found.values()}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
