"""Boards: ``/boards``, a board's standings and their twins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict

from leaderboard import charts
from leaderboard.api.deps import Db
from leaderboard.api.documented import BOARD, CHART, UNCHANGED, file_of, queries
from leaderboard.boards import BoardLine, BoardView, Place, Shown, find_board, list_boards, show
from leaderboard.boards import neighbours as others_of
from leaderboard.caching import Memory, memory, recall, respond, tag_of
from leaderboard.choices import only_known, read_choice
from leaderboard.columns import columns_of
from leaderboard.database import Database
from leaderboard.formats import TWINS
from leaderboard.problems import Missing
from leaderboard.standings import Number
from zapeval.reports.figures.vega import as_text

router = APIRouter(prefix="/boards", tags=["boards"])

JSON = "application/json"
TWIN = UNCHANGED | file_of(*(media for media, _ in TWINS.values()), what="The same as a table")

Kept = Annotated[Memory, Depends(memory)]
Benchmark = Annotated[str, Path(max_length=100, description="`id@version`, or `id` for its newest")]
Context = Annotated[int, Path(ge=1, le=1_000_000, description="context length in frames")]


class Boards(BaseModel):
    """Every board."""

    model_config = ConfigDict(extra="forbid")

    boards: tuple[BoardLine, ...]


class Change(BaseModel):
    """An entry that is on both boards; ``difference`` is the new score less the old one."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    slug: str
    name: str
    rank_before: int | None
    rank_after: int | None
    before: Number
    after: Number
    difference: float | None


class Changes(BaseModel):
    """What a benchmark's version changed."""

    model_config = ConfigDict(extra="forbid")

    before: Place
    after: Place
    entries: tuple[Change, ...]


@router.get("")
def boards(request: Request, database: Db, kept: Kept) -> Boards:
    """Lists every board."""
    only_known(request.query_params.multi_items(), ())
    with database.read() as session:
        return Boards(boards=list_boards(session, kept.standings))


@router.get(
    "/{benchmark}/{context}.{ending}",
    response_class=Response,
    responses=TWIN,
    openapi_extra=queries(BOARD),
)
async def board_twin(
    request: Request, benchmark: Benchmark, context: Context, ending: str, database: Db, kept: Kept
) -> Response:
    """Returns a board as ``csv``, ``md`` or ``tex``: the same rows and columns."""
    return await _twin(request, database, kept, (benchmark, context), ending)


@router.get(
    "/{benchmark}/{context}",
    response_model=BoardView,
    responses=UNCHANGED,
    openapi_extra=queries(BOARD),
)
async def board(
    request: Request, benchmark: Benchmark, context: Context, database: Db, kept: Kept
) -> Response:
    """Returns a board: sorted, filtered, a page of 100 rows at a time."""
    return await _twin(request, database, kept, (benchmark, context), "json")


@router.get("/{benchmark}/{context}/charts/{name}", responses=CHART, openapi_extra=queries(BOARD))
def board_chart(
    request: Request, benchmark: Benchmark, context: Context, name: str, database: Db, kept: Kept
) -> Response:
    """Returns a chart of a board as Vega-Lite: ``ranking``, ``steps``, ``cost``."""
    place = place_of(request, database, kept, benchmark, context)

    def make() -> tuple[str, str]:
        shown = shown_of(request, database, kept, place)
        return as_text(charts.draw(charts.of_board(shown), name)), JSON

    return respond(request, tag_for(request, place, "chart", name), make)


@router.get("/{benchmark}/{context}/changes", openapi_extra=queries({"board": BOARD["board"]}))
def changes(
    request: Request, benchmark: Benchmark, context: Context, database: Db, kept: Kept
) -> Changes:
    """Returns how the entries of a board stand on the board of the version before."""
    only_known(request.query_params.multi_items(), ("board",))
    place = place_of(request, database, kept, benchmark, context)
    return changes_of(database, kept, place)


def known_place(request: Request, kept: Memory, benchmark: str, context: int) -> Place | None:
    """Returns the board that a request is about, where it was found a moment ago."""
    return kept.place((benchmark, context, request.query_params.get("board", "")))


def place_of(
    request: Request, database: Database, kept: Memory, benchmark: str, context: int
) -> Place:
    """Returns the board that a request is about."""
    board = request.query_params.get("board", "")
    with database.read() as session:
        place = find_board(session, benchmark, context, board)
    return kept.found((benchmark, context, board), place)


def tag_for(request: Request, place: Place, *parts: object) -> str:
    """Returns the tag of an answer about a board and a query."""
    state = (place.id, place.revision, place.ranked)
    return tag_of(*state, request.url.path, request.url.query, *parts)


def shown_of(request: Request, database: Database, kept: Memory, place: Place) -> Shown:
    """Returns what a board shows for the query of a request."""
    with database.read() as session:
        standings = kept.standings.of(session, place.id, place.revision, place.ranked)
        others = others_of(session, place)
    columns = columns_of(standings)
    sortable = [column.key for column in columns if column.order]
    choice = read_choice(request.query_params.multi_items(), sortable)
    return show(place, others, standings, columns, choice)


def changes_of(database: Database, kept: Memory, place: Place) -> Changes:
    """Returns what a version changed.

    Raises:
        Missing: There is no board of an earlier version.
    """
    with database.read() as session:
        earlier = [one for one in others_of(session, place) if one.version < place.version]
        if not earlier:
            raise Missing(f"boards/{place.path}/changes: there is no board of an earlier version")
        before = earlier[0]
        old = kept.standings.of(session, before.id, before.revision, before.ranked)
        new = kept.standings.of(session, place.id, place.revision, place.ranked)
    rows = {row.slug: row for row in old.rows}
    found = [(rows[row.slug], row) for row in new.rows if row.slug in rows]
    return Changes(
        before=before,
        after=place,
        entries=tuple(
            Change(
                slug=after.slug,
                name=after.name,
                rank_before=was.rank,
                rank_after=after.rank,
                before=was.summary,
                after=after.summary,
                difference=_less(after.summary, was.summary),
            )
            for was, after in found
        ),
    )


def ending_of(ending: str) -> str:
    """Returns the type of a twin.

    Raises:
        Missing: There is no such twin; lists those that there are.
    """
    if ending not in TWINS:
        raise Missing(f".{ending:.20}: no such twin; there is: .{', .'.join(['json', *TWINS])}")
    return TWINS[ending][0]


async def _twin(
    request: Request, database: Database, kept: Memory, at: tuple[str, int], ending: str
) -> Response:
    if ending != "json":
        ending_of(ending)
    place = known_place(request, kept, *at)
    quick = None if place is None else recall(request, tag_for(request, place, ending))
    if quick is not None:
        return quick
    return await run_in_threadpool(_made, request, database, kept, at, ending)


def _made(
    request: Request, database: Database, kept: Memory, at: tuple[str, int], ending: str
) -> Response:
    place = place_of(request, database, kept, *at)

    def make() -> tuple[str, str]:
        shown = shown_of(request, database, kept, place)
        if ending == "json":
            return shown.view.model_dump_json(), JSON
        media, write = TWINS[ending]
        return write(shown.table), media

    return respond(request, tag_for(request, place, ending), make)


def _less(after: Number, before: Number) -> float | None:
    if after.value is None or before.value is None:
        return None
    return after.value - before.value
