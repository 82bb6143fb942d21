"""Series scores: the scores of an entry's seeds, or published ones, by series and step."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from leaderboard.entry_views import EntryView, Published, SeriesScores
from leaderboard.formats import Cell, Heading, Table
from leaderboard.standings import Number
from zapeval.reports.tables import NONE, mean_of, shortened, written_alike
from zapeval.scoring.scorecard import Score, Scorecard, SeriesLine

AVERAGE = "average"

Scores = dict[tuple[str, int], Score]


def scores_of(cards: Sequence[Scorecard], metric: str) -> Scores:
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


def published_scores(reported: Published | None, metric: str) -> Scores:
    """Returns published numbers of a metric, the mean over runs, by series and step."""
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


def published_lines(scores: Mapping[tuple[str, int], Score]) -> tuple[SeriesLine, ...]:
    """Returns the series that numbers were published of."""
    names = dict.fromkeys(series for series, _ in scores if series != AVERAGE)
    nothing: dict[str, Any] = {"group": "", "held_out": False, "neurons": 0, "scored": 0}
    return tuple(SeriesLine(name=name, windows=0, missing=0, **nothing) for name in names)


def series_scores(
    lines: Sequence[SeriesLine], scores: Mapping[tuple[str, int], Score], steps: Sequence[int]
) -> tuple[SeriesScores, ...]:
    """Returns every series and average with its scores."""
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


def mean_number(numbers: Sequence[Number]) -> Number:
    """Returns the mean of numbers and of their ends; None where one is missing."""
    return Number(
        value=mean_of(one.value for one in numbers),
        low=mean_of(one.low for one in numbers),
        high=mean_of(one.high for one in numbers),
    )


def table_of(view: EntryView, metric: str) -> Table:
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


def _cell(number: Number, write: Callable[[float | None], str]) -> Cell:
    if number.value is None:
        return Cell(text=NONE)
    note = "" if number.low is None else f"{write(number.low)} to {write(number.high)}"
    return Cell(
        text=write(number.value), value=number.value, low=number.low, high=number.high, note=note
    )
