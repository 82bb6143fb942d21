"""Traces: single neurons in single windows, drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from zapeval.reports.figures import look
from zapeval.reports.figures.excerpts import Point, Traces
from zapeval.reports.figures.mosaic import mosaic_of, view
from zapeval.reports.figures.vega import Rows, Spec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STRIP = 0.13  # of the height of a panel: a line of small text
_FEW = 6  # steps; a line of so few is drawn with its points


def traces_figure(traces: Traces) -> Figure:
    """Returns a panel a neuron (down) and window (across)."""
    with look.style():
        from matplotlib.figure import Figure

        neurons, windows = traces.neurons, traces.windows
        height = max(1.15 * len(neurons), 1.6) + 0.9
        figure = Figure(figsize=(look.WIDTH, height), layout="constrained")
        grid = figure.subplots(len(neurons), len(windows), sharex=True, sharey="row", squeeze=False)
        legend: dict[str, Any] = {}
        for row, neuron in enumerate(neurons):
            grid[row, 0].set_ylabel(neuron)
            for column, window in enumerate(windows):
                legend |= _draw(grid[row, column], traces, neuron, window)
        first, last = traces.span
        grid[0, 0].set_xlim(first - 0.5, last + 0.5)
        _name_contexts(grid[0, 0], traces)
        for column, window in enumerate(windows):
            grid[0, column].set_title(window)
        figure.align_ylabels(grid[:, 0])
        figure.supxlabel(traces.labels[0], size="medium")
        figure.supylabel(traces.labels[1], size="medium")
        look.key(figure, {name: legend[name] for name in traces.colours})
        return figure


def traces_chart(traces: Traces) -> Spec:
    """Returns the panels as Vega-Lite."""
    look.require("altair")
    import altair as alt

    datasets, down = {}, []
    for row, neuron in enumerate(traces.neurons):
        across = []
        for column, window in enumerate(traces.windows):
            name = f"panel {row} {column}"
            datasets[name] = _rows(traces, neuron, window)
            across.append(_panel(traces, name, f"{neuron}: {window}"))
        down.append(alt.hconcat(*across).resolve_scale(y="shared"))
    datasets["contexts"] = [{"from": at, "to": 0.5, "seen": name} for at, name in traces.marks]
    seen = ", ".join(f"{name} saw {length} frames" for name, length in traces.contexts.items())
    return mosaic_of(
        alt.vconcat(*down),
        datasets,
        title=traces.title,
        said=f"Activity of neurons and forecasts of it, {traces.title}: {seen}.",
    )


def _lines(traces: Traces, neuron: str, window: str) -> Iterator[tuple[str, list[Point]]]:
    """Yields the lines of a panel."""
    of = (p for p in traces.points if (p.neuron, p.window) == (neuron, window))
    for line, points in groupby(of, lambda point: point.line):
        yield line, list(points)


def _draw(axes: Axes, traces: Traces, neuron: str, window: str) -> dict[str, Any]:
    """Draws a panel and returns what its legend holds: handles by label."""
    legend = {}
    for begin, _ in traces.marks:
        axes.axvspan(begin, 0.5, color="0.5", alpha=0.09, linewidth=0)
    axes.axvline(0.5, color="0.5", linewidth=0.6)
    for line, points in _lines(traces, neuron, window):
        few = len(points) <= _FEW and points[0].kind == "forecast"
        (legend[line],) = axes.plot(
            [point.step for point in points],
            [point.value for point in points],
            color=traces.colours[line],
            linewidth=1.3 if points[0].kind == "actual" else 1.0,
            marker="o" if few else None,
            zorder=3 if points[0].kind == "forecast" else 2.5,
        )
    return legend


def _name_contexts(axes: Axes, traces: Traces) -> None:
    """Writes context lengths where they begin, each a line lower, above the lines of the panel."""
    from matplotlib.transforms import blended_transform_factory

    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, top + (top - bottom) * _STRIP * len(traces.marks))
    place = blended_transform_factory(axes.transData, axes.transAxes)
    for number, (begin, text) in enumerate(traces.marks):
        above = 0.98 - _STRIP * number
        axes.text(begin + 0.1, above, text, transform=place, va="top", color="0.4", size="small")


def _rows(traces: Traces, neuron: str, window: str) -> Rows:
    """Returns a row a point of a panel."""
    return [
        {
            "line": point.line,
            "step": point.step,
            "frame": point.frame,
            "value": point.value if math.isfinite(point.value) else None,
        }
        for _, points in _lines(traces, neuron, window)
        for point in points
    ]


def _panel(traces: Traces, name: str, title: str) -> Any:
    """Returns one panel for the web, over the data of a name."""
    import altair as alt

    colours, (first, last) = traces.colours, traces.span
    scale = alt.Scale(domain=list(colours), range=list(colours.values()))
    legend = alt.Legend(orient="top", title=None, labelLimit=0, columns=4)
    wide = alt.Scale(domain=[first - 0.5, last + 0.5], nice=False)
    told = ["line:N", "step:Q", "frame:Q", alt.Tooltip("value:Q", format=".4g")]
    lines = alt.Chart(alt.NamedData(name)).mark_line(strokeWidth=1.5)
    lines = lines.encode(
        x=alt.X("step:Q", title=traces.labels[0], scale=wide, axis=alt.Axis(grid=False)),
        y=alt.Y("value:Q", title=traces.labels[1], scale=alt.Scale(zero=False)),
        color=alt.Color("line:N", scale=scale, sort=list(colours), legend=legend),
        tooltip=told,
    )
    seen = alt.Chart(alt.NamedData("contexts")).mark_rect(color="#808080", opacity=0.12)
    seen = seen.encode(x="from:Q", x2="to:Q", tooltip=["seen:N"])
    width = max(160, 640 // len(traces.windows))
    # The actual is black, which a dark page would swallow.
    ground = view("#FFFFFF")
    return alt.layer(seen, lines, title=title, width=width, height=130, view=ground)
