"""Formats: a table as it is shown, and its twins in CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

from zapeval.reports import latex
from zapeval.reports.standings import escaped
from zapeval.reports.tables import legible

Value = float | int | str | bool | None

_FORMULA = re.compile(r"^[\s\ufffd]*[=+\-@\t\r|%\uff0b\uff0d\uff1d\uff20]")
"""What a spreadsheet may take for a formula, full-width signs too."""


@final
@dataclass(frozen=True, kw_only=True)
class Heading:
    """What stands above a column.

    Attributes:
        key: Its name in addresses and in CSV.
        text: What is read.
        about: A sentence on what it is.
        left: Whether it holds words.
        interval: Whether its numbers come with intervals.
    """

    key: str
    text: str
    about: str = ""
    left: bool = False
    interval: bool = False


@final
@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell.

    Attributes:
        text: What is read.
        value: The same with all its digits.
        low: Lower end of its interval, or None.
        high: Upper end, or None.
        note: What is read beside it, smaller: its interval, its marks.
    """

    text: str
    value: Value = None
    low: Value = None
    high: Value = None
    note: str = ""


@final
@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as it is shown.

    Attributes:
        title: What it is.
        headings: Its columns.
        rows: A cell for each column.
        notes: What the numbers mean.
        identity: (name, value) of what every row is of.
    """

    title: str
    headings: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    identity: tuple[tuple[str, Value], ...] = ()

    def cells(self, key: str) -> tuple[Cell, ...]:
        """Returns a column's cells."""
        place = [heading.key for heading in self.headings].index(key)
        return tuple(row[place] for row in self.rows)


def to_csv(table: Table) -> str:
    """Returns a table as CSV with all digits, one line a row, each with its identity.

    Text that a spreadsheet would take for a formula is preceded by an apostrophe.
    """
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\r\n")
    noted = _noted(table)
    names = [name for name, _ in table.identity]
    out.writerow([*names, *(part for h in table.headings for part in _names(h, noted))])
    own = [guarded(value) for _, value in table.identity]
    for row in table.rows:
        cells = zip(table.headings, row, strict=True)
        out.writerow([*own, *(part for h, cell in cells for part in _values(h, cell, noted))])
    return text.getvalue()


def to_markdown(table: Table) -> str:
    """Returns a table as Markdown; nothing in it can be taken for markup or HTML."""
    head = [escaped(heading.text) for heading in table.headings]
    lines = [
        f"**{escaped(table.title)}**",
        "",
        _line(head),
        _line(["---" if heading.left else "---:" for heading in table.headings]),
        *(_line([escaped(_read(cell)) for cell in row]) for row in table.rows),
        "",
        *(f"- {escaped(note)}" for note in (*table.notes, *_identity(table))),
    ]
    return "\n".join(lines) + "\n"


def to_latex(table: Table) -> str:
    """Returns a table as a LaTeX ``table`` in ASCII; it needs the package booktabs alone."""
    layout = "".join("l" if heading.left else "r" for heading in table.headings)
    notes = " ".join(f"{latex.escaped(note.rstrip('.'))}." for note in table.notes)
    rows = [_latex_row([_read(cell) for cell in row]) for row in table.rows]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex.escaped(table.title)}. {notes}}}",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        _latex_row([heading.text for heading in table.headings]),
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    said = (f"% {latex.escaped(line)}" for line in _identity(table))
    return "\n".join([*said, *lines]) + "\n"


TWINS: dict[str, tuple[str, Callable[[Table], str]]] = {
    "csv": ("text/csv; charset=utf-8", to_csv),
    "md": ("text/markdown; charset=utf-8", to_markdown),
    "tex": ("application/x-tex; charset=utf-8", to_latex),
}
"""Ending of an address to the type and the writer of what it answers."""


def guarded(value: Value) -> Value:
    """Returns what CSV holds of a value: text without what steers a terminal or a spreadsheet."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, str):
        return value
    text = legible(value)
    return f"'{text}" if _FORMULA.match(text) or _FORMULA.match(value) else text


def _noted(table: Table) -> set[str]:
    """Returns the columns of words that have notes beside them."""
    return {
        heading.key
        for place, heading in enumerate(table.headings)
        if heading.left and any(row[place].note for row in table.rows)
    }


def _names(heading: Heading, noted: set[str]) -> Iterator[str]:
    key = heading.key.replace("-", "_")
    yield key
    if heading.interval:
        yield from (f"{key}_low", f"{key}_high")
    if heading.key in noted:
        yield f"{key}_marks"


def _values(heading: Heading, cell: Cell, noted: set[str]) -> Iterator[Value]:
    yield guarded(cell.value)
    if heading.interval:
        yield from (guarded(cell.low), guarded(cell.high))
    if heading.key in noted:
        yield guarded(cell.note)


def _read(cell: Cell) -> str:
    return f"{cell.text} ({cell.note})" if cell.note else cell.text


def _identity(table: Table) -> Iterator[str]:
    return (f"{name.replace('_', ' ')}: {value}" for name, value in table.identity)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(latex.escaped, cells)) + r" \\"
