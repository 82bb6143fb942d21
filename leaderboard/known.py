"""Known benchmarks: what is registered on this machine, and where its recordings are.

Benchmarks are plugins, which may take long to import, hang or exit; so they are asked in a process
of their own, ``python -m leaderboard.known ID [DATA]``, once in the life of a worker.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import final

from pydantic import BaseModel, ConfigDict, ValidationError

from leaderboard.settings import Settings
from zapeval.benchmarks.catalogue import find_recipe
from zapeval.benchmarks.recipe import Recipe
from zapeval.errors import BrokenPlugin
from zapeval.registry import BENCHMARKS, IMPORT_SECONDS, plugins

PATIENCE = 900.0
"""Seconds that a benchmark may take to make its recordings, as the generated ones do at first."""

OURS = "zapeval"
"""The package whose benchmarks need no trial."""

_LIMIT = 1 << 20
_SOUND = 93
"""Exit status that nothing has by chance."""


class Known(BaseModel):
    """A benchmark as this machine has it.

    Attributes:
        id: Its id.
        version: Its version.
        digest: Its digest.
        readable: Local folders that hold its recordings.
        network: Whether a recording is remote.
        problem: Why it can't be scored here, or "".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    version: int = 0
    digest: str = ""
    readable: tuple[Path, ...] = ()
    network: bool = False
    problem: str = ""


@final
class Catalogue:
    """The benchmarks of this machine, each asked for once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._found: dict[str, Known] = {}

    def __getitem__(self, benchmark: str) -> Known:
        """Returns a benchmark; what is wrong with it is asked anew the next time."""
        if benchmark not in self._found:
            found = _ask(benchmark, self._settings.recordings.get(benchmark))
            if found.problem:
                return found
            self._found[benchmark] = found
        return self._found[benchmark]


def recipe_of(label: str) -> Recipe:
    """Returns a benchmark for a process that must live on, such as the web service.

    Plugins of other packages are tried in a process of their own first, once.

    Raises:
        NotFound: There is none of that name.
        BrokenPlugin: It can't be loaded, or ends the process that tries.
    """
    name = label.partition("@")[0]
    plugin = plugins(BENCHMARKS).get(name)
    if plugin is not None and plugin.package != OURS and not _loads(name):
        raise BrokenPlugin(f"{name}: package {plugin.package} can't be loaded")
    return find_recipe(label)


@lru_cache(maxsize=64)
def _loads(benchmark: str) -> bool:
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "leaderboard.known", "--try", benchmark],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=IMPORT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == _SOUND


def attempt(benchmark: str) -> None:
    """Loads a benchmark, and ends this process with a status that says so."""
    find_recipe(benchmark)
    os._exit(_SOUND)


def _ask(benchmark: str, data: str | None) -> Known:
    arguments = [benchmark] if data is None else [benchmark, data]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "leaderboard.known", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        # What a plugin prints on import stands before our line.
        line = done.stdout[-_LIMIT:].decode(errors="replace").strip().rpartition("\n")[2]
        return Known.model_validate_json(line)
    except subprocess.TimeoutExpired:
        return Known(id=benchmark, problem=f"did not answer within {PATIENCE:g} s")
    except ValidationError:
        said = done.stderr[-2000:].decode(errors="replace").strip()
        return Known(id=benchmark, problem=f"ended with status {done.returncode}: {said}")


def main(benchmark: str, data: str | None = None) -> None:
    """Prints what is known of a benchmark, as JSON on one line; its recordings are made."""
    from zapeval.benchmarks.recipe import check_recordings
    from zapeval.errors import ZapevalError
    from zapeval.recordings.stores import open_store

    try:
        recipe = find_recipe(benchmark)
        recordings = recipe.recordings(data)
        resolved = recipe.resolve(recordings)
        check_recordings(resolved, recordings)
        places = [open_store(_place(recordings[key].uri)).path for key in recordings]
        found = Known(
            id=benchmark,
            version=resolved.version,
            digest=resolved.digest,
            readable=tuple(place.absolute() for place in places if place is not None),
            network=None in places,
        )
    except ZapevalError as error:
        found = Known(id=benchmark, problem=str(error)[:2000])
    print(found.model_dump_json())


def _place(uri: str) -> str:
    """Returns the file of an address that goes on inside of it."""
    for ending in (".h5", ".hdf5", ".nwb"):
        head, found, _ = uri.partition(f"{ending}:/")
        if found:
            return head + ending
    return uri


if __name__ == "__main__":
    attempt(sys.argv[2]) if sys.argv[1] == "--try" else main(*sys.argv[1:3])
