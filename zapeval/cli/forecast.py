"""``zapeval forecast``: a forecaster's predictions for a benchmark."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from zapeval.cli.console import Quiet, note, progress
from zapeval.cli.forecasters import Settings, trained_forecaster
from zapeval.cli.outputs import check_output
from zapeval.cli.selection import ContextLength, Data, select


class StoredType(StrEnum):
    """Type of stored values."""

    float32 = "float32"
    float16 = "float16"


def forecast(
    forecaster: Annotated[str, typer.Argument(metavar="NAME|FILE.py:Class")],
    benchmark: Annotated[
        str,
        typer.Option("--benchmark", "-b", metavar="ID|FILE.toml", help="What to forecast."),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="PREDICTIONS.zarr", help="Store to write.")],
    context: ContextLength = None,
    data: Data = None,
    dtype: Annotated[
        StoredType, typer.Option(help="Stored type; float16 halves the size.")
    ] = StoredType.float32,
    compress: Annotated[
        bool, typer.Option("--compress/--raw", help="Compress without loss, or store as is.")
    ] = True,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Write the frames of video, not traces: far more.")
    ] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What zapeval train made.")
    ] = None,
    settings: Settings = None,
    quiet: Quiet = False,
) -> None:
    """Forecast a benchmark and write the predictions; repeat an interrupted run to go on."""
    from zapeval.forecasting.checkpoint import check_fitted, load_checkpoint
    from zapeval.forecasting.forecast import forecast as forecast_traces
    from zapeval.forecasting.training import unheard
    from zapeval.forecasting.volumes import forecast_volumes

    check_output(out, "new")
    made = trained_forecaster(forecaster, settings or (), checkpoint)
    length = "" if context is None else f" -c {context}"
    check_fitted(made, checkpoint, f"{forecaster} -b {benchmark}{length}")
    chosen = select(benchmark, context, data)
    trained = None
    if checkpoint is not None:
        trained = load_checkpoint(
            made, checkpoint, chosen.benchmark, chosen.recordings, chosen.context
        )
    run = forecast_traces
    if volumes:
        run = partial(forecast_volumes, note=unheard if quiet else note)
    with progress(made.name, chosen.benchmark.windows, "windows", quiet=quiet) as advance:
        run(
            made,
            chosen.benchmark,
            chosen.recordings,
            out,
            context=chosen.context,
            trained=trained,
            dtype=dtype.value,
            compressed=compress,
            progress=advance,
        )
    if not quiet:
        note(f"{out}: {chosen.benchmark.windows:,} windows of {chosen.benchmark.label} written")
