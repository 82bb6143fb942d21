"""Keeping: the state of a training on disk, so that an interruption costs little."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from zapeval.errors import StorageError

_STATE, _COUNTERS = "state", "counters.json"


class Keeper:
    """Keeps the newest state of a training in a folder, through Orbax.

    Each state lies in a folder named by its step, which counts once its counters are there. Every
    host writes what it alone has; a state can be taken up by another number of devices.

    Args:
        folder: Where; several hosts share it.
        seconds: Least time from one state to the next; the first is kept at once.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        import orbax.checkpoint as ocp

        self._folder = folder.absolute() / "states"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._seconds = seconds
        self._kept: float | None = None
        self._orbax = ocp.StandardCheckpointer()

    def keep(self, tree: Any, counters: dict[str, Any], *, last: bool) -> None:
        """Keeps a state, if the last one is old enough.

        Args:
            tree: A pytree of arrays.
            counters: What goes with it; has ``step``.
            last: Whether it is the last, which is kept anyway.
        """
        if not (last or self._due()):
            return
        place = self._folder / str(counters["step"])
        if is_first_host():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
        _all_hosts_at(f"{place.name} begun")
        self._orbax.save(place / _STATE, flat(tree))
        self._orbax.wait_until_finished()
        if is_first_host():
            self._count(place, counters)
        _all_hosts_at(f"{place.name} kept")
        self._kept = time.monotonic()

    def _count(self, place: Path, counters: dict[str, Any]) -> None:
        """Makes a state count, and removes those before it."""
        partial = place / ".part"
        partial.write_text(json.dumps(counters), encoding="utf-8")
        partial.replace(place / _COUNTERS)
        for other in self._folder.iterdir():
            if other != place:
                shutil.rmtree(other)

    def _due(self) -> bool:
        """Tells whether the last state is old enough; by the first host's clock."""
        due = self._kept is None or time.monotonic() - self._kept >= self._seconds
        if jax.process_count() == 1:
            return due
        return bool(multihost_utils.broadcast_one_to_all(np.array(due)))

    def restore(self, tree: Any) -> tuple[Any, dict[str, Any]] | None:
        """Returns the kept state and its counters, or None where there is none.

        Args:
            tree: A state of the same structure, shapes and placement.
        """
        places = [p for p in self._folder.iterdir() if (p / _COUNTERS).is_file()]
        if not places:
            return None
        place = max(places, key=lambda p: int(p.name))
        abstract = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding), flat(tree)
        )
        try:
            leaves = self._orbax.restore(place / _STATE, abstract)
            counters = json.loads((place / _COUNTERS).read_text(encoding="utf-8"))
        except Exception as error:
            raise StorageError(
                f"{place}: the kept state of the training can't be read ({type(error).__name__}); "
                f"remove {self._folder.parent} to begin anew"
            ) from error
        return unflat(tree, leaves), counters

    def close(self) -> None:
        """Lets go of the threads that write."""
        self._orbax.close()


def is_first_host() -> bool:
    """Tells whether this is the host that writes what all hosts know."""
    return jax.process_index() == 0


def _all_hosts_at(point: str) -> None:
    """Waits until every host has come as far."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(point)


def flat(tree: Any) -> dict[str, Any]:
    """Returns the leaves of a pytree by their paths, as Orbax stores any structure."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def unflat(tree: Any, leaves: dict[str, Any]) -> Any:
    """Returns a pytree of the structure of another from its leaves by path."""
    return jax.tree.unflatten(jax.tree.structure(tree), [leaves[name] for name in flat(tree)])
