"""Choices: what a reader asked to see of a board, as it stands in the address."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final
from urllib.parse import urlencode

from leaderboard.problems import Invalid
from leaderboard.standings import Standing

ROWS = 100
"""Rows of a page."""

LONGEST = 200
"""Most characters of a text that is looked for."""

FACETS: dict[str, Callable[[Standing], bool]] = {
    "baseline": lambda row: row.baseline,
    "verified": lambda row: row.verified,
    "future-stimulus": lambda row: row.future_stimulus,
    "reported": lambda row: row.mark == "reported",
    "partial": lambda row: row.mark == "partial",
    "flagged": lambda row: bool(row.flag),
}
"""What rows can be filtered by; a ``-`` before it keeps the others."""

KEYS = ("sort", "filter", "text", "page", "board")
"""Every key that the address of a board knows."""

_ALL = 0
_MOST_PAGES = 1_000_000


@final
@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is shown of a board, and in which order.

    Attributes:
        sort: Key of a column, or "rank".
        descending: Whether the largest come first.
        filters: Facets that rows must have, or with ``-`` must not.
        text: Part of a name, in any case.
        page: Page, from 1; 0 is all.
        board: Id of one of several boards of that address, or "".
    """

    sort: str = "rank"
    descending: bool = False
    filters: tuple[str, ...] = ()
    text: str = ""
    page: int = 1
    board: str = ""

    @property
    def whole(self) -> bool:
        """Whether all rows are wanted at once."""
        return self.page == _ALL

    def query(self, **changes: Any) -> str:
        """Returns the query string, ``?`` included, of this choice with some changes."""
        other = replace(self, **changes)
        said: list[tuple[str, str]] = []
        if other.sort != "rank" or other.descending:
            said.append(("sort", ("-" if other.descending else "") + other.sort))
        said += [("filter", one) for one in other.filters]
        if other.text:
            said.append(("text", other.text))
        if other.page != 1:
            said.append(("page", str(other.page) if other.page else "all"))
        if other.board:
            said.append(("board", other.board))
        return f"?{urlencode(said)}" if said else ""

    def sorted_by(self, key: str) -> str:
        """Returns the query that a heading leads to: by it, or turned round where it is so."""
        turned = self.sort == key and not self.descending
        return self.query(sort=key, descending=turned, page=self.page and 1)

    def wants(self, facet: str) -> str:
        """Returns what was chosen of a facet: its name, that with ``-``, or ""."""
        return next((one for one in self.filters if one.lstrip("-") == facet), "")

    def keeps(self, row: Standing) -> bool:
        """Returns whether a row is shown."""
        if any(FACETS[one.lstrip("-")](row) == one.startswith("-") for one in self.filters):
            return False
        sought = self.text.casefold()
        return not sought or sought in row.name.casefold() or sought in row.slug.casefold()


def read_choice(query: Sequence[tuple[str, str]], sortable: Iterable[str]) -> Choice:
    """Returns the choice in a query string.

    Args:
        query: Its keys and values; only ``filter`` may come twice, and "" stands for nothing.
        sortable: Keys that can be sorted by.

    Raises:
        Invalid: A key or value is not known; lists the known ones.
    """
    only_known(query, KEYS, repeated=("filter",))
    said = {key: value for key, value in query if value}
    sort = said.get("sort", "rank")
    known = ["rank", *sortable]
    if sort.removeprefix("-") not in known:
        raise Invalid(
            f"sort: {sort!r:.60} is no column here; known: {', '.join(known)}, each also with "
            '"-" before it',
            known=known,
        )
    text = said.get("text", "")
    if len(text) > LONGEST:
        raise Invalid(f"text: has {len(text)} characters, expected at most {LONGEST}")
    return Choice(
        sort=sort.removeprefix("-"),
        descending=sort.startswith("-"),
        filters=_filters([value for key, value in query if key == "filter"]),
        text=text,
        page=_page(said.get("page", "1")),
        board=said.get("board", ""),
    )


def only_known(
    query: Sequence[tuple[str, str]], known: Sequence[str], repeated: Sequence[str] = ()
) -> None:
    """Checks the keys of a query string.

    Raises:
        Invalid: One is unknown, or comes twice where it must not.
    """
    seen: set[str] = set()
    for key, _ in query:
        if key not in known:
            listed = ", ".join(known) or "none"
            raise Invalid(f"{key!r:.60}: is no key here; known: {listed}", known=[*known])
        if key in seen and key not in repeated:
            raise Invalid(f"{key}: is given twice; give it once")
        seen.add(key)


def one_of(
    query: Mapping[str, str], key: str, known: Sequence[str], default: str | None = None
) -> str:
    """Returns a value of a query string.

    Raises:
        Invalid: It is none of the known ones; lists them.
    """
    value = query.get(key) or (known[0] if default is None else default)
    if value not in known:
        listed = ", ".join(known)
        raise Invalid(f"{key}: {value!r:.60} is not known; known: {listed}", known=[*known])
    return value


def _filters(values: Sequence[str]) -> tuple[str, ...]:
    said = [one.strip() for value in values for one in value.split(",")]
    wanted = [one for one in dict.fromkeys(said) if one]
    for one in wanted:
        if one.removeprefix("-") not in FACETS:
            raise Invalid(
                f"filter: {one!r:.60} is not known; known: {', '.join(FACETS)}, each also with "
                '"-" before it',
                known=[*FACETS],
            )
        if f"-{one}" in wanted:
            raise Invalid(f"filter: no row is both {one} and -{one}; choose one")
    return tuple(sorted(wanted, key=lambda one: one.lstrip("-")))


def _page(value: str) -> int:
    if value == "all":
        return _ALL
    if not (value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= _MOST_PAGES):
        raise Invalid(f'page: {value!r:.60} is no page, expected a whole number from 1 or "all"')
    return int(value[:9])
