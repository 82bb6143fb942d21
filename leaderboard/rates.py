"""Rates: how many requests a client may send in a minute.

Each client has a bucket that fills with time (the generic cell rate algorithm: one number a
client). Buckets live in the memory of one web process; what must hold for a person whatever
process answers is a quota, in the database.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from threading import Lock
from typing import final

from leaderboard.problems import TooMany

FAILURES = 30
"""Wrong tokens, invitations and sign-ins of one address in a minute."""

_CLIENTS = 100_000
"""Buckets that are kept; the longest unused go first."""


@final
class Rate:
    """A number of events a minute for each client, which may come in one burst."""

    def __init__(
        self,
        per_minute: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        clients: int = _CLIENTS,
    ) -> None:
        """Makes it; 0 events a minute is no limit."""
        self.per_minute = per_minute
        self._clock = clock
        self._clients = clients
        self._empty: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()

    def hit(self, client: str) -> float:
        """Counts an event; returns 0.0, or, uncounted, the seconds until there is room for it."""
        if not self.per_minute:
            return 0.0
        step = 60.0 / self.per_minute
        with self._lock:
            at = self._clock()
            until = max(self._empty.pop(client, at), at) + step
            wait = until - at - 60.0
            # A thousandth of a step is rounding, not a request.
            if wait > step / 1000:
                self._empty[client] = until - step
                return wait
            self._empty[client] = until
            if len(self._empty) > self._clients:
                self._empty.popitem(last=False)
        return 0.0

    def require(self, client: str, what: str) -> None:
        """Counts an event.

        Raises:
            TooMany: There is no room for it; says when there is.
        """
        wait = self.hit(client)
        if wait:
            later = math.ceil(wait)
            raise TooMany(
                f"{what}: more than {self.per_minute} in a minute; go on in {later} seconds", wait
            )


def network_of(address: str) -> str:
    """Returns what stands for a client's address: of IPv6 the network that one customer has."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(IPv6Address(int(parsed) >> 64 << 64))
