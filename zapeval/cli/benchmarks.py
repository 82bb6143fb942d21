"""``zapeval benchmarks``: what there is to forecast."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import Quiet, progress, say
from zapeval.cli.outputs import check_output
from zapeval.cli.selection import Data
from zapeval.errors import BrokenPlugin

if TYPE_CHECKING:
    from zapeval.benchmarks.published import Published
    from zapeval.reports.agreement import Agreement

app = typer.Typer(help="List, show and verify benchmarks.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """List the registered benchmarks; a broken plugin is listed with its error."""
    from zapeval.benchmarks.catalogue import find_recipe
    from zapeval.registry import BENCHMARKS, plugins

    found: dict[str, str] = {}
    for name in plugins(BENCHMARKS):
        try:
            recipe = find_recipe(name)
            found[f"{recipe.id}@{recipe.version}"] = recipe.title
        except BrokenPlugin as error:
            found[name] = f"broken: {error}"
    width = max(map(len, found), default=0)
    for label, title in found.items():
        say(f"{label:<{width}}  {title}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ID|FILE.toml")],
    data: Data = None,
) -> None:
    """Show a benchmark's definition: series, windows, steps, digest."""
    from zapeval.benchmarks.catalogue import find_recipe

    recipe = find_recipe(name)
    benchmark = recipe.resolve(recipe.recordings(data))
    lengths = " or ".join(str(length) for length in benchmark.context_lengths)
    say(f"{benchmark.label}  {benchmark.title}")
    say(f"protocol     {benchmark.protocol}, {benchmark.horizon} steps or positions")
    say(f"context      {lengths} frames (1 to {benchmark.max_context} allowed)")
    say(f"summary      {benchmark.primary} over steps {list(benchmark.summary_steps)}")
    say(f"digest       {benchmark.digest}")
    if benchmark.citation:
        say(f"cite         {benchmark.citation}")
    say()
    names = max(6, *(len(series.name) for series in benchmark.series))
    arrays = max(5, *(len(series.array) for series in benchmark.series))
    say(f"{'series':<{names}}  {'array':<{arrays}}  windows  first target")
    for series in benchmark.series:
        held = "  held out" if series.held_out else ""
        line = f"{series.name:<{names}}  {series.array:<{arrays}}"
        say(f"{line}  {series.windows:>7}  {series.origins[0]:>12}{held}")
    say(f"{benchmark.windows:,} windows")


@app.command()
def verify(
    name: Annotated[str, typer.Argument(metavar="ID")],
    data: Data = None,
    table: Annotated[
        str | None,
        typer.Option("--table", metavar="URI|FILE", help="The published table, combined.json."),
    ] = None,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write every comparison.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Check the scorer: forecast `mean`, score it, compare with the published numbers."""
    from zapeval.benchmarks.catalogue import find_recipe
    from zapeval.benchmarks.published import read_published, require_published
    from zapeval.recordings.writer import files_into
    from zapeval.reports import agreement, conformance

    file = None if json in (None, "-") else Path(str(json))
    if file is not None:
        check_output(file, "file")
    require_published(find_recipe(name))
    published = read_published(data, table, method=conformance.METHOD, context=conformance.CONTEXT)
    found = _compare(name, data, published, quiet)
    if json == "-":
        say(found.to_json().rstrip())
    elif not quiet:
        say(agreement.plain_agreement(found, found.benchmark.summary_steps))
    if file is not None:
        with files_into(file.parent) as folder:
            (folder / file.name).write_text(found.to_json(), encoding="utf-8")
    agreement.require_agreement(found)


def _compare(name: str, data: str | None, published: Published, quiet: bool) -> Agreement:
    """Forecasts and scores with a progress bar, scoring on threads."""
    import os
    from concurrent.futures import ThreadPoolExecutor

    from zapeval.cli.forecasters import make_forecaster
    from zapeval.cli.selection import select
    from zapeval.reports import conformance

    chosen = select(name, conformance.CONTEXT, data)
    total = chosen.benchmark.windows
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress(conformance.METHOD, total, "windows", quiet=quiet) as advance,
    ):
        return conformance.verify(
            make_forecaster(conformance.METHOD),
            chosen.benchmark,
            chosen.recordings,
            published,
            context=chosen.context,
            run=pool.map,
            progress=advance,
        )
