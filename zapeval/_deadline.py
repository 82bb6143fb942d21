"""The deadline: what does not end in time is interrupted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN = 1.0
"""Seconds until the alarm is repeated: Python drops what is raised in some callbacks."""


class TimeUp(BaseException):
    """Says that the time is up; no Exception, so that code which catches those doesn't keep it."""


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Interrupts the block when the time is up, where that is possible.

    It is in the main thread of a system with alarms, unless another alarm is set; anywhere else
    the block takes as long as it takes. Code that is not Python is interrupted when it returns.

    Args:
        seconds: How long it may take; None for as long as it takes.

    Raises:
        TimeUp: It did not end in time.
    """
    if seconds is None or not _can_be_set():
        yield
        return

    running = True

    def stop(number: int, frame: FrameType | None) -> None:
        if running:
            raise TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        try:
            yield
        finally:
            running = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        # None stands for a handler that Python did not set and can't set again.
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


def _can_be_set() -> bool:
    return (
        hasattr(signal, "setitimer")
        and threading.current_thread() is threading.main_thread()
        and signal.getitimer(signal.ITIMER_REAL)[0] == 0
    )
