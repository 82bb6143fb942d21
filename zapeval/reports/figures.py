"""Figures: error against steps ahead, as a paper prints it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zapeval.errors import StorageError, UsageError
from zapeval.reports import tables
from zapeval.scoring.scorecard import Scorecard

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANELS = 16  # most series, or groups, that get a panel each
ROWS = 40  # most series that get a row of dots each; of more, each group gets one
WIDTH = 7.2  # inches: two columns of a journal

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's, told apart by colour-blind eyes; their yellow is too pale for paper."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
DASHES: tuple[Any, ...] = ("solid", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)))

STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.dpi": 200,
    "font.size": 7,
    "grid.color": "0.9",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.4,
    "pdf.fonttype": 42,
    "text.parse_math": False,
}
"""What differs from matplotlib's defaults; a user's own settings never reach a figure."""


@dataclass(frozen=True, kw_only=True)
class _Line:
    """One scorecard as it is drawn."""

    scores: tables.Scores
    label: str
    colour: str
    marker: str
    dashes: Any


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """One small plot, or one row of a dot plot.

    Each line stands with the series that it shows the mean of; faint series stand behind.
    """

    title: str
    curves: Sequence[tuple[_Line, Sequence[str]]]
    faint: Sequence[str] = ()
    held_out: bool = False


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
    figures = figures_of(cards, metric, frame_seconds, benchmark_steps, unit)
    title = f"{metric} on {tables.label_of(cards[0])}"
    shown = tables.legible("; ".join(str(card.predictions["digest"]) for card in cards))
    # No date: equal scorecards give equal bytes.
    png = {"Title": title, "Description": shown, "Software": None}
    pdf = {"Title": title, "Subject": shown, "CreationDate": None}
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _style():
            for name, figure in figures.items():
                for ending, metadata in (("png", png), ("pdf", pdf)):
                    paths.append(folder / f"{metric}_{name}.{ending}")
                    figure.savefig(paths[-1], metadata=metadata)
    except OSError as error:
        raise StorageError(f"{folder}: can't hold figures: {error}; name another") from error
    return paths


def figures_of(
    cards: Sequence[Scorecard], metric: str, seconds: float | None, marked: Sequence[int], unit: str
) -> dict[str, Figure]:
    """Returns the figures that error_by_step saves, by name."""
    with _style():
        tables.require_one_task(cards)
        lines = _lines(cards, metric)
        steps = sorted({step for _, step in lines[0].scores})
        some = marked or [steps[-1] // part for part in (steps[-1], 8, 4, 2, 1)]
        ticks = sorted(set(some) & set(steps))
        panels = _panels(lines, cards[0], dots=len(steps) == 1)
        names = {"mae": f"MAE ({unit})", "mse": f"MSE (({unit})²)", "correlation": "Pearson's r"}
        each = f" ({seconds:.3g} s each)" if seconds else ""
        labels = (f"steps ahead{each}", names.get(metric, metric))
        if len(steps) == 1:
            return {name: _dots(rows, steps, labels[1]) for name, rows in panels.items()}
        return {name: _multiples(of, steps, ticks, labels) for name, of in panels.items()}


@contextmanager
def _style() -> Iterator[None]:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise UsageError('figures: need matplotlib; pip install "zapeval[figures]"') from error
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def _lines(cards: Sequence[Scorecard], metric: str) -> list[_Line]:
    """Returns the cards with colour and marker by forecaster, dashes by context length."""
    names = tables.names_of(cards)
    kinds = list(dict.fromkeys(names))
    contexts = sorted({card.benchmark["context"] for card in cards})
    lines = []
    for card, name in zip(cards, names, strict=True):
        kind, context = kinds.index(name), card.benchmark["context"]
        seen = "" if card.benchmark["protocol"] == "next-step" else f", C = {context}"
        line = _Line(
            scores=tables.scores_by_step(card, metric),
            label=f"{_short(name)}{seen}{', partial' if card.partial else ''}",
            colour=COLOURS[kind % len(COLOURS)],
            marker=MARKERS[kind % len(MARKERS)],
            dashes=DASHES[contexts.index(context) % len(DASHES)],
        )
        lines.append(line)
    return lines


def _short(text: str) -> str:
    """Returns text that leaves room for what is drawn."""
    text = tables.legible(text)
    return text if len(text) <= 40 else f"{text[:24]}…{text[-15:]}"


def _panels(lines: Sequence[_Line], card: Scorecard, *, dots: bool) -> dict[str, list[_Panel]]:
    """Returns the panels, or rows of dots, of every figure by its name."""
    trained = [line for line in card.series if not line.held_out]
    held = [line.name for line in card.series if line.held_out]
    few = len(card.series) <= (ROWS if dots else PANELS)

    def panel(title: str, of: Sequence[str], faint: Sequence[str], held_out: bool) -> _Panel:
        curves = [(line, of) for line in lines]
        shown = faint if dots and not few else ()
        return _Panel(title=_short(title), curves=curves, faint=shown, held_out=held_out)

    each = [panel(line.name, [line.name], (), False) for line in trained]
    apart = [panel(f"{name} (held out)", [name], (), True) for name in held]
    joined = [panel(f"mean of {len(held)} held out", held, held, True)] if held[1:] else apart
    groups = []
    for group in sorted({line.group for line in trained if line.group}):
        members = [line.name for line in trained if line.group == group]
        groups.append(panel(f"average of {group}", [f"average:{group}"], members, False))
    names = [line.name for line in trained]
    average = panel(f"average of {len(names)} series", ["average"], names, False)
    rows = [*each, *groups, average, *apart] if few else [*groups, average, *joined]
    if dots:
        return {"by_series": rows}
    if few:
        return {"by_step": [*each, *apart], "average": [average, *joined]}
    # One look for every average: here a panel's title names the forecaster.
    own = [(line.label, replace(lines[0], scores=line.scores, label="average")) for line in lines]
    spread = [_Panel(title=name, curves=[(x, ["average"])], faint=names) for name, x in own]
    some = {"by_group": groups} if 1 < len(groups) <= PANELS else {}
    return {"spread": spread, "average": [average, *joined], **some}


def _values(line: _Line, series: Sequence[str], steps: Sequence[int]) -> list[float]:
    """Returns the mean over the series at each step, NaN where it is undefined."""
    means = (tables.mean_of(line.scores[name, step].value for name in series) for step in steps)
    return [math.nan if mean is None else mean for mean in means]


def _ends(line: _Line, series: Sequence[str], steps: Sequence[int]) -> list[tuple[float, float]]:
    """Returns the interval at each step, or nothing where one of them has none."""
    scores = [line.scores[series[0], step] for step in steps] if len(series) == 1 else []
    ends = [(s.low, s.high) for s in scores if s.low is not None and s.high is not None]
    return ends if len(ends) == len(steps) else []


def _multiples(
    panels: Sequence[_Panel], steps: Sequence[int], ticks: Sequence[int], labels: Sequence[str]
) -> Figure:
    from matplotlib.figure import Figure

    count = len(panels)
    columns = count if count <= 3 else 2 if count == 4 else 3 if count in (5, 6, 9) else 4
    rows = math.ceil(count / columns)
    height = 1.5 * rows + (1.2 if rows == 1 else 0.8)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=_alike(panels, steps), squeeze=False)
    legend: dict[str, Any] = {}
    for index, axes in enumerate(grid.flat):
        axes.set_visible(index < count)
        axes.tick_params(labelbottom=index + columns >= count)
        legend |= _draw(axes, panels[index], steps, ticks) if index < count else {}
    figure.supxlabel(labels[0])
    figure.supylabel(labels[1])
    _key(figure, legend)
    return figure


def _alike(panels: Sequence[_Panel], steps: Sequence[int]) -> bool:
    """Returns whether no panel would look flat on an axis that all share."""
    tops = []
    for panel in panels:
        drawn = [value for line, of in panel.curves for value in _values(line, of, steps)]
        tops.append(max((abs(value) for value in drawn if not math.isnan(value)), default=0.0))
    return max(tops) <= 4 * min(filter(None, tops), default=0.0)


def _draw(axes: Axes, panel: _Panel, steps: Sequence[int], ticks: Sequence[int]) -> dict[str, Any]:
    """Draws a panel and returns what its legend holds: handles by label."""
    legend: dict[str, Any] = {}
    for name in panel.faint:
        values, alpha = _values(panel.curves[0][0], [name], steps), 0.3 + 3 / len(panel.faint)
        axes.plot(steps, values, color="0.7", alpha=min(1.0, alpha), linewidth=0.5)
        legend["each series"] = axes.plot([], color="0.7", linewidth=0.5)[0]
    for line, series in panel.curves:
        values = _values(line, series, steps)
        look = {"color": line.colour, "linestyle": line.dashes, "marker": line.marker}
        look["mfc"] = line.colour if line.dashes == DASHES[0] else "white"
        at = [steps.index(step) for step in ticks]
        legend[line.label] = axes.plot(steps, values, markevery=at, **look)[0]
        if ends := _ends(line, series, steps):
            low, high = zip(*ends, strict=True)
            axes.fill_between(steps, low, high, alpha=0.15, linewidth=0, color=line.colour)
    if all(math.isnan(y) for drawn in legend.values() for y in drawn.get_ydata()):
        axes.text(0.5, 0.5, "undefined", transform=axes.transAxes, ha="center", color="0.4")
    axes.set_title(panel.title, style="italic" if panel.held_out else "normal")
    axes.set_facecolor("0.96" if panel.held_out else "white")
    axes.set_xticks(ticks)
    return legend


def _dots(rows: Sequence[_Panel], steps: Sequence[int], label: str) -> Figure:
    from matplotlib.figure import Figure

    lanes = len(rows[0].curves)
    height = max(0.17, lanes * (0.2 if any(row.faint for row in rows) else 0.08)) * len(rows)
    figure = Figure(figsize=(WIDTH, height + 0.8), layout="constrained")
    axes = figure.subplots()
    legend = {}
    for index, row in enumerate(rows):
        axes.axhspan(index - 0.5, index + 0.5, color=("white", "0.96")[row.held_out], linewidth=0)
        axes.axhline(index + 0.5, color="0.9", linewidth=0.5)
        for number, (line, series) in enumerate(row.curves):
            y = index + 0.8 * ((number + 0.5) / lanes - 0.5)
            faint = [_values(line, [name], steps)[0] for name in row.faint]
            # Offsets by the golden ratio are even, and the same in every run.
            ys = [y + 0.6 / lanes * (0.618 * k % 1 - 0.5) for k in range(len(faint))]
            axes.plot(faint, ys, ".", color=line.colour, alpha=0.5, markersize=3, mew=0)
            for low, high in _ends(line, series, steps):
                axes.hlines(y, low, high, color=line.colour, linewidth=0.8)
            mean = _values(line, series, steps)
            legend[line.label] = axes.plot(mean, [y], line.marker, color=line.colour, ms=4.5)[0]
    axes.set_yticks(range(len(rows)), [row.title for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(label)
    _key(figure, legend)
    return figure


def _key(figure: Figure, legend: dict[str, Any]) -> None:
    """Puts the legend above; the space keeps a label that matplotlib 3.9 hides for its "_"."""
    labels = [f" {label}" for label in legend]
    rows = math.ceil(len(labels) / max(1, 120 // (8 + max(map(len, labels)))))
    columns = math.ceil(len(labels) / rows)
    figure.legend(list(legend.values()), labels, loc="outside upper center", ncols=columns)
