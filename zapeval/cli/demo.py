"""``zapeval demo``: the whole round on the embedded benchmark."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import Quiet, note, progress, say, show_table

if TYPE_CHECKING:
    from zapeval.cli.selection import Selection
    from zapeval.forecasting.checkpoint import Checkpoint
    from zapeval.forecasting.forecaster import Forecaster
    from zapeval.scoring.scorecard import Scorecard

BENCHMARK = "zapbench-mini"
FORECASTERS = ("persistence", "mean", "least-squares", "linear")
NEURAL = ("linear",)


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to leave what it makes.")
    ] = Path("demo"),
    quiet: Quiet = False,
) -> None:
    """Train, forecast, score, rank and draw: every step once, on the embedded benchmark."""
    from zapeval.cli.selection import select
    from zapeval.reports import tables
    from zapeval.reports.figures.curves import error_by_step

    if not quiet:
        note(f"{BENCHMARK}: generating the brain where it is not there yet")
    cards, names = [], _possible(quiet)
    chosen = select(BENCHMARK, 1, None)
    for context in chosen.benchmark.context_lengths:
        chosen = select(BENCHMARK, context, None)
        cards += [_round(name, chosen, out, quiet) for name in names]
    drawn = error_by_step(cards, out / "figures", frame_seconds=chosen.benchmark.frame_seconds)
    if quiet:
        return
    show_table(tables.ranking_table(cards, chosen.benchmark.summary_steps))
    say(f"predictions  {out / 'predictions'}")
    say(f"scorecards   {out / 'scorecards'}")
    for path in drawn:
        say(f"figure       {path}")


def _possible(quiet: bool) -> Sequence[str]:
    """Returns the forecasters of the demo that what is installed can train."""
    if importlib.util.find_spec("jax") is not None:
        return FORECASTERS
    if not quiet:
        note(f"without {', '.join(NEURAL)}: install zapeval[baselines] to train it")
    return [name for name in FORECASTERS if name not in NEURAL]


def _round(name: str, chosen: Selection, out: Path, quiet: bool) -> Scorecard:
    """Trains a forecaster if it learns, forecasts with it, scores, and returns the scorecard."""
    from zapeval.cli.score import run_score, save
    from zapeval.forecasting.predictions import open_predictions

    label = f"{name}-c{chosen.context}"
    store = out / "predictions" / f"{label}.zarr"
    _forecast(name, chosen, out / "checkpoints" / label / "seed-0", store, quiet)
    card, tally = run_score(open_predictions(str(store)), chosen, quiet=quiet)
    return save(card, tally, chosen.benchmark, out / "scorecards" / f"{label}.json")


def _forecast(name: str, chosen: Selection, checkpoint: Path, store: Path, quiet: bool) -> None:
    from zapeval.cli.forecasters import make_forecaster
    from zapeval.cli.train import train_seed
    from zapeval.forecasting.forecast import forecast

    made, trained = make_forecaster(name), None
    if made.learns:
        made, trained = train_seed(name, (), chosen, checkpoint, seed=0, quiet=quiet)
    if _is_there(store, made, chosen, trained):
        return
    label = f"{name}, C={chosen.context}"
    with progress(label, chosen.benchmark.windows, "windows", quiet=quiet) as advance:
        forecast(
            made,
            chosen.benchmark,
            chosen.recordings,
            store,
            context=chosen.context,
            trained=trained,
            progress=advance,
        )


def _is_there(store: Path, made: Forecaster, chosen: Selection, trained: Checkpoint | None) -> bool:
    """Tells whether a store holds just these forecasts; others that lie there are removed."""
    from zapeval.forecasting.forecast import manifest_of
    from zapeval.forecasting.predictions import open_predictions

    if not store.exists():
        return False
    said = open_predictions(str(store)).manifest
    wanted = manifest_of(made, chosen.benchmark, chosen.context, trained)
    if said and (said.benchmark, said.forecaster) == (wanted.benchmark, wanted.forecaster):
        return True
    shutil.rmtree(store)
    return False
