"""The gallery of a comparison: every figure of it, for print and for the web."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zapeval.errors import StorageError
from zapeval.reports import tables
from zapeval.reports.comparison import Comparison
from zapeval.reports.figures import (
    charts,
    cost,
    curve_charts,
    curves,
    look,
    ranking,
    rows,
    skill,
    vega,
)
from zapeval.reports.standings import title_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(comparison: Comparison, folder: Path) -> list[Path]:
    """Draws a comparison and returns the files.

    Each figure is saved as PNG (200 dpi), PDF and Vega-Lite: the ranking, the skill matrix where
    there is a baseline, error against cost where a manifest names one, error against steps ahead
    by series and for the average. Equal comparisons give equal bytes.

    Raises:
        UsageError: Matplotlib or altair is not installed.
        StorageError: A file can't be written.
    """
    look.require(*look.LIBRARIES)
    printed, charted = _figures(comparison)
    cards = [kept.card for row in comparison.rows for kept in row.entry.kept]
    about = "; ".join(str(card.predictions["digest"]) for card in cards)
    files = look.save(printed, folder, title=title_of(comparison), about=tables.legible(about))
    for name, spec in charted.items():
        files.append(folder / f"{name}.vl.json")
        try:
            files[-1].write_text(vega.as_text(spec), encoding="utf-8")
        except OSError as error:
            raise StorageError(f"{files[-1]}: can't be written: {error}") from error
    return files


def _figures(comparison: Comparison) -> tuple[dict[str, Figure], dict[str, vega.Spec]]:
    """Returns figures and charts by name, both of the same rows."""
    standings, chosen, title = (
        rows.standings_of(comparison),
        comparison.chosen,
        title_of(comparison),
    )
    steps, label = curves.labels_of(chosen.metric)
    baseline = next((one.entry for one in standings if one.baseline), None)
    printed = {"ranking": ranking.figure_of(standings, label)}
    charted = {"ranking": charts.ranking(standings, label, title)}
    if baseline is not None:
        cells = rows.skills_of(comparison)
        over = f"steps {', '.join(map(str, chosen.steps))}"
        printed["skill"] = skill.figure_of(cells, baseline)
        about = f"skill in {chosen.metric}, {over} {_where(comparison)}"
        charted["skill"] = charts.skill_matrix(cells, baseline, about)
    costs = rows.costs_of(comparison)
    if cost.measures_of(costs):
        printed["cost"] = cost.figure_of(costs, label, baseline)
        charted["cost"] = charts.cost(costs, label, title, baseline)
    lines, entry = rows.curves_of(comparison), comparison.rows[0].entry
    marked = entry.kept[0].card.benchmark["summary_steps"]
    focus = [one.entry for one in standings if one.baseline or one is standings[0]]
    printed |= curves.figures_of(lines, entry.lines, (steps, label), marked, focus)
    about = f"{chosen.metric} {_where(comparison)}"
    charted |= curve_charts.error_by_step(lines, entry.lines, (steps, label), about, marked)
    return printed, charted


def _where(comparison: Comparison) -> str:
    card = comparison.rows[0].entry.kept[0].card
    partial = " (partial)" if comparison.partial else ""
    return f"on {tables.label_of(card)}, context {card.benchmark['context']}{partial}"
