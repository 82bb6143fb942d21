"""Standings: a comparison as a table, as plain lines, Markdown and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from rich.table import Table

from zapeval.reports.comparison import Comparison, Row
from zapeval.reports.skill import Estimate
from zapeval.reports.tables import (
    NONE,
    label_of,
    legible,
    shortened,
    table_of,
    written_alike,
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|<>~&-])")


@final
@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the standings: its heading and a cell for each entry."""

    heading: str
    cells: tuple[str, ...]


def columns_of(comparison: Comparison) -> tuple[Column, ...]:
    """Returns the columns that a reader sees; those that are empty throughout are left out."""
    rows = comparison.rows
    write = written_alike(
        [(row.score.value, row.score.low, row.score.high) for row in rows]
        + [(row.over_seeds,) for row in rows]
    )
    makers: dict[str, Callable[[Row], str]] = {
        "rank": lambda row: NONE if row.rank is None else str(row.rank),
        "ranks": lambda row: "" if row.ranks is None else f"{row.ranks.low} to {row.ranks.high}",
        "tie": lambda row: letter(row.group),
        "forecaster": lambda row: legible(row.entry.name),
        comparison.chosen.metric: lambda row: write(row.score.value),
        "95 %": lambda row: _interval(row.score, write),
        "seeds": lambda row: _seeds(row, write),
        "skill": lambda row: "" if row.skill is None else percent(row.skill.value),
        "skill, 95 %": lambda row: _interval(row.skill, percent),
        "wins": lambda row: "" if row.wins is None else percent(row.wins.value),
        "wins, 95 %": lambda row: _interval(row.wins, percent),
        "parameters": lambda row: _number(row, "parameters", ",.0f"),
        "training, s": lambda row: _number(row, "training_seconds", ",.1f"),
        "hardware": lambda row: legible(row.cost.get("hardware", "")),
    }
    made = (
        Column(heading=heading, cells=tuple(map(make, rows))) for heading, make in makers.items()
    )
    return tuple(column for column in made if any(column.cells))


def standings_table(comparison: Comparison) -> Table:
    """Returns the standings; what the numbers mean and their identity stand below."""
    columns = columns_of(comparison)
    return table_of(
        title_of(comparison),
        tuple(column.heading for column in columns),
        [list(zip(*(_filled(column) for column in columns), strict=True))],
        [*notes_of(comparison), *_identity(comparison)],
    )


def pairs_table(comparison: Comparison) -> Table:
    """Returns the matrix of differences, row less column, with their adjusted p-values."""
    names = [row.entry.name for row in comparison.rows]
    cells = _pair_cells(comparison)
    rows = [(legible(name), *(cells.get((name, other), NONE) for other in names)) for name in names]
    return table_of(
        f"differences in {comparison.chosen.label}: row less column (adjusted p)",
        ("forecaster", *map(legible, names)),
        [rows],
        ["below 0 the row is better; p-values are adjusted by Holm's method over all pairs"],
    )


def to_markdown(comparison: Comparison, *, pairs: bool = False) -> str:
    """Returns the standings as a Markdown table, and the matrix of pairs after it."""
    columns = columns_of(comparison)
    parts = [
        f"**{escaped(title_of(comparison))}**",
        _markdown_table(
            [column.heading for column in columns],
            list(zip(*(_filled(column) for column in columns), strict=True)),
        ),
        "\n".join(f"- {escaped(note)}" for note in _all_notes(comparison)),
    ]
    if pairs:
        names, cells = [row.entry.name for row in comparison.rows], _pair_cells(comparison)
        matrix = [(name, *(cells.get((name, other), NONE) for other in names)) for name in names]
        parts.append("Differences, row less column (adjusted p):")
        parts.append(_markdown_table(["forecaster", *names], matrix))
    return "\n\n".join(parts) + "\n"


def to_csv(comparison: Comparison) -> str:
    """Returns the standings as CSV, one row an entry, each with its identity.

    Text that a spreadsheet would take for a formula is preceded by an apostrophe.
    """
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    card = comparison.rows[0].entry.kept[0].card
    identity = (label_of(card), card.benchmark["context"], card.data["digest"])
    chosen = comparison.chosen
    own = (*identity, chosen.metric, chosen.series, " ".join(map(str, chosen.steps)))
    out.writerow(_HEADINGS)
    for row in comparison.rows:
        values = (*own, *_csv_cells(row))
        out.writerow([_guarded(value) for value in values])
    return text.getvalue()


def title_of(comparison: Comparison) -> str:
    """Returns what is compared, on which benchmark, from how many frames."""
    card = comparison.rows[0].entry.kept[0].card
    where = f"{label_of(card)}, context {card.benchmark['context']}"
    partial = " (partial; never ranked)" if comparison.partial else ""
    return f"{legible(comparison.chosen.label)} on {where}{partial}"


def notes_of(comparison: Comparison) -> Iterator[str]:
    """Yields what the columns mean, and why some have no numbers."""
    seeded = [row for row in comparison.rows if len(row.entry.kept) > 1]
    if comparison.reason:
        yield f"no intervals, rank intervals or ties: {legible(comparison.reason)}"
    else:
        sampled = "series" if "between series" in str(comparison.method) else "windows in time"
        yield f"95 %: over {sampled}, for the seeds at hand ({comparison.method})"
    if comparison.partial:
        yield "neurons are missing: partial cards are never ranked"
    elif not comparison.reason:
        yield "ranks: 95 % interval of the rank, from all paired differences at once"
        yield (
            "tie: entries of one letter can't be told from the best of that letter, by all its "
            "paired differences at once"
        )
    if seeded:
        yield "seeds: their number, and two standard errors of the mean over them; no interval"
    if comparison.baseline is not None:
        name = legible(comparison.baseline)
        yield f"skill: 1 - score / that of {name}; wins: series x steps at which {name} is beaten"


def letter(group: int | None) -> str:
    """Returns the letters of a tie group: a, b, .. z, aa, ab, ..; "" for none."""
    text, rest = "", group or 0
    while rest:
        rest, digit = divmod(rest - 1, 26)
        text = chr(ord("a") + digit) + text
    return text


def percent(value: float | None) -> str:
    """Returns a share in percent, with one decimal."""
    return NONE if value is None else f"{100 * value:.1f} %"


def escaped(text: object) -> str:
    """Returns text whose marks mean nothing in Markdown."""
    return _MARKS.sub(r"\\\1", legible(text))


def _interval(estimate: Estimate | None, write: Callable[[float | None], str]) -> str:
    if estimate is None or estimate.low is None:
        return ""
    return f"{write(estimate.low)} to {write(estimate.high)}"


def _seeds(row: Row, write: Callable[[float | None], str]) -> str:
    if row.over_seeds is None:
        return ""
    return f"{len(row.entry.kept)}, ± {write(row.over_seeds)}"


def _number(row: Row, key: str, form: str) -> str:
    return f"{row.cost[key]:{form}}" if key in row.cost else ""


def _filled(column: Column) -> tuple[str, ...]:
    """Returns cells without empty ones, so that plain lines keep their columns."""
    return tuple(cell or NONE for cell in column.cells)


def _identity(comparison: Comparison) -> Iterator[str]:
    card = comparison.rows[0].entry.kept[0].card
    yield f"benchmark {label_of(card)}, {shortened(card.benchmark['digest'])}"
    yield f"data {shortened(card.data['digest'])}, scored set {shortened(card.scored_set)}"


def _all_notes(comparison: Comparison) -> list[str]:
    return [*notes_of(comparison), *_identity(comparison)]


def _pair_cells(comparison: Comparison) -> dict[tuple[str, str], str]:
    """Returns each pair's difference and adjusted p-value, both ways."""
    write = written_alike([(pair.difference,) for pair in comparison.pairs])
    cells = {}
    for pair in comparison.pairs:
        chance = "" if pair.adjusted is None else f" ({probability(pair.adjusted)})"
        cells[pair.first, pair.second] = f"{_signed(write, pair.difference)}{chance}"
        cells[pair.second, pair.first] = f"{_signed(write, -pair.difference)}{chance}"
    return cells


def probability(p: float) -> str:
    """Returns a p-value with three decimals."""
    return "<.001" if p < 0.001 else f"{p:.3f}".lstrip("0")


def _signed(write: Callable[[float | None], str], value: float) -> str:
    return ("+" if value > 0 else "") + write(value + 0.0)


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, *rows]
    text = [f"| {' | '.join(map(escaped, line))} |" for line in lines]
    return "\n".join([text[0], "|---" * len(headings) + "|", *text[1:]])


_HEADINGS = (
    *("benchmark", "context", "data", "metric", "series", "steps", "forecaster", "version"),
    *("predictions", "seeds", "rank", "rank_low", "rank_high", "tie", "score", "low", "high"),
    *("two_standard_errors_over_seeds", "skill", "skill_low", "skill_high"),
    *("win_rate", "win_rate_low", "win_rate_high", "parameters", "training_seconds", "hardware"),
)


def _csv_cells(row: Row) -> Iterator[object]:
    yield row.entry.name
    yield row.entry.forecaster.get("version") or ""
    yield " ".join(str(one.card.predictions["digest"]) for one in row.entry.kept)
    yield len(row.entry.kept)
    yield row.rank
    yield from (None, None) if row.ranks is None else (row.ranks.low, row.ranks.high)
    yield letter(row.group)
    yield from _three(row.score)
    yield row.over_seeds
    yield from _three(row.skill)
    yield from _three(row.wins)
    yield from (row.cost.get(key) for key in ("parameters", "training_seconds", "hardware"))


def _three(estimate: Estimate | None) -> tuple[float | None, ...]:
    return (None,) * 3 if estimate is None else (estimate.value, estimate.low, estimate.high)


def _guarded(value: object) -> object:
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    text = legible(value)
    return f"'{text}" if value.startswith(_FORMULA) or text.startswith(_FORMULA) else text
