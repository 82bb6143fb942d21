"""LaTeX: a comparison as a table for a paper, in plain ASCII."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from zapeval.reports.comparison import Comparison
from zapeval.reports.standings import columns_of, notes_of, title_of
from zapeval.reports.tables import NONE, legible

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    "±": r"$\pm$",
    "\u2013": "--",
    **{mark: rf"\{mark}" for mark in "&%$#_{}"},
}
_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}


def to_latex(comparison: Comparison) -> str:
    """Returns the standings as a ``table`` that needs the package booktabs and nothing else.

    The best score is in bold, and so are all that tie with it: those of the first tie group, or,
    where nothing is known of ties, those of the lowest score.
    """
    columns = columns_of(comparison)
    left = {"forecaster", "hardware"}
    layout = "".join("l" if column.heading in left else "r" for column in columns)
    best = _best(comparison)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(title_of(comparison))}.{_bold_note(best)} {_notes(comparison)}}}",
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        _line(escaped(column.heading) for column in columns),
        r"\midrule",
    ]
    for index in range(len(comparison.rows)):
        cells = []
        for column in columns:
            cell = escaped(column.cells[index] or NONE)
            bold = index in best and column.heading == comparison.chosen.metric
            cells.append(rf"\textbf{{{cell}}}" if bold else cell)
        lines.append(_line(cells))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]) + "\n"


def escaped(text: object) -> str:
    """Returns text in ASCII that LaTeX sets as it reads; other letters become ``U+4E2D``."""
    return "".join(map(_set, legible(text)))


def _set(mark: str) -> str:
    if mark in _SPECIAL:
        return _SPECIAL[mark]
    if mark.isascii():
        return mark
    letter, *accents = tuple(unicodedata.normalize("NFD", mark))
    if letter.isascii() and letter.isalpha() and len(accents) == 1 and accents[0] in _ACCENTS:
        return rf"\{_ACCENTS[accents[0]]}{{{letter}}}"
    return f"U+{ord(mark):04X}"


def _best(comparison: Comparison) -> set[int]:
    """Returns the rows whose score is in bold; none where nothing is ranked."""
    rows = comparison.rows
    if comparison.partial:
        return set()
    if rows[0].group is not None:
        return {index for index, row in enumerate(rows) if row.group == 1}
    return {index for index, row in enumerate(rows) if row.rank == 1}


def _bold_note(best: set[int]) -> str:
    return " Bold: the best and what ties with it." if best else ""


def _notes(comparison: Comparison) -> str:
    return " ".join(f"{escaped(note[0].upper() + note[1:])}." for note in notes_of(comparison))


def _line(cells: Iterator[str] | list[str]) -> str:
    return " & ".join(cells) + r" \\"
