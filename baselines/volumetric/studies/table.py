"""The table of a study: mean over seeds and two standard errors, as CSV and Markdown."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from baselines.volumetric.studies.run import Outcome
from zapeval.errors import InvalidInput

METRIC, AVERAGE = "mae", "average"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: The mean.
        margin: Two standard errors of it; None with one seed.
    """

    mean: float
    margin: float | None

    def __str__(self) -> str:
        around = "" if self.margin is None else f" ± {self.margin:.5f}"
        return f"{self.mean:.5f}{around}"


def estimate(values: Sequence[float]) -> Estimate:
    """Returns mean and two standard errors: ``2 s / sqrt(n)``, ``s`` with ``n - 1``."""
    margin = None
    if len(values) > 1:
        margin = 2 * statistics.stdev(values) / len(values) ** 0.5
    return Estimate(mean=statistics.fmean(values), margin=margin)


def summary(outcome: Outcome) -> Estimate:
    """Returns the headline of a cell: the mean over the benchmark's summary steps.

    Raises:
        InvalidInput: A scorecard has none.
    """
    return estimate([_number(card.summary.value, outcome) for card in outcome.cards])


def at_step(outcome: Outcome, step: int) -> Estimate:
    """Returns the mean absolute error of a cell at a step, averaged over series.

    Raises:
        InvalidInput: A scorecard has none.
    """
    values = [card.value(AVERAGE, step, METRIC) for card in outcome.cards]
    return estimate([_number(value, outcome) for value in values])


def as_csv(outcomes: Sequence[Outcome], steps: Sequence[int]) -> str:
    """Returns a row for each cell: what it is, and every number with its margin.

    Args:
        outcomes: The cells.
        steps: The benchmark's summary steps.
    """
    settings = sorted({key for one in outcomes for key in one.cell.settings})
    columns = [*(f"mae_{step}" for step in steps), "mae"]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        [
            *("cell", "forecaster", "context", *settings, "seeds"),
            *("parameters", "windows", "neurons"),
            *(name for column in columns for name in (column, f"{column}_2se")),
        ]
    )
    for one in outcomes:
        cell, card = one.cell, one.cards[0]
        told = [_told(cell.settings.get(key, "")) for key in settings]
        windows = sum(line.windows for line in card.series)
        neurons = max(line.scored for line in card.series)
        estimates = [*(at_step(one, step) for step in steps), summary(one)]
        rows.writerow(
            [
                *(cell.label, cell.forecaster, cell.context, *told),
                *(len(one.cards), _size(one), windows, neurons),
                *(_plain(v) for e in estimates for v in (e.mean, e.margin)),
            ]
        )
    return text.getvalue()


def as_markdown(outcomes: Sequence[Outcome], steps: Sequence[int], axis: str) -> str:
    """Returns the table for a page: a row for each cell, the lowest error of all in bold.

    Args:
        outcomes: The cells.
        steps: The benchmark's summary steps.
        axis: What the study varies.
    """
    card = outcomes[0].cards[0]
    windows = sum(line.windows for line in card.series)
    best = min(summary(one).mean for one in outcomes)
    head = ["cell", "C", "parameters", "seeds", *(f"h={step}" for step in steps), "mean"]
    lines = [
        f"MAE (df/f) by {axis}: {windows:,} windows of {card.benchmark['id']}, "
        f"{max(line.scored for line in card.series):,} neurons; mean over seeds ± 2 standard "
        "errors.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    lines += [f"| {' | '.join(_cells(one, steps, best))} |" for one in outcomes]
    return "\n".join(lines) + "\n"


def _cells(one: Outcome, steps: Sequence[int], best: float) -> Iterator[str]:
    whole = summary(one)
    yield from (one.cell.label, f"{one.cell.context}", _size(one), f"{len(one.cards)}")
    yield from (str(at_step(one, step)) for step in steps)
    yield f"**{whole}**" if whole.mean == best else str(whole)


def _size(one: Outcome) -> str:
    cost = one.cards[0].forecaster.get("cost") or {}
    parameters = cost.get("parameters")
    return "" if parameters is None else f"{parameters}"


def _told(setting: Any) -> Any:
    """Returns a setting as it is; of recordings, whose places mean nothing elsewhere, how many."""
    strings = isinstance(setting, list) and all(isinstance(one, str) for one in setting)
    return len(setting) if strings else setting


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.8g}"


def _number(value: float | None, outcome: Outcome) -> float:
    if value is None:
        raise InvalidInput(f"{outcome.cell.label}: a score of its is undefined; remove its folder")
    return value
