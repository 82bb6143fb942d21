"""Mosaics: several charts in one for the web, each with data of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zapeval.reports.figures.vega import Rows, Spec
from zapeval.reports.tables import legible

if TYPE_CHECKING:
    import altair as alt


def mosaic_of(
    chart: alt.VConcatChart,
    datasets: Mapping[str, Rows],
    *,
    title: str,
    said: str,
    under: Sequence[str] = (),
) -> Spec:
    """Returns joined charts as a dict, with their data inside.

    Args:
        chart: The charts, whose data are named.
        datasets: The data by name.
        title: The title.
        said: What a screen reader says of it.
        under: Lines that stand below the title.
    """
    import altair as alt

    heading: dict[str, Any] = {"text": legible(title), "anchor": "start"}
    # As if it stood inside another chart, so that no theme of the user has a say.
    made: Spec = chart.to_dict(context={"top_level": False, "pre_transform": False})
    return {
        "$schema": alt.SCHEMA_URL,
        "description": legible(said),
        "title": heading | ({"subtitle": list(under)} if under else {}),
        "background": "transparent",
        **made,
        "datasets": dict(datasets),
    }


def view(fill: str) -> alt.ViewBackground:
    """Returns the ground of a chart whose colours a dark page would swallow."""
    import altair as alt

    return alt.ViewBackground(fill=fill, stroke=None)
