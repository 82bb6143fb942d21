"""Contributed commands: those that installed packages add, found by name and loaded when used.

The line that ``--help`` shows of one is the first of its module's docstring, which is read from the
file and not run: help stays fast, whatever a package imports, and a broken one breaks itself alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, final

import typer
from typer.core import TyperCommand, TyperGroup

from zapeval.cli.console import note
from zapeval.errors import BrokenPlugin
from zapeval.registry import COMMANDS, Plugin, plugins

_DOCSTRING = re.compile(r'\A\s*"""(?:``[^`\n]*``:\s*)?(?P<line>[^\n"]*)')
_HEAD = 2000
"""Characters of a module in which its docstring is looked for."""


@final
class Commands(TyperGroup):
    """The program's own commands, then the contributed ones by name."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names of all commands; says which can't be offered."""
        own = super().list_commands(ctx)
        contributed = plugins(COMMANDS)
        for name in own:
            if name in contributed:
                package = contributed[name].package
                note(f"error: {name}: is zapeval's own command; package {package} adds it too")
        return [*own, *(name for name in contributed if name not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns a command of the program's own, else a contributed one, not loaded yet."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        plugin = plugins(COMMANDS).get(cmd_name)
        return None if plugin is None else _Contributed(plugin)


class _Contributed(TyperCommand):
    """Stands for a contributed command until it is called."""

    def __init__(self, plugin: Plugin) -> None:
        super().__init__(plugin.name, help=first_line(plugin.target))
        self._plugin = plugin

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Loads the command, and returns a context of it."""
        return load(self._plugin).make_context(*args, **options)


def load(plugin: Plugin) -> Any:
    """Imports a contributed command.

    Raises:
        BrokenPlugin: It can't be imported, or is no typer app.
        NameClash: Two packages contribute a command of that name.
    """
    found = plugin.load()
    if not isinstance(found, typer.Typer):
        raise BrokenPlugin(
            f"{plugin.name}: {plugin.target} of package {plugin.package} is a "
            f"{type(found).__name__}, expected a typer.Typer"
        )
    try:
        return typer.main.get_command(found)
    except Exception as error:  # typer reads the signatures of functions that others wrote
        raise BrokenPlugin(
            f"{plugin.name}: {plugin.target} of package {plugin.package} makes no command: {error}"
        ) from error


def first_line(target: str) -> str:
    """Returns what the first line of a module's docstring says, or "" where there is none."""
    module = target.partition(":")[0].strip()
    for file in _file_of(module):
        try:
            head = file.read_text(encoding="utf-8")[:_HEAD]
        except (OSError, ValueError):
            return ""
        found = _DOCSTRING.match(head)
        line = found["line"].strip() if found else ""
        return line[:1].upper() + line[1:]
    return ""


def _file_of(module: str) -> Iterator[Path]:
    """Yields the file of a module, found without importing it or its packages."""
    folders = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}".lstrip(".")
        spec = PathFinder.find_spec(name, folders)
        if spec is None:
            return
        folders = spec.submodule_search_locations
        folders = None if folders is None else list(folders)
    if spec is not None and spec.origin and spec.origin.endswith(".py"):
        yield Path(spec.origin)
