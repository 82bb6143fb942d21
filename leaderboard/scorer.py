"""The scorer: one submission from its store to a result, or to a reason that helps."""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import select

from leaderboard import jobs
from leaderboard.child import Ended, run_child
from leaderboard.confinement import Limits
from leaderboard.database import Database
from leaderboard.heart import Heart
from leaderboard.jobs import Claim
from leaderboard.keys import signing_key
from leaderboard.known import Catalogue, Known
from leaderboard.outcomes import Changed, Taken, accept, read_outcome, require_of
from leaderboard.quotas import usage
from leaderboard.redaction import redacted
from leaderboard.scoring import FAILURE, Order
from leaderboard.settings import Settings
from leaderboard.sources import fetch
from leaderboard.states import State, move
from leaderboard.storage import Storage
from leaderboard.tables import Result, Submission
from zapeval.errors import StorageError, ZapevalError
from zapeval.recordings.documents import DOCUMENT_LIMIT, document_of
from zapeval.recordings.stores import open_store

log = logging.getLogger(__name__)

CRASHES = 2
"""How often a store may crash its scoring before that is its fault."""

_LOG_LIMIT = 20_000
_TAIL_LINES = 8
_OUT_OF_TIME = "SIGXCPU"
_CRASH = frozenset({"SIGABRT", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGSYS", "SIGTRAP"})


class Failed(Exception):
    """Says why a submission was not scored.

    Attributes:
        fault: Whose fault it is.
        reason: Why, for the submitter.
        error: Why, for the operator.
        attempts: How often it may be begun before it fails for good.
    """

    def __init__(
        self,
        fault: Literal["submission", "platform"],
        reason: str,
        *,
        error: str = "",
        attempts: int = 1,
    ) -> None:
        super().__init__(error or reason)
        self.fault: Literal["submission", "platform"] = fault
        self.reason = reason
        self.error = error or reason
        self.attempts = attempts


class Halted(Exception):
    """Says that the work was stopped from outside."""


class _Failure(BaseModel):
    """What a child writes that refuses a store."""

    model_config = ConfigDict(extra="forbid")

    fault: Literal["submission", "platform"]
    reason: str = Field(min_length=1, max_length=20_000)
    findings: list[str] = Field(max_length=100)


@final
@dataclass(frozen=True, kw_only=True)
class Scorer:
    """What scoring needs.

    Attributes:
        database: The database.
        settings: The settings.
        storage: The files.
        catalogue: The benchmarks of this machine.
    """

    database: Database
    settings: Settings
    storage: Storage
    catalogue: Catalogue

    def run(self, held: Claim, heart: Heart) -> None:
        """Scores the submission of a job, and accepts what comes out.

        Raises:
            Failed: It could not be scored.
            Halted: It was stopped.
            Lost: The job is no longer held.
        """
        with self.database.read() as session:
            submission = session.get_one(Submission, held.subject)
        again = held.kind == "rescore"
        known = self._known(submission.benchmark)
        if submission.source and not again:
            self._fetch(submission, held, heart)
        if not self.storage.store(submission.id).is_dir():
            raise Failed("platform", "the server no longer has its files; submit it again")
        with self._scratch(held) as folder:
            ended = self._score(submission, known, held, heart, folder)
            if heart.halt.is_set():
                raise Halted
            self._judge(ended, folder / "outcome", submission)
            self._accept(folder / "outcome", held, known)

    def _known(self, benchmark: str) -> Known:
        known = self.catalogue[benchmark]
        if known.problem:
            raise Failed(
                "platform",
                f"the server can't score {benchmark} just now; tell its operator",
                error=known.problem,
                attempts=self.settings.attempts,
            )
        return known

    def _fetch(self, submission: Submission, held: Claim, heart: Heart) -> None:
        """Copies a store from the address that was submitted."""
        with self.database.read() as session:
            used = usage(session, self.settings, submission.user_id)
        try:
            fetched = fetch(
                submission,
                self.settings,
                self.storage,
                room_left=max(0, used.max_bytes - used.bytes + submission.bytes),
                stop=heart.halt,
            )
        except ZapevalError as error:
            if heart.halt.is_set():
                raise Halted from error
            passing = isinstance(error, StorageError)
            raise Failed(
                "submission",
                redacted(str(error)),
                attempts=self.settings.attempts if passing else 1,
            ) from error
        with self.database.write() as session:
            found = jobs.hold(session, held)
            if found is not None:
                found.files, found.bytes = fetched.files, fetched.bytes

    @contextmanager
    def _scratch(self, held: Claim) -> Iterator[Path]:
        """Gives a folder that only this claim of the job uses."""
        root = self.storage.scratch(held.id)
        folder = root / secrets.token_hex(8)
        (folder / "outcome").mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def _score(
        self, submission: Submission, known: Known, held: Claim, heart: Heart, folder: Path
    ) -> Ended:
        settings = self.settings
        order = Order(
            store=self.storage.store(submission.id),
            name=submission.name,
            benchmark=submission.benchmark,
            digest=known.digest if held.kind == "rescore" else submission.digest,
            context=submission.context,
            manifest=submission.manifest,
            data=settings.recordings.get(submission.benchmark),
            out=folder / "outcome",
            again=held.kind == "rescore",
            readable=list(known.readable),
            network=known.network,
            memory=settings.memory,
            cpu=settings.cpu,
            wall=settings.wall,
            parent=os.getpid(),
        )
        return run_child(
            ["-m", "leaderboard.scoring"],
            order.model_dump_json(),
            Limits(memory=settings.memory, cpu=settings.cpu, wall=settings.wall),
            folder=folder,
            heard=lambda line: self._hear(line, held, heart),
            stop=heart.halt.is_set,
            extra=_numba_cache(settings),
        )

    def _hear(self, line: str, held: Claim, heart: Heart) -> None:
        """Takes note of a line that the child prints."""
        try:
            said = json.loads(line)
            phase = said.get("phase")
        except (ValueError, AttributeError):
            return
        if phase == "checking" and said.get("lacking"):
            log.warning("scoring is not confined as it should be: %s", said["lacking"])
        if phase == "scoring" and held.kind == "score":
            try:
                with self.database.write() as session:
                    submission = jobs.hold(session, held)
                    if submission is not None and submission.state == State.checking:
                        move(submission, State.scoring)
            except jobs.Lost:
                heart.lost = True
                heart.halt.set()

    def _judge(self, ended: Ended, out: Path, submission: Submission) -> None:
        """Returns where a child left an outcome.

        Raises:
            Failed: It left none.
        """
        if ended.code == 0:
            return
        name, settings = submission.name, self.settings
        error = f"status {ended.code} {ended.signal} {ended.killed}: {ended.tail[-2000:]}"
        if ended.killed == "memory" or _says_memory(ended):
            reason = (
                f"{name}: needs more than the {settings.memory >> 20:,} MiB of memory that scoring "
                "may use; write smaller chunks, e.g. of 32 windows and 1 step"
            )
            raise Failed("submission", reason, error=error)
        if ended.killed == "time" or ended.signal == _OUT_OF_TIME:
            reason = (
                f"{name}: was not scored within the {settings.cpu:,.0f} s of CPU time and "
                f"{settings.wall:,.0f} s that scoring may take; write larger chunks"
            )
            raise Failed("submission", reason, error=error)
        if ended.signal in _CRASH:
            reason = (
                f"{name}: scoring it ended abruptly ({ended.signal}), as chunks that are damaged "
                "or declare far more than they hold make it; look with `zapeval check` and write "
                "it again"
            )
            attempts = min(CRASHES, settings.attempts)
            raise Failed("submission", reason, error=error, attempts=attempts)
        refusal = None if ended.signal else _refusal(out)
        if refusal is None:
            reason = "the server failed at scoring it; run it again, and tell the operator"
            raise Failed("platform", reason, error=error, attempts=settings.attempts)
        again = settings.attempts if refusal.fault == "platform" else 1
        raise Failed(refusal.fault, refusal.reason, error=error, attempts=again)

    def _accept(self, out: Path, held: Claim, known: Known) -> None:
        outcome = read_outcome(out, signing_key(self.settings))
        try:
            with self.database.write() as session:
                submission = jobs.hold(session, held)
                if submission is None:
                    raise jobs.Lost(held.id)
                if held.kind == "rescore":
                    require_of(outcome, submission, known.digest)
                    earlier = session.scalars(
                        select(Result)
                        .where(Result.submission_id == submission.id)
                        .order_by(Result.created.desc(), Result.id)
                    ).first()
                    accept(session, submission, outcome, earlier=earlier, moving=True)
                else:
                    require_of(outcome, submission, submission.digest)
                    accept(session, submission, outcome)
                    if submission.state == State.checking:
                        move(submission, State.scoring)
                    move(submission, State.scored)
                jobs.finish(session, held)
        except (Changed, Taken) as problem:
            raise Failed("platform", problem.detail) from problem


def put_off(database: Database, settings: Settings, held: Claim, failed: Failed) -> bool:
    """Notes that a job failed; tells whether it will be begun again.

    Raises:
        Lost: The job is no longer held.
    """
    with database.write() as session:
        again = jobs.fail(
            session,
            settings,
            held,
            failed.error,
            reason=failed.reason,
            fault=failed.fault,
            attempts=failed.attempts,
        )
        if held.kind == "score":
            _tell(session.get_one(Submission, held.subject), failed.error)
    return again


def _tell(submission: Submission, error: str) -> None:
    """Adds the end of what a child said to the log that its submitter reads."""
    lines = redacted(error).strip().splitlines()[-_TAIL_LINES:]
    told = "".join(f"    {line[:300]}\n" for line in lines)
    if len(submission.log) + len(told) < _LOG_LIMIT:
        submission.log = submission.log + told


def _refusal(out: Path) -> _Failure | None:
    """Returns what a child wrote that refused a store; None where that can't be read."""
    try:
        data = open_store(out).read(FAILURE, DOCUMENT_LIMIT)
        return None if data is None else _Failure.model_validate(document_of(data, FAILURE))
    except (ZapevalError, ValidationError):
        return None


def _says_memory(ended: Ended) -> bool:
    signs = ("MemoryError", "bad_alloc", "Unable to allocate", "Cannot allocate memory")
    return ended.code != 0 and any(sign in ended.tail for sign in signs)


def _numba_cache(settings: Settings) -> dict[str, str]:
    """Returns where compiled code is kept, where it can't lie beside the package."""
    import zapeval

    if "NUMBA_CACHE_DIR" in os.environ or os.access(Path(zapeval.__file__).parent, os.W_OK):
        return {}
    folder = settings.data_dir.absolute() / "cache" / "numba"
    folder.mkdir(parents=True, exist_ok=True)
    return {"NUMBA_CACHE_DIR": str(folder)}
