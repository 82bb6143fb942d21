"""Regions: the scores of groups of neurons as bars, several forecasters side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from zapeval.errors import UsageError
from zapeval.reports.figures import look, vega
from zapeval.reports.figures.curves import labels_of as axis_labels_of
from zapeval.reports.figures.labels import labels_of, short
from zapeval.reports.groups import ALL
from zapeval.reports.slices import Slices
from zapeval.reports.tables import mean_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORECASTERS = len(look.COLOURS)
"""Most forecasters that bars stand side by side of."""

_PAGE = 8.5  # inches that bars may take; of more groups, those with the most neurons are drawn
_BAR = 0.085  # inches
_WEB_BAR = 9  # pixels


@final
@dataclass(frozen=True, kw_only=True)
class Bar:
    """One forecaster's score of one group.

    Attributes:
        forecaster: Label of the forecaster, which no other has.
        group: Label of the group with its number of neurons, which no other has.
        value: The mean over steps; None where it is undefined.
        neurons: Neurons of the group that were scored.
    """

    forecaster: str
    group: str
    value: float | None
    neurons: int


@final
@dataclass(frozen=True, kw_only=True)
class Bars:
    """Bars of one metric, group by group, the last group being every neuron.

    Attributes:
        title: Of which series and steps.
        label: What their length means, with its unit.
        rows: The bars.
        about: What a reader should know of the groups, or "".
        omitted: Groups that are left out, because a page has no room for them.
    """

    title: str
    label: str
    rows: tuple[Bar, ...]
    about: str = ""
    omitted: int = 0

    @property
    def forecasters(self) -> tuple[str, ...]:
        """Label of each forecaster."""
        return tuple(dict.fromkeys(row.forecaster for row in self.rows))

    @property
    def groups(self) -> tuple[str, ...]:
        """Label of each group, in order."""
        return tuple(dict.fromkeys(row.group for row in self.rows))

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        most = f"groups with the most neurons; {self.omitted} more are left out"
        return [*[self.about] * bool(self.about), *[most] * bool(self.omitted)]


def bars_of(
    slices: Sequence[tuple[str, Slices]],
    *,
    metric: str,
    series: str,
    steps: Sequence[int],
    ranked: bool = False,
    unit: str = "df/f",
) -> Bars:
    """Returns a bar a group and forecaster.

    Args:
        slices: What each forecaster is called, and its slices by the same groups.
        metric: The metric.
        series: A series, or a row of averages.
        steps: The steps whose mean is shown.
        ranked: Whether the order of the groups means something; else the highest stand first.
        unit: Unit of the activity.

    Raises:
        UsageError: There are no slices or too many, or they are not by the same groups.
        NotFound: The slices do not hold these scores.
    """
    if not 1 <= len(slices) <= FORECASTERS:
        raise UsageError(f"regions: {len(slices)} forecasters, expected 1 to {FORECASTERS}")
    first = slices[0][1]
    if any((own.by, own.groups) != (first.by, first.groups) for _, own in slices):
        raise UsageError("regions: slices are by different groups; make them alike")
    groups = sorted(first.groups[:-1], key=lambda group: -group[1])
    groups = groups[: int(_PAGE / _cluster(len(slices)))]
    names = [name for name, _ in first.groups if name in dict(groups)]
    found: dict[str, list[tuple[float | None, int]]] = {}
    for name in (*names, ALL):
        found[name] = [_score(own, name, series, metric, steps) for _, own in slices]
    if not ranked:
        means = {name: mean_of([value for value, _ in found[name]]) for name in names}
        names.sort(key=lambda name: -(means[name] or 0.0))
    called = labels_of([name for name, _ in slices])
    every = (*names, ALL)
    sizes = [f" ({max(neurons for _, neurons in found[name]):,})" for name in every]
    groups_called = dict(zip(every, labels_of(every, sizes), strict=True))
    at = f"step {steps[0]}" if len(steps) == 1 else f"mean of step {', '.join(map(str, steps))}"
    return Bars(
        title=f"{short(series)}, {at}, by {short(first.by)} (number of neurons)",
        label=axis_labels_of(metric, unit)[1],
        rows=tuple(
            Bar(forecaster=forecaster, group=groups_called[name], value=value, neurons=neurons)
            for name in every
            for forecaster, (value, neurons) in zip(called, found[name], strict=True)
        ),
        about=first.about,
        omitted=len(first.groups) - 1 - len(names),
    )


def regions_figure(bars: Bars) -> Figure:
    """Returns horizontal bars, a cluster a group; every neuron together stands last, apart."""
    with look.style():
        from matplotlib.figure import Figure

        groups, forecasters = bars.groups, bars.forecasters
        cluster = _cluster(len(forecasters))
        height = cluster * (len(groups) + 0.5) + 0.9 + 0.12 * len(bars.notes)
        figure = Figure(figsize=(look.WIDTH, height), layout="constrained")
        axes = figure.subplots()
        room = 1 - _BAR / cluster
        legend: dict[str, Any] = {}
        for number, forecaster in enumerate(forecasters):
            rows = [row for row in bars.rows if row.forecaster == forecaster]
            shift = room * ((number + 0.5) / len(forecasters) - 0.5)
            legend[forecaster] = axes.barh(
                [_place(index, groups) + shift for index in range(len(rows))],
                [0.0 if row.value is None else row.value for row in rows],
                height=room / len(forecasters),
                color=look.COLOURS[number],
            )
        axes.set_yticks([_place(index, groups) for index in range(len(groups))], groups)
        axes.set_ylim(_place(len(groups) - 1, groups) + 0.6, -0.6)
        axes.axhline(_place(len(groups) - 1, groups) - 0.75, color="0.7", linewidth=0.5)
        axes.axvline(0, color="0.2", linewidth=0.8)
        axes.grid(visible=False, axis="y")
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(bars.label)
        axes.set_title("\n".join([bars.title, *bars.notes]), loc="left", size="medium")
        look.key(figure, legend)
        return figure


def regions_chart(bars: Bars) -> vega.Spec:
    """Returns the bars as Vega-Lite."""
    look.require("altair")
    import altair as alt

    groups, forecasters = list(bars.groups), list(bars.forecasters)
    rows: vega.Rows = [
        {"entry": row.forecaster, "group": row.group, "value": row.value, "neurons": row.neurons}
        for row in bars.rows
    ]
    apart, names = alt.Scale(paddingInner=0.25), alt.Axis(labelLimit=260)
    value = alt.Tooltip("value:Q", title=bars.label, format=".4g")
    chart = alt.layer(
        alt.Chart()
        .mark_bar()
        .encode(
            x=alt.X("value:Q", title=bars.label),
            y=alt.Y("group:N", title=None, sort=groups, scale=apart, axis=names),
            yOffset=alt.YOffset("entry:N", sort=forecasters),
            color=vega.colour(forecasters),
            tooltip=["group:N", "entry:N", value, "neurons:Q"],
        )
    )
    return vega.spec_of(
        chart,
        rows,
        title=bars.title,
        said=". ".join([f"{bars.label} of groups of neurons, {bars.title}", *bars.notes]),
        height=max(18, _WEB_BAR * (len(forecasters) + 1)) * len(groups),
        under="; ".join(bars.notes),
    )


def _score(
    slices: Slices, group: str, series: str, metric: str, steps: Sequence[int]
) -> tuple[float | None, int]:
    """Returns the mean over steps, and the number of neurons."""
    rows = [slices.row(group, series, step, metric) for step in steps]
    return mean_of([row.value for row in rows]), rows[0].neurons


def _cluster(forecasters: int) -> float:
    """Returns how high the bars of a group are, with the room after them, in inches."""
    return max(0.2, _BAR * (forecasters + 1))


def _place(index: int, groups: Sequence[str]) -> float:
    """Returns where a cluster stands; the last is apart."""
    return index + 0.5 * (index == len(groups) - 1)
