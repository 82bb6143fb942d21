"""Vega-Lite: what all charts for the web share.

A chart is a dict that holds its data and names no other host. Names of others are data in it, never
part of an expression. Backgrounds are transparent, marks can be seen on light and dark ones, and
the colours of text are left to the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zapeval.reports.tables import legible

if TYPE_CHECKING:
    import altair as alt

Spec = dict[str, Any]
Rows = list[dict[str, Any]]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B98300", "#2E97D1", "#7A7A7A")
"""Those of print, as light or dark as white and black backgrounds both need."""

NEUTRAL = "#7A7A7A"
"""Colour of what belongs to no entry."""

SHAPES = (
    *("circle", "square", "triangle-up", "diamond", "triangle-down", "cross"),
    *("triangle-left", "triangle-right"),
)

NONE = "none"
"""What stands for a number that does not exist."""


def as_text(spec: Spec) -> str:
    """Returns a chart as strict JSON that may also stand inside HTML; equal charts, equal text."""
    text = json.dumps(spec, allow_nan=False, separators=(",", ":"))
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return f"{text}\n"


def spec_of(
    chart: alt.LayerChart | alt.FacetChart,
    rows: Rows,
    *,
    title: str,
    said: str,
    height: int | dict[str, int],
    under: str = "",
) -> Spec:
    """Returns a chart as a dict, as wide as its place, with its data inside.

    Args:
        chart: The chart, without data.
        rows: The data.
        title: Its title.
        said: What a screen reader says of it.
        height: Its height in pixels, or that of each row as ``{"step": pixels}``.
        under: What stands below the title, or "".
    """
    import altair as alt

    heading = {"text": legible(title), "anchor": "start"} | ({"subtitle": under} if under else {})
    chart = chart.properties(data=alt.NamedData("rows"), width="container", height=height)
    # As if it stood inside another chart, so that no theme of the user has a say.
    made: Spec = chart.to_dict(context={"top_level": False, "pre_transform": False})
    return {
        "$schema": alt.SCHEMA_URL,
        "description": said,
        "title": heading,
        "background": "transparent",
        "autosize": {"type": "fit-x", "contains": "padding"},
        **made,
        "datasets": {"rows": rows},
    }


def tooltip(said: Mapping[str, str]) -> list[alt.Tooltip]:
    """Returns what is shown at a mark: texts of the data by field, with their headings."""
    import altair as alt

    return [alt.Tooltip(f"{field}:N", title=heading) for field, heading in said.items()]


def colour(entries: Sequence[str]) -> alt.Color:
    """Returns a colour for each entry, with a legend."""
    import altair as alt

    scale = alt.Scale(domain=list(entries), range=_cycled(COLOURS, len(entries)))
    return alt.Color("entry:N", scale=scale, legend=_legend())


def shape(entries: Sequence[str]) -> alt.Shape:
    """Returns a shape for each entry, in the legend of the colours."""
    import altair as alt

    scale = alt.Scale(domain=list(entries), range=_cycled(SHAPES, len(entries)))
    return alt.Shape("entry:N", scale=scale, legend=_legend())


def choice(name: str, label: str, options: Sequence[str], first: int = 0) -> alt.Parameter:
    """Returns a parameter that is the number of one of the options, and a field to choose it."""
    import altair as alt

    numbers = list(range(len(options)))
    if len(options) < 2:
        return alt.param(name, value=first)
    field = alt.binding_select if len(options) > 3 else alt.binding_radio
    bound = field(options=numbers, labels=list(options), name=label)
    return alt.param(name, value=first, bind=bound)


def interval_text(
    low: float | None, high: float | None, write: Callable[[float | None], str]
) -> str:
    """Returns an interval in words."""
    return NONE if low is None or high is None else f"{write(low)} to {write(high)}"


def ends_of(top: float | None, lowest: float) -> dict[str, Any]:
    """Returns the ends of a scale of errors; where it has a top, marks beyond stay there."""
    if top is None:
        return {"zero": False}
    return {"domain": [max(0.0, lowest - 0.05 * (top - lowest)), top], "clamp": True, "nice": False}


def _legend() -> alt.Legend:
    import altair as alt

    return alt.Legend(
        title=None, orient="bottom", columns=2, labelLimit=220, symbolLimit=0, symbolOpacity=1
    )


def _cycled(values: Sequence[str], count: int) -> list[str]:
    return [values[index % len(values)] for index in range(count)]
