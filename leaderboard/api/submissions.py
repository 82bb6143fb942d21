"""Submissions: ``/submissions``, their files, commit, cancel and rerun."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from leaderboard import filelists, uploads
from leaderboard.api.deps import Config, Db, Files, Reader, Submitter
from leaderboard.intake import Announcement, accept, read_announcement
from leaderboard.receiving import Receiver
from leaderboard.states import State
from leaderboard.submitted import SubmissionLine, SubmissionView, newest, view

router = APIRouter(prefix="/submissions", tags=["submissions"])

SubmissionId = Annotated[str, Path(max_length=60)]
FilePath = Annotated[str, Path(max_length=1000)]
Page = Annotated[int, Query(ge=1, le=1_000_000)]

_ROWS = 50
_FILES = 1000


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class MissingFile(_Answer):
    """A file that the server lacks, and how many bytes of it have arrived."""

    sha256: str
    size: int
    received: int


class Announced(_Answer):
    """A submission that was announced, and what the server lacks of it."""

    id: str
    state: State
    missing: list[MissingFile]


class FileProgress(_Answer):
    """A file of a submission, and how many bytes of it have arrived."""

    path: str
    sha256: str
    size: int
    received: int
    complete: bool


class FilePage(_Answer):
    """Files of a submission."""

    files: list[FileProgress]
    total: int
    page: int
    pages: int


class SubmissionPage(_Answer):
    """Submissions, the newest first."""

    submissions: list[SubmissionLine]
    total: int
    page: int
    pages: int


async def _body(request: Request) -> bytes:
    return await request.body()


def _plain(schema: Any, parts: dict[str, Any]) -> Any:
    """Returns a JSON schema with its references filled in: OpenAPI looks for them elsewhere."""
    if isinstance(schema, list):
        return [_plain(one, parts) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _plain(parts[schema["$ref"].rpartition("/")[2]], parts)
    return {key: _plain(value, parts) for key, value in schema.items() if key != "$defs"}


_SCHEMA = Announcement.model_json_schema()
_ANNOUNCEMENT = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _plain(_SCHEMA, _SCHEMA.get("$defs", {}))}},
    }
}
_BYTES = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    "parameters": [
        {
            "name": "Content-Range",
            "in": "header",
            "required": False,
            "description": "Which bytes come: `bytes FIRST-LAST/SIZE`; without it all of them. "
            "`bytes */SIZE` and no body finishes a file of which all has arrived.",
            "schema": {"type": "string"},
        }
    ],
}


@router.post(
    "",
    status_code=201,
    response_model=Announced,
    responses={200: {"model": Announced, "description": "The same was announced before"}},
    openapi_extra=_ANNOUNCEMENT,
)
def announce(
    body: Annotated[bytes, Depends(_body)],
    response: Response,
    settings: Config,
    database: Db,
    storage: Files,
    identity: Submitter,
) -> Announced:
    """Announces a store, and answers what the server lacks of it."""
    accepted = accept(read_announcement(body), settings, identity.name)
    with storage.steady(), database.write() as session:
        submission, new = uploads.create(session, settings, identity, accepted)
        lacks = filelists.lacking(session, storage, submission)
        announced = Announced(
            id=submission.id,
            state=State(submission.state),
            missing=[
                MissingFile(sha256=one.sha256, size=one.size, received=one.received)
                for one in lacks
            ],
        )
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/api/v1/submissions/{announced.id}"
    return announced


@router.get("", response_model=SubmissionPage)
def own(database: Db, identity: Reader, page: Page = 1) -> SubmissionPage:
    """Lists one's own submissions."""
    with database.read() as session:
        lines, total = newest(session, identity.user_id, (page - 1) * _ROWS, _ROWS)
    return SubmissionPage(submissions=lines, total=total, page=page, pages=-(-total // _ROWS))


@router.get("/{submission_id}", response_model=SubmissionView)
def show(
    submission_id: SubmissionId, database: Db, storage: Files, identity: Reader
) -> SubmissionView:
    """Says where a submission stands: state, reason, place in the queue, log, what came of it."""
    with database.read() as session:
        return view(session, storage, uploads.visible(session, identity, submission_id))


@router.get("/{submission_id}/files", response_model=FilePage)
def files(
    submission_id: SubmissionId, database: Db, storage: Files, identity: Reader, page: Page = 1
) -> FilePage:
    """Lists the files of a submission, and what has arrived of them."""
    with database.read() as session:
        submission = uploads.visible(session, identity, submission_id)
        found, total = filelists.listing(session, storage, submission, (page - 1) * _FILES, _FILES)
    return FilePage(
        files=[_file(one) for one in found], total=total, page=page, pages=-(-total // _FILES)
    )


@router.get("/{submission_id}/files/{path:path}", response_model=FileProgress)
def file(
    submission_id: SubmissionId,
    path: FilePath,
    response: Response,
    database: Db,
    storage: Files,
    identity: Reader,
) -> FileProgress:
    """Says how much of a file has arrived; also in the header ``Upload-Offset``."""
    with database.read() as session:
        submission = uploads.visible(session, identity, submission_id)
        found = filelists.progress(session, storage, submission, path)
    response.headers["Upload-Offset"] = str(found.received)
    return _file(found)


@router.put("/{submission_id}/files/{path:path}", response_model=FileProgress, openapi_extra=_BYTES)
async def send(
    submission_id: SubmissionId,
    path: FilePath,
    request: Request,
    database: Db,
    storage: Files,
    identity: Submitter,
) -> FileProgress:
    """Takes bytes of a file: those that follow what has arrived."""
    receiver = Receiver(database, storage, identity, submission_id, path)
    return _file(await receiver.receive(request))


@router.post("/{submission_id}/commit", response_model=SubmissionView)
def commit(
    submission_id: SubmissionId,
    settings: Config,
    database: Db,
    storage: Files,
    identity: Submitter,
) -> SubmissionView:
    """Queues a submission whose files are all there."""
    uploads.commit(database, settings, storage, identity, submission_id)
    return show(submission_id, database, storage, identity)


@router.post("/{submission_id}/cancel", response_model=SubmissionView)
def cancel(
    submission_id: SubmissionId, database: Db, storage: Files, identity: Submitter
) -> SubmissionView:
    """Ends a submission that is not finished."""
    uploads.cancel(database, storage, identity, submission_id)
    return show(submission_id, database, storage, identity)


@router.post("/{submission_id}/rerun", response_model=SubmissionView)
def rerun(
    submission_id: SubmissionId,
    settings: Config,
    database: Db,
    storage: Files,
    identity: Submitter,
) -> SubmissionView:
    """Queues a submission again that failed or was cancelled."""
    uploads.rerun(database, settings, storage, identity, submission_id)
    return show(submission_id, database, storage, identity)


def _file(found: filelists.Progress) -> FileProgress:
    return FileProgress(
        path=found.path,
        sha256=found.sha256,
        size=found.size,
        received=found.received,
        complete=found.complete,
    )
