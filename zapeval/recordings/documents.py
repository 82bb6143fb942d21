"""Metadata documents: JSON that may be hostile, read under limits."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from zapeval.errors import InvalidInput
from zapeval.recordings.stores import Store

DOCUMENT_LIMIT = 1 << 20
"""Largest metadata document in bytes; a real one has a few thousand."""

NESTING_LIMIT = 64
"""Most levels of a metadata document; a sharded array has 9."""


def read_document(store: Store, key: str) -> dict[str, Any] | None:
    """Returns a JSON object, or None where the key does not exist.

    Raises:
        InvalidInput: It is too large, no valid JSON object, nested too deep, or repeats a name.
    """
    data = store.read(key, DOCUMENT_LIMIT)
    return None if data is None else document_of(data, f"{store}/{key}")


def document_of(data: bytes, where: str) -> dict[str, Any]:
    """Returns the JSON object in bytes, whose number the caller has limited.

    Raises:
        InvalidInput: It is no valid JSON object, nested too deep, or repeats a name.
    """
    try:
        document = strict_json(data.decode())
    except RecursionError as error:
        raise _too_deep(where) from error
    except ValueError as error:
        raise InvalidInput(f"{where}: is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"{where}: is a JSON {type(document).__name__}, expected an object")
    if _levels(document) > NESTING_LIMIT:
        raise _too_deep(where)
    return document


def strict_json(text: str) -> object:
    """Returns the value of a JSON text that repeats no name and holds finite numbers only.

    Raises:
        ValueError: It is none.
        RecursionError: It is nested too deep to be read.
    """
    found: object = json.loads(
        text,
        object_pairs_hook=_unique_names,
        parse_constant=_no_constant,
        parse_float=_finite,
        parse_int=_whole,
    )
    return found


def _levels(document: object) -> int:
    """Returns how deep the lists and objects of a document lie in each other."""
    levels, layer = 0, [document]
    while layer:
        levels += 1
        layer = [child for node in layer for child in _children(node)]
    return levels


def _children(node: object) -> Iterable[object]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _too_deep(where: str) -> InvalidInput:
    return InvalidInput(f"{where}: is nested deeper than {NESTING_LIMIT} levels")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return names


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is beyond the range of a number")
    return value


def _whole(text: str) -> int:
    if len(text) > 100:
        raise ValueError(f"a number of {len(text):,} digits")
    return int(text)
