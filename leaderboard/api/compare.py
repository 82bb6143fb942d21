"""Comparisons: ``/compare?entries=a,b``, its twins and charts."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from leaderboard import charts
from leaderboard.api.boards import JSON, TWIN, ending_of
from leaderboard.api.deps import Anyone, Db
from leaderboard.api.documented import CHART, SIDES, UNCHANGED, queries
from leaderboard.auth import Identity
from leaderboard.caching import Memory, memory, respond, tag_of
from leaderboard.choices import one_of
from leaderboard.comparing import Asked, Side, ask, chosen_ids, put_side_by_side
from leaderboard.comparison_views import ComparisonView
from leaderboard.database import Database
from leaderboard.formats import TWINS
from zapeval.reports.figures.vega import as_text

router = APIRouter(prefix="/compare", tags=["compare"])

PARTS = ("entries", "pairs")
"""The two tables of a comparison."""

Kept = Annotated[Memory, Depends(memory)]


@router.get(
    "",
    response_model=ComparisonView,
    responses=UNCHANGED,
    openapi_extra=queries(SIDES, "entries"),
)
def comparison(request: Request, identity: Anyone, database: Db, kept: Kept) -> Response:
    """Compares 2 to 20 entries of a board, on any metric, series and step."""
    asked = asked_of(request, database, kept, identity)

    def make() -> tuple[str, str]:
        return put_side_by_side(asked, request.query_params).view.model_dump_json(), JSON

    return respond(request, tag_for(request, asked), make, private=not asked.public)


@router.get(
    ".{ending}",
    response_class=Response,
    responses=TWIN,
    openapi_extra=queries(SIDES | {"part": "`entries` or `pairs`"}, "entries"),
)
def comparison_twin(
    request: Request, ending: str, identity: Anyone, database: Db, kept: Kept
) -> Response:
    """Returns a comparison as ``csv``, ``md`` or ``tex``; ``part=pairs`` has the differences."""
    media = ending_of(ending)
    part = one_of(request.query_params, "part", PARTS)
    asked = asked_of(request, database, kept, identity)

    def make() -> tuple[str, str]:
        side = put_side_by_side(asked, request.query_params)
        return TWINS[ending][1](side.table if part == "entries" else side.pairs), media

    return respond(request, tag_for(request, asked), make, private=not asked.public)


@router.get("/charts/{name}", responses=CHART, openapi_extra=queries(SIDES, "entries"))
def comparison_chart(
    request: Request, name: str, identity: Anyone, database: Db, kept: Kept
) -> Response:
    """Returns a chart of a comparison as Vega-Lite: ``ranking``, ``steps``, ``skill``, ``cost``."""
    asked = asked_of(request, database, kept, identity)

    def make() -> tuple[str, str]:
        side: Side = put_side_by_side(asked, request.query_params)
        return as_text(charts.draw(charts.of_comparison(side), name)), JSON

    return respond(request, tag_for(request, asked), make, private=not asked.public)


def asked_of(
    request: Request, database: Database, kept: Memory, identity: Identity | None
) -> Asked:
    """Returns the entries that a request asks to compare."""
    query = [one for one in request.query_params.multi_items() if one[0] != "part"]
    ids = chosen_ids(query)
    with database.read() as session:
        return ask(session, kept.standings, identity, ids)


def tag_for(request: Request, asked: Asked, *parts: object) -> str:
    """Returns the tag of an answer about a comparison."""
    return tag_of(asked.identity, request.url.path, request.url.query, *parts)
