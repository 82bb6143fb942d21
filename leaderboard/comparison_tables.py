"""Comparison tables: a comparison as the two tables that its page and twins show."""

from __future__ import annotations

from collections.abc import Callable

from leaderboard.columns import cell_of, compact, duration
from leaderboard.comparison_views import SUMMARY, ComparisonView
from leaderboard.formats import Cell, Heading, Table
from zapeval.reports.standings import letter, percent, probability
from zapeval.reports.tables import NONE, shortened, written_alike


def scores_table(view: ComparisonView) -> Table:
    """Returns the scores of the compared entries."""
    write = written_alike([(one.score.value,) for one in view.entries])
    columns: list[tuple[Heading, list[Cell]]] = [
        (Heading(key="rank", text="rank"), [_whole(one.rank) for one in view.entries]),
        (
            Heading(key="name", text="entry", left=True),
            [Cell(text=one.name, value=one.name, note=one.mark) for one in view.entries],
        ),
        (Heading(key="ranks", text="ranks, 95 %"), [_span(one.ranks) for one in view.entries]),
        (
            Heading(key="tie", text="tie"),
            [Cell(text=letter(one.group), value=letter(one.group)) for one in view.entries],
        ),
        (
            Heading(key="score", text=view.metric, interval=True),
            [cell_of(one.score, write) for one in view.entries],
        ),
        (
            Heading(key="seeds", text="seeds"),
            [
                Cell(
                    text=str(one.seeds)
                    + ("" if one.two_se is None else f", ± {write(one.two_se)}"),
                    value=one.seeds,
                )
                for one in view.entries
            ],
        ),
        (
            Heading(key="skill", text="skill", interval=True),
            [cell_of(one.skill, percent) for one in view.entries],
        ),
        (
            Heading(key="wins", text="wins", interval=True),
            [cell_of(one.wins, percent) for one in view.entries],
        ),
        (
            Heading(key="parameters", text="parameters"),
            [_amount(one.cost.parameters, compact) for one in view.entries],
        ),
        (
            Heading(key="training", text="training"),
            [_amount(one.cost.training_seconds, duration) for one in view.entries],
        ),
    ]
    shown = [column for column in columns if any(cell.text not in ("", NONE) for cell in column[1])]
    return Table(
        title=_title(view),
        headings=tuple(heading for heading, _ in shown),
        rows=tuple(zip(*(cells for _, cells in shown), strict=True)),
        notes=_notes(view),
        identity=_identity(view),
    )


def pairs_table(view: ComparisonView) -> Table:
    """Returns their paired differences."""
    names = {one.entry: one.name for one in view.entries}
    write = written_alike([(pair.difference,) for pair in view.pairs])
    rows = []
    for pair in view.pairs:
        note = "" if pair.low is None else f"{write(pair.low)} to {write(pair.high)}"
        rows.append(
            (
                Cell(text=names[pair.a], value=names[pair.a]),
                Cell(text=names[pair.b], value=names[pair.b]),
                Cell(
                    text=write(pair.difference),
                    value=pair.difference,
                    low=pair.low,
                    high=pair.high,
                    note=note,
                ),
                _chance(pair.p),
                _chance(pair.adjusted),
            )
        )
    return Table(
        title=f"Differences: {_title(view)}",
        headings=(
            Heading(key="better", text="better", left=True),
            Heading(key="worse", text="worse", left=True),
            Heading(key="difference", text="difference", interval=True),
            Heading(key="p", text="p"),
            Heading(key="adjusted", text="adjusted p"),
        ),
        rows=tuple(rows),
        notes=(
            "difference: the better less the worse, on the same windows",
            f"adjusted p: Holm's method over these {len(view.pairs)} pairs",
        ),
        identity=_identity(view),
    )


def _title(view: ComparisonView) -> str:
    at = "summary steps" if view.step == SUMMARY else f"step {view.step}"
    where = f"{view.board.label}, context {view.board.context}"
    return f"{view.metric} of {view.series}, {at}, on {where}"


def _notes(view: ComparisonView) -> tuple[str, ...]:
    said = [
        f"ranks are those among these {len(view.entries)} entries, not those of the whole board"
    ]
    if view.reason:
        said.append(f"no intervals or ties: {view.reason}")
    else:
        said.append(f"intervals: 95 % ({view.method})")
    if view.baseline:
        said.append(f"skill and wins: against {view.baseline}")
    said += [f"left out: {one.name}: {one.reason}" for one in view.left_out]
    return tuple(said)


def _identity(view: ComparisonView) -> tuple[tuple[str, str | int], ...]:
    place = view.board
    return (
        ("benchmark", place.label),
        ("context", place.context),
        ("data", shortened(place.data)),
        ("metric", view.metric),
        ("series", view.series),
        ("step", view.step),
    )


def _whole(value: int | None) -> Cell:
    return Cell(text=NONE if value is None else str(value), value=value)


def _span(ranks: tuple[int, int] | None) -> Cell:
    if ranks is None:
        return Cell(text="")
    text = str(ranks[0]) if ranks[0] == ranks[1] else f"{ranks[0]} to {ranks[1]}"
    return Cell(text=text, value=text, low=ranks[0], high=ranks[1])


def _amount(value: float | None, write: Callable[[float], str]) -> Cell:
    return Cell(text="" if value is None else write(value), value=value)


def _chance(p: float | None) -> Cell:
    return Cell(text=NONE if p is None else probability(p), value=p)
