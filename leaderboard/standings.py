"""Standings: what ranking made of a board, read once a revision and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import Literal, final

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Text, cast, select
from sqlalchemy.orm import Session

from leaderboard.tables import Board
from zapeval.reports.tables import written_alike

Mark = Literal["", "partial", "reported"]

_KEPT = 64

_Key = tuple[str, int, int]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@final
class Number(_Part):
    """A score with its 95 % interval; None where there is none."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


@final
class Cost(_Part):
    """What one trained model took, as its manifest says."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    parameters: float | None = None
    training_seconds: float | None = None
    hardware: str = ""


@final
class Standing(_Part):
    """One entry's row.

    Attributes:
        entry: Id of the entry.
        slug: Its name in addresses.
        name: What its authors call it.
        origin: ``submission``, ``package`` or ``reported``.
        baseline: Whether it is a baseline.
        mark: ``partial`` and ``reported`` rows are never ranked.
        rank: Rank of the summary; equal summaries share one.
        ranks: 95 % interval of the rank.
        group: Tie group, 1 being that of the best.
        summary: What the board ranks by.
        two_se: Two standard errors of the mean over seeds.
        seeds: Number of seeds.
        version: Version of the entry.
        by_step: Average score at each step of the summary.
        average: Mean of the average over all steps.
        held_out: Mean over the summary's steps of the held-out series.
        correlation: Mean correlation over the summary's steps.
        skill: 1 - summary / that of the baseline.
        wins: Share of series x steps at which it beats the baseline.
        cost: What it took.
        future_stimulus: Whether it sees the future stimulus.
        verified: Whether somebody else ran it again.
        flag: Public reason of a flag, or "".
        submitted: When.
    """

    entry: str
    slug: str
    name: str
    origin: str = "submission"
    baseline: bool = False
    mark: Mark = ""
    rank: int | None = None
    ranks: tuple[int, int] | None = None
    group: int | None = None
    summary: Number = Number()
    two_se: float | None = None
    seeds: int = 1
    version: int = 1
    by_step: dict[int, Number] = {}
    average: Number | None = None
    held_out: Number | None = None
    correlation: Number | None = None
    skill: Number | None = None
    wins: Number | None = None
    cost: Cost = Cost()
    future_stimulus: bool = False
    verified: bool = False
    flag: str = ""
    submitted: datetime | None = None


@final
class Pair(_Part):
    """The difference of two entries' summaries, the first less the second."""

    a: str
    b: str
    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    adjusted: float | None = None


@final
class Standings(BaseModel):
    """A whole board: the best first, what is not ranked among them or last."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    revision: int = 0
    metric: str = "mae"
    steps: tuple[int, ...] = ()
    baseline: str | None = None
    method: str | None = None
    reason: str | None = None
    rows: tuple[Standing, ...] = ()
    pairs: tuple[Pair, ...] = ()

    @cached_property
    def write(self) -> Callable[[float | None], str]:
        """Returns how every score of the board is written: with the same decimals."""
        return written_alike([(row.summary.value,) for row in self.rows])

    @cached_property
    def places(self) -> dict[str, int]:
        """Place of each entry in the rows, by its id."""
        return {row.entry: place for place, row in enumerate(self.rows)}

    @cached_property
    def widest(self) -> int:
        """The largest rank that an interval reaches."""
        return max((row.ranks[1] for row in self.rows if row.ranks), default=1)

    def row(self, entry: str) -> Standing | None:
        """Returns an entry's row, or None where it is not on the board."""
        place = self.places.get(entry)
        return None if place is None else self.rows[place]


@final
class Shelf:
    """Standings by board and what they were made from; the oldest give way."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Key, Standings] = OrderedDict()
        self._lock = Lock()
        self._reading = Lock()

    def of(self, session: Session, board: str, revision: int, ranked: int) -> Standings:
        """Returns a board's standings; they are empty before it was ranked."""
        key = (board, revision, ranked)
        kept = self._get(key)
        if kept is not None:
            return kept
        # Many may ask for a new revision at once: one reads, the others wait for what it found.
        with self._reading:
            return self._get(key) or self._keep(key, _read(session, board))

    def _get(self, key: _Key) -> Standings | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _keep(self, key: _Key, standings: Standings) -> Standings:
        with self._lock:
            self._kept[key] = standings
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return standings


def _read(session: Session, board: str) -> Standings:
    asked = select(cast(Board.standings, Text)).where(Board.id == board)
    # As text: pydantic reads megabytes of it faster than through a dict.
    found = session.scalar(asked)
    return Standings.model_validate_json("{}" if found in (None, "null") else found)
