"""Seeding: the entries that come with the package, as public entries of the boards.

Repeating it changes nothing; an entry that has changed gets a new version. One that is not in order
is left out with a line in the log: a board starts whatever lies in that folder.
"""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from leaderboard.database import Database
from leaderboard.outcomes import Outcome, board_of, open_board, result_of, touch
from leaderboard.problems import Conflict, Problem
from leaderboard.settings import Settings
from leaderboard.tables import Board, Entry, Result, now
from zapeval.errors import ZapevalError
from zapeval.registry import FORECASTERS, plugins

if TYPE_CHECKING:
    from submissions.card import Card
    from submissions.entry import Entry as Packaged
    from submissions.reported import Reported
    from zapeval.benchmarks.benchmark import Benchmark

log = logging.getLogger(__name__)

_OWN = "zapeval"
"""Distribution whose forecasters are the reference."""


def seed(database: Database, settings: Settings) -> int:
    """Puts the packaged entries on their boards; returns how many changed something."""
    from submissions.entries import ENTRIES

    root = settings.entries or ENTRIES
    if not root.is_dir():
        log.warning("entries: there is no folder %s", root)
        return 0
    folders = sorted(path for path in root.iterdir() if not _ignored(path))
    return sum(_seed_one(database, folder) for folder in folders)


def _ignored(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "README.md"


def _seed_one(database: Database, folder: Path) -> bool:
    """Puts one entry on its boards; tells whether that changed something."""
    from submissions.entry import read_entry

    entry, findings = read_entry(folder)
    if entry is None or findings:
        log.warning("entry %s: left out: %s", folder.name, "; ".join(findings[:3]))
        return False
    changed = False
    try:
        for cards in _by_board(entry):
            with database.read() as session:
                same = _is_there(session, entry.name, cards)
            if not same:
                _check(cards)
                with database.write() as session:
                    _put(session, entry, cards)
                changed = True
        if entry.reported is not None:
            with database.write() as session:
                changed |= _put_reported(session, entry, entry.reported)
    except (ZapevalError, Problem, SQLAlchemyError) as error:
        log.warning("entry %s: left out: %s", folder.name, error)
    return changed


def _by_board(entry: Packaged) -> list[list[Card]]:
    """Returns the scorecards of each benchmark, context length and data."""
    found: dict[tuple[str, int, str], list[Card]] = {}
    for card in entry.cards:
        key = (card.label, card.context, str(card.card.data["digest"]))
        found.setdefault(key, []).append(card)
    return list(found.values())


def _is_there(session: Session, slug: str, cards: Sequence[Card]) -> bool:
    """Tells whether the newest version of an entry is of these scorecards."""
    said = cards[0].card
    query = (
        select(Result.version, Result.card)
        .join(Entry, Entry.id == Result.entry_id)
        .join(Board, Board.id == Entry.board_id)
        .where(
            Board.digest == said.benchmark["digest"],
            Board.context == cards[0].context,
            Board.data == said.data["digest"],
            Entry.slug == slug,
            Entry.origin == "package",
        )
    )
    rows = session.execute(query).all()
    newest = max((row.version for row in rows), default=0)
    kept = sorted(row.card for row in rows if row.version == newest)
    return kept == sorted(map(_text, cards))


def _check(cards: Sequence[Card]) -> None:
    """Checks numbers against sums, and sums against the benchmark.

    Raises:
        ZapevalError: Something is wrong, or the benchmark is not known here.
    """
    from submissions.consistency import findings_of
    from zapeval.errors import InvalidInput

    benchmark = _benchmark(cards[0].label)
    findings = [finding for card in cards for finding in findings_of(card, benchmark)]
    if findings:
        raise InvalidInput("; ".join(findings[:3]), findings)


def _benchmark(label: str) -> Benchmark:
    from leaderboard.known import recipe_of

    recipe = recipe_of(label)
    return recipe.resolve(recipe.recordings())


def _put(session: Session, packaged: Packaged, cards: Sequence[Card]) -> None:
    board = board_of(session, cards[0])
    entry = _entry(session, board, packaged)
    own = plugins(FORECASTERS).get(str(cards[0].card.forecaster.get("name")))
    entry.origin = "package"
    entry.baseline = own is not None and own.package == _OWN
    versions = session.scalars(select(Result.version).where(Result.entry_id == entry.id)).all()
    version = max(versions, default=0) + 1
    for card in cards:
        session.add(result_of(_outcome(card), entry.id, version))
    touch(session, board.id)


def _outcome(card: Card) -> Outcome:
    sums = card.path.with_name(str(card.card.sums["file"])) if card.card.sums else None
    return Outcome(
        card=card,
        text=_text(card),
        sums=None if sums is None else sums.read_bytes(),
        maps=None,
        findings=[],
        receipt=None,
    )


def _text(card: Card) -> str:
    return card.path.read_text(encoding="utf-8")


def _entry(session: Session, board: Board, packaged: Packaged) -> Entry:
    """Returns the entry of a packaged one on a board, made where there is none.

    Raises:
        Conflict: Somebody has submitted one of that name.
    """
    _make_main(session, board)
    query = select(Entry).where(Entry.board_id == board.id, Entry.slug == packaged.name)
    entry = session.scalars(query.with_for_update(of=Entry)).first()
    if entry is not None and entry.user_id is not None:
        raise Conflict(f"{packaged.name}: somebody has submitted an entry of that name")
    if entry is None:
        entry = Entry(
            board_id=board.id,
            slug=packaged.name,
            visibility="public",
            published=now(),
            name="",
            fact_sheet={},
        )
        session.add(entry)
    entry.name = packaged.sheet.name
    entry.fact_sheet = packaged.sheet.model_dump(mode="json") | {"complete": True}
    session.flush()
    return entry


def _make_main(session: Session, board: Board) -> None:
    """Lets the benchmark's address lead to a board, where it leads to none with scores."""
    query = select(Board).where(
        Board.digest == board.digest, Board.context == board.context, Board.main
    )
    others = session.scalars(query).all()
    if all(other.data == "" for other in others) or not others:
        for other in others:
            other.main = False
        board.main = True


def _put_reported(session: Session, packaged: Packaged, numbers: Reported) -> bool:
    """Puts published numbers on the boards of their benchmark; tells whether they changed."""
    from submissions.reported import findings_of
    from zapeval.errors import InvalidInput

    benchmark = _benchmark(numbers.benchmark)
    findings = list(findings_of(numbers, benchmark, packaged.folder))
    if findings:
        raise InvalidInput("; ".join(findings[:3]), findings)
    changed = False
    for context in numbers.contexts:
        board = open_board(
            session,
            benchmark=benchmark.id,
            version=benchmark.version,
            digest=benchmark.digest,
            context=context,
            data="",
        )
        entry = _entry(session, board, packaged)
        said = _digested(numbers, benchmark, context)
        if entry.reported != said:
            entry.origin, entry.reported = "reported", said
            for other in _siblings(session, board):
                touch(session, other)
            changed = True
    return changed


def _siblings(session: Session, board: Board) -> Iterator[str]:
    """Yields the boards that published numbers stand on: all of the benchmark and context."""
    same = (Board.digest == board.digest, Board.context == board.context)
    yield from session.scalars(select(Board.id).where(*same).order_by(Board.id))


def _digested(numbers: Reported, benchmark: Benchmark, context: int) -> dict[str, Any]:
    """Returns what pages show of published numbers: means over runs, and every curve."""
    seeds = numbers.seeds(context)
    trained = [series.name for series in benchmark.series if not series.held_out]
    held = [series.name for series in benchmark.series if series.held_out]
    steps = benchmark.summary_steps
    every = range(1, benchmark.steps + 1)

    def mean(series: Sequence[str], at: Sequence[int]) -> float | None:
        found = [
            numbers.value(context, seed, one, step, benchmark.primary)
            for seed in seeds
            for one in series
            for step in at
        ]
        known = [value for value in found if value is not None]
        return math.fsum(known) / len(known) if known and len(known) == len(found) else None

    summaries = [numbers.summary(benchmark, context, seed) for seed in seeds]
    known = [value for value in summaries if value is not None]
    spread = 2 * statistics.stdev(known) / math.sqrt(len(known)) if len(known) > 1 else None
    return {
        "metric": benchmark.primary,
        "steps": list(steps),
        "summary": mean(trained, steps),
        "two_se": spread,
        "seeds": len(seeds),
        "by_step": {str(step): mean(trained, [step]) for step in steps},
        "average": mean(trained, every),
        "held_out": mean(held, steps) if held else None,
        "source": numbers.source.model_dump(mode="json"),
        "curves": [
            curve.model_dump(mode="json") for curve in numbers.curves if curve.context == context
        ],
    }
