"""Boards: which there are, and what one shows for a reader's choice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, final

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from leaderboard.choices import ROWS, Choice
from leaderboard.columns import Column, Sortable
from leaderboard.formats import Table
from leaderboard.problems import Invalid, Missing
from leaderboard.standings import Shelf, Standing, Standings
from leaderboard.tables import Board
from zapeval.reports.tables import shortened


@final
class Place(BaseModel):
    """A board's address and identity.

    Attributes:
        id: Its id.
        benchmark: Id of the benchmark.
        version: Version of the benchmark.
        context: Context length in frames.
        digest: Digest of the benchmark.
        data: Digest of the target frames.
        main: Whether it is of the server's own recording.
        revision: Counts every change of what it shows.
        ranked: The revision that its ranks are of.
        created: When it was opened.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    benchmark: str
    version: int
    context: int
    digest: str
    data: str
    main: bool
    revision: int
    ranked: int
    created: datetime

    @property
    def label(self) -> str:
        """Id and version of the benchmark."""
        return f"{self.benchmark}@{self.version}"

    @property
    def path(self) -> str:
        """Its address, after that of all boards."""
        return f"{self.label}/{self.context}"


@final
class BoardLine(BaseModel):
    """A board in a list of them.

    Attributes:
        board: The board.
        path: Its address below ``/boards`` and ``/api/v1/boards``.
        metric: What it ranks by.
        entries: How many entries it shows.
        ranked: How many of them are ranked.
        best: The first ranked entry, or None.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    board: Place
    path: str
    metric: str
    entries: int
    ranked: int
    best: Standing | None


@final
class ColumnLine(BaseModel):
    """A column of a board; ``sortable`` says whether ``sort`` takes its key."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    heading: str
    about: str
    sortable: bool


@final
class BoardView(BaseModel):
    """What a board shows for a choice; the page and its twins are made of it.

    Attributes:
        board: The board.
        others: Boards of the same benchmark and context length: other versions, other data.
        metric: What it ranks by.
        steps: Steps of the summary.
        baseline: What skill and wins are against, or None.
        method: How intervals were made, or None.
        reason: Why there are none, or None.
        sort: Column, with ``-`` before it where the largest come first.
        filters: Facets that were asked for.
        text: Part of a name that was asked for.
        page: Page from 1; 0 is all rows.
        pages: Number of pages.
        total: Entries on the board.
        matching: Entries that the filters keep.
        columns: What is shown of each.
        rows: The entries of the page.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    board: Place
    others: tuple[Place, ...]
    metric: str
    steps: tuple[int, ...]
    baseline: str | None
    method: str | None
    reason: str | None
    sort: str
    filters: tuple[str, ...]
    text: str
    page: int
    pages: int
    total: int
    matching: int
    columns: tuple[ColumnLine, ...]
    rows: tuple[Standing, ...]


@final
@dataclass(frozen=True, kw_only=True)
class Shown:
    """A view with the table that is drawn of it."""

    view: BoardView
    choice: Choice
    standings: Standings
    table: Table


_PLACE = tuple(getattr(Board, name) for name in Place.model_fields)


def list_boards(session: Session, shelf: Shelf) -> tuple[BoardLine, ...]:
    """Returns every board, by benchmark, newest version first, and context length."""
    found = sorted(_shown(_places(session)), key=_order)
    return tuple(_line(place, shelf.of(session, *_state(place))) for place in found)


def find_board(session: Session, benchmark: str, context: int, board: str = "") -> Place:
    """Returns the board at an address.

    Args:
        session: A session.
        benchmark: ``id@version``, or an id for its newest version.
        context: Context length in frames.
        board: Id of one of several boards at that address; "" is that of the server's recording.

    Raises:
        Missing: There is none; lists those of the benchmark.
        Invalid: There is no board of that id at this address; lists the known ones.
    """
    identifier, at, version = benchmark.partition("@")
    places = _places(session, Board.benchmark == identifier)
    here = [
        place
        for place in places
        if place.context == context and (not at or str(place.version) == version)
    ]
    if not here:
        known = ", ".join(sorted({place.path for place in places})) or "none of that benchmark"
        raise Missing(f"boards/{benchmark:.80}/{context}: no such board; there is: {known}")
    if not board:
        return min(here, key=_order)
    for place in here:
        if place.id == board:
            return place
    ids = [place.id for place in here]
    listed = ", ".join(ids)
    raise Invalid(f"board: {board!r:.60} is none of this address; known: {listed}", known=ids)


def neighbours(session: Session, place: Place) -> tuple[Place, ...]:
    """Returns the other boards of a benchmark and context length, newest version first."""
    at = (Board.benchmark == place.benchmark, Board.context == place.context)
    found = sorted(_shown(_places(session, *at)), key=_order)
    return tuple(one for one in found if one.id != place.id)


def show(
    place: Place,
    others: Sequence[Place],
    standings: Standings,
    columns: Sequence[Column],
    choice: Choice,
) -> Shown:
    """Returns what a board shows for a choice.

    Args:
        place: The board.
        others: Other boards of its benchmark and context length.
        standings: What ranking made of it.
        columns: Its columns.
        choice: The choice.

    Raises:
        Missing: It has no such page.
    """
    kept = in_order([row for row in standings.rows if choice.keeps(row)], columns, choice)
    pages = max(1, -(-len(kept) // ROWS))
    if choice.page > pages:
        raise Missing(f"page {choice.page}: there are {pages} pages of {ROWS} rows")
    start = 0 if choice.whole else (choice.page - 1) * ROWS
    rows = tuple(kept if choice.whole else kept[start : start + ROWS])
    view = BoardView(
        board=place,
        others=tuple(others),
        metric=standings.metric,
        steps=standings.steps,
        baseline=standings.baseline,
        method=standings.method,
        reason=standings.reason,
        sort=("-" if choice.descending else "") + choice.sort,
        filters=choice.filters,
        text=choice.text,
        page=choice.page,
        pages=pages,
        total=len(standings.rows),
        matching=len(kept),
        columns=tuple(_column_line(column) for column in columns),
        rows=rows,
    )
    table = Table(
        title=title_of(place, standings),
        headings=tuple(column.heading for column in columns),
        rows=tuple(tuple(column.cell(row) for column in columns) for row in rows),
        notes=notes_of(standings),
        identity=identity_of(place),
    )
    return Shown(view=view, choice=choice, standings=standings, table=table)


def in_order(rows: Sequence[Standing], columns: Sequence[Column], choice: Choice) -> list[Standing]:
    """Returns rows in the chosen order; those without a number there are last, either way."""
    if choice.sort == "rank":
        # Reported rows stand where their numbers would, so the board's own order is kept.
        return list(rows)[::-1] if choice.descending else list(rows)
    order = next(column.order for column in columns if column.key == choice.sort)
    known: list[tuple[Sortable, Standing]] = []
    unknown: list[Standing] = []
    for row in rows:
        value = None if order is None else order(row)
        known.append((value, row)) if value is not None else unknown.append(row)
    known.sort(key=lambda one: one[0], reverse=choice.descending)
    return [*(row for _, row in known), *unknown]


def title_of(place: Place, standings: Standings) -> str:
    """Returns what a board is of."""
    return f"Average {standings.metric} on {place.label}, context {place.context}"


def identity_of(place: Place) -> tuple[tuple[str, Any], ...]:
    """Returns what every number of a board is of."""
    return (
        ("benchmark", place.label),
        ("context", place.context),
        ("benchmark_digest", shortened(place.digest)),
        ("data", shortened(place.data)),
        ("revision", place.revision),
    )


def notes_of(standings: Standings) -> tuple[str, ...]:
    """Returns what a board's columns mean, and why some have no numbers."""
    steps, said = ", ".join(map(str, standings.steps)), []
    said.append(f"{standings.metric}: mean of the average over the steps {steps}; lower is better")
    if standings.reason:
        said.append(f"no intervals, rank intervals or ties: {standings.reason}")
    else:
        said.append(f"intervals: 95 % ({standings.method or 'none yet'})")
        said.append("ranks: 95 % interval of the rank, from all paired differences at once")
        said.append(
            "tie: entries of one letter can't be told from the best of that letter, by all its "
            "paired differences at once"
        )
    if any(row.two_se is not None for row in standings.rows):
        said.append("seeds: their number, and two standard errors of the mean over them")
    if standings.baseline is not None:
        name = standings.baseline
        said.append(f"skill: 1 - score / that of {name}")
        said.append(f"wins: share of series x steps at which {name} is beaten")
    if any(row.mark == "reported" for row in standings.rows):
        said.append("reported: published numbers, not scored here and never ranked")
    if any(row.mark == "partial" for row in standings.rows):
        said.append("partial: neurons are missing; shown and never ranked")
    return tuple(said)


def _places(session: Session, *where: ColumnElement[bool]) -> list[Place]:
    rows = session.execute(select(*_PLACE).where(*where)).mappings()
    return [Place.model_construct(**row) for row in rows]


def _shown(places: Sequence[Place]) -> Iterator[Place]:
    """Yields boards; that of published numbers alone only where these stand on no other."""
    scored = {(place.digest, place.context) for place in places if place.data}
    yield from (one for one in places if one.data or (one.digest, one.context) not in scored)


def _order(place: Place) -> tuple[Any, ...]:
    newest = -place.created.timestamp()
    return place.benchmark, -place.version, place.context, not place.main, newest, place.id


def _state(place: Place) -> tuple[str, int, int]:
    return place.id, place.revision, place.ranked


def _line(place: Place, standings: Standings) -> BoardLine:
    ranked = [row for row in standings.rows if row.rank is not None]
    return BoardLine(
        board=place,
        path=place.path,
        metric=standings.metric,
        entries=len(standings.rows),
        ranked=len(ranked),
        best=ranked[0] if ranked else None,
    )


def _column_line(column: Column) -> ColumnLine:
    heading = column.heading
    return ColumnLine(
        key=heading.key,
        heading=heading.text,
        about=heading.about,
        sortable=column.order is not None,
    )
