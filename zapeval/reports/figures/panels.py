"""Panels: which series stand together in one small plot, one row or one column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

from zapeval.reports import tables
from zapeval.reports.figures import look
from zapeval.reports.figures.labels import short
from zapeval.scoring.scorecard import SeriesLine

PANELS = 16
"""Most series, or groups, that get a panel each."""

COLUMNS = 24
"""Most series that get a column each."""

ROWS = 40
"""Most series that get a row of dots each; of more, each group gets one."""

LEAST = 0.2
"""Least height of an axis, as a share of the largest value."""

Interval = tuple[float, float]


Kind = Literal["series", "group", "average", "held out"]


@final
@dataclass(frozen=True, kw_only=True)
class Panel:
    """One small plot, or one row or column.

    Attributes:
        title: Its title.
        kind: What it shows; what is held out stays out of the average.
        series: Series, or a row of averages, whose mean it shows.
        faint: Series that stand behind.
    """

    title: str
    kind: Kind
    series: tuple[str, ...]
    faint: tuple[str, ...] = ()


Content = tuple[Panel, Sequence[tuple[tables.Scores, bool]]]
"""A panel, the scores of each line in it, and whether the line has a band."""


def panels_of(
    lines: Sequence[SeriesLine], *, dots: bool = False, most: int = PANELS
) -> dict[str, tuple[Panel, ...]]:
    """Returns the panels, or rows of dots, of every figure by its name.

    Few series get a panel each in ``by_step``; of many, groups get one each in ``by_group``. The
    average and what is held out stand apart in ``average``. Rows of dots hold all of it.

    Args:
        lines: The series of a scorecard.
        dots: Whether there is one step only, and rows are drawn in place of panels.
        most: Most series, or groups, that get a panel each.
    """
    trained = [line for line in lines if not line.held_out]
    names, held = [s.name for s in trained], tuple(s.name for s in lines if s.held_out)
    few = len(lines) <= (ROWS if dots else most)
    each = tuple(Panel(title=short(name), kind="series", series=(name,)) for name in names)
    apart = tuple(
        Panel(title=f"{short(name)} (held out)", kind="held out", series=(name,)) for name in held
    )
    groups = tuple(_group(name) for name in sorted({s.group for s in trained if s.group}))
    average = Panel(title=f"average of {len(names)} series", kind="average", series=("average",))
    mean = Panel(title=f"mean of {len(held)} held out", kind="held out", series=held)
    joined = (mean,) if held[1:] else apart
    if dots and few:
        return {"by_series": (*each, *groups, average, *apart)}
    if dots:
        rows = (*groups, average, *joined)
        return {"by_series": tuple(replace(row, faint=_members(row, trained)) for row in rows)}
    if few:
        return {"by_step": (*each, *apart), "average": (average, *joined)}
    by_group = {"by_group": groups} if 1 < len(groups) <= most else {}
    return {"average": (average, *joined)} | by_group


def _group(group: str) -> Panel:
    title = f"average of {short(group)}"
    return Panel(title=title, kind="group", series=(f"average:{group}",))


def _members(row: Panel, trained: Sequence[SeriesLine]) -> tuple[str, ...]:
    """Returns the series that a row is the mean of."""
    if row.kind == "held out":
        return row.series
    return tuple(s.name for s in trained if row.series[0] in ("average", f"average:{s.group}"))


def columns_of(lines: Sequence[SeriesLine]) -> tuple[Panel, ...]:
    """Returns the columns of a matrix: series or groups, the average, what is held out."""
    found = panels_of(lines, most=COLUMNS)
    every = found.get("by_step", found.get("by_group", ()))
    each = [panel for panel in every if panel.kind != "held out"]
    held = [panel for panel in every if panel.kind == "held out"]
    average, *joined = found["average"]
    return (*each, average, *(held or joined))


def values_of(
    scores: tables.Scores, series: Sequence[str], steps: Sequence[int]
) -> tuple[float | None, ...]:
    """Returns the mean over series at each step, None where one of them is undefined."""
    return tuple(tables.mean_of(scores[name, step].value for name in series) for step in steps)


def ends_of(
    scores: tables.Scores, series: Sequence[str], steps: Sequence[int]
) -> tuple[Interval, ...]:
    """Returns the interval at each step; nothing where a step or a mean of several has none."""
    found = [scores[series[0], step] for step in steps] if len(series) == 1 else []
    ends = [(s.low, s.high) for s in found if s.low is not None and s.high is not None]
    return tuple(ends) if len(ends) == len(steps) else ()


def limits_of(content: Sequence[Content], steps: Sequence[int]) -> Interval:
    """Returns the ends of an axis that shows the lines, and of wide intervals a part.

    Lines of errors above twice the median line leave the panel, or all others would look flat.
    """
    lines = [(panel, scores, band) for panel, of in content for scores, band in of]
    drawn = [values_of(scores, panel.series, steps) for panel, scores, _ in lines]
    drawn_means = [tables.mean_of(values) for values in drawn]
    means = [mean for mean in drawn_means if mean is not None]
    top = look.top_of(means) if min(means, default=0.0) > 0 else None
    seen = [top is None or mean is None or mean <= top for mean in drawn_means]
    every = [values for values, inside in zip(drawn, seen, strict=True) if inside]
    every += [values_of(s, [n], steps) for p, s, _ in lines for n in p.faint]
    known = [value for values in every for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    reach = 0.5 * max(high - low, LEAST * abs(high))
    ends = [
        end
        for (panel, scores, band), inside in zip(lines, seen, strict=True)
        if band and inside
        for end in ends_of(scores, panel.series, steps)
    ]
    bottom = min([low, *(max(least, low - reach) for least, _ in ends)])
    above = max([high, *(min(most, high + reach) for _, most in ends)])
    margin = 0.05 * ((above - bottom) or abs(above) or 1.0)
    return (max(0.0, bottom - margin) if low >= 0 else bottom - margin), above + margin
