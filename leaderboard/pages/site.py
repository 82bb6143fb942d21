"""Site: the pages that a board is browsed by; each has its twins below ``/api/v1``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.responses import RedirectResponse

from leaderboard import charts
from leaderboard.api.boards import (
    Benchmark,
    Context,
    changes_of,
    known_place,
    place_of,
    shown_of,
    tag_for,
)
from leaderboard.api.compare import asked_of
from leaderboard.api.compare import tag_for as tag_for_comparison
from leaderboard.api.deps import Anyone, Config, Db
from leaderboard.api.entries import EntryId, dossier_of, entry_tag
from leaderboard.benchmarks import known_benchmarks, one_benchmark
from leaderboard.boards import list_boards
from leaderboard.caching import Memory, memory, recall, respond, tag_of
from leaderboard.choices import FACETS, only_known
from leaderboard.comparing import put_side_by_side
from leaderboard.database import Database
from leaderboard.dossiers import visible_entry
from leaderboard.pages import assets, drawing, forms, progress, reference
from leaderboard.pages.rendering import POLICY, base_of, page, render, signed_in
from leaderboard.problems import Invalid

__all__ = ["render", "router"]

router = APIRouter(include_in_schema=False)

HTML = "text/html; charset=utf-8"

_HEADERS = {"Content-Security-Policy": POLICY}
_API = "/api/v1"

Kept = Annotated[Memory, Depends(memory)]


@router.get("/boards/{benchmark}/{context}.{ending}")
@router.get("/entries/{entry_id}.{ending}")
@router.get("/compare.{ending}")
def twin(request: Request) -> Response:
    """Leads from a page's address with an ending to its twin."""
    path = request.url.path.removesuffix(".json")
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"{_API}{path}{query}", 307)


@router.get("/boards/{benchmark}/{context}")
async def board_page(
    request: Request, benchmark: Benchmark, context: Context, database: Db, kept: Kept
) -> Response:
    """Shows a board."""
    place = known_place(request, kept, benchmark, context)
    if place is not None and signed_in(request) is None:
        quick = recall(request, _tag(request, tag_for(request, place)), headers=_HEADERS)
        if quick is not None:
            return quick
    return await run_in_threadpool(_board_page, request, benchmark, context, database, kept)


def _board_page(
    request: Request, benchmark: str, context: int, database: Database, kept: Memory
) -> Response:
    place = place_of(request, database, kept, benchmark, context)

    def make() -> dict[str, object]:
        shown = shown_of(request, database, kept, place)
        if shown.choice.whole:
            raise Invalid("page: all rows at once are for .csv, .json, .md and .tex; choose a page")
        return {
            "shown": shown,
            "facets": tuple(FACETS),
            "figures": tuple(charts.of_board(shown)),
            "drawing": drawing,
        }

    return _page(request, tag_for(request, place), "board.html", make)


@router.get("/")
def home(request: Request, database: Db, settings: Config, kept: Kept) -> Response:
    """Shows which boards there are, what this is and how to submit."""
    only_known(request.query_params.multi_items(), ())
    with database.read() as session:
        boards = list_boards(session, kept.standings)
    titles = {one.label: one.title for one in known_benchmarks(settings)}
    state = [(line.board.id, line.board.revision, line.board.ranked) for line in boards]
    return _page(request, state, "home.html", lambda: {"boards": boards, "titles": titles})


@router.get("/boards")
def boards_page() -> Response:
    """Leads to the list of boards."""
    return RedirectResponse("/#boards", 307)


@router.get("/boards/{benchmark}/{context}/changes")
def changes_page(
    request: Request, benchmark: Benchmark, context: Context, database: Db, kept: Kept
) -> Response:
    """Shows what a benchmark's version changed."""
    only_known(request.query_params.multi_items(), ("board",))
    place = place_of(request, database, kept, benchmark, context)
    return render(request, "changes.html", changes=changes_of(database, kept, place))


@router.get("/entries/{entry_id}")
def entry_page(
    request: Request, entry_id: EntryId, identity: Anyone, database: Db, kept: Kept
) -> Response:
    """Shows what the board has on an entry."""
    with database.read() as session:
        entry = visible_entry(session, identity, entry_id)
        tag = entry_tag(session, entry, request, identity)
        private = entry.visibility == "private"

    def make() -> dict[str, object]:
        dossier = dossier_of(request, database, kept, identity, entry_id)
        return {
            "dossier": dossier,
            "view": dossier.view,
            "figures": tuple(charts.of_entry(dossier)),
            "drawing": drawing,
        }

    return _page(request, tag, "entry.html", make, private=private)


@router.get("/compare")
def compare_page(request: Request, identity: Anyone, database: Db, kept: Kept) -> Response:
    """Shows entries side by side."""
    asked = asked_of(request, database, kept, identity)

    def make() -> dict[str, object]:
        side = put_side_by_side(asked, request.query_params)
        ids = ",".join(entry.id for entry in asked.entries)
        return {
            "side": side,
            "view": side.view,
            "ids": ids,
            "figures": tuple(charts.of_comparison(side)),
            "drawing": drawing,
        }

    tag = tag_for_comparison(request, asked)
    return _page(request, tag, "compare.html", make, private=not asked.public)


@router.get("/benchmarks")
def benchmarks_page(request: Request, settings: Config) -> Response:
    """Shows which benchmarks there are."""
    only_known(request.query_params.multi_items(), ())
    found = known_benchmarks(settings)
    return _page(request, found, "benchmarks.html", lambda: {"benchmarks": found})


@router.get("/benchmarks/{benchmark}")
def benchmark_page(
    request: Request, benchmark: Benchmark, settings: Config, database: Db, kept: Kept
) -> Response:
    """Shows a benchmark: its definition, windows, digest, and how to submit."""
    only_known(request.query_params.multi_items(), ())
    found = one_benchmark(settings, benchmark)
    with database.read() as session:
        boards = [
            line for line in list_boards(session, kept.standings) if line.board.label == found.label
        ]
    state = (found, [line.board for line in boards])
    return _page(request, state, "benchmark.html", lambda: {"view": found, "boards": boards})


# Routes are tried in order: those that most readers ask for come first.
for part in (assets, progress, reference, forms):
    router.include_router(part.router)


def _page(
    request: Request,
    state: object,
    name: str,
    make: Callable[[], dict[str, object]],
    *,
    private: bool = False,
) -> Response:
    """Returns a page, unless the reader has it already; for a person it is made for them alone."""
    return respond(
        request,
        _tag(request, state),
        lambda: (page(request, name, **make()), HTML),
        private=private or signed_in(request) is not None,
        headers=_HEADERS,
    )


def _tag(request: Request, state: object) -> str:
    """Returns the tag of a page: of what it shows, to whom, and where."""
    identity = signed_in(request)
    who = None if identity is None else (identity.user_id, identity.name, identity.is_admin)
    return tag_of("page", state, who, base_of(request), request.url.path, request.url.query)
