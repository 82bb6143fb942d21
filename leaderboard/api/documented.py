"""Documented: what the API's description says of answers and queries that no type describes."""

from __future__ import annotations

from typing import Any

Responses = dict[int | str, dict[str, Any]]

UNCHANGED: Responses = {304: {"description": "What the sender has, by `If-None-Match`, is current"}}
"""Of addresses whose answers have a tag."""

CHART: Responses = UNCHANGED | {
    200: {
        "description": "A Vega-Lite chart with its data",
        "content": {"application/json": {"schema": {"type": "object"}}},
    }
}

BOARD = {
    "sort": 'key of a column, such as `rank`; with "-" before it the largest come first',
    "filter": "`baseline`, `verified`, `future-stimulus`, `reported`, `partial` or `flagged`; "
    'with "-" before it the others; several are separated by commas',
    "text": "part of a name",
    "page": "a page of 100 rows, from 1, or `all`",
    "board": "id of one of several boards of that address",
}
ENTRY = {
    "version": "version of the entry; the newest by default",
    "metric": "metric of the scores by series; that of the board by default",
}
SIDES = {
    "entries": "ids of 2 to 20 entries of one board, separated by commas",
    "metric": "metric; that of the board by default",
    "series": "a series or an average; the summary's by default",
    "step": "a step, or `summary`",
    "baseline": "name of the entry that skill is measured against",
}


def file_of(*media: str, what: str) -> Responses:
    """Returns what is said of an address that answers with text or bytes.

    Args:
        media: Content types that it may have.
        what: What they hold.
    """
    schema = {"type": "string"}
    return {200: {"description": what, "content": {one: {"schema": schema} for one in media}}}


def queries(known: dict[str, str], *required: str) -> dict[str, Any]:
    """Returns what is said of the keys of a query string.

    Args:
        known: What each key is for.
        required: Keys without which there is no answer.
    """
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": name in required,
                "description": what,
                "schema": {"type": "string"},
            }
            for name, what in known.items()
        ]
    }
