"""Rows: the numbers that figures show, one row a mark, for every printer alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from zapeval.reports import tables
from zapeval.reports.comparison import Comparison
from zapeval.reports.entries import Entry
from zapeval.reports.evidence import Slice, gather, slice_of
from zapeval.reports.figures.labels import labels_of, numbered
from zapeval.reports.figures.panels import Kind, Panel, columns_of
from zapeval.reports.skill import skills
from zapeval.reports.standings import letter
from zapeval.scoring.metrics import range_of
from zapeval.scoring.scorecard import Score, Scorecard, SeriesLine


@final
@dataclass(frozen=True, kw_only=True)
class Standing:
    """One entry of a ranking.

    Attributes:
        entry: Label of the entry, which no other has.
        baseline: Whether it is what skill is relative to.
        rank: Rank of the score; None where nothing is ranked.
        first: Lower end of the rank's 95 % interval, or None.
        last: Its upper end, or None.
        tie: Letters of its tie group, or "".
        value: The score.
        low: Lower end of the score's 95 % interval, or None.
        high: Its upper end, or None.
    """

    entry: str
    baseline: bool
    rank: int | None
    first: int | None
    last: int | None
    tie: str
    value: float
    low: float | None
    high: float | None


@final
@dataclass(frozen=True, kw_only=True)
class Skill:
    """One cell of a skill matrix: 1 - score / baseline's score, None where that is 0.

    Attributes:
        entry: Label of the entry.
        column: Title of the column, which no other has.
        kind: What the column shows.
        value: The skill.
        low: Lower end of its 95 % interval, or None.
        high: Its upper end, or None.
    """

    entry: str
    column: str
    kind: Kind
    value: float | None
    low: float | None
    high: float | None


@final
@dataclass(frozen=True, kw_only=True)
class Cost:
    """What an entry cost, beside its score; None where its manifest does not say.

    Attributes:
        entry: Label of the entry.
        seconds: Training seconds, the mean over seeds.
        parameters: Number of trained parameters.
        hardware: Where it was trained, or "".
        value: The score.
        low: Lower end of the score's 95 % interval, or None.
        high: Its upper end, or None.
    """

    entry: str
    seconds: float | None
    parameters: float | None
    hardware: str
    value: float
    low: float | None
    high: float | None


@final
@dataclass(frozen=True, kw_only=True)
class Curves:
    """The scores of one entry at every series and step.

    Attributes:
        entry: Label of the entry, which no other has.
        kind: What entries of one colour share: the name of their forecaster.
        context: Context length in frames.
        scores: Scores of one metric by series, or row of averages, and step.
    """

    entry: str
    kind: str
    context: int
    scores: tables.Scores


def standings_of(comparison: Comparison) -> tuple[Standing, ...]:
    """Returns the ranking, the best entry first."""
    return tuple(
        Standing(
            entry=label,
            baseline=row.entry.name == comparison.baseline,
            rank=row.rank,
            first=None if row.ranks is None else row.ranks.low,
            last=None if row.ranks is None else row.ranks.high,
            tie=letter(row.group),
            value=row.score.value,
            low=_plain(row.score.low),
            high=_plain(row.score.high),
        )
        for row, label in zip(comparison.rows, entries_of(comparison), strict=True)
    )


def skills_of(comparison: Comparison) -> tuple[Skill, ...]:
    """Returns the cells of the skill matrix, entry by entry; none where there is no baseline."""
    entries = [row.entry for row in comparison.rows]
    if comparison.baseline is None:
        return ()
    base = [entry.name for entry in entries].index(comparison.baseline)
    columns = columns_of(entries[0].lines)
    titles = numbered([panel.title for panel in columns])
    found = [skills(gather(entries, _slice(comparison, panel)), base) for panel in columns]
    return tuple(
        Skill(
            entry=label,
            column=title,
            kind=panel.kind,
            value=None if cell is None else cell.value,
            low=None if cell is None else _plain(cell.low),
            high=None if cell is None else _plain(cell.high),
        )
        for index, label in enumerate(entries_of(comparison))
        for panel, title, cell in zip(columns, titles, (of[index] for of in found), strict=True)
        if index != base
    )


def costs_of(comparison: Comparison) -> tuple[Cost, ...]:
    """Returns every entry's cost, the best entry first."""
    return tuple(
        Cost(
            entry=label,
            seconds=row.cost.get("training_seconds"),
            parameters=row.cost.get("parameters"),
            hardware=tables.legible(row.cost.get("hardware", "")),
            value=row.score.value,
            low=_plain(row.score.low),
            high=_plain(row.score.high),
        )
        for row, label in zip(comparison.rows, entries_of(comparison), strict=True)
    )


def curves_of(comparison: Comparison) -> tuple[Curves, ...]:
    """Returns every entry's scores at each step, the mean over seeds, the best entry first."""
    entries = [row.entry for row in comparison.rows]
    labels = entries_of(comparison)
    context = int(entries[0].kept[0].card.benchmark["context"])
    lines = entries[0].lines
    groups = sorted({f"average:{line.group}" for line in lines if line.group and not line.held_out})
    found: list[dict[tuple[str, int], Score]] = [{} for _ in entries]
    for series in [*(line.name for line in lines), "average", *groups]:
        for step in steps_of(entries[0]):
            chosen = slice_of(entries, metric=comparison.chosen.metric, series=series, step=step)
            for scores, score in zip(found, _scores(entries, chosen), strict=True):
                scores[series, step] = score
    return tuple(
        Curves(entry=label, kind=label, context=context, scores=scores)
        for label, scores in zip(labels, found, strict=True)
    )


def curves_of_cards(cards: Sequence[Scorecard], metric: str) -> tuple[Curves, ...]:
    """Returns the scores of each card, in their order.

    Raises:
        UsageError: There are no cards, or they are not of one benchmark and the same data.
        NotFound: A card has no such metric.
    """
    tables.require_one_task(cards)
    names = tables.names_of(cards)
    seen = [
        ("" if card.benchmark["protocol"] == "next-step" else f", C = {card.benchmark['context']}")
        + (", partial" if card.partial else "")
        for card in cards
    ]
    return tuple(
        Curves(
            entry=label,
            kind=name,
            context=int(card.benchmark["context"]),
            scores=tables.scores_by_step(card, metric),
        )
        for card, name, label in zip(cards, names, labels_of(names, seen), strict=True)
    )


def steps_of(entry: Entry) -> range:
    """Returns the steps that an entry was scored at."""
    kept = entry.kept[0]
    return range(1, len(kept.sums[f"{entry.lines[0].name}/counts"]) + 1)


def entries_of(comparison: Comparison) -> tuple[str, ...]:
    """Returns the label of each entry, in the order of the comparison."""
    return labels_of([row.entry.name for row in comparison.rows])


def _slice(comparison: Comparison, panel: Panel) -> Slice:
    """Returns the slice that a column of the skill matrix is about."""
    entries, chosen = [row.entry for row in comparison.rows], comparison.chosen
    if len(panel.series) == 1:
        one = slice_of(entries, metric=chosen.metric, series=panel.series[0])
        return replace(one, steps=chosen.steps)
    members: tuple[SeriesLine, ...] = tuple(
        line for line in entries[0].lines if line.name in panel.series
    )
    weights = (1 / len(members),) * len(members)
    return replace(chosen, series=panel.title, members=members, weights=weights)


def _scores(entries: Sequence[Entry], chosen: Slice) -> list[Score]:
    """Returns the score of each entry on a slice of one step."""
    evidence = gather(entries, chosen)
    values = [float(value) for value in evidence.values]
    ends: list[tuple[float | None, float | None]] = [(None, None)] * len(values)
    if evidence.parts is not None:
        spreads = evidence.spreads(np.eye(len(entries)))
        possible = range_of(chosen.metric)
        ends = [s.around(value, possible) for s, value in zip(spreads, values, strict=True)]
    return [
        Score(
            series=chosen.series,
            step=chosen.steps[0],
            metric=chosen.metric,
            value=value,
            low=_plain(low),
            high=_plain(high),
        )
        for value, (low, high) in zip(values, ends, strict=True)
    ]


def _plain(number: float | None) -> float | None:
    """Returns a number as Python's own."""
    return None if number is None else float(number)
