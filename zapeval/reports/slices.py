"""Slices: the scores of groups of neurons, as a table, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

from rich.table import Table

from zapeval.errors import NotFound
from zapeval.reports.groups import ALL
from zapeval.reports.tables import (
    NONE,
    enumerated,
    legible,
    mean_of,
    shortened,
    table_of,
    written_alike,
)

SCHEMA = "zapeval.slices/1"

NO_INTERVALS = (
    "maps keep each neuron's means and no windows, over which an interval would have to be taken"
)
NO_CARD = "maps do not say whose predictions they are of; give the scorecard with --card"

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@final
@dataclass(frozen=True, kw_only=True)
class SliceRow:
    """One score of one group.

    Attributes:
        group: Name of the group; ``all`` holds every neuron.
        series: A series, ``average``, ``average:GROUP`` or ``pooled``, as in a scorecard.
        step: Steps ahead, 1-based.
        metric: ``mae``, ``mse`` or ``correlation``.
        value: The score; None where it is undefined, and so is every mean over it.
        neurons: Different neurons of the group that were scored.
        undefined: Of these, the ones left out of a correlation because a side is constant; summed
            over the series of a mean.
    """

    group: str
    series: str
    step: int
    metric: str
    value: float | None
    neurons: int
    undefined: int = 0


@final
@dataclass(frozen=True, kw_only=True)
class Slices:
    """Scores of groups, with their identity.

    Attributes:
        by: What the groups were made by.
        benchmark: Label and digest.
        summary_steps: The benchmark's.
        groups: Name and number of neurons of each; the last is ``all``.
        rows: The scores, group by group.
        about: What a reader should know of the groups.
        source: What the predictions are called, and what the scorecard says of them.
    """

    by: str
    benchmark: dict[str, str]
    summary_steps: tuple[int, ...]
    groups: tuple[tuple[str, int], ...]
    rows: tuple[SliceRow, ...]
    about: str
    source: dict[str, Any]

    def row(self, group: str, series: str, step: int, metric: str) -> SliceRow:
        """Returns one score.

        Raises:
            NotFound: There is none.
        """
        for row in self.rows:
            if (row.group, row.series, row.step, row.metric) == (group, series, step, metric):
                return row
        raise NotFound(f"slices: have no {metric} of {group!r} in {series!r} at step {step}")

    def to_json(self) -> str:
        """Returns everything as JSON; equal slices give equal text."""
        document = {
            "schema": SCHEMA,
            "by": self.by,
            "benchmark": self.benchmark,
            "predictions": self.source,
            "groups": [{"name": name, "neurons": count} for name, count in self.groups],
            "about": self.about,
            "intervals": {"level": None, "reason": NO_INTERVALS},
            "rows": [vars(row) for row in self.rows],
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """Returns the scores as CSV, one row a score, each with its identity.

        Text that a spreadsheet would take for a formula is preceded by an apostrophe.
        """
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        columns = ("group", "series", "step", "metric", "value", "neurons", "undefined")
        rows.writerow(("benchmark", "digest", "predictions", "by", *columns))
        own = (*self.benchmark.values(), self.source.get("digest"), self.by)
        for row in self.rows:
            values = (*own, *(getattr(row, column) for column in columns))
            rows.writerow([_guarded(value) for value in values])
        return text.getvalue()


def slices_table(slices: Slices, metric: str, series: str, steps: Sequence[int]) -> Table:
    """Returns groups x steps of one metric and series; what the numbers are stands below.

    Raises:
        NotFound: The slices have no such rows.
    """
    cells = {(row.group, row.step): row for row in slices.rows if row.metric == metric}
    wanted = {(group, step) for group, _ in slices.groups for step in steps}
    if not wanted <= cells.keys() or any(row.series != series for row in cells.values()):
        raise NotFound(f"slices: are not those of {metric} of {series!r}")
    values = {
        group: tuple(cells[group, step].value for step in steps) for group, _ in slices.groups
    }
    shown = {name: (*of, *[mean_of(of)] * (len(steps) > 1)) for name, of in values.items()}
    write = written_alike(shown.values())
    lines = [
        (legible(name), str(cells[name, steps[0]].neurons), *map(write, of))
        for name, of in shown.items()
    ]
    whose = legible(slices.source["name"])
    table = table_of(
        f"{metric} of {whose} on {slices.benchmark['label']}, {legible(series)}, by "
        f"{legible(slices.by)}",
        ("group", "neurons", *(f"step {step}" for step in steps), *["mean"] * (len(steps) > 1)),
        [lines[:-1], lines[-1:]],
        list(_notes(slices, [cells[group, step] for group, _ in slices.groups for step in steps])),
    )
    table.columns[0].justify, table.columns[0].no_wrap = "left", False
    table.columns[0].overflow, table.columns[0].min_width = "fold", 8
    return table


def _notes(slices: Slices, shown: Sequence[SliceRow]) -> Iterator[str]:
    """Yields why numbers are absent, what the groups are, and the identity."""
    null = list(dict.fromkeys(legible(row.group) for row in shown if row.value is None))
    if null:
        yield f"{NONE} is undefined, in {enumerated(null)}: no neuron is scored there in a series"
    counts = {row.undefined for row in shown if row.group == ALL}
    if any(counts):
        span = " to ".join(str(count) for count in sorted({min(counts), max(counts)}))
        yield f"neurons left out for being constant, over all series: {span}"
    *groups, (_, every) = slices.groups
    outside = every - sum(count for _, count in groups)
    if outside:
        yield f"{outside} of {every} neurons are in no group"
    if slices.about:
        yield legible(slices.about)
    yield f"no intervals: {NO_INTERVALS}"
    if "digest" in slices.source:
        yield f"predictions {shortened(slices.source['digest'])}"
    yield f"benchmark {slices.benchmark['label']}, {shortened(slices.benchmark['digest'])}"


def _guarded(value: object) -> object:
    if not isinstance(value, str):
        return "" if value is None else value
    text = legible(value)
    return f"'{text}" if value.startswith(_FORMULA) else text
