"""The worker: takes jobs one after the other, and tidies up after those that died.

A worker may be killed at any moment: whatever it had begun is begun again when its lease is over,
and nothing counts but what one transaction has accepted.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import final

from sqlalchemy.exc import SQLAlchemyError

from leaderboard import jobs
from leaderboard.database import Database
from leaderboard.heart import Heart
from leaderboard.jobs import Claim, Lost
from leaderboard.known import Catalogue
from leaderboard.ranking import Facts, standings
from leaderboard.rescoring import plan_rescoring
from leaderboard.scorer import Failed, Halted, Scorer, put_off
from leaderboard.settings import Settings
from leaderboard.storage import Storage
from leaderboard.sweeping import sweep
from leaderboard.tables import Board, Submission

log = logging.getLogger("leaderboard.worker")

IDLE = 0.5
"""Seconds between two looks at an empty queue."""

SWEEP = 3600.0
"""Seconds between two sweeps of the storage."""

_PAUSE = 5.0


@final
class Worker:
    """One worker of a board."""

    def __init__(self, settings: Settings, *, name: str | None = None) -> None:
        """Opens database and storage; the tables must be there."""
        self.name = name or f"{socket.gethostname()[:80]}:{os.getpid()}"
        self._settings = settings
        self._database = Database(settings)
        self._catalogue = Catalogue(settings)
        self._storage = Storage(settings)
        self._scorer = Scorer(
            database=self._database,
            settings=settings,
            storage=self._storage,
            catalogue=self._catalogue,
        )
        self._facts: Facts = {}
        self._stop = threading.Event()
        self._heart: Heart | None = None
        self._reaped = self._swept = -float("inf")

    def stop(self) -> None:
        """Lets it end: what it has begun is put back at once."""
        self._stop.set()
        heart = self._heart
        if heart is not None:
            heart.halt.set()

    def run(self, *, rescore: bool = False) -> None:
        """Works until it is stopped.

        Args:
            rescore: Whether all that is kept is scored again; else where a benchmark has changed.
        """
        log.info("worker %s: begins", self.name)
        self._guarded(lambda: self._plan(everything=rescore))
        while not self._stop.is_set():
            if not self._guarded(self.work):
                self._stop.wait(IDLE)
        self.close()
        log.info("worker %s: ends", self.name)

    def close(self) -> None:
        """Closes its connections to the database."""
        self._database.close()

    def work(self) -> bool:
        """Does one job, where there is one; tells whether there was."""
        self._tidy()
        held = jobs.claim(self._database, self._settings, self.name)
        if held is None:
            return False
        log.info("job %s: %s %s, attempt %d", held.id, held.kind, held.subject, held.attempts)
        with Heart(self._database, self._settings, held) as heart:
            self._heart = heart
            if self._stop.is_set():
                heart.halt.set()
            try:
                self._do(held, heart)
            except Lost:
                log.warning("job %s: was cancelled, or its lease was over", held.id)
            finally:
                self._heart = None
        return True

    def _do(self, held: Claim, heart: Heart) -> None:
        try:
            if held.kind == "rank":
                self._rank(held)
            else:
                self._scorer.run(held, heart)
        except Halted:
            if heart.lost:
                raise Lost(held.id) from None
            with self._database.write() as session:
                jobs.release(session, held)
        except Failed as failed:
            self._note(held, failed)
        except (Lost, SQLAlchemyError):
            raise
        except Exception as error:
            # Whatever it is, it must not end the worker, nor be tried for ever.
            log.exception("job %s: failed", held.id)
            self._note(held, _ours(error, self._settings))

    def _note(self, held: Claim, failed: Failed) -> None:
        if held.kind == "rescore":
            # What can't be scored again is not tried at every start.
            failed.error = f"{self._digest_of(held)} {failed.error}"
        again = put_off(self._database, self._settings, held, failed)
        what = "is tried again later" if again else "failed"
        log.warning("job %s: %s, %s: %s", held.id, what, failed.fault, failed.error[:2000])

    def _digest_of(self, held: Claim) -> str:
        with self._database.read() as session:
            benchmark = session.get_one(Submission, held.subject).benchmark
        return self._catalogue[benchmark].digest

    def _rank(self, held: Claim) -> None:
        """Ranks a board; once more where it changed meanwhile."""
        with self._database.read() as session:
            board = session.get(Board, held.subject)
            made = None if board is None else standings(session, board, facts=self._facts)
        with self._database.write() as session:
            board = session.get(Board, held.subject, with_for_update=True, populate_existing=True)
            jobs.finish(session, held)
            if board is not None and made is not None:
                board.standings, board.ranked = made, made["revision"]
                if board.revision != made["revision"]:
                    jobs.enqueue(session, "rank", board.id)

    def _plan(self, *, everything: bool) -> bool:
        plan_rescoring(self._database, self._storage, self._catalogue, everything=everything)
        return True

    def _tidy(self) -> None:
        """Takes jobs from dead workers, and now and then removes what nobody needs."""
        time_now = time.monotonic()
        if time_now - self._reaped > min(self._settings.lease / 4, 15.0):
            self._reaped = time_now
            taken = jobs.reap(self._database, self._settings)
            if taken:
                log.warning("%d jobs were taken from workers that died", taken)
        if time_now - self._swept > SWEEP:
            self._swept = time_now
            sweep(self._storage, self._database, self._settings)

    def _guarded(self, what: Callable[[], bool]) -> bool:
        """Does something; a database that does not answer is asked again later."""
        try:
            return what()
        except SQLAlchemyError as error:
            log.warning("the database does not answer: %s", error)
        except OSError:
            log.exception("worker %s: the storage does not answer", self.name)
        self._stop.wait(_PAUSE)
        return True


def _ours(error: Exception, settings: Settings) -> Failed:
    return Failed(
        "platform",
        "the server failed at scoring it; run it again, and tell the operator if that fails too",
        error=f"{type(error).__name__}: {error}",
        attempts=settings.attempts,
    )


def run_worker(settings: Settings, *, rescore: bool = False, parent: int | None = None) -> None:
    """Runs a worker in this process until SIGTERM or SIGINT, or until its parent dies.

    Args:
        settings: The settings.
        rescore: See Worker.run.
        parent: Process without which it ends.
    """
    from leaderboard import logs
    from leaderboard.migrations import upgrade

    logs.configure()
    database = Database(settings)
    upgrade(database)
    database.close()
    worker = Worker(settings)
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, lambda *_: worker.stop())
    if parent is not None:
        _end_with(parent, worker)
    worker.run(rescore=rescore)


def _end_with(parent: int, worker: Worker) -> None:
    """Stops a worker when the process that started it is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(IDLE)
        worker.stop()

    threading.Thread(target=watch, name="parent", daemon=True).start()


if __name__ == "__main__":
    run_worker(Settings.model_validate_json(sys.stdin.read()), parent=int(sys.argv[1]))
