"""A skill matrix: each entry at each series, relative to the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from zapeval.reports.figures import look
from zapeval.reports.figures.rows import Skill

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FULL = 14
"""Most columns that have room for a decimal."""

GAP = 0.35
"""Between series, averages and what is held out, in columns."""


def figure_of(skills: Sequence[Skill], baseline: str) -> Figure:
    """Returns the figure of a skill matrix: percent in the cells, colour by their sign and size.

    Args:
        skills: The cells, entry by entry.
        baseline: Label of the entry that they are relative to.
    """
    with look.style():
        from matplotlib.figure import Figure

        entries = list(dict.fromkeys(cell.entry for cell in skills))
        columns = list(dict.fromkeys((cell.column, cell.kind) for cell in skills))
        longest = max(len(title) for title, _ in columns)
        size = (look.WIDTH, 0.2 * len(entries) + 0.035 * longest + 0.6)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        left = _edges([kind for _, kind in columns])
        _cells(axes, skills, left)
        axes.set_xticks([x + 0.5 for x in left], [title for title, _ in columns])
        axes.tick_params(axis="x", labeltop=True, labelbottom=False, rotation=40)
        for label, (_, kind) in zip(axes.get_xticklabels(), columns, strict=True):
            label.set(ha="left", va="bottom", rotation_mode="anchor")
            label.set_fontstyle("italic" if kind == "held out" else "normal")
            label.set_fontweight("bold" if kind == "average" else "normal")
        axes.set_yticks([y + 0.5 for y in range(len(entries))], entries)
        axes.set(xlim=(0, left[-1] + 1), ylim=(len(entries), 0))
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(about(skills, baseline))
        return figure


def about(skills: Sequence[Skill], baseline: str) -> str:
    """Returns what the numbers in the cells are."""
    bold = "; bold: the 95 % interval excludes 0" if any(map(sure, skills)) else ""
    return f"% less error than {baseline}{bold}"


def sure(cell: Skill) -> bool:
    """Tells whether the interval of a cell excludes 0."""
    return cell.low is not None and cell.high is not None and (cell.low > 0 or cell.high < 0)


def limit_of(skills: Sequence[Skill]) -> float:
    """Returns the skill at which colours end: the largest above 0, at least 0.1."""
    return max(
        (cell.value for cell in skills if cell.value is not None and cell.value > 0.1), default=0.1
    )


def decimals_of(columns: int) -> int:
    """Returns how many decimals a cell has room for."""
    return 1 if columns <= FULL else 0


def percent(skill: float | None, decimals: int = 1) -> str:
    """Returns a skill in percent with a real minus; "" for none, no decimals from 100 % on."""
    if skill is None:
        return ""
    decimals = decimals if abs(skill) < 0.9995 else 0
    # Adding 0 leaves no minus before a 0.
    rounded = round(100 * skill, decimals) + 0
    return f"{rounded:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def _edges(kinds: Sequence[str]) -> list[float]:
    """Returns the left edge of each column."""
    edges: list[float] = []
    for index, kind in enumerate(kinds):
        apart = index > 0 and kind != kinds[index - 1]
        edges.append((edges[-1] + 1 if edges else 0.0) + GAP * apart)
    return edges


def _cells(axes: Axes, skills: Sequence[Skill], left: Sequence[float]) -> None:
    from matplotlib.patches import Rectangle

    limit = limit_of(skills)
    size, decimals = 6.5 if len(left) <= FULL else 5.5, decimals_of(len(left))
    for y, (_, row) in enumerate(groupby(skills, lambda cell: cell.entry)):
        for x, cell in zip(left, row, strict=True):
            face, ink = look.shade_of(cell.value or 0.0, limit)
            axes.add_patch(Rectangle((x + 0.02, y + 0.04), 0.96, 0.92, facecolor=face))
            weight = "bold" if sure(cell) else "normal"
            middle: dict[str, Any] = {"ha": "center", "va": "center_baseline"}
            text = percent(cell.value, decimals)
            axes.text(x + 0.5, y + 0.5, text, color=ink, weight=weight, size=size, **middle)
