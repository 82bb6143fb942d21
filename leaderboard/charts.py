"""Charts: Vega-Lite of what boards, entries and comparisons show, for a browser to draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from leaderboard.boards import Shown
from leaderboard.comparing import Side
from leaderboard.dossiers import Dossier
from leaderboard.problems import Missing
from leaderboard.standings import Number, Standing
from zapeval.reports.figures import brain, charts, cost, curve_charts, curves, rows
from zapeval.reports.figures.labels import labels_of
from zapeval.reports.standings import letter
from zapeval.scoring.scorecard import Score, SeriesLine

Spec = dict[str, Any]

MOST = 40
"""Most entries of a chart: the first ones of what is shown."""

DRAWN = 12
"""Most entries whose curves are drawn."""

_AVERAGE = SeriesLine(
    name="average", group="", held_out=False, windows=0, neurons=0, scored=0, missing=0
)


def of_board(shown: Shown) -> dict[str, Callable[[], Spec]]:
    """Returns what draws each chart of a board, by name, of the rows that are shown."""
    standings, title = shown.standings, shown.table.title
    steps, label = curves.labels_of(standings.metric)
    scored = [row for row in shown.view.rows if row.summary.value is not None]
    if not scored:
        return {}
    first = scored[:MOST]
    found: dict[str, Callable[[], Spec]] = {
        "ranking": lambda: charts.ranking(_standings(first, standings.baseline), label, title)
    }
    if len(standings.steps) > 1 and all(row.by_step for row in scored[:DRAWN]):
        found["steps"] = lambda: _steps(scored[:DRAWN], (steps, label), title)
    costs = _costs(first)
    if cost.measures_of(costs):
        baseline = _label_of(first, standings.baseline)
        found["cost"] = lambda: charts.cost(costs, label, title, baseline)
    return found


def of_entry(dossier: Dossier, beside: Sequence[Dossier] = ()) -> dict[str, Callable[[], Spec]]:
    """Returns what draws each chart of an entry, by name.

    Args:
        dossier: The entry.
        beside: Entries that its curves stand beside, of the same board and metric.
    """
    found: dict[str, Callable[[], Spec]] = {}
    if dossier.scores and dossier.cards:
        found["steps"] = lambda: _entry_steps(dossier, beside)
    if dossier.maps and dossier.maps.get("marks"):
        maps = dossier.maps
        found["brain"] = lambda: brain.brain_chart(_brain(maps, dossier.view.name))
    return found


def of_comparison(side: Side) -> dict[str, Callable[[], Spec]]:
    """Returns what draws each chart of a comparison, by name."""
    found = side.comparison
    steps, label = curves.labels_of(found.chosen.metric)
    title = side.table.title
    standings = rows.standings_of(found)
    baseline = next((one.entry for one in standings if one.baseline), None)
    made: dict[str, Callable[[], Spec]] = {
        "ranking": lambda: charts.ranking(standings, label, title),
        "steps": lambda: _first(
            curve_charts.error_by_step(
                rows.curves_of(found), side.lines, (steps, label), title, _marked(side)
            )
        ),
    }
    if baseline is not None:
        made["skill"] = lambda: charts.skill_matrix(rows.skills_of(found), baseline, title)
    costs = rows.costs_of(found)
    if cost.measures_of(costs):
        made["cost"] = lambda: charts.cost(costs, label, title, baseline)
    return made


def draw(found: dict[str, Callable[[], Spec]], name: str) -> Spec:
    """Returns one chart.

    Raises:
        Missing: There is none of that name; lists those that there are.
    """
    if name not in found:
        known = ", ".join(found) or "none"
        raise Missing(f"charts/{name:.40}: no such chart; there is: {known}")
    return found[name]()


def _first(specs: dict[str, Spec]) -> Spec:
    return next(iter(specs.values()))


def _marked(side: Side) -> Sequence[int]:
    card = side.comparison.rows[0].entry.kept[0].card
    return tuple(card.benchmark["summary_steps"])


def _names(found: Sequence[Standing]) -> tuple[str, ...]:
    return labels_of([row.name for row in found])


def _label_of(found: Sequence[Standing], slug: str | None) -> str | None:
    return next(
        (name for name, row in zip(_names(found), found, strict=True) if row.slug == slug), None
    )


def _standings(found: Sequence[Standing], baseline: str | None) -> tuple[rows.Standing, ...]:
    return tuple(
        rows.Standing(
            entry=name,
            baseline=row.slug == baseline,
            rank=row.rank,
            first=row.ranks[0] if row.ranks else None,
            last=row.ranks[1] if row.ranks else None,
            tie=letter(row.group),
            value=row.summary.value or 0.0,
            low=row.summary.low,
            high=row.summary.high,
        )
        for name, row in zip(_names(found), found, strict=True)
    )


def _costs(found: Sequence[Standing]) -> tuple[rows.Cost, ...]:
    return tuple(
        rows.Cost(
            entry=name,
            seconds=row.cost.training_seconds,
            parameters=row.cost.parameters,
            hardware=row.cost.hardware,
            value=row.summary.value or 0.0,
            low=row.summary.low,
            high=row.summary.high,
        )
        for name, row in zip(_names(found), found, strict=True)
    )


def _steps(found: Sequence[Standing], labels: tuple[str, str], title: str) -> Spec:
    drawn = [
        rows.Curves(
            entry=name,
            kind=name,
            context=0,
            scores={
                ("average", step): _score("average", step, number)
                for step, number in row.by_step.items()
            },
        )
        for name, row in zip(_names(found), found, strict=True)
    ]
    return curve_charts.error_by_step(drawn, [_AVERAGE], labels, title)["average"]


def _entry_steps(dossier: Dossier, beside: Sequence[Dossier]) -> Spec:
    view = dossier.view
    together = [dossier, *beside]
    names = labels_of([one.view.name for one in together])
    drawn = [
        rows.Curves(entry=name, kind=name, context=view.board.context, scores=one.scores)
        for name, one in zip(names, together, strict=True)
    ]
    labels = curves.labels_of(view.metric)
    title = f"{view.name} on {view.board.label}, context {view.board.context}"
    return _first(curve_charts.error_by_step(drawn, dossier.lines, labels, title, view.steps))


def _score(series: str, step: int, number: Number) -> Score:
    return Score(
        series=series, step=step, metric="", value=number.value, low=number.low, high=number.high
    )


def _brain(maps: dict[str, Any], name: str) -> brain.BrainMap:
    marks = maps["marks"]
    values = np.array(marks["value"], np.float64)
    count = len(values)
    low, high = float(maps["low"]), float(maps["high"])
    return brain.BrainMap(
        title=f"{name}: error of each neuron",
        label=curves.labels_of(str(maps["metric"]))[1],
        names=tuple(str(place) for place in range(count)),
        regions=("",) * count,
        positions=np.stack([np.array(marks[axis], np.float64) for axis in "xyz"], axis=1),
        values=values,
        limits=(low, high if high > low else low + 1e-9),
    )
