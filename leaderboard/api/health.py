"""Health: what a supervisor asks: does it live, can it work, what are the figures."""

from __future__ import annotations

import logging
import shutil
from importlib.metadata import version

from fastapi import APIRouter, Request, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from leaderboard.api.deps import Config, Db
from leaderboard.api.documented import file_of
from leaderboard.api.shapes import Health, Ready
from leaderboard.database import Database
from leaderboard.metrics import CONTENT_TYPE
from leaderboard.migrations import is_current
from leaderboard.problems import Unavailable
from leaderboard.settings import Settings

router = APIRouter(tags=["health"])

ROOM = 256 << 20
"""Bytes that have to be free for the service to take anything."""

_VERSION = version("zapeval")
_log = logging.getLogger(__name__)


@router.get("/health")
async def health() -> Health:
    """Answers whenever the process lives."""
    return Health(status="ok", version=_VERSION)


@router.get("/ready")
def ready(database: Db, settings: Config) -> Ready:
    """Answers 503 where the database, its tables or room on the disk is missing."""
    reachable, current = _database(database)
    found = Ready(database=reachable, migrations=current, disk=_has_room(settings))
    missing = [name for name, there in found if not there]
    if missing:
        raise Unavailable(f"not ready: {', '.join(missing)}", **found.model_dump())
    return found


@router.get(
    "/metrics",
    response_class=Response,
    responses=file_of(CONTENT_TYPE, what="Figures in the text format of Prometheus"),
)
def metrics(request: Request) -> Response:
    """Returns figures for Prometheus."""
    return Response(request.app.state.metrics.text(), media_type=CONTENT_TYPE)


def _database(database: Database) -> tuple[bool, bool]:
    try:
        with database.read() as session:
            session.execute(text("SELECT 1"))
        return True, is_current(database)
    except SQLAlchemyError:
        _log.warning("the database does not answer", exc_info=True)
        return False, False


def _has_room(settings: Settings) -> bool:
    try:
        return shutil.disk_usage(settings.data_dir).free >= ROOM
    except OSError:
        return False
