"""The heart: renews the lease of a job while it is worked at, and says when to stop."""

from __future__ import annotations

import logging
import threading
import time
from types import TracebackType
from typing import Self, final

from sqlalchemy.exc import SQLAlchemyError

from leaderboard.database import Database
from leaderboard.jobs import Claim, beat
from leaderboard.settings import Settings

log = logging.getLogger(__name__)


@final
class Heart:
    """Beats three times a lease, in a thread of its own, until the work is done.

    Attributes:
        halt: Set when the work is to stop: the job was cancelled or lost, or the worker ends.
        lost: Whether the job is no longer held.
    """

    def __init__(self, database: Database, settings: Settings, held: Claim) -> None:
        self.halt = threading.Event()
        self.lost = False
        self._database, self._settings, self._held = database, settings, held
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heart", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        last = time.monotonic()
        while not self._done.wait(self._settings.lease / 3):
            try:
                held = beat(self._database, self._settings, self._held)
            except SQLAlchemyError as error:
                log.warning("job %s: its lease could not be renewed: %s", self._held.id, error)
                # By then somebody else may have it.
                held = time.monotonic() - last < self._settings.lease
            else:
                last = time.monotonic()
            if not held:
                self.lost = True
                self.halt.set()
                return
