"""``zapeval check``: whether predictions can be scored, without scoring them."""

from __future__ import annotations

from typing import Annotated

import typer

from zapeval.cli.console import say
from zapeval.cli.selection import BenchmarkName, ContextLength, Data


def check(
    predictions: Annotated[str, typer.Argument(metavar="PREDICTIONS.zarr")],
    benchmark: BenchmarkName = None,
    context: ContextLength = None,
    data: Data = None,
) -> None:
    """Check that predictions cover a benchmark: series, windows, steps, neurons, every chunk."""
    from zapeval.cli.selection import select_for
    from zapeval.forecasting.check import check as find
    from zapeval.forecasting.check import require_no_errors

    opened, chosen = select_for(predictions, benchmark, context, data)
    findings = find(opened, chosen.benchmark, chosen.recordings, context=chosen.context)
    require_no_errors(opened, findings)
    for finding in findings:
        say(f"{finding.severity}: {finding.message}")
    say(
        f"{predictions}: covers {chosen.benchmark.label}, {chosen.benchmark.windows:,} windows; "
        "values are checked when it is scored"
    )
