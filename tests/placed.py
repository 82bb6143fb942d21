"""Placed: a ranked board of real scorecards, put into a test's database in a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import select

from leaderboard.database import Database
from leaderboard.outcomes import Outcome, board_of, result_of
from leaderboard.ranking import standings
from leaderboard.tables import Board, Entry, Result, now
from submissions.card import read_card
from submissions.entries import ENTRIES

SLUGS = ("linear", "mean", "persistence", "var")
CONTEXT = 4


@dataclass(frozen=True, kw_only=True)
class Placed:
    """Ids of a board and, by slug, of its entries."""

    board: str
    entries: dict[str, str]


@cache
def outcome_of(slug: str) -> Outcome:
    """Returns the outcome that a packaged entry's scorecard would be of."""
    folder = ENTRIES / slug
    file = next(f for f in sorted(folder.glob("*.json")) if f.stem.endswith(f"c{CONTEXT}"))
    card, wrong = read_card(file)
    assert not wrong
    sums: Path = file.with_name(str((card.card.sums or {})["file"]))
    text = file.read_text(encoding="utf-8")
    return Outcome(
        card=card, text=text, sums=sums.read_bytes(), maps=MAPS, findings=[], receipt=None
    )


def place(database: Database, slugs: Sequence[str] = SLUGS, user_id: str | None = None) -> Placed:
    """Puts entries on the board of their benchmark, public and ranked."""
    with database.write() as session:
        board = board_of(session, outcome_of(slugs[0]).card)
        board.main = True
        entries = {}
        for slug in slugs:
            entry = Entry(
                id=f"id-of-{slug}",
                board_id=board.id,
                user_id=user_id,
                slug=slug,
                name=f"The {slug}",
                visibility="public",
                published=now(),
                baseline=slug in ("mean", "persistence"),
                fact_sheet=SHEET | {"name": f"The {slug}"},
            )
            session.add(entry)
            session.flush()
            session.add(result_of(outcome_of(slug), entry.id, 1))
            entries[slug] = entry.id
        session.flush()
        return Placed(board=board.id, entries=entries)


def rank(database: Database, board_id: str) -> None:
    """Ranks a board as a worker would."""
    with database.write() as session:
        board = session.get_one(Board, board_id)
        board.standings = standings(session, board, facts=_FACTS)
        board.ranked = board.revision


def change(database: Database, entry_id: str, **values: Any) -> None:
    """Changes an entry, and ranks its board again."""
    with database.write() as session:
        entry = session.get_one(Entry, entry_id)
        for name, value in values.items():
            setattr(entry, name, value)
        board = session.get_one(Board, entry.board_id)
        board.revision += 1
    rank(database, board.id)


def result_id(database: Database, entry_id: str) -> str:
    """Returns the id of an entry's first result."""
    with database.read() as session:
        query = select(Result.id).where(Result.entry_id == entry_id).order_by(Result.version)
        return str(session.scalars(query).first())


_FACTS: dict[str, dict[str, Any]] = {}

SHEET: dict[str, Any] = {
    "name": "",
    "authors": ["Ann Example"],
    "code": "https://example.org/code",
    "paper": "",
    "training_data": "the training frames",
    "future_stimulus": False,
    "neuron_subset": "",
    "model_per_step": False,
    "leakage": "none",
    "seeds": [],
    "cost": {"parameters": 12, "training_hours": 0.5, "hardware": "a laptop"},
    "complete": True,
}

MAPS: dict[str, Any] = {
    "metric": "mae",
    "steps": [1, 4, 8, 16, 32],
    "neurons": 3,
    "low": 0.01,
    "high": 0.03,
    "marks": {
        "x": [0.0, 10.0, 20.0],
        "y": [0.0, 30.0, 10.0],
        "z": [5.0, 0.0, 9.0],
        "value": [0.01, 0.02, 0.03],
    },
    "regions": [{"name": "tectum", "neurons": 3, "value": 0.02}],
    "histogram": {"edges": [0.0, 1.0], "counts": [3]},
}
