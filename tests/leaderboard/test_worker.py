import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pytest
from queued import queue, user_of, write_store
from sqlalchemy import func, select

from leaderboard import jobs
from leaderboard.database import Database
from leaderboard.jobs import JobState
from leaderboard.serving import start_worker
from leaderboard.settings import Settings
from leaderboard.states import State, locked, move
from leaderboard.tables import Board, Job, Result, Submission
from leaderboard.worker import Worker

ROUNDS = int(os.environ.get("ZAPEVAL_FAULT_ROUNDS", "12"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("stores") / "mine.zarr")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"lease": 2.0, "attempts": 100})


@contextmanager
def running(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process."""
    process = start_worker(settings)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def until(what: Callable[[], object], seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.02)
    return False


def states(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Submission.state).order_by(Submission.created)))


def idle(database: Database) -> bool:
    with database.read() as session:
        query = select(func.count()).select_from(Job).where(Job.state.in_(jobs.ACTIVE))
        return session.scalar(query) == 0


def assert_whole(database: Database, ids: list[str]) -> None:
    """Every submission has one result, and nothing of its quota was given back."""
    with database.read() as session:
        for one in ids:
            submission = session.get_one(Submission, one)
            results = session.scalars(select(Result).where(Result.submission_id == one)).all()
            assert (submission.state, len(results)) == (State.scored, 1), submission.log
            assert submission.counted is not None
            assert submission.entry_id == results[0].entry_id
        assert len(session.scalars(select(Job).where(Job.state == JobState.failed)).all()) == 0
        for board in session.scalars(select(Board)):
            assert board.ranked == board.revision
    # Whoever held a job was killed, and so was what it had started.
    assert not [one for one in psutil.Process().children(recursive=True) if _scores(one)]


def _scores(process: psutil.Process) -> bool:
    try:
        return "leaderboard.scoring" in process.cmdline()
    except psutil.Error:
        return False


@pytest.mark.slow
def test_a_worker_killed_at_any_moment_loses_nothing_and_doubles_nothing(
    database: Database, settings: Settings, store: Path
) -> None:
    rng = np.random.default_rng(0)
    ids = [
        queue(database, settings, user_of(database, f"u{i}"), store, name=f"n{i}") for i in range(3)
    ]
    moments: list[Callable[[], object]] = [
        lambda: True,
        lambda: State.checking in states(database),
        lambda: State.scoring in states(database),
        lambda: State.scored in states(database),
    ]
    for i in range(ROUNDS // 2):
        with running(settings) as worker:
            until(lambda i=i: moments[i % 4]() or idle(database), 20)  # type: ignore[misc]
            time.sleep(float(rng.uniform(0, 0.6)))
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        if idle(database):
            name = f"n{len(ids)}"
            ids.append(queue(database, settings, user_of(database, name), store, name=name))
    with running(settings):
        assert until(lambda: idle(database) and not set(states(database)) - {State.scored})
    assert_whole(database, ids)
    with database.read() as session:
        attempts = session.scalars(select(Job.attempts).where(Job.kind == "score")).all()
    # Some were hit at work.
    assert sum(attempts) > len(ids)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_two_workers_share_a_queue(database: Database, settings: Settings, store: Path) -> None:
    ids = [
        queue(database, settings, user_of(database, f"u{i}"), store, name=f"n{i}") for i in range(4)
    ]
    patient = settings.model_copy(update={"lease": 30.0})
    with running(patient), running(patient):
        assert until(lambda: idle(database))
    assert_whole(database, ids)
    with database.read() as session:
        scored = session.scalars(select(Job).where(Job.kind == "score")).all()
    assert all(job.attempts == 1 for job in scored)
    assert len({job.worker.split("#")[0] for job in scored}) == 2


def test_a_worker_that_is_told_to_end_puts_its_job_back_at_once(
    database: Database, settings: Settings, store: Path
) -> None:
    patient = settings.model_copy(update={"lease": 600.0})
    one = queue(database, settings, user_of(database, "ann"), store)
    with running(patient) as worker:
        assert until(lambda: {State.checking, State.scoring} & set(states(database)))
        begun = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(30) == 0
        assert time.monotonic() - begun < 30
    with database.read() as session:
        submission = session.get_one(Submission, one)
        (job,) = session.scalars(select(Job)).all()
    # It may have finished in that moment.
    if submission.state != State.scored:
        assert (submission.state, job.state, job.attempts) == (State.queued, JobState.queued, 0)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_submission_cancelled_while_it_is_scored_has_no_result(
    database: Database, settings: Settings, store: Path
) -> None:
    one = queue(database, settings, user_of(database, "ann"), store)
    with running(settings):
        assert until(lambda: {State.checking, State.scoring} & set(states(database)))
        with database.write() as session:
            submission = locked(session, one)
            assert submission is not None
            if submission.state == State.scored:
                pytest.fail("was too fast for this test")
            move(submission, State.cancelled)
            jobs.cancel(session, one)
        two = queue(database, settings, user_of(database, "bob"), store, name="other")
        assert until(lambda: idle(database))
    with database.read() as session:
        assert session.get_one(Submission, one).state == State.cancelled
        (result,) = session.scalars(select(Result)).all()
        assert result.submission_id == two


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_frozen_worker_cannot_finish_what_another_took_over(
    database: Database, settings: Settings, store: Path
) -> None:
    one = queue(database, settings, user_of(database, "ann"), store)
    with running(settings) as frozen:
        assert until(lambda: State.checking in states(database))
        frozen.send_signal(signal.SIGSTOP)
        other = Worker(settings)
        assert until(lambda: other.work() and State.scored in states(database))
        frozen.send_signal(signal.SIGCONT)
        assert until(lambda: idle(database))
        time.sleep(1)
        other.close()
    with database.read() as session:
        (result,) = session.scalars(select(Result)).all()
        assert (result.submission_id, result.version) == (one, 1)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_board_that_changes_while_it_is_ranked_is_ranked_again(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from leaderboard import worker as module
    from leaderboard.outcomes import touch

    with database.write() as session:
        board = Board(benchmark="b", version=1, digest="d", context=4, data="x")
        session.add(board)
        session.flush()
        touch(session, board.id)
    made = module.standings
    changes = iter([True])

    def changing(session: object, board: Board, **rest: object) -> object:
        if next(changes, False):
            with database.write() as other:
                touch(other, board.id)
        return made(session, board, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "standings", changing)
    worker = Worker(settings)
    assert worker.work() and worker.work() and not worker.work()
    worker.close()
    with database.read() as session:
        found = session.get_one(Board, board.id)
    assert found.revision == found.ranked == 3
