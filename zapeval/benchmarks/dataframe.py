"""A data frame: the rows of a pandas table that was written as JSON.

Every orientation of ``DataFrame.to_json`` that names the columns is read: ``columns``, ``index``,
``records``, ``split`` and ``table``. The JSON may stand in a JSON string.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from zapeval.errors import InvalidInput
from zapeval.recordings.documents import strict_json

Row = Mapping[str, Any]

_LISTED = 12


def read_rows(content: bytes, where: str, needed: Sequence[str]) -> Iterator[Row]:
    """Yields the rows of a table by column name.

    Args:
        content: The JSON.
        where: What to call it in messages.
        needed: Columns that every row has; it may have others.

    Raises:
        InvalidInput: It is no valid JSON, no table, or lacks a column.
    """
    return _rows(_parsed(content, where), where, needed)


def _parsed(content: bytes, where: str) -> object:
    try:
        text = content.decode()
        for _ in range(2):
            found = strict_json(text)
            if not isinstance(found, str):
                return found
            text = found
    except RecursionError as error:
        raise InvalidInput(f"{where}: is nested too deep for a table") from error
    except ValueError as error:
        raise InvalidInput(f"{where}: is not valid JSON: {error}; fetch the table again") from error
    raise InvalidInput(f"{where}: is a string in a string; expected a table in a string")


def _rows(found: object, where: str, needed: Sequence[str]) -> Iterator[Row]:
    """Yields the rows of a table, whatever the orientation that it was written in."""
    if isinstance(found, list):
        return _records(found, where, needed)
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise InvalidInput(f"{where}: is a JSON {kind}, expected {_expected(needed)}")
    if isinstance(found.get("data"), list):
        if isinstance(found.get("columns"), list):
            return _split(found["columns"], found["data"], where, needed)
        return _records(found["data"], where, needed)
    first = next(iter(found.values()), None)
    if isinstance(first, dict) and set(needed) & first.keys():
        return _records(list(found.values()), where, needed)
    return _columns(found, where, needed)


def _records(rows: Sequence[object], where: str, needed: Sequence[str]) -> Iterator[Row]:
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidInput(
                f"{where}: row {number} is a JSON {type(row).__name__} without column names, "
                f"expected {_expected(needed)}"
            )
        _check_columns(list(row), f"{where}: row {number}", needed)
        yield row


def _split(
    columns: Sequence[object], rows: Sequence[object], where: str, needed: Sequence[str]
) -> Iterator[Row]:
    names = [str(name) for name in columns]
    _check_columns(names, where, needed)
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise InvalidInput(f"{where}: row {number} is no list of {len(names)} values")
        yield dict(zip(names, row, strict=True))


def _columns(found: Mapping[str, Any], where: str, needed: Sequence[str]) -> Iterator[Row]:
    _check_columns(list(found), where, needed)
    for name, column in found.items():
        if not isinstance(column, dict):
            kind = type(column).__name__
            raise InvalidInput(f"{where}: column {name!r:.40} is a JSON {kind}, expected an object")
        if column.keys() != found[needed[0]].keys():
            raise InvalidInput(f"{where}: column {name!r:.40} has other rows than {needed[0]!r}")
    for key in found[needed[0]]:
        yield {name: column[key] for name, column in found.items()}


def _check_columns(names: Sequence[str], where: str, needed: Sequence[str]) -> None:
    missing = [name for name in needed if name not in names]
    if missing:
        shown = ", ".join(f"{name!r:.40}" for name in names[:_LISTED]) or "none"
        more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
        raise InvalidInput(
            f"{where}: lacks {', '.join(missing)}; its columns are {shown}{more}; "
            f"expected {_expected(needed)}"
        )


def _expected(needed: Sequence[str]) -> str:
    return f"a pandas table with columns {', '.join(needed)}"
