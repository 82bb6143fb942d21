"""``zapeval forecasters``: what can forecast."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zapeval.cli.console import say
from zapeval.errors import BrokenPlugin, UsageError, ZapevalError

if TYPE_CHECKING:
    from zapeval.forecasting.forecaster import Forecaster

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An argument of the forecaster; repeatable."),
]

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


def make_forecaster(name: str, settings: Sequence[str] = ()) -> Forecaster:
    """Returns a new forecaster of a name or ``path/to/file.py:Class``.

    Args:
        name: What users type.
        settings: Arguments to make it with, as ``key=value``, values as JSON or plain words.

    Raises:
        NotFound: Nothing has that name.
        UsageError: A setting is no key=value.
        BrokenPlugin: It can't be imported or made, or is no forecaster.
    """
    return _made(name, dict(map(setting, settings)))


def trained_forecaster(name: str, settings: Sequence[str], checkpoint: Path | None) -> Forecaster:
    """Returns a new forecaster, made with the parameters of its checkpoint where it has one.

    Raises:
        UsageError: Settings contradict the checkpoint.
        NotFound: Nothing has that name, or there is no checkpoint.
        BrokenPlugin: It can't be imported or made.
    """
    if checkpoint is None:
        return make_forecaster(name, settings)
    if settings:
        raise UsageError("--set: a checkpoint brings its own settings; leave one of them out")
    from zapeval.forecasting.checkpoint import read_checkpoint

    return _made(name, read_checkpoint(checkpoint).settings)


def _made(name: str, settings: Mapping[str, Any]) -> Forecaster:
    from zapeval.forecasting.forecaster import Forecaster
    from zapeval.registry import FORECASTERS, find

    found = find(FORECASTERS, name)
    if not callable(found) or (isinstance(found, type) and not issubclass(found, Forecaster)):
        raise BrokenPlugin(f"{name}: is {found!r}, expected a subclass of zapeval.Forecaster")
    try:
        made = found(**settings)
    except ZapevalError:
        raise
    except (Exception, SystemExit) as error:
        raise BrokenPlugin(f"{name}: could not be made: {type(error).__name__}: {error}") from error
    if not isinstance(made, Forecaster):
        raise BrokenPlugin(f"{name}: made {made!r}, expected a zapeval.Forecaster")
    if not isinstance(getattr(made, "name", None), str) or not made.name.strip():
        raise BrokenPlugin(f"{name}: has no name; give the class an attribute name")
    return made


def setting(text: str) -> tuple[str, Any]:
    """Returns key and value of a ``KEY=VALUE``; the value is JSON or a plain word.

    Raises:
        UsageError: It is none.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise UsageError(f"--set {text}: expected KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _about(forecaster: type) -> str:
    return (forecaster.__doc__ or "").strip().split("\n")[0]
