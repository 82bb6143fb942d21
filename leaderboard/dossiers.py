"""Dossiers: everything that a board has on one entry."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, final

from pydantic import BaseModel, ConfigDict, TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from leaderboard.auth import Identity
from leaderboard.boards import Place
from leaderboard.choices import one_of
from leaderboard.formats import Cell, Heading, Table
from leaderboard.problems import Invalid, Missing
from leaderboard.standings import Number, Shelf, Standing
from leaderboard.tables import Entry, Result
from submissions.reported import Curve, Source
from zapeval.reports.tables import NONE, mean_of, shortened, written_alike
from zapeval.scoring.metrics import METRICS
from zapeval.scoring.scorecard import Score, Scorecard, SeriesLine

AVERAGE = "average"

_CARD = TypeAdapter(Scorecard)
_CARDS_KEPT = 64


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@final
class Published(_Part):
    """Published numbers, as an entry keeps them.

    Attributes:
        steps: Steps of the summary.
        by_step: The average at each of them.
        metric: Metric of the summary.
        source: Where they were taken from.
        curves: Each series over all steps.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    steps: tuple[int, ...] = ()
    by_step: dict[int, float | None] = {}
    metric: str = "mae"
    source: Source | None = None
    curves: tuple[Curve, ...] = ()


@final
class FindingLine(_Part):
    """A sign that forensics found; whether it is a fault is for people to say."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    kind: str = ""
    severity: str = ""
    message: str = ""
    evidence: dict[str, float | int | str | None] = {}


@final
class VersionLine(_Part):
    """One version of an entry.

    Attributes:
        version: Its number, from 1.
        newest: Whether it is what the board shows.
        seeds: Number of its seeds.
        summary: Mean of their summaries; the ends are the means of theirs.
        partial: Whether neurons are missing.
        created: When its first seed was scored.
    """

    version: int
    newest: bool
    seeds: int
    summary: Number
    partial: bool
    created: datetime


@final
class ResultLine(_Part):
    """One seed of the version that is shown.

    Attributes:
        id: Its id; scorecard, sums and receipt are below ``results/ID``.
        seed: The seed, or "".
        predictions: Digest of the predictions.
        partial: Whether neurons are missing.
        summary: The headline.
        created: When it was scored.
        findings: What forensics found.
        sums: Whether its sums can be had.
        receipt: Whether it has a signed receipt.
        submission: Id of the submission; None for whoever may not see that.
    """

    id: str
    seed: str
    predictions: str
    partial: bool
    summary: Number
    created: datetime
    findings: tuple[FindingLine, ...]
    sums: bool
    receipt: bool
    submission: str | None


@final
class SeriesScores(_Part):
    """The scores of one series, or of a row of averages.

    Attributes:
        series: Its name.
        held_out: Whether it stays out of the average.
        windows: Its windows, or None.
        steps: Score at each step, the mean over seeds.
        mean: Mean over the steps of the summary.
    """

    series: str
    held_out: bool
    windows: int | None
    steps: dict[int, Number]
    mean: float | None


@final
class EntryView(_Part):
    """What the board has on an entry; the page and its twins are made of it.

    Attributes:
        id: Its id.
        slug: Its name in addresses.
        name: What its authors call it.
        origin: ``submission``, ``package`` or ``reported``.
        visibility: ``private``, ``public`` or ``withdrawn``.
        baseline: Whether it is a baseline.
        verified: When somebody else ran it again, or None.
        flag: Public reason of a flag, or "".
        withdrawn: Public reason of its withdrawal, or "".
        owner: Account that it belongs to, or "".
        yours: Whether whoever asks may change it.
        board: Its board.
        created: When its first version was scored.
        published: When it was published.
        fact_sheet: What its authors say of it.
        complete: Whether they said all that is asked for.
        standing: Its row on the board, or None.
        versions: Its versions, the newest first.
        version: The version that is shown.
        results: The seeds of that version.
        source: Where reported numbers were taken from, or "".
        metric: Metric of the scores.
        metrics: Metrics that there are.
        steps: Steps of the summary.
        scores: Every series, then the average.
    """

    id: str
    slug: str
    name: str
    origin: str
    visibility: str
    baseline: bool
    verified: datetime | None
    flag: str
    withdrawn: str
    owner: str
    yours: bool
    board: Place
    created: datetime
    published: datetime | None
    fact_sheet: dict[str, Any]
    complete: bool
    standing: Standing | None
    versions: tuple[VersionLine, ...]
    version: int
    results: tuple[ResultLine, ...]
    source: str
    metric: str
    metrics: tuple[str, ...]
    steps: tuple[int, ...]
    scores: tuple[SeriesScores, ...]


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
    scores = _scores(cards, metric) if cards else _reported_scores(reported, metric)
    lines = cards[0].series if cards else _reported_lines(scores)
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
        scores=_series_scores(lines, scores, steps),
    )
    maps = _maps(session, found)
    table = _table(view, metric)
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
            summary=_mean([Number(value=r.summary, low=r.low, high=r.high) for r in rows]),
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


def _scores(cards: Sequence[Scorecard], metric: str) -> dict[tuple[str, int], Score]:
    """Returns the mean over seeds of each score; the ends of intervals are the means of theirs."""
    found: dict[tuple[str, int], list[Score]] = {}
    for card in cards:
        for score in card.scores:
            if score.metric == metric:
                found.setdefault((score.series, score.step), []).append(score)
    return {
        key: Score(
            series=key[0],
            step=key[1],
            metric=metric,
            value=mean_of(one.value for one in of),
            low=mean_of(one.low for one in of),
            high=mean_of(one.high for one in of),
            undefined=max(one.undefined for one in of),
        )
        for key, of in found.items()
        if len(of) == len(cards)
    }


def _reported_scores(reported: Published | None, metric: str) -> dict[tuple[str, int], Score]:
    if reported is None:
        return {}
    found: dict[tuple[str, int], list[float]] = {}
    for curve in reported.curves:
        for step, value in enumerate(curve.values, 1):
            if curve.metric == metric:
                found.setdefault((curve.series, step), []).append(value)
    scores: dict[tuple[str, int], float | None] = {
        key: statistics.fmean(values) for key, values in found.items()
    }
    if metric == reported.metric:
        scores |= {(AVERAGE, step): value for step, value in reported.by_step.items()}
    return {
        key: Score(series=key[0], step=key[1], metric=metric, value=value)
        for key, value in scores.items()
    }


def _reported_lines(scores: Mapping[tuple[str, int], Score]) -> tuple[SeriesLine, ...]:
    names = dict.fromkeys(series for series, _ in scores if series != AVERAGE)
    nothing: dict[str, Any] = {"group": "", "held_out": False, "neurons": 0, "scored": 0}
    return tuple(SeriesLine(name=name, windows=0, missing=0, **nothing) for name in names)


def _series_scores(
    lines: Sequence[SeriesLine], scores: Mapping[tuple[str, int], Score], steps: Sequence[int]
) -> tuple[SeriesScores, ...]:
    groups = dict.fromkeys(f"{AVERAGE}:{s.group}" for s in lines if s.group and not s.held_out)
    rows: list[tuple[str, bool, int | None]] = [
        (line.name, line.held_out, line.windows or None) for line in lines
    ]
    rows += [(name, False, None) for name in (*groups, AVERAGE)]
    last = {step for _, step in scores}
    return tuple(
        SeriesScores(
            series=name,
            held_out=held,
            windows=windows,
            steps={
                step: _number(scores[name, step]) for step in sorted(last) if (name, step) in scores
            },
            mean=mean_of(
                scores[name, step].value if (name, step) in scores else None for step in steps
            ),
        )
        for name, held, windows in rows
        if any((name, step) in scores for step in last)
    )


def _number(score: Score) -> Number:
    return Number(value=score.value, low=score.low, high=score.high)


def _mean(numbers: Sequence[Number]) -> Number:
    return Number(
        value=mean_of(one.value for one in numbers),
        low=mean_of(one.low for one in numbers),
        high=mean_of(one.high for one in numbers),
    )


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


def _table(view: EntryView, metric: str) -> Table:
    """Returns the scores of each series at the steps of the summary, as the page shows them."""
    write = written_alike(
        [[number.value for number in row.steps.values()] for row in view.scores]  # type: ignore[misc]
    )
    several = len(view.steps) > 1
    headings = (
        Heading(key="series", text="series", left=True),
        Heading(key="windows", text="windows"),
        *(Heading(key=f"step-{s}", text=f"step {s}", interval=True) for s in view.steps),
        *([Heading(key="mean", text="mean")] if several else []),
    )
    rows = tuple(
        (
            Cell(text=row.series, value=row.series, note="held out" if row.held_out else ""),
            Cell(text="" if row.windows is None else str(row.windows), value=row.windows),
            *(_cell(row.steps.get(step, Number()), write) for step in view.steps),
            *([Cell(text=write(row.mean), value=row.mean)] if several else []),
        )
        for row in view.scores
    )
    count = len(view.results)
    notes = [f"{metric} of each series" + (f", the mean over {count} seeds" if count > 1 else "")]
    if view.origin == "reported":
        notes = [f"reported, not scored here: {view.source}"]
    elif any(number.low is not None for row in view.scores for number in row.steps.values()):
        notes.append("intervals: 95 %" + (", the means of those of the seeds" if count > 1 else ""))
    place = view.board
    return Table(
        title=f"{metric} of {view.name} on {place.label}, context {place.context}",
        headings=headings,
        rows=rows,
        notes=tuple(notes),
        identity=(
            ("entry", view.slug),
            ("version", view.version),
            ("benchmark", place.label),
            ("context", place.context),
            ("data", shortened(place.data)),
            ("metric", metric),
        ),
    )


def _cell(number: Number, write: Any) -> Cell:
    if number.value is None:
        return Cell(text=NONE)
    note = "" if number.low is None else f"{write(number.low)} to {write(number.high)}"
    return Cell(
        text=write(number.value), value=number.value, low=number.low, high=number.high, note=note
    )


def by_seed(result: Result) -> tuple[bool, int, str]:
    """Returns what results are ordered by: the seed, numbers first."""
    digits = result.seed.isascii() and result.seed.isdigit()
    return not digits, int(result.seed) if digits else 0, result.seed


@lru_cache(maxsize=_CARDS_KEPT)
def _card_of(text: str) -> Scorecard:
    return _CARD.validate_json(text)
