"""File lists: which files a submission has, and what has arrived of them.

Whether the server has a file already is told only to somebody who has sent that file: digests count
among the finished files of one's own submissions. Whoever sends bytes that another has sent too
sends them all, and then they lie on disk once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar, final

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from leaderboard.intake import AnnouncedFile
from leaderboard.paths import shown
from leaderboard.problems import Conflict, Missing
from leaderboard.states import State
from leaderboard.storage import Storage
from leaderboard.tables import Blob, Submission, SubmissionFile, now

_Item = TypeVar("_Item")

_BATCH = 500


@final
@dataclass(frozen=True, kw_only=True)
class Lack:
    """A file that the server lacks.

    Attributes:
        sha256: Its digest.
        size: Its size in bytes.
        received: How many of them have arrived.
    """

    sha256: str
    size: int
    received: int


@final
@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a file of a store has come; see Lack."""

    path: str
    sha256: str
    size: int
    received: int
    complete: bool


def add(session: Session, submission_id: str, files: Sequence[AnnouncedFile]) -> None:
    """Notes the files that a new submission announces."""
    for batch in _batches(files):
        session.execute(
            insert(SubmissionFile),
            [
                {
                    "submission_id": submission_id,
                    "path": file.path,
                    "digest": file.sha256,
                    "size": file.size,
                    "complete": False,
                }
                for file in batch
            ],
        )


def lacking(session: Session, storage: Storage, submission: Submission) -> list[Lack]:
    """Returns what the server lacks of a submission, each digest once, in the order of paths.

    What its submitter has sent meanwhile with another submission counts as sent.
    """
    _mark_owned(session, submission)
    received = storage.received(submission.id)
    rows = session.execute(
        select(SubmissionFile.digest, SubmissionFile.size)
        .where(SubmissionFile.submission_id == submission.id, SubmissionFile.complete.is_(False))
        .order_by(SubmissionFile.path)
    )
    lacks = {
        digest: Lack(sha256=digest, size=size, received=received.get(digest, 0))
        for digest, size in rows
    }
    return list(lacks.values())


def progress(session: Session, storage: Storage, submission: Submission, path: str) -> Progress:
    """Returns how far a file has come.

    Raises:
        Missing: The submission has no such file.
    """
    file = session.get(SubmissionFile, (submission.id, path))
    if file is None:
        raise Missing(f"{shown(path)}: was not announced as a file of this store")
    return _progress(file, storage.received(submission.id))


def listing(
    session: Session, storage: Storage, submission: Submission, start: int, count: int
) -> tuple[list[Progress], int]:
    """Returns files of a submission by path, from a number on, and how many there are."""
    of = SubmissionFile.submission_id == submission.id
    total = session.scalar(select(func.count()).select_from(SubmissionFile).where(of)) or 0
    rows = session.scalars(
        select(SubmissionFile).where(of).order_by(SubmissionFile.path).offset(start).limit(count)
    )
    received = storage.received(submission.id)
    return [_progress(file, received) for file in rows], total


def mark_complete(session: Session, submission_id: str, digest: str, size: int) -> None:
    """Notes that a file of a submission is a blob."""
    _add_blob(session, digest, size)
    session.execute(
        update(SubmissionFile)
        .where(SubmissionFile.submission_id == submission_id, SubmissionFile.digest == digest)
        .values(complete=True),
        execution_options={"synchronize_session": False},
    )


def whole(session: Session, storage: Storage, submission: Submission) -> Sequence[tuple[str, str]]:
    """Returns paths and digests of a store whose files are all there; none where it is fetched.

    Raises:
        Conflict: Some are not.
    """
    if submission.source:
        return ()
    lacks = lacking(session, storage, submission)
    rows = session.execute(
        select(SubmissionFile.path, SubmissionFile.digest)
        .where(SubmissionFile.submission_id == submission.id)
        .order_by(SubmissionFile.path)
    ).all()
    if not rows:
        raise Conflict(f"submission {submission.id}: its files were dropped; submit it again")
    if lacks:
        missing = {lack.sha256 for lack in lacks}
        first = next(path for path, digest in rows if digest in missing)
        raise Conflict(
            f"submission {submission.id}: {len(lacks)} of its files lack, {shown(first)} for one; "
            "send them, then commit"
        )
    return [(path, digest) for path, digest in rows]


def forget(session: Session, submission_id: str) -> None:
    """Lets the files of a submission go; blobs that nobody else needs are swept later."""
    session.execute(
        delete(SubmissionFile).where(SubmissionFile.submission_id == submission_id),
        execution_options={"synchronize_session": False},
    )


def _mark_owned(session: Session, submission: Submission) -> None:
    """Marks as complete what its submitter has sent before."""
    if submission.state != State.uploading:
        return
    owned = (
        select(SubmissionFile.digest)
        .join(Submission, Submission.id == SubmissionFile.submission_id)
        .where(
            Submission.user_id == submission.user_id,
            Submission.id != submission.id,
            SubmissionFile.complete.is_(True),
        )
    )
    session.execute(
        update(SubmissionFile)
        .where(
            SubmissionFile.submission_id == submission.id,
            SubmissionFile.complete.is_(False),
            SubmissionFile.digest.in_(owned),
        )
        .values(complete=True),
        execution_options={"synchronize_session": False},
    )


def _add_blob(session: Session, digest: str, size: int) -> None:
    if session.get_bind().dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_or_leave
    else:
        from sqlalchemy.dialects.sqlite import insert as insert_or_leave  # type: ignore[assignment]
    # Two who send the same bytes finish at once.
    session.execute(
        insert_or_leave(Blob)
        .values(digest=digest, size=size, created=now())
        .on_conflict_do_nothing(index_elements=["digest"])
    )


def _progress(file: SubmissionFile, received: dict[str, int]) -> Progress:
    return Progress(
        path=file.path,
        sha256=file.digest,
        size=file.size,
        received=file.size if file.complete else received.get(file.digest, 0),
        complete=file.complete,
    )


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch
