"""The application: settings in, a web service out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from leaderboard.answers import PROBLEM, SCHEMA, problem_of, respond, unexpected
from leaderboard.api import (
    admin,
    benchmarks,
    boards,
    compare,
    entries,
    forecasters,
    health,
    keys,
    moderation,
    people,
    submissions,
    tokens,
)
from leaderboard.bodies import Bodies, sound
from leaderboard.database import Database
from leaderboard.heads import Heads
from leaderboard.metrics import Metrics
from leaderboard.migrations import is_current, upgrade
from leaderboard.pages import signing, site
from leaderboard.problems import Problem
from leaderboard.settings import API, Settings
from leaderboard.shell import Shell, log_error
from leaderboard.storage import Storage
from leaderboard.visitors import Gate
from zapeval.errors import ZapevalError

NOUNS = (
    boards,
    entries,
    compare,
    benchmarks,
    forecasters,
    submissions,
    tokens,
    people,
    moderation,
    admin,
    keys,
    health,
)
"""What the API has a router for."""

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": "What is wrong, and what to do (RFC 9457)",
        "content": {PROBLEM: {"schema": SCHEMA}},
    }
    for status in ("4XX", "5XX")
}


def create_app(settings: Settings) -> FastAPI:
    """Returns the web service of a board: API under ``/api/v1``, pages under ``/``."""
    app = FastAPI(
        title=settings.title,
        version=version("zapeval"),
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.settings = settings
    app.state.database = database = Database(settings)
    app.state.storage = Storage(settings)
    app.state.metrics = metrics = Metrics(database)
    _include(app)
    # The last added is the outermost.
    app.add_middleware(Gate, settings=settings, database=database)
    app.add_middleware(Bodies, settings=settings)
    app.add_middleware(Heads)
    app.add_middleware(Shell, metrics=metrics)
    for error in (Problem, ZapevalError, RequestValidationError, HTTPException):
        app.add_exception_handler(error, _answer)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    database: Database = app.state.database
    if not await run_in_threadpool(is_current, database):
        await run_in_threadpool(upgrade, database)
    yield
    await run_in_threadpool(database.close)


def _include(app: FastAPI) -> None:
    checked = [Depends(sound)]
    # Routes are tried in order: what most readers ask for comes first.
    for page in (site, signing):
        app.include_router(page.router, dependencies=checked)
    for noun in NOUNS:
        app.include_router(noun.router, prefix=API, dependencies=checked, responses=PROBLEMS)
    # Supervisors look for these where no version is.
    app.include_router(health.router, include_in_schema=False)


async def _answer(request: Request, error: Exception) -> Response:
    """Returns the answer to a request that ended in an error."""
    # The web framework covers what reading a body raised with an error of its own.
    cause = error.__cause__ if isinstance(error, HTTPException) else None
    known = cause if isinstance(cause, Problem) else problem_of(error)
    if unexpected(known):
        log_error(request, error)
    return respond(request, known)
