"""``zapeval forecasters``: what can forecast."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zapeval.cli.console import note, say
from zapeval.errors import BrokenPlugin, UsageError, ZapevalError

if TYPE_CHECKING:
    from zapeval.forecasting.forecaster import Forecaster

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An argument of the forecaster; repeatable."),
]

app = typer.Typer(help="List, show and begin forecasters.", no_args_is_help=True)


@app.command("list")
def list_(
    seconds: Annotated[
        float, typer.Option(min=0.1, help="How long a plugin's import may take.")
    ] = 20.0,
) -> None:
    """List the registered forecasters and their packages; a broken one with what is wrong."""
    from zapeval.cli.probe import probe
    from zapeval.registry import FORECASTERS, plugins

    found = tuple(plugins(FORECASTERS).values())
    name = max((len(plugin.name) for plugin in found), default=0)
    package = max((len(plugin.package) for plugin in found), default=0)
    for finding in probe(found, seconds):
        plugin = finding.plugin
        said = f"broken: {finding.broken}" if finding.broken else finding.about
        say(f"{plugin.name:<{name}}  {plugin.package:<{package}}  {said}".rstrip())


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="What to call it, in small letters: my-model.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where its folder goes.")
    ] = Path(),
    learns: Annotated[
        bool, typer.Option("--learns", help="Write one that is fitted, saved and loaded.")
    ] = False,
) -> None:
    """Write a package with a new forecaster: ready to install, and passing its tests."""
    from zapeval.forecasting.scaffold import write_package

    folder = write_package(name, out, learns=learns)
    note(f"{folder}: written; {folder / 'README.md'} says how to install, test and score it")


@app.command()
def show(forecaster: Annotated[str, typer.Argument(metavar="NAME|FILE.py:Class")]) -> None:
    """Show a forecaster: what it is, its version and parameters."""
    made = make_forecaster(forecaster)
    say(f"{made.name}  {about(type(made))}")
    say(f"version     {made.version or '-'}")
    say(f"parameters  {dict(made.parameters) or '-'}")


def make_forecaster(name: str, settings: Sequence[str] = ()) -> Forecaster:
    """Returns a new forecaster of a name or ``path/to/file.py:Class``.

    Args:
        name: What users type.
        settings: Arguments to make it with, as ``key=value``, values as JSON or plain words.

    Raises:
        NotFound: Nothing has that name.
        UsageError: A setting is no key=value, or none that the forecaster takes.
        BrokenPlugin: It can't be imported or made, or is no forecaster.
    """
    return _made(name, dict(map(setting, settings)))


def trained_forecaster(name: str, settings: Sequence[str], checkpoint: Path | None) -> Forecaster:
    """Returns a new forecaster, made with the parameters of its checkpoint where it has one.

    Beside a checkpoint only those settings may be given that change nothing of what was learned.

    Raises:
        UsageError: Other settings are given beside a checkpoint, or the forecaster takes none such.
        NotFound: Nothing has that name, or there is no checkpoint.
        BrokenPlugin: It can't be imported or made.
    """
    if checkpoint is None:
        return make_forecaster(name, settings)
    from zapeval.forecasting.checkpoint import read_checkpoint
    from zapeval.registry import FORECASTERS, find

    given = dict(map(setting, settings))
    free = getattr(find(FORECASTERS, name), "when_forecasting", ()) if given else ()
    if not given.keys() <= set(free):
        but = f", all but {', '.join(free)}" if free else ""
        raise UsageError(f"--set: a checkpoint brings its own settings{but}; leave one of them out")
    return _made(name, {**read_checkpoint(checkpoint).settings, **given})


def _made(name: str, settings: Mapping[str, Any]) -> Forecaster:
    from zapeval.forecasting.forecaster import Forecaster
    from zapeval.registry import FORECASTERS, find

    found = find(FORECASTERS, name)
    if not _makes_forecasters(found):
        raise BrokenPlugin(f"{name}: is {found!r}, expected a subclass of zapeval.Forecaster")
    _check_settings(name, found, settings)
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


def _check_settings(name: str, found: Callable[..., object], settings: Mapping[str, Any]) -> None:
    """Checks that a forecaster takes such arguments, as far as it says what it takes."""
    try:
        taken = inspect.signature(found).parameters.values()
    except (TypeError, ValueError):
        return
    if any(one.kind is one.VAR_KEYWORD for one in taken):
        return
    known = [one.name for one in taken if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    for key in settings:
        if key not in known:
            raise UsageError(f"{name}: takes no {key!r}; it takes {', '.join(known) or 'nothing'}")


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


def about(found: Any) -> str:
    """Returns the first line of what a plugin's class says of itself.

    Raises:
        TypeError: It makes no forecasters.
    """
    if not _makes_forecasters(found):
        raise TypeError(f"is {found!r}, expected a subclass of zapeval.Forecaster")
    return (found.__doc__ or "").strip().split("\n")[0]


def _makes_forecasters(found: Any) -> bool:
    from zapeval.forecasting.forecaster import Forecaster

    return issubclass(found, Forecaster) if isinstance(found, type) else callable(found)
