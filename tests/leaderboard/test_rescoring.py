"""A benchmark of two versions, registered by a package that this test installs."""

import sys
from pathlib import Path

import pytest
from queued import install_benchmark, queue, user_of, write_store
from sqlalchemy import select

from leaderboard.database import Database
from leaderboard.known import Catalogue
from leaderboard.outcomes import touch
from leaderboard.rescoring import differences, plan_rescoring
from leaderboard.settings import Settings
from leaderboard.states import State
from leaderboard.storage import Storage
from leaderboard.tables import Board, Entry, Job, Result, Submission
from leaderboard.worker import Worker

MODULE = """
from dataclasses import replace
from zapeval.benchmarks.synthetic import _Generated

class Benchmark(_Generated):
    id = "changing"
    version = {version}
    title = "a benchmark that changes"
    every = 26

    def resolve(self, recordings):
        return replace(super().resolve(recordings), summary_steps={steps})
"""


def install(folder: Path, version: int, steps: tuple[int, ...]) -> None:
    install_benchmark(folder, "changing", MODULE.format(version=version, steps=steps))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "package"
    install(folder, 1, (1, 4, 8, 16, 32))
    # Modules are written twice within a second, which is all that their caches look at.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def work(settings: Settings, *, everything: bool = False) -> int:
    """Does what a worker does that starts now; returns how much is scored again."""
    worker = Worker(settings)
    database, storage = Database(settings), Storage(settings)
    count = plan_rescoring(database, storage, Catalogue(settings), everything=everything)
    while worker.work():
        pass
    worker.close()
    database.close()
    return count


@pytest.mark.slow
def test_a_new_version_scores_what_is_kept_and_both_stay(
    database: Database, settings: Settings, package: Path, tmp_path: Path
) -> None:
    store = write_store(tmp_path / "store.zarr", benchmark="changing")
    one = queue(database, settings, user_of(database, "ann"), store)
    queue(database, settings, user_of(database, "bob"), store, name="gone")
    assert work(settings) == 0
    with database.write() as session:
        (entry,) = session.scalars(select(Entry).where(Entry.slug == "mine")).all()
        entry.visibility, entry.flag = "public", "looked at"
        touch(session, entry.board_id)
        gone = session.scalars(select(Submission).where(Submission.name == "gone")).one()
    Storage(settings).discard(gone.id)

    install(package, 2, (1, 2))
    assert work(settings) == 1
    assert work(settings) == 0
    with database.read() as session:
        old, new = session.scalars(select(Board).order_by(Board.version)).all()
        assert (old.version, new.version, old.main, new.main) == (1, 2, True, True)
        results = session.scalars(
            select(Result).where(Result.submission_id == one).order_by(Result.created)
        ).all()
        assert [result.entry.board_id for result in results] == [old.id, new.id]
        again = results[1].entry
        assert (again.slug, again.visibility, again.flag) == ("mine", "public", "looked at")
        assert (results[1].version, results[1].seed) == (results[0].version, results[0].seed)
        assert results[1].predictions == results[0].predictions
        submission = session.get_one(Submission, one)
        assert (submission.state, submission.entry_id) == (State.scored, results[0].entry_id)
        (found,) = differences(session, new)
        assert differences(session, old) == ()
        assert old.standings is not None and len(old.standings["rows"]) == 1
        assert new.standings is not None and len(new.standings["rows"]) == 1
    assert (found.slug, found.before, found.after) == ("mine", "changing@1", "changing@2")
    assert (found.earlier, found.later) == (results[0].summary, results[1].summary)
    assert found.difference is not None and found.difference < 0


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_what_does_not_fit_the_new_version_is_tried_once(
    database: Database, settings: Settings, package: Path, tmp_path: Path
) -> None:
    store = write_store(tmp_path / "store.zarr", benchmark="changing")
    one = queue(database, settings, user_of(database, "ann"), store)
    work(settings)
    install(package, 2, (1, 2))
    module = package / "changing_benchmark.py"
    module.write_text(module.read_text().replace("every = 26", "every = 30"))
    assert work(settings) == 1
    assert work(settings) == 0
    with database.read() as session:
        (job,) = session.scalars(select(Job).where(Job.kind == "rescore")).all()
        assert job.state == "failed"
        submission = session.get_one(Submission, one)
        assert (submission.state, submission.reason) == (State.scored, "")
        assert len(session.scalars(select(Result)).all()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_everything_again_adds_nothing_where_nothing_changed(
    database: Database, settings: Settings, package: Path, tmp_path: Path
) -> None:
    store = write_store(tmp_path / "store.zarr", benchmark="changing")
    queue(database, settings, user_of(database, "ann"), store)
    work(settings)
    assert work(settings, everything=True) == 1
    with database.write() as session:
        (result,) = session.scalars(select(Result)).all()
        # As if the board was of another recording.
        (board,) = session.scalars(select(Board)).all()
        board.data = "blake3:" + "0" * 64
        kept = result.summary
    assert work(settings, everything=True) == 1
    with database.read() as session:
        boards = session.scalars(select(Board).order_by(Board.created)).all()
        assert [board.main for board in boards] == [False, True]
        (found,) = differences(session, boards[1])
    assert found.earlier == found.later == kept
