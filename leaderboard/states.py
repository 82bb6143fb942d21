"""States: what can become of a submission, and what may follow what.

``uploading`` -> ``queued`` -> ``checking`` -> ``scoring`` -> ``scored``; ``failed`` and
``cancelled`` from any of them but the last; ``queued`` again from ``failed``, ``cancelled`` or,
where a worker died, from its hands; ``withdrawn`` from ``scored``.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy.orm import Session

from leaderboard.problems import Conflict
from leaderboard.tables import Submission, now


class State(StrEnum):
    """A state of a submission."""

    uploading = "uploading"
    queued = "queued"
    checking = "checking"
    scoring = "scoring"
    scored = "scored"
    failed = "failed"
    cancelled = "cancelled"
    withdrawn = "withdrawn"


FOLLOW: dict[State, frozenset[State]] = {
    State.uploading: frozenset({State.queued, State.failed, State.cancelled}),
    State.queued: frozenset({State.checking, State.failed, State.cancelled}),
    State.checking: frozenset({State.queued, State.scoring, State.failed, State.cancelled}),
    State.scoring: frozenset({State.queued, State.scored, State.failed, State.cancelled}),
    State.scored: frozenset({State.withdrawn}),
    State.failed: frozenset({State.queued}),
    State.cancelled: frozenset({State.queued}),
    State.withdrawn: frozenset(),
}

OPEN = frozenset({State.uploading, State.queued, State.checking, State.scoring})
"""States in which a submission is not finished."""

AT_WORK = frozenset({State.checking, State.scoring})
"""States in which a worker holds it."""


def locked(session: Session, submission_id: str) -> Submission | None:
    """Returns a submission that nobody else changes until this transaction ends."""
    return session.get(
        Submission, submission_id, with_for_update={"of": Submission}, populate_existing=True
    )


def move(submission: Submission, to: State, *, reason: str = "", fault: str = "") -> None:
    """Moves a submission, of a session that locked it, to a state.

    Args:
        submission: The submission.
        to: The state.
        reason: Why, a sentence for its submitter.
        fault: Of a failure: ``submission`` or ``platform``; the latter consumes no quota.

    Raises:
        Conflict: That state can't follow the one that it is in.
    """
    state = State(submission.state)
    if to not in FOLLOW[state]:
        raise Conflict(f"submission {submission.id}: is {state}, and can't become {to}")
    submission.state = to
    submission.reason = reason
    submission.fault = fault
    submission.changed = now()
    submission.finished = None if to in OPEN else submission.finished or now()
    if fault == "platform":
        submission.counted = None
    line = f"{submission.changed:%Y-%m-%d %H:%M:%S}Z {to}{': ' if reason else ''}{reason}"
    submission.log = f"{submission.log}{line}\n"
