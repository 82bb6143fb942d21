"""Charts: ranking, skill matrix and cost for the web, as Vega-Lite."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zapeval.reports import tables
from zapeval.reports.figures import look
from zapeval.reports.figures.cost import MEASURES, measures_of, without
from zapeval.reports.figures.rows import Cost, Skill, Standing
from zapeval.reports.figures.skill import about, decimals_of, limit_of, percent, sure
from zapeval.reports.figures.vega import (
    COLOURS,
    NEUTRAL,
    NONE,
    Rows,
    Spec,
    choice,
    colour,
    ends_of,
    interval_text,
    shape,
    spec_of,
    tooltip,
)

GAPS = ("\N{NO-BREAK SPACE}", 2 * "\N{NO-BREAK SPACE}")
"""Columns that set averages and what is held out apart; no label can be one of them."""


def ranking(standings: Sequence[Standing], label: str, title: str) -> Spec:
    """Returns the ranking, a row an entry: score, interval, rank interval and tie.

    Tie groups stand on bands of alternating shade.

    Args:
        standings: The entries, the best first.
        label: What the score is, with its unit.
        title: What is compared.
    """
    import altair as alt

    top = look.top_of([one.value for one in standings], [one.high for one in standings])
    rows, lowest = _standing_rows(standings, top), min(one.low or one.value for one in standings)
    heads = {"entry": "forecaster", "score": label, "interval": "95 % interval"}
    if any(one.first is not None for one in standings):
        heads |= {"ranks": "ranks, 95 %", "tie": "tie"}
    x = alt.X("value:Q", scale=alt.Scale(**ends_of(top, lowest)), title=label)
    order = alt.Scale(domain=[row["entry"] for row in rows])
    y = alt.Y("entry:N", scale=order, title=None, axis=alt.Axis(labelLimit=260))
    base = alt.Chart().encode(y=y, tooltip=tooltip(heads))
    known = base.transform_filter("!datum.beyond && datum.low !== null")
    line = alt.Chart().transform_filter("datum.baseline && !datum.beyond")
    arrow = alt.Scale(domain=[False, True], range=["circle", "triangle-right"])
    chart = alt.layer(
        base.transform_filter("datum.shaded").mark_rect(color=NEUTRAL, opacity=0.15),
        line.mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(x=x),
        known.mark_rule(color=COLOURS[0], strokeWidth=2).encode(x=alt.X("low:Q"), x2="high:Q"),
        base.mark_point(color=COLOURS[0], filled=True, opacity=1, size=70).encode(
            x=x, shape=alt.Shape("beyond:N", scale=arrow, legend=None)
        ),
    )
    said = f"{label} of {len(rows)} forecasters, the best first: {rows[0]['entry']}"
    return spec_of(chart, rows, title=title, said=said, height={"step": 22})


def _standing_rows(standings: Sequence[Standing], top: float | None) -> Rows:
    write = tables.written_alike([(one.value, one.low, one.high) for one in standings])
    ties = list(dict.fromkeys(one.tie for one in standings))
    return [
        {
            "entry": f"{one.rank}  {one.entry}" if one.rank else one.entry,
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "score": write(one.value),
            "interval": interval_text(one.low, one.high, write),
            "ranks": NONE if one.first is None else f"{one.first} to {one.last}",
            "tie": one.tie or NONE,
            "shaded": ties.index(one.tie) % 2 == 1,
            "beyond": top is not None and one.value > top,
            "baseline": one.baseline,
        }
        for one in standings
    ]


def skill_matrix(skills: Sequence[Skill], baseline: str, title: str) -> Spec:
    """Returns the skill matrix: percent in the cells, colour by their sign and size.

    Args:
        skills: The cells, entry by entry.
        baseline: Label of the entry that they are relative to.
        title: What is compared.
    """
    import altair as alt

    bare: dict[str, Any] = {"domain": False, "ticks": False, "title": None}
    x = alt.X(
        "column:N",
        scale=alt.Scale(domain=_columns(skills), paddingInner=0.04),
        axis=alt.Axis(orient="top", labelAngle=-90, labelLimit=160, **bare),
    )
    y = alt.Y(
        "entry:N",
        sort=None,
        scale=alt.Scale(paddingInner=0.06),
        axis=alt.Axis(labelLimit=260, **bare),
    )
    heads = {"entry": "forecaster", "column": "series", "skill": "less error"}
    base = alt.Chart().encode(x=x, y=y, tooltip=tooltip(heads | {"interval": "95 % interval, %"}))
    text = base.encode(text="text:N", color=alt.Color("ink:N", scale=None))
    chart = alt.layer(
        base.mark_rect().encode(color=alt.Color("face:N", scale=None)),
        text.transform_filter("!datum.sure").mark_text(),
        text.transform_filter("datum.sure").mark_text(fontWeight="bold"),
    ).properties(view=alt.ViewBackground(stroke=None))
    under = about(skills, baseline)
    said = f"Skill of forecasters at each series, {under}"
    rows = _skill_rows(skills)
    return spec_of(chart, rows, title=title, under=under, said=said, height={"step": 24})


def _skill_rows(skills: Sequence[Skill]) -> Rows:
    decimals = decimals_of(len({cell.column for cell in skills}))
    limit, rows = limit_of(skills), []
    for cell in skills:
        face, ink = look.shade_of(cell.value or 0.0, limit)
        text = percent(cell.value)
        row = {"entry": cell.entry, "column": cell.column, "face": face, "ink": ink}
        row["text"] = percent(cell.value, decimals)
        row["skill"] = f"{text} %" if text else NONE
        row["interval"] = interval_text(cell.low, cell.high, percent)
        rows.append(row | {"sure": sure(cell)})
    return rows


def _columns(skills: Sequence[Skill]) -> list[str]:
    """Returns the columns with gaps before averages and what is held out."""
    columns: list[str] = []
    gaps, before = iter(GAPS), ""
    for name, kind in dict.fromkeys((cell.column, cell.kind) for cell in skills):
        apart = kind in ("average", "held out") and before not in ("", kind)
        columns += [next(gaps), name] if apart else [name]
        before = kind
    return columns


def cost(costs: Sequence[Cost], label: str, title: str, baseline: str | None = None) -> Spec:
    """Returns error against cost on a logarithmic axis; some entry must have a cost.

    Args:
        costs: The entries, the best first.
        label: What the score is, with its unit.
        title: What is compared.
        baseline: Label of the entry whose score is drawn as a line, or None.
    """
    import altair as alt

    measures = measures_of(costs)
    names = [MEASURES[measure] for measure in measures]
    top = look.top_of([one.value for one in costs], [one.high for one in costs])
    entries = [one.entry for one in costs if any(one.entry in of for of in measures.values())]
    picked = alt.selection_point("picked", fields=["entry"], bind="legend")
    heads = {"entry": "forecaster", "spent": "cost", "hardware": "hardware", "score": label}
    scale = alt.Scale(**ends_of(top, min(one.low or one.value for one in costs)))
    x = alt.X(
        "cost:Q",
        scale=alt.Scale(type="log", padding=12),
        axis=alt.Axis(values=[10.0**power for power in range(-3, 16)], format=",~g"),
        title="cost" if names[1:] else names[0],
    )
    y = alt.Y("value:Q", scale=scale, title=label)
    base = alt.Chart().encode(
        x=x,
        y=y,
        color=colour(entries),
        opacity=alt.condition(picked, alt.value(1), alt.value(0.12)),
        tooltip=tooltip(heads | {"interval": "95 % interval"}),
    )
    of_measure = base.transform_filter("datum.measure === shown")
    known = of_measure.transform_filter("!datum.beyond && datum.low !== null")
    line = alt.Chart().transform_filter("datum.baseline && !datum.beyond")
    chart = alt.layer(
        line.mark_rule(color=NEUTRAL, strokeDash=[4, 3]).encode(y=y),
        known.mark_rule().encode(y=alt.Y("low:Q", scale=scale), y2="high:Q"),
        of_measure.mark_point(filled=True, size=80)
        .encode(shape=shape(entries))
        .properties(name="points")
        .add_params(picked),
    ).add_params(choice("shown", "cost: ", names))
    absent = without(costs)
    under = f"no cost is known of {', '.join(absent)}" if absent else ""
    said = f"{label} against {' or '.join(names)} of {len(entries)} forecasters"
    rows = _cost_rows(costs, top, baseline)
    return spec_of(chart, rows, title=title, under=under, said=said, height=320)


def _cost_rows(costs: Sequence[Cost], top: float | None, baseline: str | None) -> Rows:
    write = tables.written_alike([(one.value, one.low, one.high) for one in costs])
    rows: Rows = [
        {
            "measure": number,
            "entry": one.entry,
            "cost": known[one.entry],
            "spent": f"{known[one.entry]:,.6g} {MEASURES[measure]}",
            "hardware": one.hardware or "not said",
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "score": write(one.value),
            "interval": interval_text(one.low, one.high, write),
            "beyond": top is not None and one.value > top,
            "baseline": False,
        }
        for number, (measure, known) in enumerate(measures_of(costs).items())
        for one in costs
        if one.entry in known
    ]
    lines = [one for one in costs if one.entry == baseline]
    return rows + [
        {"baseline": True, "value": one.value, "beyond": top is not None and one.value > top}
        for one in lines
    ]
