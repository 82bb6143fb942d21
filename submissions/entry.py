"""An entry: one named submission, a folder of fact sheet, scorecards with sums, reported numbers.

Everything in it is read as data, under limits, and never through a link; nothing is executed.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from submissions.card import Card, read_card
from submissions.fact_sheet import FACT_SHEET, FactSheet, read_fact_sheet
from submissions.reported import REPORTED, Reported, read_reported
from zapeval.errors import InvalidInput, UsageError, ZapevalError
from zapeval.recordings.stores import open_store, require
from zapeval.recordings.writer import beside

SUMS, CARD = ".windows.npz", ".json"
"""How the names of kept sums and of scorecards end."""

SIZE_LIMIT = 2 << 20
"""Most bytes of an entry's kept sums together, and of its documents together."""

FILES_LIMIT = 400
"""Most files of an entry."""

OF_A_SEED = ("seed", "checkpoint", "cost")
"""What may differ between scorecards that are seeds of one forecaster."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_STEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One entry.

    Attributes:
        name: Name of its folder.
        folder: The folder.
        sheet: Its fact sheet.
        cards: Its scorecards by name of their file.
        reported: Numbers that were published without predictions, or None.
    """

    name: str
    folder: Path
    sheet: FactSheet
    cards: tuple[Card, ...]
    reported: Reported | None

    @property
    def seeds(self) -> tuple[str, ...]:
        """Every seed that its numbers name, each once."""
        found = [card.seed for card in self.cards]
        if self.reported is not None:
            found += [s for c in self.reported.contexts for s in self.reported.seeds(c)]
        return tuple(dict.fromkeys(seed for seed in found if seed))


def check_name(name: str) -> None:
    """Checks that a name can be that of an entry.

    Raises:
        InvalidInput: It can't.
    """
    if not _NAME.fullmatch(name) or name.endswith((".part", ".toml", ".json")):
        raise InvalidInput(
            f"{name!r:.80}: is no name of an entry, expected 1 to 64 lower-case letters, digits "
            "and . _ - , a letter or digit first"
        )


def read_entry(folder: Path, name: str | None = None) -> tuple[Entry | None, tuple[str, ...]]:
    """Returns an entry, or None where it can't be read, and everything that is wrong with it.

    Args:
        folder: Its folder.
        name: Its name, where that is not the folder's.
    """
    findings: list[str] = []
    name = folder.name if name is None else name
    try:
        check_name(name)
    except InvalidInput as error:
        findings.append(str(error))
    files, wrong = _files(folder)
    findings += wrong
    if files is None:
        return None, tuple(findings)
    sheet = _read(findings, lambda: read_fact_sheet(folder / FACT_SHEET))
    cards = []
    for file in files:
        if file.endswith(CARD) and file != REPORTED:
            found = _read(findings, partial(read_card, folder / file))
            if found is not None:
                cards.append(found[0])
                findings += found[1]
    reported = None
    if REPORTED in files:
        reported = _read(findings, lambda: read_reported(folder / REPORTED))
    if not cards and reported is None and not findings:
        findings.append(f"{folder}: has neither a scorecard nor {REPORTED}")
    if sheet is None:
        return None, tuple(findings)
    entry = Entry(name=name, folder=folder, sheet=sheet, cards=tuple(cards), reported=reported)
    return entry, (*findings, *_findings(entry))


def write_entry(folder: Path, sheet: FactSheet, *, reported: Reported) -> None:
    """Writes an entry of reported numbers; it is there when it is complete.

    Raises:
        InvalidInput: The folder exists.
        StorageError: It could not be written.
    """
    with beside(folder) as made:
        (made / FACT_SHEET).write_text(sheet.to_toml(), encoding="utf-8")
        (made / REPORTED).write_text(reported.to_json(), encoding="utf-8")
        _require_clean(made, folder)


def add_entry(
    folder: Path, sheet: Path, cards: Sequence[Path], check: Callable[[Entry], Iterable[str]]
) -> Entry:
    """Copies fact sheet, scorecards and their sums into an entry; it is there when it is complete.

    Args:
        folder: The entry's folder, which must not exist.
        sheet: The fact sheet.
        cards: Scorecards, their sums beside them.
        check: What else can be wrong with the entry, a sentence each.

    Raises:
        NotFound: A file does not exist.
        InvalidInput: Something is wrong with it; says all that is.
        UsageError: Two scorecards have the same name.
        StorageError: It could not be written.
    """
    check_name(folder.name)
    names = [card.name for card in cards]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(
            f"{folder.name}: two scorecards are called {twice[0]}; make an entry for each context "
            "length, or score again into another name"
        )
    with beside(folder) as made:
        _copy(sheet, made / FACT_SHEET)
        for card in cards:
            _copy(card, made / card.name)
            sums = card.with_suffix(SUMS)
            if open_store(sums.parent).read(sums.name, SIZE_LIMIT) is not None:
                _copy(sums, made / sums.name)
        return _require_clean(made, folder, check)


def _copy(source: Path, target: Path) -> None:
    target.write_bytes(require(open_store(source.parent), source.name, SIZE_LIMIT))


def _require_clean(
    made: Path, folder: Path, check: Callable[[Entry], Iterable[str]] = lambda entry: ()
) -> Entry:
    """Returns the entry in a folder that will be renamed.

    Raises:
        InvalidInput: Something is wrong with it.
    """
    entry, findings = read_entry(made, folder.name)
    if entry is not None and not findings:
        findings = tuple(check(entry))
    if findings or entry is None:
        found = [finding.replace(str(made), str(folder)) for finding in findings]
        raise InvalidInput("\n".join(found), found)
    return replace(entry, folder=folder)


def _read(findings: list[str], read: Callable[[], _T]) -> _T | None:
    try:
        return read()
    except InvalidInput as error:
        findings += error.findings
    except ZapevalError as error:
        findings.append(str(error))
    return None


def _files(folder: Path) -> tuple[list[str] | None, list[str]]:
    """Returns the names of an entry's files, sorted, and what is wrong with them.

    None where they are not to be read at all.
    """
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return None, [f"{folder}: is no folder; an entry is one, and no link to one"]
        with os.scandir(folder) as found:
            entries = sorted(islice(found, FILES_LIMIT + 1), key=lambda entry: entry.name)
    except OSError as error:
        return None, [f"{folder}: could not be read: {error.strerror}"]
    if len(entries) > FILES_LIMIT:
        return None, [f"{folder}: has more than {FILES_LIMIT} files"]
    wrong = [finding for entry in entries for finding in _odd(entry, folder)]
    if wrong:
        return None, wrong
    sizes = {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries}
    kept = sum(size for name, size in sizes.items() if name.endswith(SUMS))
    for what, size in (("kept sums", kept), ("documents", sum(sizes.values()) - kept)):
        if size > SIZE_LIMIT:
            wrong.append(
                f"{folder}: its {what} have {size:,} bytes, expected at most {SIZE_LIMIT:,}; make "
                "an entry for each context length"
            )
    alone = [n for n in sizes if n.endswith(SUMS) and n.removesuffix(SUMS) + CARD not in sizes]
    wrong += [f"{folder / name}: has no scorecard beside it" for name in alone]
    return (None if wrong else list(sizes)), wrong


def _odd(entry: os.DirEntry[str], folder: Path) -> Iterator[str]:
    """Yields why something in the folder is no file of an entry."""
    where = f"{folder / _shown(entry.name)}"
    if not entry.is_file(follow_symlinks=False):
        yield f"{where}: is a link, a folder or a device, expected a plain file"
    elif entry.name != FACT_SHEET:
        ending = next((end for end in (SUMS, CARD) if entry.name.endswith(end)), None)
        if ending is None or not _STEM.fullmatch(entry.name.removesuffix(ending)):
            yield f"{where}: is no file of an entry: {FACT_SHEET}, NAME{CARD}, NAME{SUMS}"


def _shown(name: str) -> str:
    return "".join(mark if mark.isprintable() else "\ufffd" for mark in name[:80])


def _findings(entry: Entry) -> Iterator[str]:
    """Yields what is wrong between the parts of an entry."""
    said = {str(seed) for seed in entry.sheet.seeds}
    if said != set(entry.seeds) and (entry.cards or entry.reported):
        got, want = (", ".join(sorted(seeds)) or "none" for seeds in (said, set(entry.seeds)))
        yield f"{entry.folder / FACT_SHEET}: seeds are {got}, but its numbers are of {want}"
    boards: dict[tuple[str, int], list[Card]] = {}
    for card in entry.cards:
        boards.setdefault((card.label, card.context), []).append(card)
    for (label, context), cards in boards.items():
        where = f"{entry.folder}: {label}, context {context}"
        seeds = [card.seed for card in cards]
        twice = sorted({str(seed) for seed in seeds if seeds.count(seed) > 1})
        if twice:
            yield f"{where}: has several scorecards of seed {', '.join(twice)}"
        if len({_forecaster(card) for card in cards}) > 1:
            yield f"{where}: its scorecards are not seeds of one forecaster; make several entries"
        if len({card.card.data["digest"] for card in cards}) > 1:
            yield f"{where}: its scorecards are over different data"


def _forecaster(card: Card) -> str:
    said = {key: value for key, value in card.card.forecaster.items() if key not in OF_A_SEED}
    return json.dumps(said, sort_keys=True)
