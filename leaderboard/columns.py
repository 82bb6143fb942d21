"""Columns of a board: what each shows of an entry, and how it is ordered by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import final

from leaderboard.formats import Cell, Heading
from leaderboard.standings import Number, Standing, Standings
from zapeval.reports.standings import letter, percent
from zapeval.reports.tables import NONE

Sortable = float | str | datetime


@final
@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        heading: What stands above it.
        cell: What it shows of a row.
        order: What rows are ordered by, None coming last; None where they can't be.
    """

    heading: Heading
    cell: Callable[[Standing], Cell]
    order: Callable[[Standing], Sortable | None] | None

    @property
    def key(self) -> str:
        """Its name in addresses."""
        return self.heading.key


def columns_of(standings: Standings) -> tuple[Column, ...]:
    """Returns the columns of a board; those that are empty throughout are left out."""
    made = (*_places(), *_scores(standings), *_costs())
    return tuple(
        column for column in made if column.key == "name" or _shows(column, standings.rows)
    )


def _shows(column: Column, rows: tuple[Standing, ...]) -> bool:
    return any(column.cell(row).text not in ("", NONE) for row in rows)


def _places() -> Iterator[Column]:
    yield Column(
        heading=Heading(key="rank", text="rank", about="Rank of the summary; ties share it."),
        cell=lambda row: Cell(text=NONE if row.rank is None else str(row.rank), value=row.rank),
        order=lambda row: row.rank,
    )
    yield Column(
        heading=Heading(key="name", text="entry", left=True, about="What its authors call it."),
        cell=lambda row: Cell(text=row.name, value=row.name, note=", ".join(marks_of(row))),
        order=lambda row: row.name.casefold(),
    )
    yield Column(
        heading=Heading(
            key="ranks",
            text="ranks, 95 %",
            about="Interval of the rank, from all paired differences at once.",
        ),
        cell=_ranks,
        order=lambda row: None if row.ranks is None else float(row.ranks[0]),
    )
    yield Column(
        heading=Heading(
            key="tie",
            text="tie",
            about="Entries of one letter can't be told from the best of that letter.",
        ),
        cell=lambda row: Cell(text=letter(row.group), value=letter(row.group)),
        order=lambda row: row.group,
    )


def _scores(standings: Standings) -> Iterator[Column]:
    write, metric = standings.write, standings.metric
    steps = ", ".join(map(str, standings.steps))
    yield _number(
        "summary",
        metric.upper() if len(metric) == 3 else metric,
        f"Mean of the average {metric} over steps {steps}.",
        _summary,
        write,
    )
    yield Column(
        heading=Heading(
            key="seeds", text="seeds", about="Number of seeds, and two standard errors over them."
        ),
        cell=lambda row: Cell(
            text=str(row.seeds) + ("" if row.two_se is None else f", ± {write(row.two_se)}"),
            value=row.seeds,
        ),
        order=lambda row: row.seeds,
    )
    for step in standings.steps if len(standings.steps) > 1 else ():
        yield _number(
            f"step-{step}",
            f"step {step}",
            f"Average {metric} {step} steps ahead.",
            lambda row, step=step: row.by_step.get(step),  # type: ignore[misc]
            write,
            interval=False,
        )
    plain = {
        "average": (f"Mean of the average {metric} over all steps.", lambda row: row.average),
        "held-out": (
            f"Mean {metric} of the series that nobody trains on.",
            lambda row: row.held_out,
        ),
    }
    for key, (about, of) in plain.items():
        yield _number(key, key.replace("-", " "), about, of, write, interval=False)
    yield _number(
        "correlation",
        "correlation",
        "Pearson's, over windows for each neuron, then the mean.",
        lambda row: row.correlation,
        lambda value: NONE if value is None else f"{value:.3f}",
        interval=False,
    )
    against = standings.baseline or "the baseline"
    yield _number(
        "skill", "skill", f"1 - score / that of {against}.", lambda row: row.skill, percent
    )
    yield _number(
        "wins",
        "wins",
        f"Share of series x steps at which {against} is beaten.",
        lambda row: row.wins,
        percent,
    )


def _costs() -> Iterator[Column]:
    yield Column(
        heading=Heading(key="parameters", text="parameters", about="Learned parameters."),
        cell=lambda row: _amount(row.cost.parameters, compact),
        order=lambda row: row.cost.parameters,
    )
    yield Column(
        heading=Heading(key="training", text="training", about="Time to train one seed."),
        cell=lambda row: _amount(row.cost.training_seconds, duration),
        order=lambda row: row.cost.training_seconds,
    )
    yield Column(
        heading=Heading(key="hardware", text="hardware", left=True, about="It was trained on."),
        cell=lambda row: Cell(text=row.cost.hardware, value=row.cost.hardware),
        order=lambda row: row.cost.hardware.casefold() or None,
    )
    yield Column(
        heading=Heading(key="submitted", text="submitted", about="Day, UTC."),
        cell=lambda row: Cell(
            text="" if row.submitted is None else f"{row.submitted:%Y-%m-%d}",
            value="" if row.submitted is None else row.submitted.isoformat(),
        ),
        order=lambda row: row.submitted,
    )


def marks_of(row: Standing) -> tuple[str, ...]:
    """Returns what a reader should know of a row before its numbers."""
    said = {
        "reported": row.mark == "reported",
        "partial": row.mark == "partial",
        "baseline": row.baseline,
        "verified": row.verified,
        "future stimulus": row.future_stimulus,
        "flagged": bool(row.flag),
    }
    return tuple(mark for mark, holds in said.items() if holds)


def compact(value: float) -> str:
    """Returns a count with three digits: ``1.23 M``."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    """Returns a time in the unit that suits it: ``2.5 h``."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _summary(row: Standing) -> Number:
    return row.summary


def _ranks(row: Standing) -> Cell:
    if row.ranks is None:
        return Cell(text="", value=None)
    low, high = row.ranks
    text = str(low) if low == high else f"{low} to {high}"
    return Cell(text=text, value=text, low=low, high=high)


def _number(
    key: str,
    text: str,
    about: str,
    of: Callable[[Standing], Number | None],
    write: Callable[[float | None], str],
    *,
    interval: bool = True,
) -> Column:
    def cell(row: Standing) -> Cell:
        return cell_of(of(row), write, interval=interval)

    def order(row: Standing) -> float | None:
        number = of(row)
        return None if number is None else number.value

    heading = Heading(key=key, text=text, about=about, interval=interval)
    return Column(heading=heading, cell=cell, order=order)


def _amount(value: float | None, write: Callable[[float], str]) -> Cell:
    return Cell(text="" if value is None else write(value), value=value)


def cell_of(
    number: Number | None, write: Callable[[float | None], str], *, interval: bool = True
) -> Cell:
    """Returns the cell of a number, with its interval where it has one that is to be shown."""
    if number is None or number.value is None:
        return Cell(text=NONE)
    if not interval or number.low is None or number.high is None:
        return Cell(text=write(number.value), value=number.value)
    return Cell(
        text=write(number.value),
        value=number.value,
        low=number.low,
        high=number.high,
        note=f"{write(number.low)} to {write(number.high)}",
    )
