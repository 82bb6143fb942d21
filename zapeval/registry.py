"""The registry: plugins by name, found through entry points and imported when they are used."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from zapeval._deadline import TimeUp, deadline
from zapeval.errors import BrokenPlugin, NameClash, NotFound

FORECASTERS = "zapeval.forecasters"
BENCHMARKS = "zapeval.benchmarks"
COMMANDS = "zapeval.commands"

IMPORT_SECONDS = 120.0
"""How long an import may take; large libraries on network drives take their time."""

_folders: set[Path] = set()
"""Folders of the plugin files that were imported, from which they import their neighbours."""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A registered name; nothing is imported until it is loaded.

    Attributes:
        name: What users type.
        package: Distribution that registers it.
        target: ``package.module:Class``.
        clash: Who else registers the name, or "".
    """

    name: str
    package: str
    target: str
    clash: str = ""

    def load(self, seconds: float | None = IMPORT_SECONDS) -> Any:
        """Imports and returns what the name stands for.

        Args:
            seconds: How long the import may take, where that can be limited (see _deadline.py).

        Raises:
            BrokenPlugin: It can't be imported; says why.
            NameClash: Another package registers the same name.
        """
        if self.clash:
            raise NameClash(self.clash)
        what = f"{self.name}: {self.target} of package {self.package}"
        with _importing(what, seconds):
            return EntryPoint(name=self.name, value=self.target, group="").load()


def plugins(group: str) -> dict[str, Plugin]:
    """Returns the registered plugins of a group by name, sorted.

    A name that two packages register stands for neither: its plugin can't be loaded.
    """
    found: dict[str, Plugin] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        package = point.dist.name if point.dist else "an unnamed package"
        plugin = Plugin(name=point.name, package=package, target=point.value)
        other = found.setdefault(point.name, plugin)
        if other != plugin:
            clash = (
                f"{point.name}: is registered by {other.package} ({other.target}) and by "
                f"{package} ({point.value}); remove one of them"
            )
            found[point.name] = replace(other, clash=clash)
    return found


def find(group: str, name: str) -> Any:
    """Imports and returns what a name, or ``path/to/file.py:Class``, stands for.

    Raises:
        NotFound: Nothing has that name; the message lists the known and the nearest.
        BrokenPlugin: It can't be imported.
    """
    file, colon, attribute = name.rpartition(":")
    if colon and file.endswith(".py"):
        return _from_file(Path(file), attribute)
    known = plugins(group)
    if name in known:
        return known[name].load()
    kind = group.rpartition(".")[2].removesuffix("s")
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise NotFound(f"{kind} {name!r}: is not registered; known: {', '.join(known)}{hint}")


def _from_file(path: Path, attribute: str) -> Any:
    if not path.is_file():
        raise NotFound(f"{path}: does not exist")
    path = path.resolve()
    # Named after its whole path: a class is led back to its file through the name of its module.
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"zapeval_plugin_{path.stem}_{digest}", path)
    if spec is None or spec.loader is None:
        raise BrokenPlugin(f"{path}: is no Python module")
    module = importlib.util.module_from_spec(spec)
    _open_folder(path)
    sys.modules[spec.name] = module  # Data classes and pickles look their module up by name.
    try:
        with _importing(f"{path}:", IMPORT_SECONDS):
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(spec.name, None)
        raise
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise NotFound(f"{path}: defines no {attribute!r}") from error


def _open_folder(path: Path) -> None:
    """Lets a file import its neighbours, as a program that is run does.

    Its folder goes to the end of the import path, so that nothing in it hides what is installed.

    Raises:
        BrokenPlugin: A neighbour has the name of one that another folder's file has imported, and
            would be mistaken for it.
    """
    for neighbour in path.parent.glob("*.py"):
        origin = getattr(sys.modules.get(neighbour.stem), "__file__", None)
        if origin is not None and Path(origin).parent in _folders - {path.parent}:
            raise BrokenPlugin(
                f"{path}: its neighbour {neighbour.name} has the name of {origin}, which is "
                "imported already; rename one of them, or use each in a process of its own"
            )
    _folders.add(path.parent)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))


@contextmanager
def _importing(what: str, seconds: float | None) -> Iterator[None]:
    """Turns whatever an import ends with, but Ctrl-C, into BrokenPlugin."""
    try:
        with deadline(seconds):
            yield
    except KeyboardInterrupt:
        raise
    except TimeUp as error:
        raise BrokenPlugin(f"{what} can't be imported: did not end within {seconds:g} s") from error
    except BaseException as error:
        raise BrokenPlugin(f"{what} can't be imported: {type(error).__name__}: {error}") from error
