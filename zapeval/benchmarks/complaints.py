"""A complaint: what is wrong in a definition, as sentences that name file, table and key."""

from __future__ import annotations

from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from zapeval.benchmarks.definition import Definition, RecordingTable, SeriesTable, Split, Table
from zapeval.benchmarks.ranges import shown
from zapeval.errors import InvalidInput

_TABLES: dict[str, type[Table]] = {
    "the top of the file, above its first table": Definition,
    "[split]": Split,
    "[[recordings]]": RecordingTable,
    "[[series]]": SeriesTable,
}


def complaint(error: ValidationError, file: str) -> InvalidInput:
    """Returns the error that says all that is wrong in a file."""
    found = [f"{file}: {_sentence(details)}" for details in error.errors(include_url=False)]
    if len(found) == 1:
        return InvalidInput(found[0])
    head = f"{file}: {len(found)} things are wrong:"
    return InvalidInput("\n".join([head, *(f"- {text}" for text in found)]), found)


def _sentence(details: ErrorDetails) -> str:
    table, home, rest = _place(list(details["loc"]))
    if not rest:
        text = _text(details, "a table", "")
    else:
        field = _TABLES[home].model_fields.get(str(rest[0]))
        expected = (field.description or "") if field else _hint(str(rest[0]), home)
        entry = f" as entry {int(rest[1]) + 1}" if len(rest) > 1 else ""
        text = f"{rest[0]}: {_text(details, expected, entry)}"
    return f"{table}: {text}" if table else text


def _place(loc: list[int | str]) -> tuple[str, str, list[int | str]]:
    """Returns the table as it is named in messages, its home, and the path within it."""
    if loc[:1] == ["split"]:
        return "[split]", "[split]", loc[1:]
    if len(loc) > 1 and loc[0] in ("recordings", "series"):
        return f"[[{loc[0]}]] number {int(loc[1]) + 1}", f"[[{loc[0]}]]", loc[2:]
    return "", next(iter(_TABLES)), loc


def _text(details: ErrorDetails, expected: str, entry: str) -> str:
    kind = details["type"]
    if kind == "value_error":
        return str(details["ctx"]["error"])
    if kind == "missing":
        return f"is missing; expected {expected}"
    if kind == "extra_forbidden":
        return f"is no key of this table; {expected}"
    return f"got {shown(details['input'])}{entry}, expected {expected}"


def _hint(key: str, home: str) -> str:
    """Returns what to do about an unknown key."""
    for other, model in _TABLES.items():
        if key in model.model_fields:
            return f"it belongs to {other}"
    known = list(_TABLES[home].model_fields)
    close = get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
