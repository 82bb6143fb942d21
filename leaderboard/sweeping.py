"""Sweeping: removes uploads that nobody went on with, and files that no submission needs."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import ColumnElement, and_, delete, exists, or_, select
from sqlalchemy.orm import Session

from leaderboard import filelists
from leaderboard.database import Database
from leaderboard.settings import Settings
from leaderboard.states import State, locked, move
from leaderboard.storage import Storage
from leaderboard.tables import Blob, Submission, SubmissionFile, now

CANCELLED = timedelta(days=1)
"""So long the files of a cancelled submission stay, so that it can be run again."""

_TRIES = 20
_PAUSE = 0.1


def sweep(storage: Storage, database: Database, settings: Settings) -> int:
    """Removes what nobody needs; returns the number of bytes.

    Needed are the files of what is uploading, queued, at work or scored; of what failed for
    ``upload_days``, and of what was cancelled for a day, so that it can be run again.
    """
    before = now() - timedelta(days=settings.upload_days)
    _end_abandoned(storage, database, settings, before)
    for _ in range(_TRIES):
        with suppress(BlockingIOError), storage.steady(sweeping=True):
            gone = _let_go(database, settings, before)
            for submission_id in gone:
                storage.discard(submission_id)
            freed = sum(_remove_blobs(storage, database))
            _remove_leftovers(storage, database, before)
            return freed
        time.sleep(_PAUSE)
    return 0


def _end_abandoned(
    storage: Storage, database: Database, settings: Settings, before: datetime
) -> None:
    old = and_(Submission.state == State.uploading, Submission.changed < before)
    with database.read() as session:
        ids = list(session.scalars(select(Submission.id).where(old)))
    for submission_id in ids:
        if storage.arrivals_changed(submission_id) >= before.timestamp():
            continue
        with database.write() as session:
            submission = locked(session, submission_id)
            if submission is None or submission.state != State.uploading:
                continue
            days = f"{settings.upload_days:g} days"
            move(
                submission,
                State.cancelled,
                reason=f"nothing arrived for {days}, so what had was dropped; submit it again",
            )
            filelists.forget(session, submission_id)
        storage.discard(submission_id)


def _let_go(database: Database, settings: Settings, before: datetime) -> list[str]:
    """Lets go of the files of submissions that need them no more; returns their ids."""
    with database.write() as session:
        held = exists().where(SubmissionFile.submission_id == Submission.id)
        done = _unneeded(settings, before)
        ids = list(
            session.scalars(select(Submission.id).where(done, or_(held, Submission.source != "")))
        )
        for submission_id in ids:
            filelists.forget(session, submission_id)
        _forget_blobs(session)
    return ids


def _unneeded(settings: Settings, before: datetime) -> ColumnElement[bool]:
    state = Submission.state
    ended = [
        and_(state == State.cancelled, Submission.changed < now() - CANCELLED),
        and_(state == State.failed, Submission.changed < before),
        state == State.withdrawn,
    ]
    return or_(*ended) if settings.keep_predictions else or_(*ended, state == State.scored)


def _forget_blobs(session: Session) -> None:
    needed = exists().where(SubmissionFile.digest == Blob.digest, SubmissionFile.complete.is_(True))
    session.execute(delete(Blob).where(~needed), execution_options={"synchronize_session": False})


def _remove_blobs(storage: Storage, database: Database) -> Iterator[int]:
    """Removes blobs that the database does not know, and yields their sizes."""
    for folder in sorted((storage.root / "blobs").iterdir()):
        with database.read() as session:
            known = set(
                session.scalars(select(Blob.digest).where(Blob.digest.startswith(folder.name)))
            )
        for name in {one.name for one in os.scandir(folder)} - known:
            yield (folder / name).lstat().st_size
            (folder / name).unlink()


def _remove_leftovers(storage: Storage, database: Database, before: datetime) -> None:
    """Removes what crashes have left: arrivals of what is not uploading, old partial folders."""
    with database.read() as session:
        uploading = set(
            session.scalars(select(Submission.id).where(Submission.state == State.uploading))
        )
    for folder in (storage.root / "incoming").iterdir():
        if folder.name not in uploading:
            shutil.rmtree(folder, ignore_errors=True)
    left = [*(storage.root / "stores").glob(".*.part"), *(storage.root / "scratch").iterdir()]
    for folder in left:
        if _changed(folder) < before.timestamp():
            shutil.rmtree(folder, ignore_errors=True)


def _changed(folder: Path) -> float:
    try:
        return folder.lstat().st_mtime
    except FileNotFoundError:
        return time.time()
