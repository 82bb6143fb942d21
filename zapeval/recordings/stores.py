"""A store: bytes by key below a URI, on disk or in a bucket.

A URI is a local path, ``file://``, ``gs://``, ``s3://``, ``http://`` or ``https://``. A TensorStore
specification or URL pipeline is never taken from a user: only these schemes and a path.
"""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from zapeval.errors import InvalidInput, NotFound, StorageError

SCHEMES = ("file", "gs", "s3", "http", "https")

RETRIES = {"max_retries": 5, "initial_delay": "500ms", "max_delay": "8s"}
"""How often a transient error is tried again: about 15 seconds in all."""

PATIENCE = 600.0
"""Longest wait for one answer in seconds, retries included."""

_STALLED = {
    "TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS": "30",
    "TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES": "1024",
}
_POLL = 0.2


@dataclass(frozen=True)
class Store:
    """A folder of keys.

    Attributes:
        uri: What the user wrote, in a normal form without a slash at its end.
        path: The local folder, or None where the store is remote.
    """

    uri: str
    path: Path | None

    def __str__(self) -> str:
        return self.uri

    def child(self, name: str) -> Store:
        """Returns the store below, e.g. an array of a group."""
        path = None if self.path is None else self.path / name
        return Store(f"{self.uri}/{name}", path)

    @property
    def spec(self) -> dict[str, Any]:
        """The TensorStore key-value store of this folder."""
        if self.path is not None:
            return {"driver": "file", "path": f"{self.path.absolute()}/"}
        return _remote(urlsplit(self.uri))

    @property
    def can_list(self) -> bool:
        """Whether keys() works: a web server has no listing."""
        return not self.uri.startswith(("http://", "https://"))

    def read(
        self, key: str, limit: int | None = None, *, stop: threading.Event | None = None
    ) -> bytes | None:
        """Returns the bytes of a key, or None where it does not exist.

        A remote key is fetched before its size is known, so limit bounds what is handed on, not
        what is received.

        Args:
            key: Path below the store, without a slash at its start.
            limit: Largest size in bytes that is accepted.
            stop: Gives up soon after this is set.

        Raises:
            InvalidInput: The key is larger than limit bytes, or is a folder or a symbolic link.
            StorageError: The storage did not answer.
        """
        if self.path is not None:
            return _read_file(self.path / key, limit)
        try:
            found = _wait(self._kvstore.read(key), stop)
        except (ValueError, TimeoutError) as error:
            raise StorageError(
                f"{self.uri}/{key}: could not be read: {first_sentence(error)}"
            ) from error
        if found.state != "value":
            return None
        data: bytes = found.value
        if limit is not None and len(data) > limit:
            raise _too_large(f"{self.uri}/{key}", len(data), limit)
        return data

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        """Returns every key that begins with prefix, sorted.

        Raises:
            StorageError: The storage did not answer, or cannot list (http and https cannot).
        """
        if self.path is not None:
            return tuple(sorted(_walk(self.path, prefix)))
        import tensorstore as ts

        # Listed from the bucket's root: a server that ignores the range would otherwise answer
        # with keys shorter than the path that TensorStore cuts off, which aborts the process.
        spec = self.spec
        base = spec.pop("path", "")
        start = base + prefix
        keys = ts.KvStore.KeyRange(start, _after(start))
        try:
            found = _wait(ts.KvStore.open(spec).result().list(keys))
            names = [key.decode() for key in found]
        except UnicodeDecodeError as error:
            raise InvalidInput(f"{self.uri}: holds a key that is not UTF-8") from error
        except (ValueError, TimeoutError, NotImplementedError) as error:
            raise StorageError(
                f"{self.uri}: could not be listed: {first_sentence(error)}"
            ) from error
        return tuple(sorted(name[len(base) :] for name in names if name.startswith(start)))

    @cached_property
    def _kvstore(self) -> Any:
        import tensorstore as ts

        return ts.KvStore.open(self.spec).result()


def open_store(uri: str | os.PathLike[str]) -> Store:
    """Returns the store of a URI; touches nothing.

    Raises:
        InvalidInput: The scheme is not one of SCHEMES, or the URI is no plain address.
    """
    text = os.fspath(uri)
    if "://" not in text:
        path = Path(text).expanduser()
        return Store(str(path), path)
    parts = _split(text)
    if parts.scheme not in SCHEMES:
        known = ", ".join(SCHEMES)
        raise InvalidInput(f"{_shown(parts)}: scheme {parts.scheme!r} is not one of {known}")
    plain = text.isprintable() and not set("|?#\\") & set(text) and "@" not in parts.netloc
    if not plain or ".." in parts.path.split("/"):
        raise InvalidInput(f"{_shown(parts)}: expected a plain address: scheme://place/path")
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise InvalidInput(f"{_shown(parts)}: expected file:///path, with three slashes")
        path = Path(unquote(parts.path))
        return Store(str(path), path)
    if not parts.netloc:
        raise InvalidInput(f"{_shown(parts)}: names no bucket or host")
    return Store(text.rstrip("/"), None)


def require(store: Store, key: str, limit: int | None = None) -> bytes:
    """Returns the bytes of a key that must exist.

    Raises:
        NotFound: There is no such key.
    """
    data = store.read(key, limit)
    if data is None:
        raise NotFound(f"{store.uri}/{key}: does not exist")
    return data


def _read_file(path: Path, limit: int | None) -> bytes | None:
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StorageError(f"{path}: could not be read: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise InvalidInput(f"{path}: is a folder, a link or a device; expected a plain file")
    if limit is not None and status.st_size > limit:
        raise _too_large(str(path), status.st_size, limit)
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path}: could not be read: {error.strerror}") from error


def _walk(root: Path, prefix: str) -> list[str]:
    keys = []
    for folder, _, files in os.walk(root):
        relative = os.path.relpath(folder, root)
        base = "" if relative == "." else f"{relative}/"
        keys += [base + name for name in files if (base + name).startswith(prefix)]
    return keys


def _too_large(name: str, size: int, limit: int) -> InvalidInput:
    return InvalidInput(f"{name}: is {size:,} bytes, expected at most {limit:,}")


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError as error:
        raise InvalidInput(f"{text[:60]!r}: is no address: {error}") from error


def _shown(parts: SplitResult) -> str:
    """Returns the address for a message: without credentials and query, which may be secret."""
    text = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return text if text.isprintable() else repr(text)


def _remote(parts: SplitResult) -> dict[str, Any]:
    """Returns the TensorStore specification of a bucket or web folder."""
    # TensorStore sets no time limit of its own: without these a silent server hangs it for ever.
    for name, value in _STALLED.items():
        os.environ.setdefault(name, value)
    path = parts.path.strip("/")
    folder = {"path": f"{path}/"} if path else {}
    if parts.scheme == "gs":
        return {"driver": "gcs", "bucket": parts.netloc, "gcs_request_retries": RETRIES} | folder
    if parts.scheme == "s3":
        spec = {"driver": "s3", "bucket": parts.netloc, "s3_request_retries": RETRIES} | folder
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        if endpoint:
            spec |= {"endpoint": endpoint, "aws_region": os.environ.get("AWS_REGION", "us-east-1")}
        return spec
    return {
        "driver": "http",
        "base_url": f"{parts.scheme}://{parts.netloc}",
        "path": unquote(f"/{path}/") if path else "/",  # the driver encodes it again
        "http_request_retries": RETRIES,
    }


def _wait(future: Any, stop: threading.Event | None = None) -> Any:
    """Returns what a TensorStore future resolves to; cancels it when stopped or out of patience."""
    end = time.monotonic() + PATIENCE
    while True:
        left = end - time.monotonic()
        try:
            return future.result(timeout=left if stop is None else min(left, _POLL))
        except TimeoutError:
            if future.done():
                return future.result()
        if time.monotonic() >= end:
            future.cancel()
            raise TimeoutError(f"no answer within {PATIENCE:g} seconds")
        if stop is not None and stop.is_set():
            future.cancel()
            raise TimeoutError("stopped")


def _after(prefix: str) -> bytes:
    """Returns the first key after every key that begins with prefix; empty means no bound."""
    # UTF-8 has no byte 0xff, so the last byte can always be raised by one.
    data = prefix.encode()
    return data[:-1] + bytes([data[-1] + 1]) if data else b""


def first_sentence(error: Exception) -> str:
    """Returns the first line of a TensorStore error: its sentence, and the HTTP status if any."""
    text = str(error)
    status = re.search(r"(?:HTTP code |http_response_code=')(\d+)", text)
    line = text.partition("\n")[0].partition(" [")[0][:300]
    sentence = line if line.isprintable() else repr(line)
    return f"{sentence} (HTTP {status[1]})" if status else sentence
