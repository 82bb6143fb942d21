"""Uploads: how a submission comes to be, arrives, and is committed, cancelled or run again."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from leaderboard import audit, filelists, jobs, quotas
from leaderboard.auth import Identity
from leaderboard.database import Database
from leaderboard.filelists import Progress
from leaderboard.intake import Accepted
from leaderboard.paths import shown
from leaderboard.problems import Conflict, Forbidden, Invalid, Missing
from leaderboard.settings import Settings
from leaderboard.states import OPEN, State, locked, move
from leaderboard.storage import Part, Storage, Tampered
from leaderboard.tables import Board, Entry, Submission, User, now

_ALIVE = (*OPEN, State.scored)
_COMMITTED = (State.queued, State.checking, State.scoring, State.scored)


def create(
    session: Session, settings: Settings, identity: Identity, accepted: Accepted
) -> tuple[Submission, bool]:
    """Returns the submission of an announcement, and whether it is new.

    The same again, while one is open or scored, is that one. The caller holds storage.steady().

    Raises:
        Conflict: Somebody else has an entry of that name.
        TooMany: Too many of theirs are open.
        TooLarge: It does not fit into what is theirs.
    """
    # Whoever announces twice at once waits here for themselves.
    session.get(User, identity.user_id, with_for_update={"key_share": True})
    there = session.scalars(
        select(Submission)
        .where(
            Submission.user_id == identity.user_id,
            Submission.identity == accepted.identity,
            Submission.state.in_(_ALIVE),
        )
        .order_by(Submission.created.desc())
        .limit(1)
    ).first()
    if there is not None:
        return there, False
    _require_free_name(session, identity.user_id, accepted)
    quotas.require_room(session, settings, identity.user_id, accepted.size)
    submission = _inserted(session, identity.user_id, accepted)
    audit.record(session, identity.user_id, "submission.create", submission.id, name=accepted.name)
    return submission, True


def visible(session: Session, identity: Identity, submission_id: str) -> Submission:
    """Returns a submission of somebody's own; an admin sees those of all.

    Raises:
        Missing: There is none that they may see.
    """
    found = session.get(Submission, submission_id)
    if found is None or not _may_see(identity, found):
        raise _unknown(submission_id)
    return found


def expect(
    database: Database, storage: Storage, identity: Identity, submission_id: str, path: str
) -> Progress:
    """Returns how far a file has come that is about to be sent.

    Raises:
        Missing: There is no such submission of theirs, or file of it.
        Conflict: The submission takes no files any more.
    """
    with database.read() as session:
        submission = visible(session, identity, submission_id)
        found = filelists.progress(session, storage, submission, path)
        _require_owner(identity, submission)
        if not found.complete:
            _require_uploading(submission)
        return found


def complete(
    database: Database, storage: Storage, submission_id: str, path: str, part: Part, digest: str
) -> None:
    """Takes over a file that has arrived: its bytes are what was announced, or it is dropped.

    Raises:
        Invalid: They are not; names the file.
        Conflict: The submission was cancelled meanwhile.
        Full: The disk is full.
    """
    try:
        part.verify(digest)
    except Tampered as error:
        raise Invalid(
            f"{shown(path)}: {error.detail}, so it was dropped; send it again, or submit again if "
            "it has changed",
            path=path,
        ) from error
    with storage.steady(), database.write() as session:
        submission = _locked(session, submission_id)
        _require_uploading(submission)
        submission.changed = now()
        filelists.mark_complete(session, submission_id, digest, part.size)
        storage.adopt(part, digest)


def commit(
    database: Database,
    settings: Settings,
    storage: Storage,
    identity: Identity,
    submission_id: str,
) -> Submission:
    """Queues a submission whose files are all there; doing so twice is doing so once.

    Raises:
        Missing: There is no such submission of theirs.
        Conflict: Files lack, or it has ended.
        TooMany: The daily quota is used up; says when there is room.
        Full: The disk is full.
    """
    with storage.steady():
        with database.write() as session:
            submission = visible(session, identity, submission_id)
            _require_owner(identity, submission)
            if submission.state in _COMMITTED:
                return submission
            _require_uploading(submission)
            files = filelists.whole(session, storage, submission)
        if files:
            storage.assemble(submission_id, files)
        with database.write() as session:
            submission = _locked(session, submission_id)
            if submission.state in _COMMITTED:
                return submission
            _require_uploading(submission)
            quotas.consume(session, settings, submission)
            submission.committed = now()
            _queue(session, submission)
            audit.record(session, identity.user_id, "submission.commit", submission_id)
    return submission


def cancel(
    database: Database, storage: Storage, identity: Identity, submission_id: str
) -> Submission:
    """Ends a submission that is not finished; one that was cancelled stays so.

    Raises:
        Missing: There is no such submission that they may see.
        Conflict: It is finished.
    """
    with database.write() as session:
        visible(session, identity, submission_id)
        submission = _locked(session, submission_id)
        if submission.state == State.cancelled:
            return submission
        committed = submission.state != State.uploading
        by = "its submitter" if identity.user_id == submission.user_id else "an admin"
        move(submission, State.cancelled, reason=f"cancelled by {by}")
        jobs.cancel(session, submission_id)
        quotas.give_back(session, submission)
        if not committed:
            filelists.forget(session, submission_id)
        audit.record(session, identity.user_id, "submission.cancel", submission_id)
    if not committed or submission.source:
        storage.discard(submission_id)
    return submission


def rerun(
    database: Database,
    settings: Settings,
    storage: Storage,
    identity: Identity,
    submission_id: str,
) -> Submission:
    """Queues a submission again that failed or was cancelled after it was committed.

    After a fault of the platform that is free: the quota is as if the fault had not been. After one
    of its own only an admin can, unless it lies elsewhere, where it may have changed: the same
    bytes would keep a worker busy for nothing.

    Raises:
        Missing: There is no such submission that they may see.
        Conflict: It did not fail and was not cancelled, its files are gone, or it would fail again.
        TooMany: A quota is used up; says when there is room.
    """
    with storage.steady():
        with database.write() as session:
            submission = visible(session, identity, submission_id)
            _require_ended(submission)
            _require_curable(submission, identity)
            files = filelists.whole(session, storage, submission)
        if files:
            storage.assemble(submission_id, files)
        else:
            storage.discard(submission_id)
        with database.write() as session:
            submission = _locked(session, submission_id)
            _require_ended(submission)
            _require_curable(submission, identity)
            if submission.fault == "platform":
                submission.counted = submission.committed
            else:
                quotas.require_room(session, settings, submission.user_id, 0)
                quotas.consume(session, settings, submission)
            _queue(session, submission)
            audit.record(session, identity.user_id, "submission.rerun", submission_id)
    return submission


def _may_see(identity: Identity, submission: Submission) -> bool:
    return identity.user_id == submission.user_id or identity.is_admin


def _unknown(submission_id: str) -> Missing:
    return Missing(f"submission {shown(submission_id)}: there is none of yours with that id")


def _locked(session: Session, submission_id: str) -> Submission:
    found = locked(session, submission_id)
    if found is None:
        raise _unknown(submission_id)
    return found


def _require_owner(identity: Identity, submission: Submission) -> None:
    if identity.user_id != submission.user_id:
        raise Forbidden(f"submission {submission.id}: only its submitter sends and commits it")


def _require_uploading(submission: Submission) -> None:
    if submission.state != State.uploading:
        raise Conflict(
            f"submission {submission.id}: is {submission.state}, so it takes no more files; "
            "announce a new one"
        )


def _require_ended(submission: Submission) -> None:
    if submission.state not in (State.failed, State.cancelled):
        raise Conflict(
            f"submission {submission.id}: is {submission.state}; only what failed or was cancelled "
            "can be run again"
        )
    if submission.committed is None:
        raise Conflict(
            f"submission {submission.id}: was never committed; announce it again, which goes on "
            "with the files that have arrived"
        )


def may_run_again(submission: Submission, identity: Identity) -> bool:
    """Tells whether rerun would take a submission that is theirs to see."""
    ended = submission.state in (State.failed, State.cancelled)
    return ended and submission.committed is not None and _is_curable(submission, identity)


def _is_curable(submission: Submission, identity: Identity) -> bool:
    return submission.fault != "submission" or bool(submission.source) or identity.is_admin


def _require_curable(submission: Submission, identity: Identity) -> None:
    if not _is_curable(submission, identity):
        raise Conflict(
            f"submission {submission.id}: failed for what is in it, and would again; mend the "
            "store and submit it anew"
        )


def _require_free_name(session: Session, user_id: str, accepted: Accepted) -> None:
    said = accepted.manifest
    where = f"the board of {said.benchmark.id}@{said.benchmark.version}, C={said.context}"
    entries = session.scalars(
        select(Entry)
        .join(Board)
        .where(
            Board.digest == said.benchmark.digest,
            Board.context == said.context,
            Entry.slug == accepted.name,
        )
    ).all()
    coming = session.scalars(
        select(Submission.id)
        .where(
            Submission.digest == said.benchmark.digest,
            Submission.context == said.context,
            Submission.name == accepted.name,
            Submission.user_id != user_id,
            Submission.state.in_(OPEN),
        )
        .limit(1)
    ).first()
    if coming is not None or any(entry.user_id != user_id for entry in entries):
        raise Conflict(f"name: {accepted.name!r} is taken on {where}; choose another")
    if any(entry.visibility == "withdrawn" for entry in entries):
        raise Conflict(
            f"name: {accepted.name!r} was withdrawn from {where}, where it stays as a tombstone; "
            "choose another"
        )


def _inserted(session: Session, user_id: str, accepted: Accepted) -> Submission:
    said = accepted.manifest
    submission = Submission(
        user_id=user_id,
        name=accepted.name,
        benchmark=said.benchmark.id,
        version=said.benchmark.version,
        digest=said.benchmark.digest,
        context=said.context,
        manifest=said.to_attributes(),
        fact_sheet=accepted.fact_sheet,
        source=accepted.source,
        identity=accepted.identity,
        bytes=accepted.size,
        files=len(accepted.files),
        log=f"{now():%Y-%m-%d %H:%M:%S}Z {State.uploading}\n",
    )
    session.add(submission)
    session.flush()
    filelists.add(session, submission.id, accepted.files)
    return submission


def _queue(session: Session, submission: Submission) -> None:
    move(submission, State.queued)
    jobs.enqueue(session, "score", submission.id)
