"""``zapeval train``: lets a forecaster learn, once a seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import Quiet, note, steps
from zapeval.cli.forecasters import Settings, make_forecaster, setting
from zapeval.cli.outputs import check_output
from zapeval.cli.selection import ContextLength, Data, select

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zapeval.cli.selection import Selection
    from zapeval.forecasting.checkpoint import Checkpoint
    from zapeval.forecasting.forecaster import Forecaster


def train(
    forecaster: Annotated[str, typer.Argument(metavar="NAME|FILE.py:Class")],
    benchmark: Annotated[
        str,
        typer.Option("--benchmark", "-b", metavar="ID|FILE.toml", help="What to learn from."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where checkpoints go: DIR/seed-0, ..")
    ],
    context: ContextLength = None,
    data: Data = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many times, each with its own seed.")] = 1,
    settings: Settings = None,
    quiet: Quiet = False,
) -> None:
    """Train a forecaster on a benchmark; repeat an interrupted run to go on."""
    check_output(out, "folder")
    chosen = select(benchmark, context, data)
    for seed in range(seeds):
        folder = out / f"seed-{seed}"
        there = folder.exists()
        train_seed(forecaster, settings or (), chosen, folder, seed=seed, quiet=quiet)
        if not quiet:
            note(f"{folder}: {'is trained already' if there else 'written'}")


def train_seed(
    name: str, settings: Sequence[str], chosen: Selection, folder: Path, *, seed: int, quiet: bool
) -> tuple[Forecaster, Checkpoint]:
    """Trains a new forecaster with one seed and writes its checkpoint, if that is not there yet.

    Returns:
        The forecaster, ready to forecast, and what its checkpoint says.

    Raises:
        UsageError: It learns nothing.
        BrokenPlugin: It breaks its contract.
    """
    from zapeval.forecasting.train import train as run

    made = make_forecaster(name, settings)
    label = f"{made.name}, C={chosen.context}, seed {seed}"
    with steps(label, quiet=quiet) as report:
        checkpoint = run(
            made,
            chosen.benchmark,
            chosen.recordings,
            folder,
            context=chosen.context,
            seed=seed,
            settings=dict(map(setting, settings)),
            report=report,
            note=lambda text: note(f"{label}: {text}"),
        )
    return made, checkpoint
