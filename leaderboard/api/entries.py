"""Entries: ``/entries/{id}``, its scores, charts and downloads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select
from sqlalchemy.orm import Session, undefer

from leaderboard import charts
from leaderboard.api.boards import JSON, TWIN, ending_of
from leaderboard.api.deps import Anyone, Db
from leaderboard.api.documented import CHART, ENTRY, UNCHANGED, file_of, queries
from leaderboard.auth import Identity
from leaderboard.caching import Memory, memory, respond, tag_of
from leaderboard.choices import only_known
from leaderboard.database import Database
from leaderboard.dossiers import Dossier, may_change, open_dossier, visible_entry
from leaderboard.entry_views import EntryView
from leaderboard.formats import TWINS, Cell, Heading, Table, to_csv
from leaderboard.intake import sheet_of
from leaderboard.problems import Missing
from leaderboard.standings import Number
from leaderboard.tables import Entry, Result
from zapeval.reports.figures.vega import as_text

router = APIRouter(prefix="/entries", tags=["entries"])

QUERY = tuple(ENTRY)
TOML, BYTES = "application/toml", "application/octet-stream"

Kept = Annotated[Memory, Depends(memory)]
EntryId = Annotated[str, Path(max_length=60)]


class Score(BaseModel):
    """One number, the mean over seeds."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    series: str
    step: int
    metric: str
    value: float | None
    low: float | None
    high: float | None


class Scores(BaseModel):
    """Every score of one version of an entry."""

    model_config = ConfigDict(extra="forbid")

    entry: str
    version: int
    scores: tuple[Score, ...]


@router.get(
    "/{entry_id}.{ending}",
    response_class=Response,
    responses=TWIN,
    openapi_extra=queries(ENTRY),
)
def entry_twin(
    request: Request, entry_id: EntryId, ending: str, identity: Anyone, database: Db, kept: Kept
) -> Response:
    """Returns an entry's scores by series as ``csv``, ``md`` or ``tex``."""
    ending_of(ending)

    def make(dossier: Dossier) -> tuple[str, str]:
        media, write = TWINS[ending]
        return write(dossier.table), media

    return _answer(request, (database, kept, identity), entry_id, make)


@router.get(
    "/{entry_id}", response_model=EntryView, responses=UNCHANGED, openapi_extra=queries(ENTRY)
)
def entry(
    request: Request, entry_id: EntryId, identity: Anyone, database: Db, kept: Kept
) -> Response:
    """Returns what the board has on an entry: fact sheet, versions, scores by series, findings."""

    def make(dossier: Dossier) -> tuple[str, str]:
        return dossier.view.model_dump_json(), JSON

    return _answer(request, (database, kept, identity), entry_id, make)


@router.get(
    "/{entry_id}/scores", response_model=Scores, responses=UNCHANGED, openapi_extra=queries(ENTRY)
)
def scores(
    request: Request, entry_id: EntryId, identity: Anyone, database: Db, kept: Kept
) -> Response:
    """Returns every score of an entry: each series and average, step and metric."""

    def make(dossier: Dossier) -> tuple[str, str]:
        return _scores(dossier, database, kept, identity).model_dump_json(), JSON

    return _answer(request, (database, kept, identity), entry_id, make)


@router.get(
    "/{entry_id}/scores.csv",
    response_class=Response,
    responses=UNCHANGED | file_of(TWINS["csv"][0], what="One row a score"),
    openapi_extra=queries(ENTRY),
)
def scores_csv(
    request: Request, entry_id: EntryId, identity: Anyone, database: Db, kept: Kept
) -> Response:
    """Returns every score of an entry as CSV."""

    def make(dossier: Dossier) -> tuple[str, str]:
        found = _scores(dossier, database, kept, identity)
        return to_csv(_long(dossier, found.scores)), TWINS["csv"][0]

    return _answer(request, (database, kept, identity), entry_id, make)


@router.get("/{entry_id}/charts/{name}", responses=CHART, openapi_extra=queries(ENTRY))
def entry_chart(
    request: Request, entry_id: EntryId, name: str, identity: Anyone, database: Db, kept: Kept
) -> Response:
    """Returns a chart of an entry as Vega-Lite: ``steps``, ``brain``."""

    def make(dossier: Dossier) -> tuple[str, str]:
        beside = beside_of(dossier, database, kept)
        return as_text(charts.draw(charts.of_entry(dossier, beside), name)), JSON

    return _answer(request, (database, kept, identity), entry_id, make)


@router.get(
    "/{entry_id}/fact-sheet.toml",
    response_class=Response,
    responses=UNCHANGED | file_of(TOML, what="A fact sheet"),
    openapi_extra=queries(ENTRY),
)
def fact_sheet(
    request: Request, entry_id: EntryId, identity: Anyone, database: Db, kept: Kept
) -> Response:
    """Returns what the authors say of an entry, as TOML."""

    def make(dossier: Dossier) -> tuple[str, str]:
        sheet = sheet_of(dossier.view.fact_sheet)
        return sheet.to_toml(), TOML

    return _answer(request, (database, kept, identity), entry_id, make)


@router.get("/{entry_id}/results/{result_id}/scorecard.json")
def scorecard(entry_id: EntryId, result_id: str, identity: Anyone, database: Db) -> Response:
    """Returns a scorecard, byte by byte as ``zapeval score`` writes it."""
    with database.read() as session:
        entry, result = result_of(session, identity, entry_id, result_id)
        return _file(entry, result.card.encode(), JSON, f"{entry.slug}-{result.seed or '0'}.json")


@router.get(
    "/{entry_id}/results/{result_id}/windows.npz",
    response_class=Response,
    responses=file_of(BYTES, what="Sums a window, arrays of NumPy"),
)
def sums(entry_id: EntryId, result_id: str, identity: Anyone, database: Db) -> Response:
    """Returns the sums a window behind a scorecard, which ``zapeval compare`` needs."""
    with database.read() as session:
        entry, result = result_of(session, identity, entry_id, result_id)
        if result.sums is None:
            raise Missing(f"results/{result_id:.60}/windows.npz: no sums were kept")
        name = json.loads(result.card).get("sums", {}).get("file", "windows.npz")
        return _file(entry, result.sums, BYTES, str(name))


@router.get("/{entry_id}/results/{result_id}/receipt.json")
def receipt(entry_id: EntryId, result_id: str, identity: Anyone, database: Db) -> Response:
    """Returns the signed receipt of a scorecard."""
    with database.read() as session:
        entry, result = result_of(session, identity, entry_id, result_id)
        if result.receipt is None:
            raise Missing(f"results/{result_id:.60}/receipt.json: it has no receipt")
        body = json.dumps(result.receipt, indent=1, allow_nan=False).encode() + b"\n"
        return _file(entry, body, JSON, f"{entry.slug}-{result.seed or '0'}.receipt.json")


def result_of(
    session: Session, identity: Identity | None, entry_id: str, result_id: str
) -> tuple[Entry, Result]:
    """Returns a result with its scorecard and sums, of an entry that somebody may see.

    Raises:
        Missing: There is none; also where the entry is withdrawn or somebody else's.
    """
    entry = visible_entry(session, identity, entry_id)
    asked = select(Result).where(Result.id == result_id, Result.entry_id == entry_id)
    found = session.scalar(asked.options(undefer(Result.card), undefer(Result.sums)))
    closed = entry.visibility == "withdrawn" and not may_change(entry, identity)
    if found is None or closed:
        raise Missing(f"entries/{entry_id:.60}/results/{result_id:.60}: no such result")
    return entry, found


def dossier_of(
    request: Request,
    database: Database,
    kept: Memory,
    identity: Identity | None,
    entry_id: str,
) -> Dossier:
    """Returns the dossier that a request asks for."""
    only_known(request.query_params.multi_items(), QUERY)
    with database.read() as session:
        entry = visible_entry(session, identity, entry_id)
        return open_dossier(session, kept.standings, entry, identity, request.query_params)


def beside_of(dossier: Dossier, database: Database, kept: Memory) -> list[Dossier]:
    """Returns what an entry's curves stand beside: the baseline, and the best, of its board."""
    place = dossier.view.board
    query = {"metric": dossier.view.metric}
    with database.read() as session:
        standings = kept.standings.of(session, place.id, place.revision, place.ranked)
        wanted = [row for row in standings.rows if row.slug == standings.baseline]
        wanted += [row for row in standings.rows if row.rank == 1][:1]
        ids = dict.fromkeys(row.entry for row in wanted if row.entry != dossier.view.id)
        found = [visible_entry(session, None, one) for one in ids]
        opened = [open_dossier(session, kept.standings, one, None, query) for one in found]
    return [one for one in opened if one.lines == dossier.lines]


def _answer(
    request: Request,
    at: tuple[Database, Memory, Identity | None],
    entry_id: str,
    make: Callable[[Dossier], tuple[str, str]],
) -> Response:
    """Returns what is made of a dossier, unless the reader has it already."""
    database, kept, identity = at
    only_known(request.query_params.multi_items(), QUERY)
    with database.read() as session:
        entry = visible_entry(session, identity, entry_id)
        tag = entry_tag(session, entry, request, identity)
        private = identity is not None or entry.visibility == "private"
    return respond(
        request,
        tag,
        lambda: make(dossier_of(request, database, kept, identity, entry_id)),
        private=private,
    )


def entry_tag(
    session: Session, entry: Entry, request: Request, identity: Identity | None, *parts: object
) -> str:
    """Returns the tag of an answer about an entry: it changes with its board, and with itself."""
    newest = session.execute(
        select(func.count(Result.id), func.max(Result.created)).where(Result.entry_id == entry.id)
    ).one()
    said = (entry.visibility, entry.verified, entry.flag, entry.withdrawn, entry.name, *newest)
    who = None if identity is None else (identity.user_id, identity.is_admin)
    board = entry.board
    state = (board.id, board.revision, board.ranked)
    return tag_of(entry.id, said, state, who, request.url.path, request.url.query, *parts)


def _scores(
    dossier: Dossier, database: Database, kept: Memory, identity: Identity | None
) -> Scores:
    """Returns the scores of every metric that an entry has."""
    view = dossier.view
    found = []
    for metric in view.metrics if view.scores else ():
        one = dossier
        if metric != view.metric:
            query = {"metric": metric, "version": str(view.version) if view.version else ""}
            with database.read() as session:
                entry = visible_entry(session, identity, view.id)
                one = open_dossier(session, kept.standings, entry, identity, query)
        for row in one.view.scores:
            found += [_score(row.series, step, metric, n) for step, n in row.steps.items()]
    return Scores(entry=view.id, version=view.version, scores=tuple(found))


def _score(series: str, step: int, metric: str, number: Number) -> Score:
    return Score(series=series, step=step, metric=metric, **number.model_dump())


def _long(dossier: Dossier, found: Sequence[Score]) -> Table:
    """Returns scores as a table of one row each."""
    names = [name for name in Score.model_fields if name not in ("low", "high")]
    return Table(
        title=dossier.table.title,
        headings=tuple(
            Heading(
                key=name, text=name, left=name in ("series", "metric"), interval=name == "value"
            )
            for name in names
        ),
        rows=tuple(
            tuple(
                Cell(text="", value=getattr(score, name), low=score.low, high=score.high)
                for name in names
            )
            for score in found
        ),
        identity=tuple(one for one in dossier.table.identity if one[0] != "metric"),
    )


def _file(entry: Entry, body: bytes, media: str, name: str) -> Response:
    """Returns bytes to be saved under a name."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    caching = "public, max-age=300" if entry.visibility == "public" else "private, no-store"
    headers = {
        "Content-Disposition": f'attachment; filename="{plain}"',
        "Cache-Control": caching,
        "Vary": "Authorization, Cookie",
    }
    return Response(body, media_type=media, headers=headers)
