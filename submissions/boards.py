"""Boards: the entries that share benchmark, context length and data, ordered by their summary."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from submissions.card import Card
from submissions.entry import Entry
from zapeval.benchmarks.benchmark import Benchmark

REPORTED = "reported"
"""Mark of numbers that were published without predictions."""

PARTIAL = "partial"
"""Mark of scores that leave neurons out; they are shown and not ordered."""

_NONE = "-"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One entry on a board.

    Attributes:
        entry: Name of the entry.
        name: What its authors call it.
        summary: Mean of its seeds' summaries; None where one is undefined.
        low: Mean of the lower ends of their 95 % intervals over time or animals, or None.
        high: Mean of the upper ends, or None.
        seeds: Number of scorecards or runs.
        spread: Two standard errors over seeds; None for a single one.
        mark: ``reported``, ``partial`` or "".
    """

    entry: str
    name: str
    summary: float | None
    low: float | None
    high: float | None
    seeds: int
    spread: float | None
    mark: str


@dataclass(frozen=True, kw_only=True)
class Board:
    """The entries that may be compared.

    Attributes:
        label: Benchmark, ``id@version``.
        context: Context length in frames.
        data: Digest of the target frames; "" where there are reported numbers alone.
        metric: Metric of the summary.
        rows: Its rows: the best first, then those that are not ordered.
    """

    label: str
    context: int
    data: str
    metric: str
    rows: tuple[Row, ...]


def boards_of(entries: Sequence[Entry], benchmarks: Mapping[str, Benchmark]) -> tuple[Board, ...]:
    """Returns the boards of entries, sorted by benchmark, context length and data.

    Reported numbers say not over which data; they stand, marked, on every board of their benchmark
    and context length.

    Args:
        entries: The entries.
        benchmarks: The benchmarks by label; entries on others are left out.
    """
    scored: dict[tuple[str, int, str], list[Row]] = {}
    reported: dict[tuple[str, int], list[Row]] = {}
    for entry in entries:
        for (label, context, data), cards in _by_board(entry).items():
            if label in benchmarks:
                scored.setdefault((label, context, data), []).append(_scored(entry, cards))
        numbers = entry.reported
        if numbers is not None and numbers.benchmark in benchmarks:
            for context in numbers.contexts:
                row = _reported(entry, benchmarks[numbers.benchmark], context)
                reported.setdefault((numbers.benchmark, context), []).append(row)
    for label, context in reported:
        if not any(key[:2] == (label, context) for key in scored):
            scored[label, context, ""] = []
    return tuple(
        Board(
            label=label,
            context=context,
            data=data,
            metric=benchmarks[label].primary,
            rows=_ordered([*rows, *reported.get((label, context), ())], benchmarks[label].primary),
        )
        for (label, context, data), rows in sorted(scored.items())
    )


def board_lines(board: Board) -> Iterator[str]:
    """Yields a board as aligned text; prose begins with ``#``."""
    data = f", data {board.data[:19]}" if board.data else ""
    yield f"# {board.label}, context {board.context}{data}: summary {board.metric}"
    table: list[tuple[str, ...]] = [
        ("entry", "name", "summary", "95 % interval", "seeds", "2 SE", "")
    ]
    table += [_cells(row) for row in board.rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        cells = (
            f"{cell:<{width}}" if i in (0, 1, 6) else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _by_board(entry: Entry) -> dict[tuple[str, int, str], list[Card]]:
    found: dict[tuple[str, int, str], list[Card]] = {}
    for card in entry.cards:
        key = (card.label, card.context, str(card.card.data["digest"]))
        found.setdefault(key, []).append(card)
    return found


def _scored(entry: Entry, cards: Sequence[Card]) -> Row:
    summaries = [card.card.summary for card in cards]
    mean, spread = _seeds([one.value for one in summaries])
    return Row(
        entry=entry.name,
        name=entry.sheet.name,
        summary=mean,
        # The mean of the ends is never too narrow: means vary no more than their members do.
        low=_seeds([one.low for one in summaries])[0],
        high=_seeds([one.high for one in summaries])[0],
        seeds=len(cards),
        spread=spread,
        mark=PARTIAL if any(card.card.partial for card in cards) else "",
    )


def _reported(entry: Entry, benchmark: Benchmark, context: int) -> Row:
    numbers = entry.reported
    seeds = () if numbers is None else numbers.seeds(context)
    summaries = [numbers.summary(benchmark, context, seed) for seed in seeds] if numbers else []
    mean, spread = _seeds(summaries)
    return Row(
        entry=entry.name,
        name=entry.sheet.name,
        summary=mean,
        low=None,
        high=None,
        seeds=len(seeds),
        spread=spread,
        mark=REPORTED,
    )


def _seeds(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Returns mean and two standard errors; None where a member is None, or alone."""
    known = [value for value in values if value is not None]
    if not known or len(known) != len(values):
        return None, None
    mean = math.fsum(known) / len(known)
    if len(known) < 2:
        return mean, None
    return mean, 2 * statistics.stdev(known) / math.sqrt(len(known))


def _ordered(rows: Sequence[Row], metric: str) -> tuple[Row, ...]:
    sign = -1.0 if metric == "correlation" else 1.0

    def place(row: Row) -> tuple[bool, float, str]:
        apart = row.mark == PARTIAL or row.summary is None
        return apart, 0.0 if row.summary is None else sign * row.summary, row.entry

    return tuple(sorted(rows, key=place))


def _cells(row: Row) -> tuple[str, ...]:
    summary = _NONE if row.summary is None else f"{row.summary:.5f}"
    interval = _NONE
    if row.low is not None and row.high is not None:
        interval = f"{row.low:.5f} to {row.high:.5f}"
    spread = _NONE if row.spread is None else f"{row.spread:.5f}"
    return (row.entry, row.name, summary, interval, str(row.seeds), spread, row.mark)
