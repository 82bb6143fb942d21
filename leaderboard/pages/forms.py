"""Forms: what owners do to their submissions and entries with a button."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form
from starlette.responses import RedirectResponse, Response

from leaderboard import moderation, uploads
from leaderboard.api.deps import Config, Db, Files, Submitter
from leaderboard.problems import Invalid

router = APIRouter(include_in_schema=False)


@router.post("/submissions/{submission_id}/cancel")
def cancel(submission_id: str, identity: Submitter, database: Db, storage: Files) -> Response:
    """Ends a submission that is not finished."""
    uploads.cancel(database, storage, identity, submission_id)
    return RedirectResponse(f"/submissions/{submission_id}", 303)


@router.post("/submissions/{submission_id}/rerun")
def rerun(
    submission_id: str, identity: Submitter, database: Db, storage: Files, settings: Config
) -> Response:
    """Queues a submission again."""
    uploads.rerun(database, settings, storage, identity, submission_id)
    return RedirectResponse(f"/submissions/{submission_id}", 303)


@router.post("/entries/{entry_id}/publish")
def publish(entry_id: str, identity: Submitter, database: Db) -> Response:
    """Shows an entry to everybody."""
    with database.write() as session:
        moderation.publish(session, identity, entry_id)
    return RedirectResponse(f"/entries/{entry_id}", 303)


@router.post("/entries/{entry_id}/unpublish")
def unpublish(entry_id: str, identity: Submitter, database: Db) -> Response:
    """Makes an entry private again."""
    with database.write() as session:
        moderation.unpublish(session, identity, entry_id)
    return RedirectResponse(f"/entries/{entry_id}", 303)


@router.post("/entries/{entry_id}/withdraw")
def withdraw(
    entry_id: str,
    identity: Submitter,
    database: Db,
    reason: Annotated[str, Form(max_length=500)] = "",
) -> Response:
    """Takes an entry off its board for good.

    Raises:
        Invalid: No reason was given.
    """
    said = " ".join(reason.split())
    if not said:
        raise Invalid("reason: is empty; say in a sentence why the entry is withdrawn")
    with database.write() as session:
        moderation.withdraw(session, identity, entry_id, said)
    return RedirectResponse(f"/entries/{entry_id}", 303)
