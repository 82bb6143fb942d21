"""The registry: plugins by name, found through entry points and imported when they are used."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from zapeval.errors import BrokenPlugin, NameClash, NotFound

FORECASTERS = "zapeval.forecasters"
BENCHMARKS = "zapeval.benchmarks"


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A registered name; nothing is imported until it is loaded.

    Attributes:
        name: What users type.
        package: Distribution that registers it.
        target: ``package.module:Class``.
    """

    name: str
    package: str
    target: str

    def load(self) -> Any:
        """Imports and returns what the name stands for.

        Raises:
            BrokenPlugin: It can't be imported; says why.
        """
        try:
            return EntryPoint(name=self.name, value=self.target, group="").load()
        except (Exception, SystemExit) as error:
            raise BrokenPlugin(
                f"{self.name}: {self.target} of package {self.package} can't be imported: "
                f"{type(error).__name__}: {error}"
            ) from error


def plugins(group: str) -> dict[str, Plugin]:
    """Returns the registered plugins of a group by name, sorted.

    Raises:
        NameClash: Two packages register the same name.
    """
    found: dict[str, Plugin] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        package = point.dist.name if point.dist else "an unnamed package"
        plugin = Plugin(name=point.name, package=package, target=point.value)
        other = found.setdefault(point.name, plugin)
        if other != plugin:
            raise NameClash(
                f"{point.name}: is registered by {other.package} ({other.target}) and by "
                f"{package} ({point.value}); remove one of them"
            )
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
    spec = importlib.util.spec_from_file_location(f"zapeval_plugin_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise BrokenPlugin(f"{path}: is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # Data classes and pickles look their module up by name.
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise BrokenPlugin(f"{path}: can't be imported: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise NotFound(f"{path}: defines no {attribute!r}") from error
