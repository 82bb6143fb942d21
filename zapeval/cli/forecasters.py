"""``zapeval forecasters``: what can forecast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from zapeval.cli.console import say
from zapeval.errors import BrokenPlugin

if TYPE_CHECKING:
    from zapeval.forecasting.forecaster import Forecaster

app = typer.Typer(help="List and show forecasters.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """List the registered forecasters; a broken plugin is listed with its error."""
    from zapeval.registry import FORECASTERS, plugins

    found = plugins(FORECASTERS)
    width = max(map(len, found), default=0)
    for name, plugin in found.items():
        try:
            about = _about(plugin.load())
        except BrokenPlugin as error:
            about = f"broken: {error}"
        say(f"{name:<{width}}  {about}")


@app.command()
def show(forecaster: Annotated[str, typer.Argument(metavar="NAME|FILE.py:Class")]) -> None:
    """Show a forecaster: what it is, its version and parameters."""
    made = make_forecaster(forecaster)
    say(f"{made.name}  {_about(type(made))}")
    say(f"version     {made.version or '-'}")
    say(f"parameters  {dict(made.parameters) or '-'}")


def make_forecaster(name: str) -> Forecaster:
    """Returns a new forecaster of a name or ``path/to/file.py:Class``.

    Raises:
        NotFound: Nothing has that name.
        BrokenPlugin: It can't be imported or made, or is no forecaster.
    """
    from zapeval.forecasting.forecaster import Forecaster
    from zapeval.registry import FORECASTERS, find

    found = find(FORECASTERS, name)
    if not (isinstance(found, type) and issubclass(found, Forecaster)):
        raise BrokenPlugin(f"{name}: is {found!r}, expected a subclass of zapeval.Forecaster")
    try:
        made = found()
    except Exception as error:
        raise BrokenPlugin(f"{name}: could not be made: {type(error).__name__}: {error}") from error
    if not isinstance(getattr(made, "name", None), str) or not made.name.strip():
        raise BrokenPlugin(f"{name}: has no name; give the class an attribute name")
    return made


def _about(forecaster: type) -> str:
    return (forecaster.__doc__ or "").strip().split("\n")[0]
