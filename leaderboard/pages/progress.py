"""Progress: pages of one's own submissions, their states and reasons."""

from __future__ import annotations

from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from sqlalchemy import func, select
from starlette.responses import RedirectResponse

from leaderboard import jobs, quotas, uploads
from leaderboard.api.deps import Anyone, Config, Db, Files
from leaderboard.choices import only_known
from leaderboard.pages.rendering import render
from leaderboard.states import OPEN, State
from leaderboard.tables import Entry, Submission, SubmissionFile

router = APIRouter(include_in_schema=False)

SHOWN = 100
"""Most submissions that a page lists."""

STEPS = (State.uploading, State.queued, State.checking, State.scoring, State.scored)
"""What a submission goes through when nothing is wrong."""


@router.get("/submissions")
def submissions_page(
    request: Request, identity: Anyone, database: Db, settings: Config
) -> Response:
    """Shows somebody's own submissions, the newest first, and what they may use."""
    only_known(request.query_params.multi_items(), ())
    if identity is None:
        return _sign_in(request)
    own = Submission.user_id == identity.user_id
    with database.read() as session:
        found = session.scalars(
            select(Submission).where(own).order_by(Submission.created.desc()).limit(SHOWN)
        ).all()
        total = session.scalar(select(func.count()).select_from(Submission).where(own))
        entries = session.scalars(
            select(Entry).where(Entry.user_id == identity.user_id).order_by(Entry.created.desc())
        ).all()
        used = quotas.usage(session, settings, identity.user_id)
        return render(
            request,
            "submissions.html",
            submissions=found,
            entries=entries,
            total=total,
            used=used,
            is_open={one.id: State(one.state) in OPEN for one in found},
        )


@router.get("/submissions/{submission_id}")
def submission_page(
    request: Request, submission_id: str, identity: Anyone, database: Db, storage: Files
) -> Response:
    """Shows a submission's state, the reason for it, its log and its place in the queue."""
    only_known(request.query_params.multi_items(), ())
    if identity is None:
        return _sign_in(request)
    with database.read() as session:
        found = uploads.visible(session, identity, submission_id)
        state = State(found.state)
        entry = session.get(Entry, found.entry_id) if found.entry_id else None
        position = jobs.position(session, found.id) if state == State.queued else None
        arrived = None
        if state == State.uploading:
            complete = select(func.sum(SubmissionFile.size)).where(
                SubmissionFile.submission_id == found.id, SubmissionFile.complete
            )
            arrived = int(session.scalar(complete) or 0)
        return render(
            request,
            "submission.html",
            submission=found,
            state=state,
            steps=STEPS,
            entry=entry,
            position=position,
            arrived=arrived,
            is_open=state in OPEN,
            again=uploads.may_run_again(found, identity),
        )


def _sign_in(request: Request) -> Response:
    return RedirectResponse(f"/sign-in?{urlencode({'next': request.url.path})}", 303)
