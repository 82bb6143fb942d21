"""The selection: benchmark, context length, recordings and predictions that options name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.errors import InvalidInput, NotFound, UsageError

if TYPE_CHECKING:
    from zapeval.benchmarks.benchmark import Benchmark
    from zapeval.forecasting.predictions import Predictions
    from zapeval.recordings.recording import Recordings

BenchmarkName = Annotated[
    str | None,
    typer.Option("--benchmark", "-b", metavar="ID|FILE.toml", help="Benchmark, or its TOML file."),
]
ContextLength = Annotated[
    int | None, typer.Option("--context", "-c", metavar="N", help="Context length in frames.")
]
Data = Annotated[
    str | None,
    typer.Option("--data", metavar="URI", help="Folder or URI that holds the recording."),
]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a command works on."""

    benchmark: Benchmark
    recordings: Recordings
    context: int


def select(name: str, context: int | None, data: str | None) -> Selection:
    """Returns the benchmark of a name over its recordings.

    Raises:
        NotFound: There is no such benchmark.
        UsageError: The context length is missing or not allowed.
    """
    from zapeval.benchmarks.catalogue import find_recipe

    recipe = find_recipe(name)
    recordings = recipe.recordings(data)
    benchmark = recipe.resolve(recordings)
    return Selection(
        benchmark=benchmark, recordings=recordings, context=benchmark.check_context(context)
    )


def select_for(
    uri: str, name: str | None, context: int | None, data: str | None
) -> tuple[Predictions, Selection]:
    """Returns opened predictions, and what they are for by their manifest or the options.

    Raises:
        UsageError: Neither the manifest nor an option names the benchmark.
        InvalidInput: The manifest is wrong, or has a context length that is not allowed.
        NotFound: There are no such predictions, or no such benchmark.
    """
    from zapeval.forecasting.predictions import open_predictions

    predictions = open_predictions(uri)
    said = predictions.manifest
    if name is None and said is None:
        raise UsageError(f"{uri}: has no manifest; name the benchmark with -b, e.g. -b zapbench")
    if name is None and said is not None:
        name = _registered(uri, said.benchmark.id)
    try:
        length = said.context if said is not None and context is None else context
        selection = select(str(name), length, data)
    except UsageError as error:
        if context is None and said is not None:
            raise InvalidInput(f"{uri}: manifest: {error}") from error
        raise
    if not predictions.arrays and not predictions.broken:
        arrays = tuple(series.array for series in selection.benchmark.series)
        predictions = open_predictions(uri, arrays)
    return predictions, selection


def _registered(uri: str, name: str) -> str:
    """Returns the benchmark's name in a manifest, if it is registered."""
    from zapeval.benchmarks.catalogue import find_recipe

    try:
        find_recipe(name)
    except NotFound as error:
        raise NotFound(
            f"{uri}: manifest: {error}; where a TOML file defines it, give the file with -b"
        ) from error
    return name
