"""A shelf: what tasks of one run share in a process, the few used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

_ROOM = 2
_T = TypeVar("_T")


class _Slot:
    """A value that is made once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: Any = None
        self.made = False


class Shelf:
    """Keeps values by (run, name); makes each once, however many threads ask.

    Tasks come two series side by side, so room for two is enough.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: OrderedDict[tuple[str, str], _Slot] = OrderedDict()

    def get(self, key: tuple[str, str], make: Callable[[], _T]) -> _T:
        """Returns the value of a key, made now where it is not kept."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > _ROOM:
                self._slots.popitem(last=False)
        with slot.lock:
            if not slot.made:
                slot.value = make()
                slot.made = True
        value: _T = slot.value
        return value

    def clear(self, run: str) -> None:
        """Lets go of everything of a run."""
        with self._lock:
            for key in [key for key in self._slots if key[0] == run]:
                del self._slots[key]
