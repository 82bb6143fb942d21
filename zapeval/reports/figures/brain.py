"""The brain, coloured by each neuron's own score, seen from three sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
from numpy.typing import NDArray

from zapeval.errors import InvalidInput
from zapeval.reports.figures import mosaic, squares
from zapeval.reports.figures.curves import labels_of
from zapeval.reports.figures.labels import short
from zapeval.reports.figures.look import WIDTH, require, style
from zapeval.reports.figures.vega import Rows, Spec
from zapeval.reports.maps import Maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

ROBUST = (2, 98)
"""Percentiles at which colours end, so that a few neurons do not take them all."""

VIEWS = (("xy", 0, 1), ("yz", 2, 1), ("xz", 0, 2))
"""Name of each view, and the axes that run across and up it."""

SCHEME: Final = "viridis"
"""Even steps look even, in grey and to colour-blind eyes too; dark is where the score is high."""

_HEIGHT = 9.0  # inches that the three views may take
_FLAT = 0.08  # of the longest side: what a side without extent gets, so that it can be seen
_MARGINS = (0.55, 0.42, 0.85, 0.55)  # inches: left, bottom, right, top
_GAP = 0.18  # inches between views
_WEB = 640  # pixels across the views of a chart
_GROUND = "#F6F6F6"  # of a chart: yellow and purple both show on it, on whatever page


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class BrainMap:
    """A score of each neuron, and where the neuron is.

    Attributes:
        title: Whose scores, of which series and steps.
        label: What colours mean, with its unit, and where they end.
        names: Name of each neuron.
        regions: Its region, or "".
        positions: float64 ``[neurons, 3]``, micrometres.
        values: float64 ``[neurons]``, NaN where a neuron has no score.
        limits: The scores at which colours end.
        unplaced: Neurons that are left out, because their place is not known.
    """

    title: str
    label: str
    names: tuple[str, ...]
    regions: tuple[str, ...]
    positions: Floats
    values: Floats
    limits: tuple[float, float]
    unplaced: int = 0

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which neurons have a score, bool ``[neurons]``."""
        return np.isfinite(self.values)

    @property
    def box(self) -> Floats:
        """Where the views begin and end, float64 ``[2, 3]``, micrometres."""
        low, high = self.positions.min(axis=0), self.positions.max(axis=0)
        longest = float((high - low).max()) or 1.0
        half = np.maximum(high - low, _FLAT * longest) / 2 + 0.02 * longest
        centre = (low + high) / 2
        return np.stack([centre - half, centre + half])


def brain_map(
    maps: Maps,
    *,
    metric: str = "mae",
    series: str = "average",
    steps: Sequence[int] | None = None,
    unit: str = "df/f",
) -> BrainMap:
    """Returns the mean over steps of each neuron's score, with its place.

    Args:
        maps: The maps.
        metric: The metric.
        series: A series, or ``average`` over those that are not held out.
        steps: The steps; None means those of the summary.
        unit: Unit of the activity.

    Raises:
        NotFound: There is no such series or metric.
        UsageError: There is no such step, or the series are of several recordings.
        InvalidInput: The recording does not say where neurons are, or none is scored.
    """
    steps = maps.benchmark.summary_steps if steps is None else steps
    key, values = maps.mean(series, metric, steps)
    recording = maps.recordings[key]
    table = recording.table
    if table is None:
        raise InvalidInput(
            f"{recording.uri}: has no neuron table (neurons.csv), so no places to draw neurons at"
        )
    placed = np.isfinite(table.positions).all(axis=1)
    if not np.isfinite(values[placed]).any():
        raise InvalidInput(f"{maps.uri}: no neuron of {series} has a place and a {metric}")
    at = f"step {steps[0]}" if len(steps) == 1 else f"mean of step {', '.join(map(str, steps))}"
    kept = np.flatnonzero(placed)
    return BrainMap(
        title=f"{short(maps.name)}: {short(series)}, {at}",
        label=f"{labels_of(metric, unit)[1]}, {ROBUST[0]}nd to {ROBUST[1]}th percentile",
        names=tuple(table.names[neuron] for neuron in kept),
        regions=tuple(table.regions[neuron] for neuron in kept),
        positions=table.positions[kept].astype(np.float64),
        values=values[kept],
        limits=_limits(values[placed]),
        unplaced=int((~placed).sum()),
    )


def brain_figure(brain: BrainMap) -> Figure:
    """Returns the three views to one scale, sides that they share side by side."""
    with style():
        import matplotlib as mpl
        from matplotlib.colors import Normalize
        from matplotlib.figure import Figure

        size, places = _layout(brain.box)
        figure = Figure(figsize=size)
        colours = mpl.colormaps[f"{SCHEME}_r"], Normalize(*brain.limits)
        drawn: Any = None
        for name, across, up in VIEWS:
            axes = figure.add_axes(places[name])
            drawn = _draw(axes, brain, (across, up), colours)
            axes.set_xlabel("" if name == "xy" else f"{'xyz'[across]} (µm)")
            axes.set_ylabel("" if name == "yz" else f"{'xyz'[up]} (µm)")
            axes.tick_params(labelbottom=name != "xy", labelleft=name != "yz")
        bar = figure.colorbar(drawn, cax=figure.add_axes(places["bar"]), extend=_beyond(brain))
        bar.outline.set_visible(False)
        bar.set_label(brain.label)
        bar.ax.grid(visible=False)
        said = "; ".join(notes_of(brain, "grey"))
        for place, text, look in (
            ("title", brain.title, {"weight": "bold"}),
            ("notes", said, {"color": "0.4"}),
        ):
            figure.text(places[place][0], places[place][1], text, va="center", fontdict=look)
    return figure


def brain_chart(brain: BrainMap) -> Spec:
    """Returns the three views as Vega-Lite, of at most squares.MARKS marks."""
    require("altair")
    import altair as alt

    kept, box = brain.scored, brain.box
    side = squares.side_of(brain.positions[kept], box, VIEWS)
    scale = _WEB / float(box[1, 0] - box[0, 0] + box[1, 2] - box[0, 2])
    views, datasets = {}, {}
    for name, across, up in VIEWS:
        ends = box[:, [across, up]]
        if side is None:
            datasets[name] = _points(brain, (across, up))
        else:
            places = brain.positions[kept][:, [across, up]]
            datasets[name] = squares.rows_of(places, brain.values[kept], ends[0], side)
        chart = alt.Chart(alt.NamedData(name), title=name, view=mosaic.view(_GROUND))
        views[name] = (
            _marks(chart, brain, side)
            .encode(
                x=_axis(alt.X, "across", "xyz"[across], ends[:, 0]),
                y=_axis(alt.Y, "up", "xyz"[up], ends[:, 1]),
            )
            .properties(
                width=round(scale * float(ends[1, 0] - ends[0, 0])),
                height=round(scale * float(ends[1, 1] - ends[0, 1])),
            )
        )
    under = [*notes_of(brain, "left out"), *squares.said(side)]
    return mosaic.mosaic_of(
        alt.vconcat(alt.hconcat(views["xy"], views["yz"]), views["xz"]),
        datasets,
        title=brain.title,
        said=f"{brain.label}, of neurons seen from three sides. {brain.title}; {'; '.join(under)}.",
        under=under,
    )


def notes_of(brain: BrainMap, unscored: str) -> list[str]:
    """Returns how many neurons there are, and what became of others.

    Args:
        brain: The map.
        unscored: What neurons without a score are: ``grey``, or ``left out``.
    """
    count = int(brain.scored.sum())
    lines = [f"{count:,} neurons"]
    if count < len(brain.values):
        lines.append(f"{len(brain.values) - count:,} without a score are {unscored}")
    if brain.unplaced:
        lines.append(f"{brain.unplaced:,} whose place is not known are left out")
    return lines


def _limits(values: Floats) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    low, high = (float(end) for end in np.percentile(known, ROBUST))
    if high > low:
        return low, high
    return low - (abs(low) or 1.0) / 20, high + (abs(high) or 1.0) / 20


def _beyond(brain: BrainMap) -> str:
    """Returns on which side scores lie beyond the colours."""
    known = brain.values[brain.scored]
    below, above = known.min() < brain.limits[0], known.max() > brain.limits[1]
    return {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above]


def _layout(box: Floats) -> tuple[tuple[float, float], dict[str, Any]]:
    """Returns the size of a figure in inches, and where everything lies as parts of it."""
    x, y, z = box[1] - box[0]
    left, bottom, right, top = _MARGINS
    scale = min((WIDTH - left - right - _GAP) / (x + z), (_HEIGHT - bottom - top - _GAP) / (y + z))
    wide = left + scale * (x + z) + _GAP + right
    high = bottom + scale * (y + z) + _GAP + top
    middle, floor = left + scale * x + _GAP, bottom + scale * z + _GAP

    def part(at: float, above: float, width: float, height: float) -> tuple[float, ...]:
        return at / wide, above / high, width / wide, height / high

    places: dict[str, Any] = {
        "xy": part(left, floor, scale * x, scale * y),
        "yz": part(middle, floor, scale * z, scale * y),
        "xz": part(left, bottom, scale * x, scale * z),
        "bar": part(wide - right + 0.12, floor, 0.11, scale * y),
        "title": (left / wide, 1 - 0.16 / high),
        "notes": (left / wide, 1 - 0.34 / high),
    }
    return (wide, high), places


def _draw(axes: Axes, brain: BrainMap, view: tuple[int, int], colours: tuple[Any, Any]) -> Any:
    """Draws a view and returns what a colour bar explains."""
    box = brain.box
    across, up = view
    axes.set_xlim(box[0, across], box[1, across])
    axes.set_ylim(box[0, up], box[1, up])
    axes.set_aspect("equal")
    axes.grid(visible=False)
    # Depth would hide regions behind others; a shuffle, the same each time, hides none by rule.
    order = np.random.default_rng(0).permutation(len(brain.values))
    places, values = brain.positions[order][:, view], brain.values[order]
    known = np.isfinite(values)
    room = np.prod(axes.get_window_extent().size) * (72 / axes.figure.dpi) ** 2
    look: dict[str, Any] = {"linewidths": 0, "rasterized": True}
    look["s"] = float(np.clip(room / len(values), 0.3, 30.0))
    axes.scatter(places[~known, 0], places[~known, 1], color="0.85", **look)
    look |= {"c": values[known], "cmap": colours[0], "norm": colours[1]}
    return axes.scatter(places[known, 0], places[known, 1], **look)


def _axis(kind: Any, field: str, letter: str, ends: Floats) -> Any:
    """Returns one axis of a chart for the web."""
    domain = [squares.digits(end) for end in ends]
    scale = {"domain": domain, "nice": False, "zero": False}
    return kind(f"{field}:Q", title=f"{letter} (µm)", scale=scale, axis={"grid": False})


def _marks(chart: Any, brain: BrainMap, side: float | None) -> Any:
    """Returns a chart of circles for neurons, or of squares."""
    import altair as alt

    scale = alt.Scale(domain=list(brain.limits), scheme=SCHEME, reverse=True, clamp=True)
    # Broken after the metric: a legend would widen the page by as much as its title.
    colour = alt.Color("value:Q", title=brain.label.split(", "), scale=scale)
    value = alt.Tooltip("value:Q", title=brain.label.split(",")[0], format=".4g")
    if side is None:
        told = [alt.Tooltip("neuron:N"), alt.Tooltip("region:N"), value]
        return chart.mark_circle(opacity=1, size=40).encode(color=colour, tooltip=told)
    # The edge in the colour of the square closes the hairline between two of them.
    edges = {"x2": "across_end", "y2": "up_end", "stroke": colour.legend(None)}
    told = [alt.Tooltip("neurons:Q"), value]
    return chart.mark_rect(strokeWidth=0.6).encode(color=colour, tooltip=told, **edges)


def _points(brain: BrainMap, view: tuple[int, int]) -> Rows:
    """Returns a row a neuron that has a score."""
    return [
        {
            "neuron": short(brain.names[neuron]),
            "region": short(brain.regions[neuron]),
            "across": squares.digits(brain.positions[neuron, view[0]]),
            "up": squares.digits(brain.positions[neuron, view[1]]),
            "value": squares.digits(brain.values[neuron]),
        }
        for neuron in np.flatnonzero(brain.scored)
    ]
