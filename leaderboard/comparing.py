"""Comparing: chosen entries side by side, on any slice, with their paired differences."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import final

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from leaderboard import dossiers
from leaderboard.auth import Identity
from leaderboard.boards import Place
from leaderboard.choices import one_of, only_known
from leaderboard.comparison_tables import pairs_table, scores_table
from leaderboard.comparison_views import SUMMARY, Compared, ComparisonView, LeftOut
from leaderboard.formats import Table
from leaderboard.problems import Invalid, Unavailable
from leaderboard.standings import Cost, Number, Pair, Shelf, Standing
from leaderboard.tables import Entry, Result
from zapeval.errors import Refused, UsageError
from zapeval.reports.comparison import Comparison, Row, compare
from zapeval.reports.entries import COLUMNS, Kept, require_comparable
from zapeval.reports.entries import Entry as Contender
from zapeval.reports.skill import Estimate
from zapeval.scoring.scorecard import SeriesLine

FEWEST, MOST = 2, 20
"""Entries that can be compared at once."""

KEYS = ("entries", "metric", "series", "step", "baseline")
"""Every key that the address of a comparison knows."""

SEEDS = 100
"""Most seeds that are compared together."""

_AT_ONCE = BoundedSemaphore(2)
_PATIENCE = 20.0
_KEPT = 16


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """Entries that somebody may compare, read from the database.

    Attributes:
        place: Their board.
        entries: The entries, in the order of the address.
        results: Results of the newest version of each, by its id.
    """

    place: Place
    entries: tuple[Entry, ...]
    results: Mapping[str, tuple[Result, ...]]
    standings: Mapping[str, Standing]

    @property
    def identity(self) -> tuple[object, ...]:
        """What a comparison of them depends on."""
        said = [
            (one.id, one.slug, one.name, one.visibility, *(r.id for r in self.results[one.id]))
            for one in self.entries
        ]
        return (self.place.id, *sorted(said))

    @property
    def public(self) -> bool:
        """Whether everybody may see all of them."""
        return all(entry.visibility == "public" for entry in self.entries)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """A comparison with its tables and what its charts are made of."""

    view: ComparisonView
    comparison: Comparison
    lines: tuple[SeriesLine, ...]
    table: Table
    pairs: Table


def chosen_ids(query: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Returns the ids of entries in a query string, each once.

    Raises:
        Invalid: A key is unknown, or there are too few or too many.
    """
    only_known(query, KEYS, repeated=("entries",))
    said = [one for key, value in query if key == "entries" for one in value.split(",")]
    ids = tuple(dict.fromkeys(one.strip() for one in said if one.strip()))
    if not FEWEST <= len(ids) <= MOST:
        raise Invalid(f"entries: got {len(ids)} ids, expected {FEWEST} to {MOST}, with , between")
    return ids


def ask(session: Session, shelf: Shelf, identity: Identity | None, ids: Sequence[str]) -> Asked:
    """Returns the entries to compare.

    Raises:
        Missing: One does not exist, or is not public.
        Invalid: They are not of one board, or have too many seeds.
    """
    entries = tuple(dossiers.visible_entry(session, identity, one) for one in ids)
    boards = {entry.board_id: entry for entry in entries}
    if len(boards) > 1:
        said = "; ".join(
            f"{e.slug}: {e.board.benchmark}@{e.board.version}, context {e.board.context}"
            for e in boards.values()
        )
        raise Invalid(f"entries: are of {len(boards)} boards, expected one ({said})")
    place = Place.model_validate(entries[0].board, from_attributes=True)
    standings = shelf.of(session, place.id, place.revision, place.ranked)
    results = {entry.id: _newest(session, entry) for entry in entries}
    seeds = sum(map(len, results.values()))
    if seeds > SEEDS:
        raise Invalid(f"entries: have {seeds} seeds together, expected at most {SEEDS}")
    rows = {entry.id: standings.row(entry.id) for entry in entries}
    return Asked(
        place=place,
        entries=entries,
        results=results,
        standings={entry: row for entry, row in rows.items() if row is not None},
    )


def put_side_by_side(asked: Asked, query: Mapping[str, str]) -> Side:
    """Returns the comparison of entries on the slice that a query string names.

    Raises:
        Invalid: The slice or the baseline is not known; lists the known ones.
        Conflict: Nothing of them can be compared.
        Unavailable: Too many comparisons are being made.
    """
    kept, left_out = _contenders(asked)
    if len(kept) < FEWEST:
        why = "; ".join(f"{one.name}: {one.reason}" for one in left_out)
        raise Invalid(f"entries: fewer than {FEWEST} have sums to compare ({why})")
    lines = kept[0].lines
    metrics, rows, steps = tuple(COLUMNS), _rows(lines), _steps(kept[0])
    metric = one_of(query, "metric", metrics, _primary(kept[0], metrics))
    series = one_of(query, "series", rows, rows[0])
    step = one_of(query, "step", steps, SUMMARY)
    baseline = one_of(query, "baseline", ("", *(one.name for one in kept)), "") or None
    key = (asked.identity, metric, series, step, baseline)
    found = _compared(key, kept, metric, series, step, baseline)
    view = ComparisonView(
        board=asked.place,
        metric=metric,
        series=series,
        step=step,
        baseline=found.baseline,
        method=found.method,
        reason=found.reason,
        entries=tuple(_line(row, asked) for row in found.rows),
        pairs=_pairs(found, asked),
        left_out=left_out,
        metrics=metrics,
        rows=rows,
        steps=steps,
    )
    return Side(
        view=view, comparison=found, lines=lines, table=scores_table(view), pairs=pairs_table(view)
    )


def contender_of(name: str, results: Sequence[Result]) -> Contender:
    """Returns an entry of a comparison from its results, cards and sums loaded."""
    kept = []
    for place, result in enumerate(results):
        with np.load(io.BytesIO(result.sums or b""), allow_pickle=False) as arrays:
            sums = {key: arrays[key] for key in arrays.files}
        kept.append(
            Kept(file=Path(f"{name}-{place}"), card=dossiers.card_of(result.card), sums=sums)
        )
    return Contender(name=name, kept=tuple(kept))


def _newest(session: Session, entry: Entry) -> tuple[Result, ...]:
    version = dossiers.newest_version(session, entry.id)
    asked = select(Result).where(Result.entry_id == entry.id, Result.version == version)
    found = session.scalars(asked.options(undefer(Result.card), undefer(Result.sums)))
    return tuple(sorted(found, key=dossiers.by_seed))


def _contenders(asked: Asked) -> tuple[tuple[Contender, ...], tuple[LeftOut, ...]]:
    kept: list[Contender] = []
    left: list[LeftOut] = []
    for entry in sorted(asked.entries, key=lambda one: one.slug):
        results = asked.results[entry.id]
        reason = _lacking(entry, results)
        if not reason:
            one = contender_of(entry.slug, results)
            reason = _unlike(kept, one)
            if not reason:
                kept.append(one)
                continue
        left.append(LeftOut(entry=entry.id, name=entry.name, reason=reason))
    return tuple(kept), tuple(left)


def _lacking(entry: Entry, results: Sequence[Result]) -> str:
    if entry.visibility == "withdrawn":
        return "it was withdrawn"
    if not results:
        return "its numbers are reported; there are no sums a window to compare"
    if any(one.sums is None for one in results):
        return "no sums a window were kept"
    return ""


def _unlike(kept: Sequence[Contender], one: Contender) -> str:
    """Returns why an entry can't stand beside those that came before it, or ""."""
    cards = {Path(f"{c.name}/{i}"): k.card for c in (*kept[:1], one) for i, k in enumerate(c.kept)}
    try:
        require_comparable(cards)
    except Refused:
        return "it was scored over other neurons; partial entries compare only among their like"
    return ""


def _rows(lines: Sequence[SeriesLine]) -> tuple[str, ...]:
    groups = dict.fromkeys(f"average:{s.group}" for s in lines if s.group and not s.held_out)
    return ("average", *groups, "pooled", *(line.name for line in lines))


def _steps(one: Contender) -> tuple[str, ...]:
    count = len(one.kept[0].sums[f"{one.lines[0].name}/counts"])
    return (SUMMARY, *map(str, range(1, count + 1)))


def _primary(one: Contender, metrics: Sequence[str]) -> str:
    said = one.kept[0].card.summary.metric
    return said if said in metrics else metrics[0]


_made: OrderedDict[object, Comparison] = OrderedDict()
_making = Lock()


def _compared(
    key: object,
    kept: Sequence[Contender],
    metric: str,
    series: str,
    step: str,
    baseline: str | None,
) -> Comparison:
    """Returns a comparison, the kept one where it was made before."""
    with _making:
        if key in _made:
            _made.move_to_end(key)
            return _made[key]
    if not _AT_ONCE.acquire(timeout=_PATIENCE):
        raise Unavailable("many comparisons are being made; try again in a minute")
    try:
        at = None if step == SUMMARY else int(step)
        found = compare(kept, metric=metric, series=series, step=at, baseline=baseline)
    except UsageError as error:
        raise Invalid(str(error)) from error
    finally:
        _AT_ONCE.release()
    with _making:
        _made[key] = found
        while len(_made) > _KEPT:
            _made.popitem(last=False)
    return found


def _line(row: Row, asked: Asked) -> Compared:
    entry = next(one for one in asked.entries if one.slug == row.entry.name)
    return Compared(
        entry=entry.id,
        slug=entry.slug,
        name=entry.name,
        mark="partial" if any(kept.card.partial for kept in row.entry.kept) else "",
        seeds=len(row.entry.kept),
        rank=row.rank,
        ranks=None if row.ranks is None else (row.ranks.low, row.ranks.high),
        group=row.group,
        score=_number(row.score) or Number(),
        two_se=row.over_seeds,
        skill=_number(row.skill),
        wins=_number(row.wins),
        cost=Cost.model_validate(dict(row.cost)),
    )


def _number(estimate: Estimate | None) -> Number | None:
    if estimate is None:
        return None
    return Number(
        value=float(estimate.value),
        low=None if estimate.low is None else float(estimate.low),
        high=None if estimate.high is None else float(estimate.high),
    )


def _pairs(found: Comparison, asked: Asked) -> tuple[Pair, ...]:
    ids = {entry.slug: entry.id for entry in asked.entries}
    return tuple(
        Pair(
            a=ids[pair.first],
            b=ids[pair.second],
            difference=pair.estimate.value,
            low=pair.estimate.low,
            high=pair.estimate.high,
            p=pair.p,
            adjusted=pair.adjusted,
        )
        for pair in found.pairs
    )
