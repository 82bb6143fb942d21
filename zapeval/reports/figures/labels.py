"""Labels: names that may be anybody's text, short and legible enough to be drawn."""

from __future__ import annotations

from collections.abc import Sequence

from zapeval.reports.tables import legible

MOST = 40
"""Most characters of a name, so that it leaves room for what is drawn."""


def labels_of(names: Sequence[str], after: Sequence[str] = ()) -> tuple[str, ...]:
    """Returns a short label for each name, which no other has.

    Args:
        names: The names.
        after: What follows each, whatever its length.
    """
    ends = after or [""] * len(names)
    return numbered([short(name) + end for name, end in zip(names, ends, strict=True)])


def numbered(labels: Sequence[str]) -> tuple[str, ...]:
    """Returns labels of which those that came before are numbered."""
    made: list[str] = []
    for label in labels:
        count, one = 1, label
        while one in made:
            count += 1
            one = f"{label} ({count})"
        made.append(one)
    return tuple(made)


def short(text: object) -> str:
    """Returns legible text of at most MOST characters."""
    text = legible(text)
    return text if len(text) <= MOST else f"{text[:24]}…{text[-15:]}"
