"""Curve charts: error against steps ahead for the web, as Vega-Lite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zapeval.reports import tables
from zapeval.reports.figures.panels import (
    Interval,
    Panel,
    columns_of,
    ends_of,
    limits_of,
    panels_of,
    values_of,
)
from zapeval.reports.figures.rows import Curves
from zapeval.reports.figures.vega import (
    NONE,
    Rows,
    Spec,
    choice,
    colour,
    interval_text,
    shape,
    spec_of,
    tooltip,
)
from zapeval.scoring.scorecard import SeriesLine

if TYPE_CHECKING:
    import altair as alt

FEW = 4
"""Most entries whose bands are shown before any is chosen."""

ENDS = ("low", "high")

DIGITS = 6
"""Significant digits of the curves, which keep charts small."""


def error_by_step(
    curves: Sequence[Curves],
    series: Sequence[SeriesLine],
    labels: tuple[str, str],
    title: str,
    marked: Sequence[int] = (),
) -> dict[str, Spec]:
    """Returns charts of the error by name; a field chooses the series, the legend an entry.

    ``by_step`` has every series, or group where series are many, and the average, which stands in
    ``average`` with what is held out. With one step there is ``by_series``.

    Args:
        curves: The entries.
        series: The series that they were scored on.
        labels: Labels of both axes.
        title: What is compared.
        marked: Steps of ticks and points; all where none are given.
    """
    steps = sorted({step for _, step in curves[0].scores})
    if len(steps) == 1:
        rows = panels_of(series, dots=True)["by_series"]
        return {"by_series": _dots(curves, rows, steps, labels[1], title)}
    points = sorted(set(marked) & set(steps)) or steps
    panels = {"by_step": columns_of(series), "average": panels_of(series)["average"]}
    return {name: _lines(curves, of, steps, points, labels, title) for name, of in panels.items()}


def _lines(
    curves: Sequence[Curves],
    panels: Sequence[Panel],
    steps: Sequence[int],
    points: Sequence[int],
    labels: tuple[str, str],
    title: str,
) -> Spec:
    import altair as alt

    limits = [
        limits_of([(panel, [(one.scores, True) for one in curves])], steps) for panel in panels
    ]
    first = next(i for i, panel in enumerate(panels) if panel.kind == "average")
    picked = alt.selection_point("picked", fields=["entry"], bind="legend")
    entries = [one.entry for one in curves]
    scale = alt.Scale(domainMin=_chosen(limits, 0), domainMax=_chosen(limits, 1), nice=False)
    y = alt.Y("value:Q", scale=scale, title=labels[1])
    x = alt.X(
        "step:Q",
        scale=alt.Scale(padding=10, nice=False, zero=False),
        axis=alt.Axis(values=list(points)),
        title=labels[0],
    )
    heads = {"entry": "forecaster", "step": labels[0], "score": labels[1]}
    base = (
        alt.Chart()
        .transform_filter("datum.panel === shown")
        .transform_flatten(["step", "value", "low", "high"])
        .transform_calculate(**_texts(curves))
        .encode(x=x, y=y)
        .encode(color=colour(entries))
        .encode(tooltip=tooltip(heads | {"interval": "95 % interval"}))
    )
    faded = alt.condition(picked, alt.value(1), alt.value(0.1))
    band = alt.condition(picked, alt.value(0.2), alt.value(0), empty=len(curves) <= FEW)
    at = base.transform_filter(f"indexof({list(points)}, datum.step) >= 0")
    chart = alt.layer(
        base.mark_area(clip=True).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q", opacity=band),
        base.mark_line(clip=True, strokeWidth=2).encode(opacity=faded),
        base.mark_point(clip=True, size=90, opacity=0, filled=True),
        at.mark_point(clip=True, size=45, filled=True)
        .encode(shape=shape(entries), opacity=faded)
        .properties(name="points")
        .add_params(picked),
    ).add_params(choice("shown", "series: ", [panel.title for panel in panels], first))
    rows = _line_rows(curves, panels, steps)
    said = f"{labels[1]} of {len(curves)} forecasters against {labels[0]}, by series"
    return spec_of(chart, rows, title=title, said=said, height=320)


def _texts(curves: Sequence[Curves]) -> dict[str, str]:
    """Returns how the texts of a tooltip follow from the numbers."""
    write = tables.written_alike(
        [(score.value,) for one in curves for score in one.scores.values()]
    )
    decimals = len(write(0.0).partition(".")[2])
    value, low, high = (f"format(datum.{field}, '.{decimals}f')" for field in ("value", *ENDS))
    return {
        "score": f"datum.value === null ? '{NONE}' : {value}",
        "interval": f"datum.low === null ? '{NONE}' : {low} + ' to ' + {high}",
    }


def _chosen(limits: Sequence[Interval], side: int) -> alt.ExprRef:
    """Returns the limit of the chosen panel's axis."""
    import altair as alt

    return alt.ExprRef(f"{[_short(of[side]) for of in limits]}[shown]")


def _line_rows(curves: Sequence[Curves], panels: Sequence[Panel], steps: Sequence[int]) -> Rows:
    """Returns a row for each entry and panel, its columns lists over the steps."""
    rows: Rows = []
    for number, panel in enumerate(panels):
        for one in curves:
            values = values_of(one.scores, panel.series, steps)
            ends = ends_of(one.scores, panel.series, steps) or ((None, None),) * len(steps)
            row = {"panel": number, "entry": one.entry, "step": list(steps)}
            row["value"] = list(map(_short, values))
            row["low"], row["high"] = ([_short(end[side]) for end in ends] for side in (0, 1))
            rows.append(row)
    return rows


def _dots(
    curves: Sequence[Curves],
    panels: Sequence[Panel],
    steps: Sequence[int],
    label: str,
    title: str,
) -> Spec:
    import altair as alt

    entries = [one.entry for one in curves]
    picked = alt.selection_point("picked", fields=["entry"], bind="legend")
    scale = alt.Scale(zero=False)
    heads = {"series": "series", "entry": "forecaster", "score": label}
    base = alt.Chart().encode(
        y=alt.Y("series:N", sort=None, title=None, axis=alt.Axis(labelLimit=260, grid=True)),
        yOffset=alt.YOffset("entry:N", sort=None),
        color=colour(entries),
        opacity=alt.condition(picked, alt.value(1), alt.value(0.1)),
        tooltip=tooltip(heads | {"interval": "95 % interval"}),
    )
    known = base.transform_filter("datum.low !== null")
    chart = alt.layer(
        known.mark_rule().encode(x=alt.X("low:Q", scale=scale), x2="high:Q"),
        base.mark_point(filled=True, size=50)
        .encode(x=alt.X("value:Q", scale=scale, title=label), shape=shape(entries))
        .properties(name="points")
        .add_params(picked),
    )
    said = f"{label} of {len(curves)} forecasters by series"
    rows = _dot_rows(curves, panels, steps)
    return spec_of(chart, rows, title=title, said=said, height={"step": 10})


def _dot_rows(curves: Sequence[Curves], panels: Sequence[Panel], steps: Sequence[int]) -> Rows:
    write = tables.written_alike(
        [values_of(o.scores, p.series, steps) for o in curves for p in panels]
    )
    rows: Rows = []
    for line in _line_rows(curves, panels, steps):
        value, low, high = (line[field][0] for field in ("value", *ENDS))
        row = {"entry": line["entry"], "series": panels[line["panel"]].title}
        row |= {"value": value, "low": low, "high": high, "score": write(value)}
        rows.append(row | {"interval": interval_text(low, high, write)})
    return rows


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
