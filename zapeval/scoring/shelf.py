"""A shelf: what tasks of one run share in a process, the few used last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

_ROOM = 2
_T = TypeVar("_T")


class _Slot:
    """A value that is made once."""

    def __init__(self, spare: Any) -> None:
        self.lock = threading.Lock()
        self.value: Any = None
        self.made = False
        self.spare = spare
        self.users = 0


class Shelf(Generic[_T]):
    """Keeps values by (run, name); makes each once, however many threads ask.

    Tasks come two series side by side, so room for two is enough.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: OrderedDict[tuple[str, str], _Slot] = OrderedDict()

    def get(self, key: tuple[str, str], make: Callable[[], _T]) -> _T:
        """Returns the value of a key, made now where it is not kept; not where values are lent."""
        with self.lend(key, lambda _: make()) as value:
            return value

    @contextmanager
    def lend(self, key: tuple[str, str], make: Callable[[_T | None], _T]) -> Iterator[_T]:
        """Lends the value of a key, made now where it is not kept.

        Args:
            key: Run and name.
            make: Makes the value; is given one that left the shelf and that nobody uses, or None,
                so that its memory may serve again: fresh memory costs as much as what fills it.
        """
        with self._lock:
            slot = self._slots.get(key) or self._slots.setdefault(key, _Slot(self._spare()))
            self._slots.move_to_end(key)
            slot.users += 1
        try:
            with slot.lock:
                if not slot.made:
                    spare, slot.spare = slot.spare, None
                    slot.value = make(spare)
                    slot.made = True
            value: _T = slot.value
            yield value
        finally:
            with self._lock:
                slot.users -= 1

    def clear(self, run: str) -> None:
        """Lets go of everything of a run."""
        with self._lock:
            for key in [key for key in self._slots if key[0] == run]:
                del self._slots[key]

    def _spare(self) -> _T | None:
        """Makes room for one more; returns what had to leave, if nobody uses it."""
        spare: _T | None = None
        while len(self._slots) >= _ROOM:
            _, slot = self._slots.popitem(last=False)
            spare = spare if slot.users else slot.value
        return spare
