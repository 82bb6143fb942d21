"""Curves: error against steps ahead, as a paper prints it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import ceil, isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from zapeval.reports import tables
from zapeval.reports.figures import look
from zapeval.reports.figures.panels import Content, Panel, ends_of, limits_of, panels_of, values_of
from zapeval.reports.figures.rows import Curves, curves_of_cards
from zapeval.scoring.scorecard import Scorecard, SeriesLine

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@final
@dataclass(frozen=True, kw_only=True)
class _Line:
    """One entry as it is drawn."""

    scores: tables.Scores
    label: str
    colour: str
    marker: str
    dashes: Any
    band: bool


FEW = 4
"""Most entries whose bands can be told apart."""

MANY = 8
"""Most entries whose lines can be told apart."""

OTHERS = "others"
GREY = "0.72"

Drawn = tuple[Panel, Sequence[_Line]]
"""A panel with the lines in it."""


def error_by_step(
    cards: Sequence[Scorecard],
    folder: Path,
    metric: str = "mae",
    frame_seconds: float | None = None,
    benchmark_steps: Sequence[int] = (),
    unit: str = "df/f",
) -> list[Path]:
    """Draws scorecards of one benchmark as PNG (200 dpi) and PDF, and returns the files.

    The labels take the seconds of a frame, where they are known, and the unit of the activity;
    ticks and markers stand at the benchmark's summary steps, or at some where none are given.

    Raises:
        UsageError: Matplotlib is not installed, or the cards can't stand in one figure.
        NotFound: A card has no such metric.
        StorageError: A file can't be written.
    """
    look.require("matplotlib")
    curves = curves_of_cards(cards, metric)
    marked, labels = benchmark_steps, labels_of(metric, unit, frame_seconds)
    figures = figures_of(curves, cards[0].series, labels, marked)
    return look.save(
        {f"{metric}_{name}": figure for name, figure in figures.items()},
        folder,
        title=f"{metric} on {tables.label_of(cards[0])}",
        about=tables.legible("; ".join(str(card.predictions["digest"]) for card in cards)),
    )


def labels_of(metric: str, unit: str = "df/f", seconds: float | None = None) -> tuple[str, str]:
    """Returns the labels of both axes: steps ahead and, with its unit, the metric."""
    names = {"mae": f"MAE ({unit})", "mse": f"MSE (({unit})²)", "correlation": "Pearson's r"}
    each = f" ({seconds:.3g} s each)" if seconds else ""
    return f"steps ahead{each}", names.get(metric, metric)


def figures_of(
    curves: Sequence[Curves],
    series: Sequence[SeriesLine],
    labels: tuple[str, str],
    marked: Sequence[int] = (),
    focus: Collection[str] = (),
) -> dict[str, Figure]:
    """Returns the figures of entries by name.

    Args:
        curves: The entries.
        series: The series that they were scored on.
        labels: Labels of both axes.
        marked: Steps of ticks and markers; some where none are given.
        focus: Entries that keep their bands where there are more than a few, and their colours
            where there are many: beside them the first ones do, and all others are grey. Where
            there are none, each entry has both.
    """
    with look.style():
        lines = _lines(curves, focus)
        steps = sorted({step for _, step in lines[0].scores})
        some = marked or [steps[-1] // part for part in (steps[-1], 8, 4, 2, 1)]
        ticks = sorted(set(some) & set(steps))
        panels = panels_of(series, dots=len(steps) == 1)
        drawn: dict[str, list[Drawn]] = {
            name: [(panel, lines) for panel in of] for name, of in panels.items()
        }
        if len(steps) == 1:
            return {"by_series": _dots(drawn["by_series"], steps, labels[1])}
        if "by_step" not in drawn:
            drawn = {"spread": _spread(lines, series), **drawn}
        return {name: _multiples(of, steps, ticks, labels) for name, of in drawn.items()}


def _lines(curves: Sequence[Curves], focus: Collection[str]) -> list[_Line]:
    """Returns the entries with colour and marker by kind, dashes by context length."""
    shown = {one.entry for one in curves}
    if focus and len(curves) > MANY:
        first = [one.entry for one in curves if one.entry not in focus]
        shown = {*focus, *first[: len(look.COLOURS) - len(focus)]}
    kinds = list(dict.fromkeys(one.kind for one in curves if one.entry in shown))
    contexts = sorted({one.context for one in curves})
    lines = []
    for one in curves:
        grey = one.entry not in shown
        colour, marker = (GREY, "") if grey else look.of(kinds.index(one.kind))
        line = _Line(
            scores=one.scores,
            label=OTHERS if grey else one.entry,
            colour=colour,
            marker=marker,
            dashes=look.DASHES[contexts.index(one.context) % len(look.DASHES)],
            band=not focus or len(curves) <= FEW or one.entry in focus,
        )
        lines.append(line)
    return lines


def _spread(lines: Sequence[_Line], series: Sequence[SeriesLine]) -> list[Drawn]:
    """Returns a panel for each entry, with all series behind its average."""
    names = tuple(line.name for line in series if not line.held_out)
    # One look for every average: here a panel's title names the entry.
    own = [replace(lines[0], scores=line.scores, label="average") for line in lines]
    return [
        (Panel(title=line.label, kind="average", series=("average",), faint=names), [one])
        for line, one in zip(lines, own, strict=True)
    ]


def _values(line: _Line, series: Sequence[str], steps: Sequence[int]) -> list[float]:
    """Returns the mean over the series at each step, NaN where it is undefined."""
    return [nan if v is None else v for v in values_of(line.scores, series, steps)]


def _multiples(
    drawn: Sequence[Drawn], steps: Sequence[int], ticks: Sequence[int], labels: Sequence[str]
) -> Figure:
    from matplotlib.figure import Figure

    count = len(drawn)
    columns = count if count <= 3 else 2 if count == 4 else 3 if count in (5, 6, 9) else 4
    rows = ceil(count / columns)
    height = 1.5 * rows + (1.2 if rows == 1 else 0.8)
    figure = Figure(figsize=(look.WIDTH, height), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=_alike(drawn, steps), squeeze=False)
    shared = limits_of(_bare(drawn), steps) if _alike(drawn, steps) else None
    legend: dict[str, Any] = {}
    for index, axes in enumerate(grid.flat):
        axes.set_visible(index < count)
        axes.tick_params(labelbottom=index + columns >= count)
        if index < count:
            legend |= _draw(axes, *drawn[index], steps, ticks)
            axes.set_ylim(shared or limits_of(_bare(drawn[index : index + 1]), steps))
    figure.supxlabel(labels[0])
    figure.supylabel(labels[1])
    others = {OTHERS: legend.pop(OTHERS)} if OTHERS in legend else {}
    look.key(figure, legend | others)
    return figure


def _bare(drawn: Sequence[Drawn]) -> list[Content]:
    return [(panel, [(line.scores, line.band) for line in lines]) for panel, lines in drawn]


def _alike(drawn: Sequence[Drawn], steps: Sequence[int]) -> bool:
    """Returns whether no panel would look flat on an axis that all share."""
    tops = []
    for panel, lines in drawn:
        values = [value for line in lines for value in _values(line, panel.series, steps)]
        tops.append(max((abs(value) for value in values if not isnan(value)), default=0.0))
    return max(tops) <= 4 * min(filter(None, tops), default=0.0)


def _draw(
    axes: Axes, panel: Panel, lines: Sequence[_Line], steps: Sequence[int], ticks: Sequence[int]
) -> dict[str, Any]:
    """Draws a panel and returns what its legend holds: handles by label."""
    legend: dict[str, Any] = {}
    for name in panel.faint:
        values, alpha = _values(lines[0], [name], steps), 0.3 + 3 / len(panel.faint)
        axes.plot(steps, values, color="0.7", alpha=min(1.0, alpha), linewidth=0.5)
        legend["each series"] = axes.plot([], color="0.7", linewidth=0.5)[0]
    for line in lines:
        values = _values(line, panel.series, steps)
        drawn = {"color": line.colour, "linestyle": line.dashes, "marker": line.marker}
        drawn["mfc"] = line.colour if line.dashes == look.DASHES[0] else "white"
        if line.label == OTHERS:
            drawn |= {"linewidth": 0.6, "zorder": 1.5}
        at = [steps.index(step) for step in ticks]
        legend[line.label] = axes.plot(steps, values, markevery=at, **drawn)[0]
        if line.band and (ends := ends_of(line.scores, panel.series, steps)):
            low, high = zip(*ends, strict=True)
            axes.fill_between(steps, low, high, alpha=0.15, linewidth=0, color=line.colour)
    if all(isnan(y) for one in legend.values() for y in one.get_ydata()):
        axes.text(0.5, 0.5, "undefined", transform=axes.transAxes, ha="center", color="0.4")
    held_out = panel.kind == "held out"
    axes.set_title(panel.title, style="italic" if held_out else "normal")
    axes.set_facecolor("0.96" if held_out else "white")
    axes.set_xticks(ticks)
    return legend


def _dots(drawn: Sequence[Drawn], steps: Sequence[int], label: str) -> Figure:
    from matplotlib.figure import Figure

    lanes = len(drawn[0][1])
    spread = any(panel.faint for panel, _ in drawn)
    height = max(0.17, lanes * (0.2 if spread else 0.08)) * len(drawn)
    figure = Figure(figsize=(look.WIDTH, height + 0.8), layout="constrained")
    axes = figure.subplots()
    legend = {}
    for index, (row, lines) in enumerate(drawn):
        shade = "0.96" if row.kind == "held out" else "white"
        axes.axhspan(index - 0.5, index + 0.5, color=shade, linewidth=0)
        axes.axhline(index + 0.5, color="0.9", linewidth=0.5)
        for number, line in enumerate(lines):
            y = index + 0.8 * ((number + 0.5) / lanes - 0.5)
            faint = [_values(line, [name], steps)[0] for name in row.faint]
            # Offsets by the golden ratio are even, and the same in every run.
            ys = [y + 0.6 / lanes * (0.618 * k % 1 - 0.5) for k in range(len(faint))]
            axes.plot(faint, ys, ".", color=line.colour, alpha=0.5, markersize=3, mew=0)
            for low, high in ends_of(line.scores, row.series, steps):
                axes.hlines(y, low, high, color=line.colour, linewidth=0.8)
            value = _values(line, row.series, steps)
            legend[line.label] = axes.plot(value, [y], line.marker, color=line.colour, ms=4.5)[0]
    axes.set_yticks(range(len(drawn)), [row.title for row, _ in drawn])
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(label)
    look.key(figure, legend)
    return figure
