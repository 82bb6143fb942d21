import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from leaderboard import jobs, tables
from leaderboard.database import Database
from leaderboard.jobs import Claim, JobState, Lost
from leaderboard.problems import Conflict
from leaderboard.settings import Settings
from leaderboard.states import State, locked, move
from leaderboard.tables import Board, Job, Submission, User, new_id, now

REASON = "why"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"lease": 60.0, "attempts": 3})


def submitted(database: Database, user: str, *, count: int = 1) -> list[str]:
    """Queues submissions of a user, made where there is none."""
    made = []
    with database.write() as session:
        owner = session.scalars(select(User).where(User.name == user)).first()
        if owner is None:
            owner = User(id=new_id(), name=user)
            session.add(owner)
            session.flush()
    for _ in range(count):
        with database.write() as session:
            submission = Submission(
                **{"id": new_id(), "user_id": owner.id, "name": "n", "benchmark": "b"},
                **{"version": 1, "digest": "d", "context": 4, "manifest": {}, "fact_sheet": {}},
                **{"identity": new_id(), "counted": now()},
            )
            session.add(submission)
            session.flush()
            move(submission, State.queued)
            jobs.enqueue(session, "score", submission.id)
        made.append(submission.id)
    return made


def claimed(database: Database, settings: Settings, worker: str = "w") -> Claim:
    held = jobs.claim(database, settings, worker)
    assert held is not None
    return held


def state(database: Database, submission: str) -> str:
    with database.read() as session:
        return session.get_one(Submission, submission).state


def job(database: Database, held: Claim) -> Job:
    with database.read() as session:
        return session.get_one(Job, held.id)


def expire(database: Database, held: Claim) -> None:
    with database.write() as session:
        session.get_one(Job, held.id).lease = now() - timedelta(seconds=1)


def finish(database: Database, held: Claim) -> None:
    with database.write() as session:
        submission = jobs.hold(session, held)
        assert submission is not None
        move(submission, State.scoring)
        move(submission, State.scored)
        jobs.finish(session, held)


def test_a_claim_leases_the_job_and_moves_the_submission(
    database: Database, settings: Settings
) -> None:
    (one,) = submitted(database, "ann")
    held = claimed(database, settings, "w1")
    assert (held.kind, held.subject, held.attempts) == ("score", one, 1)
    assert held.holder.startswith("w1#")
    assert state(database, one) == State.checking
    lease = job(database, held).lease
    assert lease is not None and timedelta(0) < lease - now() <= timedelta(seconds=60)
    assert jobs.claim(database, settings, "w2") is None


def test_the_same_work_is_queued_once(database: Database, settings: Settings) -> None:
    (one,) = submitted(database, "ann")
    with database.write() as session:
        jobs.enqueue(session, "score", one)
        jobs.enqueue(session, "score", one)
    with database.read() as session:
        assert len(session.scalars(select(Job)).all()) == 1
    claimed(database, settings)
    with database.write() as session:
        jobs.enqueue(session, "score", one)
    assert jobs.claim(database, settings, "w") is None


def test_users_take_turns_whoever_queued_more(database: Database, settings: Settings) -> None:
    first, second, third = submitted(database, "ann", count=3)
    (other,) = submitted(database, "bob")
    (late,) = submitted(database, "cyd")
    expected = [first, other, late, second, third]
    with database.read() as session:
        assert [jobs.position(session, one) for one in expected] == [1, 2, 3, 4, 5]
    assert [claimed(database, settings).subject for _ in expected] == expected


def test_a_user_with_work_running_waits_for_those_without(
    database: Database, settings: Settings
) -> None:
    first, second = submitted(database, "ann", count=2)
    assert claimed(database, settings).subject == first
    (other,) = submitted(database, "bob")
    with database.read() as session:
        assert jobs.position(session, second) == 2
        assert jobs.position(session, first) is None
    assert claimed(database, settings).subject == other
    assert claimed(database, settings).subject == second


def test_ranking_goes_before_scoring(database: Database, settings: Settings) -> None:
    submitted(database, "ann")
    with database.write() as session:
        board = Board(benchmark="b", version=1, digest="d", context=4, data="x")
        session.add(board)
        session.flush()
        jobs.enqueue(session, "rank", board.id)
    assert [claimed(database, settings).kind for _ in range(2)] == ["rank", "score"]


def test_a_job_goes_to_one_of_many_claimants(database: Database, settings: Settings) -> None:
    wanted = {one for user in ("ann", "bob", "cyd") for one in submitted(database, user, count=4)}
    gate = threading.Barrier(6)

    def take(worker: int) -> list[str]:
        gate.wait()
        taken = []
        for _ in range(40):
            held = jobs.claim(database, settings, str(worker))
            if held is not None:
                taken.append(held.subject)
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = [one for some in pool.map(take, range(6)) for one in some]
    assert len(taken) == len(wanted)
    assert set(taken) == wanted


def test_a_worker_whose_lease_was_taken_over_cannot_finish(
    database: Database, settings: Settings
) -> None:
    (one,) = submitted(database, "ann")
    slow = claimed(database, settings, "w")
    expire(database, slow)
    assert jobs.reap(database, settings) == 1
    assert state(database, one) == State.queued
    with database.write() as session:
        session.get_one(Job, slow.id).after = now()
    # The same process may be the one that gets it again.
    fresh = claimed(database, settings, "w")
    assert (fresh.id, fresh.attempts) == (slow.id, 2)
    assert not jobs.beat(database, settings, slow)
    assert jobs.beat(database, settings, fresh)
    with pytest.raises(Lost):
        finish(database, slow)
    with pytest.raises(Lost), database.write() as session:
        jobs.fail(session, settings, slow, "e", reason=REASON, fault="submission", attempts=1)
    with pytest.raises(Lost), database.write() as session:
        jobs.release(session, slow)
    assert state(database, one) == State.checking
    finish(database, fresh)
    assert state(database, one) == State.scored
    with pytest.raises(Lost):
        finish(database, fresh)


def test_what_a_lost_job_did_in_its_transaction_is_not_kept(
    database: Database, settings: Settings
) -> None:
    submitted(database, "ann")
    held = claimed(database, settings)
    with database.write() as session:
        locked(session, held.subject)
        jobs.cancel(session, held.subject)
    with pytest.raises(Lost), database.write() as session:
        session.add(Board(benchmark="b", version=1, digest="d", context=4, data="x"))
        jobs.finish(session, held)
    with database.read() as session:
        assert session.scalars(select(Board)).all() == []


def test_the_reaper_leaves_what_is_alive(database: Database, settings: Settings) -> None:
    submitted(database, "ann")
    held = claimed(database, settings)
    expire(database, held)
    assert jobs.beat(database, settings, held)
    assert jobs.reap(database, settings) == 0
    finish(database, held)


def test_workers_that_die_again_and_again_are_no_fault_of_the_submission(
    database: Database, settings: Settings
) -> None:
    (one,) = submitted(database, "ann")
    for attempt in (1, 2, 3):
        held = claimed(database, settings)
        assert held.attempts == attempt
        expire(database, held)
        jobs.reap(database, settings)
        with database.write() as session:
            session.get_one(Job, held.id).after = now()
    assert jobs.claim(database, settings, "w") is None
    with database.read() as session:
        found = session.get_one(Submission, one)
    assert (found.state, found.fault, found.counted) == (State.failed, "platform", None)
    assert "3 times" in found.reason
    assert job(database, held).state == JobState.failed


def test_a_failure_is_tried_again_after_a_while(database: Database, settings: Settings) -> None:
    (one,) = submitted(database, "ann")
    held = claimed(database, settings)
    with database.write() as session:
        again = jobs.fail(
            session, settings, held, "boom", reason=REASON, fault="platform", attempts=2
        )
    assert again and state(database, one) == State.queued
    assert jobs.claim(database, settings, "w") is None
    after = job(database, held).after - now()
    assert timedelta(0) < after <= timedelta(seconds=settings.lease / 4)
    with database.write() as session:
        session.get_one(Job, held.id).after = now()
    second = claimed(database, settings)
    with database.write() as session:
        assert not jobs.fail(
            session, settings, second, "boom", reason=REASON, fault="submission", attempts=2
        )
    with database.read() as session:
        found = session.get_one(Submission, one)
    assert (found.state, found.fault, found.reason) == (State.failed, "submission", REASON)
    assert found.counted is not None


def test_a_job_that_is_put_back_counts_for_nothing(database: Database, settings: Settings) -> None:
    (one,) = submitted(database, "ann")
    held = claimed(database, settings)
    with database.write() as session:
        jobs.release(session, held)
    assert state(database, one) == State.queued
    assert claimed(database, settings).attempts == 1


def test_cancelling_takes_a_job_from_queue_and_worker(
    database: Database, settings: Settings
) -> None:
    running, waiting = submitted(database, "ann", count=2)
    held = claimed(database, settings)
    assert held.subject == running
    for one in (running, waiting):
        with database.write() as session:
            submission = locked(session, one)
            assert submission is not None
            move(submission, State.cancelled)
            jobs.cancel(session, one)
    assert not jobs.beat(database, settings, held)
    assert jobs.claim(database, settings, "w") is None
    assert jobs.reap(database, settings) == 0
    with database.write() as session:
        submission = locked(session, running)
        assert submission is not None
        move(submission, State.queued)
        jobs.enqueue(session, "score", running)
    assert claimed(database, settings).subject == running


def test_a_submission_that_is_not_queued_is_not_begun(
    database: Database, settings: Settings
) -> None:
    (one,) = submitted(database, "ann")
    with database.write() as session:
        submission = locked(session, one)
        assert submission is not None
        move(submission, State.cancelled)
    assert jobs.claim(database, settings, "w") is None
    assert state(database, one) == State.cancelled


def test_a_clock_put_back_delays_nothing_for_long(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, waiting = submitted(database, "ann", count=2)
    hours = timedelta(hours=5)
    with monkeypatch.context() as ahead:
        ahead.setattr(jobs, "clock", lambda session: now() + hours)
        held = claimed(database, settings)
        assert held.subject == dead
        second = claimed(database, settings)
        with database.write() as session:
            jobs.fail(session, settings, second, "e", reason=REASON, fault="platform", attempts=3)
    # The clock is right again: the lease and the wait seem to end in five hours.
    assert jobs.reap(database, settings) == 0
    lease = job(database, held).lease
    assert lease is not None and lease <= now() + timedelta(seconds=settings.lease)
    assert claimed(database, settings).subject == waiting
    assert jobs.beat(database, settings, held)
    with monkeypatch.context() as later:
        later.setattr(jobs, "clock", lambda session: now() + timedelta(seconds=90))
        assert jobs.reap(database, settings) == 2
    assert state(database, dead) == State.queued


def test_time_of_a_database_is_its_own(database: Database) -> None:
    with database.read() as session:
        assert abs(jobs.clock(session) - tables.now()) < timedelta(seconds=5)


def test_moving_on_from_an_end_is_a_conflict(database: Database, settings: Settings) -> None:
    (one,) = submitted(database, "ann")
    finish(database, claimed(database, settings))
    with pytest.raises(Conflict), database.write() as session:
        submission = locked(session, one)
        assert submission is not None
        move(submission, State.queued)
