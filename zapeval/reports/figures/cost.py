"""Cost: error against what training took."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

from zapeval.reports.figures import look
from zapeval.reports.figures.rows import Cost

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURES = {"seconds": "training, s", "parameters": "parameters"}
"""Field of a cost to the label of its axis."""

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def measures_of(costs: Sequence[Cost]) -> dict[str, dict[str, float]]:
    """Returns by measure what each entry cost that has a cost above 0; no empty measures."""
    found = {
        measure: {one.entry: float(x) for one in costs if (x := getattr(one, measure))}
        for measure in MEASURES
    }
    return {measure: known for measure, known in found.items() if known}


def without(costs: Sequence[Cost]) -> tuple[str, ...]:
    """Returns the entries whose manifests name no cost at all."""
    return tuple(one.entry for one in costs if not (one.seconds or one.parameters))


def figure_of(costs: Sequence[Cost], label: str, baseline: str | None = None) -> Figure:
    """Returns the figure of error against cost, a panel a measure; some entry must have a cost.

    Args:
        costs: The entries, the best first.
        label: What the score is, with its unit.
        baseline: Label of the entry whose score is drawn as a line, or None.
    """
    with look.style():
        from matplotlib.figure import Figure

        measures = measures_of(costs)
        figure = Figure(figsize=(look.WIDTH, 3.2), layout="constrained")
        grid = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        top = look.top_of([one.value for one in costs], [one.high for one in costs])
        legend: dict[str, Any] = {}
        for axes, (measure, known) in zip(grid, measures.items(), strict=True):
            legend |= _draw(axes, costs, known, top)
            for one in costs:
                if one.entry == baseline and (top is None or one.value <= top):
                    line = axes.axhline(one.value, color="0.5", linestyle=look.DASHES[1])
                    line.set(linewidth=0.7, zorder=1)
                    legend[f"{one.entry} (dashed)"] = line
            _decades(axes, known.values())
            axes.set_xlabel(MEASURES[measure])
        grid[0].set(ylabel=label)
        grid[0].set_ylim(top=top)
        look.key(figure, legend)
        absent = without(costs)
        if absent:
            look.note(figure, f"No cost is known of {', '.join(absent)}.")
        return figure


def _draw(
    axes: Axes, costs: Sequence[Cost], known: dict[str, float], top: float | None
) -> dict[str, Any]:
    """Draws a panel and returns what its legend holds: handles by label."""
    legend: dict[str, Any] = {}
    for index, one in enumerate(costs):
        if one.entry not in known:
            continue
        (colour, marker), x = look.of(index), known[one.entry]
        if top is not None and one.value > top:
            axes.text(x, top, f"{one.value:.4g} \N{UPWARDS ARROW}", ha="center", va="top")
            y = top
        else:
            y = one.value
            if one.low is not None and one.high is not None:
                axes.vlines(x, one.low, one.high, color=colour, linewidth=0.8, alpha=0.6)
        drawn: dict[str, Any] = {
            "color": colour,
            "clip_on": False,
            "markersize": 5,
            "linestyle": "none",
        }
        legend[one.entry] = axes.plot(x, y, marker=marker, **drawn)[0]
    return legend


def _decades(axes: Axes, known: Collection[float]) -> None:
    """Makes a logarithmic axis of whole decades."""
    first, last = floor(log10(min(known))), ceil(log10(max(known)))
    last += first == last
    axes.set_xscale("log")
    axes.set_xlim(0.8 * 10.0**first, 1.25 * 10.0**last)
    every = range(first, last + 1, 1 + (last - first) // 8)
    axes.set_xticks([10.0**n for n in every], [f"10{str(n).translate(_RAISED)}" for n in every])
    axes.minorticks_off()
