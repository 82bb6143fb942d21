"""Re-scoring: kept predictions scored again where a benchmark has changed, and what that changed.

Another version or digest, or another recording, makes another board; results on the old one stay.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import final

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from leaderboard import jobs
from leaderboard.database import Database
from leaderboard.known import Catalogue
from leaderboard.states import State, locked
from leaderboard.storage import Storage
from leaderboard.tables import Board, Entry, Job, Result, Submission

log = logging.getLogger(__name__)


@final
@dataclass(frozen=True, kw_only=True)
class Difference:
    """One result for two versions of a benchmark.

    Attributes:
        slug: Its entry.
        version: Version of the entry.
        seed: Its seed, or "".
        before: Label of the earlier board's benchmark.
        after: That of the later one.
        earlier: Summary there; None where it is undefined.
        later: Summary now.
    """

    slug: str
    version: int
    seed: str
    before: str
    after: str
    earlier: float | None
    later: float | None

    @property
    def difference(self) -> float | None:
        """Later less earlier."""
        if self.earlier is None or self.later is None:
            return None
        return self.later - self.earlier


def plan_rescoring(
    database: Database, storage: Storage, catalogue: Catalogue, *, everything: bool = False
) -> int:
    """Queues what has to be scored again; returns how much.

    Args:
        database: The database.
        storage: The files: what is not kept can't be scored again.
        catalogue: The benchmarks as they are now.
        everything: Also where only the recording can have changed, and what failed before.
    """
    with database.read() as session:
        used = session.scalars(select(Submission.benchmark).distinct()).all()
    count = 0
    for benchmark in used:
        known = catalogue[benchmark]
        if known.problem:
            log.warning("%s: can't be scored again: %s", benchmark, known.problem)
            continue
        with database.read() as session:
            due = _due(session, benchmark, known.digest, everything=everything)
        for submission_id in due:
            if storage.store(submission_id).is_dir():
                count += _queue(database, submission_id)
    if count:
        log.info("%d submissions are scored again", count)
    return count


def differences(session: Session, board: Board) -> tuple[Difference, ...]:
    """Returns how the summaries of a board differ from those for earlier versions.

    Whoever shows them leaves out what its reader may not see.
    """
    later, earlier, entry, before = (
        aliased(Result),
        aliased(Result),
        aliased(Entry),
        aliased(Entry),
    )
    old = aliased(Board)
    query = (
        select(
            entry.slug,
            later.version,
            later.seed,
            old.benchmark,
            old.version.label("old_version"),
            earlier.summary.label("earlier"),
            later.summary.label("later"),
        )
        .join(entry, entry.id == later.entry_id)
        .join(earlier, earlier.submission_id == later.submission_id)
        .join(before, before.id == earlier.entry_id)
        .join(old, old.id == before.board_id)
        .where(entry.board_id == board.id, old.id != board.id, old.created < board.created)
        .order_by(entry.slug, later.version, later.seed, old.created)
    )
    return tuple(
        Difference(
            slug=row.slug,
            version=row.version,
            seed=row.seed,
            before=f"{row.benchmark}@{row.old_version}",
            after=f"{board.benchmark}@{board.version}",
            earlier=row.earlier,
            later=row.later,
        )
        for row in session.execute(query)
    )


def _due(session: Session, benchmark: str, digest: str, *, everything: bool) -> list[str]:
    """Returns the scored submissions that have no result for a digest, the oldest first."""
    scored = select(Submission.id).where(
        Submission.benchmark == benchmark, Submission.state == State.scored
    )
    if not everything:
        done = (
            select(Result.submission_id)
            .join(Entry, Entry.id == Result.entry_id)
            .join(Board, Board.id == Entry.board_id)
            .where(Board.digest == digest, Result.submission_id.is_not(None))
        )
        tried = select(Job.subject).where(
            Job.kind == "rescore", Job.state == jobs.JobState.failed, Job.error.startswith(digest)
        )
        scored = scored.where(Submission.id.not_in(done), Submission.id.not_in(tried))
    return list(session.scalars(scored.order_by(Submission.finished, Submission.id)))


def _queue(database: Database, submission_id: str) -> bool:
    with database.write() as session:
        submission = locked(session, submission_id)
        if submission is None or submission.state != State.scored:
            return False
        jobs.enqueue(session, "rescore", submission_id)
    return True
