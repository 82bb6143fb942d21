from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from accounts import Person
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from leaderboard.database import Database
from leaderboard.problems import Problem, TooLarge, TooMany
from leaderboard.quotas import DAY, consume, give_back, require_room, usage
from leaderboard.settings import Settings
from leaderboard.states import OPEN, State, move
from leaderboard.tables import Job, Submission, SubmissionFile, new_id, now


@pytest.fixture
def settings(settings: Settings) -> Settings:
    limits = {"max_open": 3, "max_daily": 4, "max_user_bytes": 1000, "max_store_bytes": 600}
    return settings.model_copy(update=limits)


def add(
    session: Session, person: Person, *, kept: bool = True, size: int = 0, **values: Any
) -> Submission:
    """Adds a submission that is uploading, unless something else is said."""
    submission = Submission(
        user_id=person.user_id,
        name="n",
        benchmark="b",
        version=1,
        digest="d",
        context=4,
        manifest={},
        fact_sheet={},
        identity=new_id(),
        bytes=size,
        **values,
    )
    session.add(submission)
    session.flush()
    if kept:
        file = SubmissionFile(submission_id=submission.id, path="a", digest=new_id(), size=size)
        session.add(file)
        session.flush()
    return submission


def test_as_many_may_be_open_as_the_setting_says(
    database: Database, settings: Settings, member: Person, other: Person
) -> None:
    with database.write() as session:
        for state in (State.uploading, State.queued, State.scoring):
            require_room(session, settings, member.user_id, 1)
            add(session, member, state=state)
        with pytest.raises(TooMany, match="3 of your submissions are not finished"):
            require_room(session, settings, member.user_id, 1)
        require_room(session, settings, other.user_id, 1)


@pytest.mark.parametrize("state", sorted(set(State) - OPEN))
def test_finished_ones_are_not_open(
    database: Database, settings: Settings, member: Person, state: State
) -> None:
    with database.write() as session:
        for _ in range(5):
            add(session, member, state=state)
        require_room(session, settings, member.user_id, 1)


def test_bytes_count_as_long_as_they_are_kept(
    database: Database, settings: Settings, member: Person
) -> None:
    with database.write() as session:
        add(session, member, state=State.scored, size=400)
        add(session, member, state=State.failed, size=400)
        add(session, member, state=State.cancelled, size=400, kept=False)
        add(session, member, state=State.withdrawn, size=300, kept=False, source="https://x")
        add(session, member, state=State.scored, size=100, kept=False, source="https://x")
        require_room(session, settings, member.user_id, 100)
        with pytest.raises(TooLarge, match="101 bytes, and 100 are left of your 1000"):
            require_room(session, settings, member.user_id, 101)


def test_a_store_is_no_larger_than_stores_may_be(
    database: Database, settings: Settings, member: Person
) -> None:
    with database.write() as session:
        require_room(session, settings, member.user_id, 600)
        with pytest.raises(TooLarge, match="601 bytes, expected at most 600"):
            require_room(session, settings, member.user_id, 601)


def test_a_day_has_so_many_slots_and_says_when_the_next_is(
    database: Database, settings: Settings, member: Person
) -> None:
    at = now()
    ages = (timedelta(hours=25), timedelta(hours=23), timedelta(hours=5), timedelta(hours=1))
    with database.write() as session:
        for age in ages:
            add(session, member, state=State.scored, counted=at - age)
        consume(session, settings, add(session, member))
        with pytest.raises(TooMany, match="next slot at") as caught:
            consume(session, settings, add(session, member))
    slot = datetime.fromisoformat(caught.value.extra["next_slot"])
    assert abs(slot - (at + timedelta(hours=1))) <= timedelta(seconds=1)
    assert abs(int(caught.value.headers["Retry-After"]) - 3600) <= 5


def test_whoever_waits_for_the_slot_gets_it(
    database: Database, settings: Settings, member: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.write() as session:
        for _ in range(4):
            consume(session, settings, add(session, member))
        with pytest.raises(TooMany) as caught:
            consume(session, settings, add(session, member))
        later = now() + timedelta(seconds=int(caught.value.headers["Retry-After"]))
        monkeypatch.setattr("leaderboard.quotas.now", lambda: later)
        consume(session, settings, add(session, member))


def test_settings_that_were_lowered_say_the_right_slot(
    database: Database, settings: Settings, member: Person
) -> None:
    """With six counted and four allowed, a slot is free when the third oldest ends."""
    at = now()
    with database.write() as session:
        for hours in range(1, 7):
            add(session, member, counted=at - timedelta(hours=hours))
        used = usage(session, settings, member.user_id)
    assert used.next_slot == at - timedelta(hours=4) + DAY


@pytest.mark.parametrize("fault", ["submission", "platform"])
def test_only_a_platform_fault_gives_the_slot_back(
    database: Database, settings: Settings, member: Person, fault: str
) -> None:
    with database.write() as session:
        submission = add(session, member, state=State.scoring)
        consume(session, settings, submission)
        move(submission, State.failed, reason="r", fault=fault)
        session.flush()
        assert usage(session, settings, member.user_id).today == (fault == "submission")


@pytest.mark.parametrize("begun", [False, True])
def test_a_cancelled_one_gives_its_slot_back_unless_it_was_begun(
    database: Database, settings: Settings, member: Person, begun: bool
) -> None:
    with database.write() as session:
        submission = add(session, member, state=State.queued)
        consume(session, settings, submission)
        # A worker that gave it back has begun it all the same.
        session.add(Job(kind="score", subject=submission.id, started=now() if begun else None))
        move(submission, State.cancelled)
        session.flush()
        give_back(session, submission)
        session.flush()
        assert usage(session, settings, member.user_id).today == begun


def test_run_again_moves_the_slot_and_takes_no_second(
    database: Database, settings: Settings, member: Person
) -> None:
    before = now() - timedelta(hours=20)
    with database.write() as session:
        add(session, member, counted=before)
        add(session, member, counted=before)
        add(session, member, counted=before)
        submission = add(session, member, counted=before)
        consume(session, settings, submission)
        session.flush()
        used = usage(session, settings, member.user_id)
    assert used.today == 4
    assert submission.counted is not None
    assert submission.counted > before


def test_usage_is_that_of_one_person(
    database: Database, settings: Settings, member: Person, other: Person
) -> None:
    with database.write() as session:
        add(session, other, size=500, counted=now())
        mine = usage(session, settings, member.user_id)
        theirs = usage(session, settings, other.user_id)
    assert (mine.open, mine.today, mine.bytes, mine.next_slot) == (0, 0, 0, None)
    assert (theirs.open, theirs.today, theirs.bytes) == (1, 1, 500)


def test_of_parallel_requests_at_the_limit_exactly_those_with_room_pass(
    database: Database, settings: Settings, member: Person
) -> None:
    """Twelve threads commit at once with one slot left of four: one passes, eleven are told."""
    with database.write() as session:
        for _ in range(3):
            add(session, member, state=State.scored, counted=now())
        waiting = [add(session, member, state=State.uploading).id for _ in range(12)]
    barrier = Barrier(len(waiting))

    def commit(submission_id: str) -> type[Problem] | None:
        barrier.wait()
        try:
            with database.write() as session:
                consume(session, settings, session.get_one(Submission, submission_id))
        except Problem as problem:
            return type(problem)
        return None

    with ThreadPoolExecutor(len(waiting)) as pool:
        answers = list(pool.map(commit, waiting))
    assert sorted(map(str, answers)) == sorted(map(str, [None] + [TooMany] * 11))
    with database.read() as session:
        counted = session.scalar(select(func.count()).where(Submission.counted.is_not(None)))
    assert counted == 4


def test_of_parallel_creations_exactly_those_with_room_pass(
    database: Database, settings: Settings, member: Person
) -> None:
    with database.write() as session:
        add(session, member)
        add(session, member)
    barrier = Barrier(8)

    def create(_: int) -> bool:
        barrier.wait()
        try:
            with database.write() as session:
                require_room(session, settings, member.user_id, 1)
                add(session, member)
        except TooMany:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1


def test_no_order_of_deeds_passes_the_daily_limit(
    database: Database, settings: Settings, member: Person
) -> None:
    """Whatever is cancelled, withdrawn, failed or run again: no more than four begin in a day."""
    deeds = random.Random(4)
    begun = 0
    with database.write() as session:
        submissions: list[Submission] = []
        for _ in range(1000):
            if len(submissions) < 40:
                submissions.append(add(session, member))
                continue
            one = deeds.choice(submissions)
            match deeds.choice(("commit", "begin", "fail", "score", "cancel", "withdraw")):
                case "commit" if one.state == State.uploading:
                    try:
                        consume(session, settings, one)
                    except TooMany:
                        continue
                    move(one, State.queued)
                    session.add(Job(kind="score", subject=one.id))
                case "begin" if one.state == State.queued:
                    move(one, State.checking)
                    job = session.scalars(select(Job).where(Job.subject == one.id)).one()
                    job.started = now()
                    begun += 1
                case "fail" if one.state in (State.checking, State.scoring):
                    move(one, State.failed, reason="r", fault="submission")
                case "score" if one.state == State.checking:
                    move(one, State.scoring)
                    move(one, State.scored)
                case "cancel" if one.state in OPEN:
                    move(one, State.cancelled)
                    session.flush()
                    give_back(session, one)
                case "withdraw" if one.state == State.scored:
                    move(one, State.withdrawn)
            session.flush()
    assert begun == settings.max_daily
