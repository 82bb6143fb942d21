"""``zapeval benchmarks``: what there is to forecast."""

from __future__ import annotations

from typing import Annotated

import typer

from zapeval.cli.console import say
from zapeval.cli.selection import Data
from zapeval.errors import BrokenPlugin

app = typer.Typer(help="List and show benchmarks.", no_args_is_help=True)


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
