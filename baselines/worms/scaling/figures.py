"""Figures of an experiment, in the kinds of the paper's Figures 4 to 7."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, final

from baselines.worms.scaling.cells import Document, Generation
from baselines.worms.scaling.laws import Law
from baselines.worms.scaling.table import Row, laws_of, rows_of
from zapeval.reports.figures import look
from zapeval.reports.figures.labels import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ORDER = tuple(
    f"worm-{core}"
    for core in ("ctrnn", "lstm", "transformer", "feedforward", "attention", "linear")
)
"""Models in the order of their colours, the same in every figure."""

COLUMNS = 4
"""Most panels side by side."""

AWAY = 5
"""How many times the naive error the axis of generated frames reaches; what runs away goes out."""

STEPS, LIVE, COUNTED = "train time steps", "parameters that learn", "parameters as counted"
LOSS = "validation loss"

Grows = Callable[[Row], float]


@final
@dataclass(frozen=True, kw_only=True)
class Panel:
    """One set of axes: rows of one source, and what is across.

    Attributes:
        title: What stands above.
        rows: What is drawn.
        grows: What is across.
        label: Its label.
        laws: Law of each model, drawn as a line.
    """

    title: str
    rows: Sequence[Row]
    grows: Grows
    label: str
    laws: Mapping[str, Law]


def data_figures(sets: Mapping[str, Sequence[Document]]) -> dict[str, Figure]:
    """Returns loss against train time steps: over all (Figs. 4B, 5B), and by source (Fig. 4C).

    Args:
        sets: Finished cells of each set of worms, by its label.
    """
    rows = {label: rows_of(documents) for label, documents in sets.items()}
    made = {"data": figure_of([_steps(label, every, "") for label, every in rows.items()])}
    parts = [
        _steps(source if len(rows) == 1 else f"{label}: {source}", every, source)
        for label, every in rows.items()
        for source in dict.fromkeys(row.source for row in every)
        if source
    ]
    if len(parts) > len(rows):
        made["data-sources"] = figure_of(parts)
    return made


def _steps(title: str, rows: Sequence[Row], source: str) -> Panel:
    own = [row for row in rows if row.source == source]
    laws = {model: law for (model, _), law in laws_of(own, "train_steps").items()}
    return Panel(title=title, rows=own, grows=lambda row: row.train_steps, label=STEPS, laws=laws)


def model_figures(sets: Mapping[str, Sequence[Document]]) -> dict[str, Figure]:
    """Returns loss against parameters and width, a row of panels for each set (Figs. 6A to 6D).

    Args:
        sets: Finished cells of each set of worms, by its label.
    """
    panels = []
    for label, documents in sets.items():
        rows = [row for row in rows_of(documents) if not row.source]
        wide = [row for row in rows if row.hidden is not None]
        for across, own, grows in (
            (LIVE, rows, lambda row: row.live),
            (COUNTED, rows, lambda row: row.counted),
            ("width", wide, lambda row: row.hidden),
        ):
            panels.append(Panel(title=label, rows=own, grows=grows, label=across, laws={}))
    return {"model": figure_of(panels, columns=3)}


def figure_of(panels: Sequence[Panel], columns: int = COLUMNS) -> Figure:
    """Returns panels on logarithmic axes: a point a seed, a line a model, dashes the naive loss."""
    with look.style():
        from matplotlib.figure import Figure

        columns = min(columns, len(panels))
        down = math.ceil(len(panels) / columns)
        figure = Figure(figsize=(look.WIDTH, 2.5 * down + 0.3), layout="constrained")
        grid = figure.subplots(down, columns, squeeze=False, sharey=down == 1)
        legend: dict[str, object] = {}
        for number, axes in enumerate(grid.flat):
            if number >= len(panels):
                axes.set_visible(False)
                continue
            legend |= _draw(axes, panels[number])
            if number % columns == 0:
                axes.set_ylabel(LOSS)
        known = [model for model in ORDER if model in legend]
        others = [label for label in legend if label not in known and label != "naive"]
        names = [*known, *others, *(["naive"] if "naive" in legend else [])]
        look.key(figure, {name.removeprefix("worm-"): legend[name] for name in names})
        return figure


def _draw(axes: Axes, panel: Panel) -> dict[str, object]:
    """Draws a panel; returns a handle for each label."""
    legend: dict[str, object] = {}
    for model in sorted({row.model for row in panel.rows}, key=_place):
        rows = [row for row in panel.rows if row.model == model]
        colour, marker = look.of(_place(model))
        across = sorted({panel.grows(row) for row in rows})
        axes.plot(
            [panel.grows(row) for row in rows], [row.loss for row in rows], marker,
            color=colour, alpha=0.45, markeredgewidth=0,
        )  # fmt: skip
        law = panel.laws.get(model)
        ends = [across[0], across[-1]]
        line = ends if law else across
        heights = [law.at(x) for x in ends] if law else _means(rows, across, panel.grows)
        (legend[model],) = axes.plot(line, heights, color=colour, marker=marker if not law else "")
    naive = fmean(row.naive for row in panel.rows)
    legend["naive"] = axes.axhline(naive, color="0.35", linewidth=0.9, linestyle=look.DASHES[1])
    axes.set_xlabel(panel.label)
    axes.set_title(short(panel.title), fontsize=7)
    losses = [row.loss for row in panel.rows]
    _logarithmic(axes, [panel.grows(row) for row in panel.rows], [*losses, naive])
    return legend


def _means(rows: Sequence[Row], across: Sequence[float], grows: Grows) -> list[float]:
    """Returns geometric means over seeds, as a logarithmic axis shows them."""
    return [math.exp(fmean(math.log(row.loss) for row in rows if grows(row) == x)) for x in across]


def _place(model: str) -> int:
    return ORDER.index(model) if model in ORDER else len(ORDER)


def _logarithmic(axes: Axes, across: Sequence[float], up: Sequence[float]) -> None:
    """Makes both axes logarithmic, with plain numbers at 1, 2 and 5 where they span little."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, values in ((axes.xaxis, across), (axes.yaxis, up)):
        wide = max(values) > 30 * min(values)
        axis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
        axis.set_minor_formatter(NullFormatter())
        if not wide:
            axis.set_minor_locator(NullLocator())


def _plain(value: float) -> str:
    """Returns a number as it is written: ``0.05``, ``20,000``, ``1M``."""
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def generation_figure(documents: Sequence[Document]) -> Figure | None:
    """Returns how far generated frames go astray, and some of them (Fig. 7).

    Of each model the cell of most parameters and most worms is shown that has generated.
    """
    best: dict[str, Document] = {}
    for one in sorted(documents, key=lambda one: (one.result.live, one.worms)):
        if one.result.generation is not None:
            best[one.model] = one
    if not best:
        return None
    with look.style():
        from matplotlib.figure import Figure

        models = sorted(best, key=_place)
        figure = Figure(figsize=(look.WIDTH, 3.4), layout="constrained")
        chosen = {model: best[model] for model in models}
        shown = len(_generated(chosen[models[0]]).traces)
        grid = figure.add_gridspec(shown, 2, width_ratios=(1, 1.6))
        legend = _astray(figure.add_subplot(grid[:, 0]), chosen)
        _traces([figure.add_subplot(grid[row, 1]) for row in range(shown)], chosen)
        look.key(figure, {name.removeprefix("worm-"): handle for name, handle in legend.items()})
        return figure


def _generated(one: Document) -> Generation:
    assert one.result.generation is not None
    return one.result.generation


def _astray(axes: Axes, best: Mapping[str, Document]) -> dict[str, object]:
    """Draws the error by steps ahead, running means of the steps so far; they swing less."""
    legend: dict[str, object] = {}
    shown: list[float] = []
    highest = 0.0
    for model, one in best.items():
        generation = _generated(one)
        for label, losses, colour, dashes in (
            (model, generation.loss, look.of(_place(model))[0], "solid"),
            ("naive", generation.naive, "0.35", look.DASHES[1]),
        ):
            means = _so_far(losses)
            ahead = range(1, len(means) + 1)
            (legend[label],) = axes.plot(ahead, means, color=colour, linestyle=dashes)
            shown += [mean for mean in means if not math.isnan(mean)]
        highest = max(highest, AWAY * max(_so_far(generation.naive)))
    shown = [mean for mean in shown if mean <= highest]
    _logarithmic(axes, [1, 100], shown)
    axes.set_ylim(0.8 * min(shown), 1.25 * max(shown))
    axes.set_xlabel("steps ahead")
    axes.set_ylabel("squared error, mean of the steps so far")
    return {name: legend[name] for name in [*best, "naive"]}


def _so_far(losses: Sequence[float | None]) -> list[float]:
    """Returns the mean of each step and those before it; NaN from where one is None."""
    sums = itertools.accumulate(math.nan if loss is None else loss for loss in losses)
    return [total / steps for steps, total in enumerate(sums, start=1)]


def _traces(panels: Sequence[Axes], best: Mapping[str, Document]) -> None:
    """Draws some neurons: what was seen and what followed in black, what is generated over it."""
    first = _generated(next(iter(best.values())))
    for number, axes in enumerate(panels):
        trace = first.traces[number]
        true = [*trace.seen, *trace.followed]
        axes.plot(range(-len(trace.seen), len(trace.followed)), true, color="black", linewidth=0.8)
        for model, one in best.items():
            known = _generated(one).traces[number].generated
            values = [math.nan if value is None else value for value in known]
            axes.plot(range(len(values)), values, color=look.of(_place(model))[0], linewidth=0.8)
        axes.axvline(-0.5, color="0.6", linewidth=0.6)
        axes.set_ylabel(trace.neuron, rotation=0, ha="right", va="center")
        axes.grid(visible=False)
        reach = 1.5 * max(map(abs, true))
        axes.set_ylim(-reach, reach)
        axes.tick_params(labelbottom=number == len(panels) - 1)
    panels[0].set_title(short(first.traces[0].worm), fontsize=7)
    panels[-1].set_xlabel("frames from the first that is generated")
