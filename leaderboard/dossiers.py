"""Dossiers: everything that a board has on one entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from leaderboard.auth import Identity
from leaderboard.boards import Place
from leaderboard.choices import one_of
from leaderboard.entry_views import (
    EntryView,
    FindingLine,
    Published,
    ResultLine,
    VersionLine,
)
from leaderboard.formats import Table
from leaderboard.problems import Invalid, Missing
from leaderboard.series_scores import (
    mean_number,
    published_lines,
    published_scores,
    scores_of,
    series_scores,
    table_of,
)
from leaderboard.standings import Number, Shelf
from leaderboard.tables import Entry, Result
from zapeval.scoring.metrics import METRICS
from zapeval.scoring.scorecard import Score, Scorecard, SeriesLine

_CARD = TypeAdapter(Scorecard)
_CARDS_KEPT = 64


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Dossier:
    """A view with what its table, charts and downloads are made of.

    Attributes:
        view: What is shown.
        cards: Scorecards of the version that is shown, one a seed.
        lines: The series, in the benchmark's order.
        scores: The mean over seeds of the metric, by series and step.
        maps: What is drawn of single neurons, of the first seed, or None.
        table: The scores of each series as a table.
    """

    view: EntryView
    cards: tuple[Scorecard, ...]
    lines: tuple[SeriesLine, ...]
    scores: Mapping[tuple[str, int], Score]
    maps: dict[str, Any] | None
    table: Table


def may_change(entry: Entry, identity: Identity | None) -> bool:
    """Returns whether somebody owns an entry, or is an admin."""
    return identity is not None and (identity.is_admin or entry.user_id == identity.user_id)


def visible_entry(session: Session, identity: Identity | None, entry_id: str) -> Entry:
    """Returns an entry that somebody may see.

    Raises:
        Missing: There is none; also where it is private to somebody else.
    """
    entry = session.get(Entry, entry_id)
    if entry is not None and (
        entry.visibility == "public"
        # A withdrawn entry that was public leaves a tombstone; a private one leaves nothing.
        or (entry.visibility == "withdrawn" and entry.published is not None)
        or may_change(entry, identity)
    ):
        return entry
    raise Missing(f"entries/{entry_id:.60}: no such entry, or it is not public")


def results_of(session: Session, entry_id: str, version: int) -> list[Result]:
    """Returns the results of a version with their scorecards, by seed."""
    asked = select(Result).where(Result.entry_id == entry_id, Result.version == version)
    return sorted(session.scalars(asked.options(undefer(Result.card))), key=by_seed)


def newest_version(session: Session, entry_id: str) -> int:
    """Returns the number of an entry's newest version; 0 where it has none."""
    found = session.scalar(
        select(Result.version).where(Result.entry_id == entry_id).order_by(Result.version.desc())
    )
    return int(found or 0)


def card_of(text: str) -> Scorecard:
    """Returns the scorecard of its JSON."""
    return _card_of(text)


def open_dossier(
    session: Session,
    shelf: Shelf,
    entry: Entry,
    identity: Identity | None,
    query: Mapping[str, str],
) -> Dossier:
    """Returns what the board has on an entry.

    Args:
        session: A session.
        shelf: Standings that are kept.
        entry: The entry, which whoever asks may see.
        identity: Who asks.
        query: ``version`` and ``metric``, where others than the newest and the board's are wanted.

    Raises:
        Invalid: There is no such version or metric; lists the known ones.
    """
    yours = may_change(entry, identity)
    versions = () if _closed(entry, yours=yours) else _versions(session, entry)
    version = _version(query, [line.version for line in versions])
    found = [] if not version else results_of(session, entry.id, version)
    place = Place.model_validate(entry.board, from_attributes=True)
    standings = shelf.of(session, place.id, place.revision, place.ranked)
    cards = tuple(card_of(one.card) for one in found)
    reported = None if entry.reported is None else Published.model_validate(entry.reported)
    if _closed(entry, yours=yours):
        reported = None
    metrics = _metrics(cards, reported)
    metric = one_of(query, "metric", metrics, _default(standings.metric, metrics))
    scores = scores_of(cards, metric) if cards else published_scores(reported, metric)
    lines = cards[0].series if cards else published_lines(scores)
    steps = _steps(cards, standings.steps if reported is None else reported.steps)
    view = EntryView(
        **{name: getattr(entry, name) for name in _PLAIN},
        owner="" if entry.user is None else entry.user.name,
        yours=yours,
        board=place,
        fact_sheet={key: value for key, value in entry.fact_sheet.items() if key != "complete"},
        complete=entry.fact_sheet.get("complete", True) is not False,
        standing=standings.row(entry.id),
        versions=versions,
        version=version,
        results=tuple(_result_line(one, yours=yours) for one in found),
        source=reported.source.what if reported is not None and reported.source else "",
        metric=metric,
        metrics=metrics,
        steps=steps,
        scores=series_scores(lines, scores, steps),
    )
    maps = _maps(session, found)
    table = table_of(view, metric)
    return Dossier(view=view, cards=cards, lines=lines, scores=scores, maps=maps, table=table)


_PLAIN = (
    *("id", "slug", "name", "origin", "visibility", "baseline", "verified", "flag", "withdrawn"),
    *("created", "published"),
)


def _closed(entry: Entry, *, yours: bool) -> bool:
    return entry.visibility == "withdrawn" and not yours


def _versions(session: Session, entry: Entry) -> tuple[VersionLine, ...]:
    columns = (Result.version, Result.partial, Result.summary, Result.low, Result.high)
    asked = select(*columns, Result.created).where(Result.entry_id == entry.id)
    found: dict[int, list[Any]] = {}
    for row in session.execute(asked.order_by(Result.version.desc(), Result.created)):
        found.setdefault(row.version, []).append(row)
    return tuple(
        VersionLine(
            version=version,
            newest=version == max(found),
            seeds=len(rows),
            summary=mean_number([Number(value=r.summary, low=r.low, high=r.high) for r in rows]),
            partial=any(row.partial for row in rows),
            created=rows[0].created,
        )
        for version, rows in found.items()
    )


def _version(query: Mapping[str, str], known: Sequence[int]) -> int:
    said = query.get("version")
    if not said:
        return known[0] if known else 0
    if said not in map(str, known):
        listed = ", ".join(map(str, known)) or "none"
        raise Invalid(f"version: {said!r:.20} is not known; known: {listed}", known=[*known])
    return int(said)


def _metrics(cards: Sequence[Scorecard], reported: Published | None) -> tuple[str, ...]:
    if cards:
        return tuple(dict.fromkeys(score.metric for score in cards[0].scores))
    said = () if reported is None else (curve.metric for curve in reported.curves)
    return tuple(dict.fromkeys(said)) or tuple(METRICS)


def _default(metric: str, metrics: Sequence[str]) -> str:
    return metric if metric in metrics else metrics[0]


def _steps(cards: Sequence[Scorecard], standing: tuple[int, ...]) -> tuple[int, ...]:
    said = cards[0].benchmark.get("summary_steps", standing) if cards else standing
    return tuple(int(step) for step in said)


def _result_line(result: Result, *, yours: bool) -> ResultLine:
    return ResultLine(
        id=result.id,
        seed=result.seed,
        predictions=result.predictions,
        partial=result.partial,
        summary=Number(value=result.summary, low=result.low, high=result.high),
        created=result.created,
        findings=tuple(FindingLine.model_validate(one) for one in result.findings),
        sums=bool(card_of(result.card).sums),
        receipt=result.receipt is not None,
        submission=result.submission_id if yours else None,
    )


def _maps(session: Session, results: Sequence[Result]) -> dict[str, Any] | None:
    if not results:
        return None
    return session.scalar(select(Result.maps).where(Result.id == results[0].id))


def by_seed(result: Result) -> tuple[bool, int, str]:
    """Returns what results are ordered by: the seed, numbers first."""
    digits = result.seed.isascii() and result.seed.isdigit()
    return not digits, int(result.seed) if digits else 0, result.seed


@lru_cache(maxsize=_CARDS_KEPT)
def _card_of(text: str) -> Scorecard:
    return _CARD.validate_json(text)
