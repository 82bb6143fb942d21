"""Entries: every entry of a folder, read and checked at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from submissions import reported as reported_numbers
from submissions.card import Card
from submissions.consistency import findings_of
from submissions.entry import Entry, add_entry, check_name, read_entry
from submissions.reported import REPORTED
from zapeval.benchmarks.benchmark import Benchmark
from zapeval.benchmarks.catalogue import find_recipe
from zapeval.errors import InvalidInput, NotFound, ZapevalError

ENTRIES = Path(__file__).with_name("entries")
"""The entries that come with this package."""

ENTRIES_LIMIT = 10_000
"""Most entries of a folder."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Intake:
    """What was found in a folder of entries.

    Attributes:
        entries: The entries that could be read, by name.
        benchmarks: The benchmarks that they name, by label.
        findings: Everything that is wrong, a sentence each.
    """

    entries: tuple[Entry, ...]
    benchmarks: Mapping[str, Benchmark]
    findings: tuple[str, ...]


def read_entries(root: Path) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    """Returns the entries of a folder that can be read, and what is wrong with each of them.

    Raises:
        NotFound: There is no such folder.
        InvalidInput: It holds too many entries.
    """
    if not root.is_dir():
        raise NotFound(f"{root}: is no folder; expected one that holds a folder for each entry")
    names = sorted(path.name for path in root.iterdir())
    if len(names) > ENTRIES_LIMIT:
        raise InvalidInput(f"{root}: holds {len(names):,} entries, expected at most 10,000")
    entries: list[Entry] = []
    findings: list[str] = []
    for name in names:
        if name.startswith(".") or name == "README.md":
            continue
        entry, found = read_entry(root / name)
        findings += found
        entries += [] if entry is None else [entry]
    return tuple(entries), tuple(findings)


def check_entries(root: Path) -> Intake:
    """Returns everything in a folder of entries, each number checked against what it comes from.

    Raises:
        NotFound: There is no such folder.
        InvalidInput: It holds too many entries.
    """
    entries, findings = read_entries(root)
    benchmarks, unknown = _benchmarks(entries)
    found = [*findings, *unknown, *_duplicates(entries)]
    for entry in entries:
        found += _against_benchmarks(entry, benchmarks)
    return Intake(entries=entries, benchmarks=benchmarks, findings=tuple(found))


def require_clean(intake: Intake) -> None:
    """Raises an error that holds every finding.

    Raises:
        InvalidInput: There is one.
    """
    found = intake.findings
    if found:
        head = f"entries: {len(found)} thing{'s are' if len(found) > 1 else ' is'} wrong:"
        raise InvalidInput("\n".join([head, *(f"- {one}" for one in found)]), found)


def add(name: str, sheet: Path, cards: Sequence[Path], to: Path) -> Entry:
    """Adds an entry to a folder of entries, if nothing is wrong with it there.

    Args:
        name: Name of the entry.
        sheet: Its fact sheet.
        cards: Its scorecards, their sums beside them.
        to: Folder of the entries.

    Raises:
        NotFound: A file does not exist.
        InvalidInput: Something is wrong with it, alone or among the others; says all that is.
        StorageError: It could not be written.
    """
    check_name(name)
    others = read_entries(to)[0] if to.is_dir() else ()

    def check(entry: Entry) -> list[str]:
        benchmarks, unknown = _benchmarks([entry])
        return [
            *unknown,
            *_against_benchmarks(entry, benchmarks),
            *_duplicates([*others, entry], only=entry),
        ]

    return add_entry(to / name, sheet, cards, check)


def _benchmarks(entries: Sequence[Entry]) -> tuple[dict[str, Benchmark], list[str]]:
    """Returns the benchmarks that entries name, and a finding for each that is not known."""
    named: dict[str, str] = {}
    for entry in entries:
        for card in entry.cards:
            named.setdefault(card.label, str(card.path))
        if entry.reported is not None:
            named.setdefault(entry.reported.benchmark, str(entry.folder / REPORTED))
    found, unknown = {}, []
    for label, where in named.items():
        try:
            recipe = find_recipe(label)
            found[label] = recipe.resolve(recipe.recordings())
        except ZapevalError as error:
            unknown.append(f"{where}: {error}")
    return found, unknown


def _against_benchmarks(entry: Entry, benchmarks: Mapping[str, Benchmark]) -> Iterator[str]:
    for card in entry.cards:
        if card.label in benchmarks:
            yield from findings_of(card, benchmarks[card.label])
    numbers = entry.reported
    if numbers is not None and numbers.benchmark in benchmarks:
        where = entry.folder / REPORTED
        yield from reported_numbers.findings_of(numbers, benchmarks[numbers.benchmark], where)


def _duplicates(entries: Sequence[Entry], only: Entry | None = None) -> Iterator[str]:
    """Yields names and predictions that two entries share.

    Args:
        entries: The entries.
        only: The entry to complain of; None complains of all.
    """
    names: dict[tuple[str, str, int], Entry] = {}
    digests: dict[tuple[str, int, str], Card] = {}
    for entry in entries:
        heard = only is None or entry is only
        places = {(card.label, card.context) for card in entry.cards}
        if entry.reported is not None:
            places |= {(entry.reported.benchmark, c) for c in entry.reported.contexts}
        for label, context in sorted(places):
            called = entry.sheet.name.casefold()
            other = names.setdefault((called, label, context), entry)
            if other is not entry and heard:
                yield (
                    f"{entry.folder}: is called {entry.sheet.name!r}, as {other.name} is on "
                    f"{label}, context {context}; choose another name"
                )
        for card in entry.cards:
            key = (card.label, card.context, card.card.predictions["digest"])
            first = digests.setdefault(key, card)
            if first is not card and heard:
                yield f"{card.path}: its predictions are those of {first.path}"
