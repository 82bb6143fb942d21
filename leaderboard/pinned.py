"""A pinned store: files of one allowed https host, at an address that was looked at before.

The host's name is resolved once a connection, every address that it has must be one that may be
reached, and the connection goes to that address: nothing can be resolved to another in between.
Redirects are never followed, and sizes are limited while bytes arrive.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import BinaryIO, final
from urllib.parse import quote, urlsplit

from zapeval.errors import InvalidInput, Refused, StorageError
from zapeval.recordings.stores import Store

SECONDS = 30.0
"""Longest silence of a server."""

WAITS = (0.0, 1.0, 4.0)
"""Seconds before what was lost is asked for again."""

_BLOCK = 1 << 20
_NAT64 = IPv6Network("64:ff9b::/96")
"""Addresses that a translator turns into IPv4 ones (RFC 6052)."""


@final
@dataclass(frozen=True)
class PinnedStore(Store):
    """A folder of keys on a web server.

    Attributes:
        private: Whether it may lie at an address that the internet can't reach.
        limit: Largest file in bytes.
        connections: Those that are open and not in use.
    """

    private: bool = False
    limit: int = 1 << 30
    connections: list[_Connection] = field(default_factory=list, compare=False, repr=False)

    def child(self, name: str) -> PinnedStore:
        """Returns the store below."""
        return PinnedStore(f"{self.uri}/{name}", None, self.private, self.limit, self.connections)

    def read(
        self, key: str, limit: int | None = None, *, stop: threading.Event | None = None
    ) -> bytes | None:
        """Returns the bytes of a key, or None where it does not exist.

        Raises:
            InvalidInput: It is larger than the limit.
            Refused: The server redirects, or lies where it may not.
            StorageError: The server did not answer.
        """
        out = io.BytesIO()
        size = self.copy(key, out, min(limit or self.limit, self.limit), stop=stop)
        return None if size is None else out.getvalue()

    def copy(
        self, key: str, out: BinaryIO, limit: int, *, stop: threading.Event | None = None
    ) -> int | None:
        """Copies a key to a file, and returns its size; None where it does not exist.

        What is lost on the way is asked for again a few times.

        Raises:
            InvalidInput: It is larger than the limit.
            Refused: The server redirects, or lies where it may not.
            StorageError: The server did not answer.
        """
        for wait in (*WAITS, None):
            try:
                return self._copy_once(key, out, limit)
            except StorageError:
                if wait is None or (stop is not None and stop.is_set()):
                    raise
                time.sleep(wait)
                out.seek(0)
                out.truncate()
        raise AssertionError("the last try returns or raises")

    def close(self) -> None:
        """Closes its connections; no other thread may use it any more."""
        while self.connections:
            self.connections.pop().close()

    def _copy_once(self, key: str, out: BinaryIO, limit: int) -> int | None:
        where = f"{self.uri}/{key}"
        connection = self._connection()
        size, done = 0, False
        try:
            with _reading(where):
                path = quote(urlsplit(where).path)
                connection.request("GET", path, headers={"Accept-Encoding": "identity"})
                response = connection.getresponse()
            if not _is_there(response, where):
                with _reading(where):
                    response.read(_BLOCK)  # so that the connection can go on
                done = response.isclosed()
                return None
            for block in _blocks(response, where, limit):
                out.write(block)
                size += len(block)
            done = response.isclosed()
            return size
        finally:
            # Adding to and taking from a list are each one step, whatever the thread.
            if done:
                self.connections.append(connection)
            else:
                connection.close()

    def _connection(self) -> _Connection:
        try:
            return self.connections.pop()
        except IndexError:
            parts = urlsplit(self.uri)
            return _Connection(str(parts.hostname), parts.port or 443, self.private)


@final
class _Connection(http.client.HTTPSConnection):
    """A connection to an address of a host that may be reached."""

    def __init__(self, host: str, port: int, private: bool) -> None:
        self._tls = ssl.create_default_context()
        self._private = private
        super().__init__(host, port, timeout=SECONDS, context=self._tls)

    def connect(self) -> None:
        """Connects to the address that was looked at, as the host that was named."""
        address = reachable(self.host, self.port, private=self._private)
        plain = socket.create_connection((address, self.port), SECONDS)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def reachable(host: str, port: int, *, private: bool) -> str:
    """Returns an address of a host.

    Raises:
        Refused: One of its addresses is not public, and it may not be.
        OSError: It has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]).partition("%")[0] for one in found]
    for address in addresses:
        if not private and not _is_public(ip_address(address)):
            raise Refused(f"{host}: lies at an address that is not public; nothing was fetched")
    return addresses[0]


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None and not _is_public(inner):
            return False
    return address.is_global and not address.is_multicast


def _is_there(response: http.client.HTTPResponse, where: str) -> bool:
    """Tells whether a server has what it was asked for.

    Raises:
        Refused: It is said to lie elsewhere.
        StorageError: The server does not give it.
    """
    if response.status in (200, 404, 410):
        return response.status == 200
    if 300 <= response.status < 400:
        raise Refused(f"{where}: leads elsewhere (HTTP {response.status}); give the final address")
    raise StorageError(f"{where}: could not be read (HTTP {response.status})")


def _blocks(response: http.client.HTTPResponse, where: str, limit: int) -> Iterator[bytes]:
    """Yields the bytes of an answer.

    Raises:
        InvalidInput: There are more than the limit.
        StorageError: There are fewer than the server said.
    """
    size, said = 0, response.length
    if said is not None and said > limit:
        raise _too_large(where, limit)
    while True:
        with _reading(where):
            block = response.read(_BLOCK)
        if not block:
            break
        size += len(block)
        if size > limit:
            raise _too_large(where, limit)
        yield block
    if said is not None and size != said:
        raise StorageError(f"{where}: could not be read: ended after {size:,} bytes of {said:,}")


def _too_large(where: str, limit: int) -> InvalidInput:
    return InvalidInput(f"{where}: is over {limit:,} bytes, the most allowed")


@contextmanager
def _reading(where: str) -> Iterator[None]:
    """Turns an error of the network, and of nothing else, into one that says where."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        raise StorageError(f"{where}: could not be read: {_said(error)}") from error


def _said(error: Exception) -> str:
    """Returns what went wrong, without addresses of the inside."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate can't be verified: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return f"no answer within {SECONDS:g} seconds"
    if isinstance(error, socket.gaierror):
        return "its name has no address"
    return type(error).__name__
