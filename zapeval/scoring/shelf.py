"""A shelf: what tasks of one run share in a process, the few used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

_ROOM = 2
_T = TypeVar("_T")


class Shelf:
    """Keeps values by (run, name); makes each once, however many threads ask.

    Tasks come series by series, so room for two is enough: the series that ends and the one that
    begins.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def get(self, key: tuple[str, str], make: Callable[[], _T]) -> _T:
        """Returns the value of a key, made now where it is not kept."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
                while len(self._kept) > _ROOM:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            value: _T = self._kept[key]
            return value

    def clear(self, run: str) -> None:
        """Lets go of everything of a run."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == run]:
                del self._kept[key]
