"""A ranking: scores and ranks with their intervals, ties visible."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zapeval.reports.figures import look
from zapeval.reports.figures.rows import Standing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def figure_of(standings: Sequence[Standing], label: str) -> Figure:
    """Returns the figure of a ranking, a row an entry, the best on top.

    Tie groups stand on bands of alternating shade and have their letters at the right; a triangle
    at the right end points to a score that lies beyond it.

    Args:
        standings: The entries, the best first.
        label: What the score is, with its unit.
    """
    with look.style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(look.WIDTH, 0.19 * len(standings) + 0.6), layout="constrained")
        ranked = any(one.first is not None for one in standings)
        ratios = (3, 1) if ranked else (1,)
        grid = figure.subplots(1, len(ratios), sharey=True, squeeze=False, width_ratios=ratios)
        left, *right = grid[0]
        for axes in (left, *right):
            _rows(axes, standings)
        _scores(left, standings, label)
        for axes in right:
            _ranks(axes, standings)
        return figure


def _rows(axes: Axes, standings: Sequence[Standing]) -> None:
    """Prepares a row for each entry, on the band of its tie group."""
    ties = list(dict.fromkeys(one.tie for one in standings))
    for y, one in enumerate(standings):
        shade = ("white", "0.94")[ties.index(one.tie) % 2]
        axes.axhspan(y - 0.5, y + 0.5, color=shade, linewidth=0, zorder=0)
    axes.set_ylim(len(standings) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _scores(axes: Axes, standings: Sequence[Standing], label: str) -> None:
    names = [f"{one.rank}  {one.entry}" if one.rank else one.entry for one in standings]
    top = look.top_of([one.value for one in standings], [one.high for one in standings])
    for y, one in enumerate(standings):
        if top is not None and one.value > top:
            axes.plot(top, y, ">", color="black", clip_on=False)
            axes.text(top, y, f"{one.value:.4g}  ", ha="right", va="center")
            continue
        axes.plot(one.value, y, "o", color="black")
        if one.low is not None and one.high is not None:
            axes.hlines(y, one.low, one.high, color="black", linewidth=0.9)
    for one in standings:
        if one.baseline and (top is None or one.value <= top):
            axes.axvline(one.value, color="0.5", linewidth=0.7, linestyle=look.DASHES[1], zorder=1)
            label = f"{label}; dashed: {one.entry}"
    if any(one.low is not None for one in standings):
        label += "; lines: 95 % intervals"
    axes.set_xlim(right=top)
    axes.set_yticks(range(len(standings)), names)
    axes.set_xlabel(label)


def _ranks(axes: Axes, standings: Sequence[Standing]) -> None:
    from matplotlib.ticker import MaxNLocator

    for y, one in enumerate(standings):
        if one.rank is not None and one.first is not None and one.last is not None:
            axes.hlines(y, one.first, one.last, color="black", linewidth=2.2, alpha=0.35)
            axes.plot(one.rank, y, "o", color="black")
            axes.text(1.03, y, one.tie, transform=axes.get_yaxis_transform(), va="center")
    axes.text(1.03, 1.0, "tie", transform=axes.transAxes, va="bottom", color="0.4")
    axes.tick_params(labelleft=False)
    axes.set_xlim(0.5, len(standings) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("rank, 95 % interval")
