"""The figure of a study: error along what it varies, and by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines.volumetric.studies.grid import Study
from baselines.volumetric.studies.run import Outcome
from baselines.volumetric.studies.table import at_step, summary
from zapeval.recordings.writer import files_into
from zapeval.reports.figures import look
from zapeval.reports.figures.labels import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "figure"
MANY = 8
"""Cells above which the best of each line stands for it by step."""

_GREYS = ("0.2", "0.45", "0.6", "0.75")
_HEIGHT = 2.8


def draw(outcomes: Sequence[Outcome], folder: Path, study: Study, *, title: str) -> list[Path]:
    """Draws a study and returns the files: ``figure.png``, ``figure.pdf`` and ``figure.svg``.

    Args:
        outcomes: The cells of the study, references among them.
        folder: Where the files go.
        study: The study.
        title: Title that the files carry.

    Raises:
        UsageError: Matplotlib is not installed.
        StorageError: A file can't be written.
    """
    import matplotlib as mpl

    digests = sorted({str(card.predictions["digest"]) for one in outcomes for card in one.cards})
    with files_into(folder) as partial:
        with look.style():
            figure = figure_of(outcomes, study)
        paths = look.save({NAME: figure}, partial, title=title, about="; ".join(digests))
        # With a salt of its own and no date, equal figures are equal bytes here too.
        with look.style(), mpl.rc_context({"svg.hashsalt": "zapeval"}):
            paths.append(partial / f"{NAME}.svg")
            figure.savefig(paths[-1], metadata={"Title": title, "Date": None})
    return [folder / path.name for path in paths]


def figure_of(outcomes: Sequence[Outcome], study: Study) -> Figure:
    """Returns the figure: on the left the mean over steps, on the right each step.

    Error bars are two standard errors over seeds; references are grey.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(look.WIDTH, _HEIGHT), layout="constrained")
    left, right = figure.subplots(1, 2)
    places = list(dict.fromkeys(o.cell.place for o in outcomes if not o.cell.reference))
    legend: dict[str, Any] = {}
    for line, drawn in _lines(outcomes).items():
        own = [one for one in outcomes if one.cell.line == line]
        legend[short(line)] = _along(left, own, places, drawn, joined=study.ordered)
        _by_step(right, _shown(own, outcomes), places, drawn)
    left.set_xticks(range(len(places)), places)
    left.set_xlim(-0.4, max(1, len(places)) - 0.6)
    left.set_xlabel(study.axis)
    left.set_ylabel("MAE (df/f), mean over steps")
    right.set_xlabel("steps ahead")
    right.set_ylabel("MAE (df/f)")
    right.legend(fontsize=5, ncols=2)
    look.key(figure, legend)
    return figure


def _lines(outcomes: Sequence[Outcome]) -> dict[str, dict[str, Any]]:
    """Returns how each line is drawn, by name."""
    found: dict[str, dict[str, Any]] = {}
    models = references = 0
    for line, reference in dict.fromkeys((o.cell.line, o.cell.reference) for o in outcomes):
        if reference:
            grey = _GREYS[references % len(_GREYS)]
            dashes = look.DASHES[1 + references % (len(look.DASHES) - 1)]
            found[line] = {"color": grey, "linestyle": dashes, "linewidth": 0.8}
            references += 1
        else:
            colour, marker = look.of(models)
            found[line] = {"color": colour, "marker": marker}
            models += 1
    return found


def _along(
    axes: Axes,
    own: Sequence[Outcome],
    places: Sequence[str],
    drawn: dict[str, Any],
    *,
    joined: bool,
) -> Any:
    """Draws a line along what is varied; a reference without a place along all of it."""
    found = [summary(one) for one in own]
    if own[0].cell.place not in places:
        return axes.axhline(found[0].mean, **drawn)
    if not joined and not own[0].cell.reference:
        drawn = {**drawn, "linestyle": "none"}
    at = [places.index(one.cell.place) for one in own]
    margins = [one.margin or 0.0 for one in found]
    return axes.errorbar(at, [one.mean for one in found], yerr=margins, capsize=2, **drawn)


def _shown(own: Sequence[Outcome], outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """Returns the cells of a line that are drawn by step: all of a few, else the best."""
    models = sum(not one.cell.reference for one in outcomes)
    if own[0].cell.reference or models > MANY:
        return [min(own, key=lambda one: summary(one).mean)]
    return own


def _by_step(
    axes: Axes, own: Sequence[Outcome], places: Sequence[str], drawn: dict[str, Any]
) -> None:
    """Draws the error by step of cells of a line, told apart by dashes."""
    for one in own:
        steps = sorted({score.step for score in one.cards[0].scores})
        look_of = {key: value for key, value in drawn.items() if key != "marker"}
        if not one.cell.reference:
            place = places.index(one.cell.place)
            look_of["linestyle"] = look.DASHES[place % len(look.DASHES)]
        values = [at_step(one, step).mean for step in steps]
        axes.plot(steps, values, label=short(one.cell.label), **look_of)
