"""A scorecard of an entry: read as data, under limits, with the sums that were kept beside it."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import blake3
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from zapeval.errors import InvalidInput
from zapeval.recordings.documents import DOCUMENT_LIMIT, document_of
from zapeval.recordings.stores import open_store, require
from zapeval.scoring.scorecard import SCHEMA, Score, Scorecard, SeriesLine, Summary

SUMS_LIMIT = 2 << 20
"""Largest file of kept sums in bytes: an entry's limit for all of them."""

UNPACKED_LIMIT = 64 << 20
"""Most bytes that kept sums may unpack to."""

_SHOWN = 6
_ADAPTER = TypeAdapter(Scorecard)
_DIGEST = re.compile(r"(sha256|blake3):[0-9a-f]{64}")


class _BenchmarkPart(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")
    version: int
    context: int = Field(ge=1)
    digest: str = Field(pattern=_DIGEST.pattern)


class _DigestPart(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    digest: str = Field(pattern=_DIGEST.pattern)


@dataclass(frozen=True, kw_only=True, eq=False)
class Card:
    """A scorecard with the sums that were kept beside it.

    Attributes:
        path: Its file.
        card: The scorecard.
        sums: Arrays of the kept sums by name; None where none were kept or they are not readable.
    """

    path: Path
    card: Scorecard
    sums: Mapping[str, np.ndarray] | None

    @property
    def label(self) -> str:
        """Id and version of its benchmark."""
        return f"{self.card.benchmark['id']}@{self.card.benchmark['version']}"

    @property
    def context(self) -> int:
        """Context length in frames."""
        return int(self.card.benchmark["context"])

    @property
    def seed(self) -> str | None:
        """Seed of the forecaster as text, or None where it has none."""
        seed = self.card.forecaster.get("seed")
        return None if seed is None else str(seed)


def read_card(path: Path) -> tuple[Card, tuple[str, ...]]:
    """Returns the scorecard in a file with its sums, and what is wrong with the sums.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is no scorecard, or breaks a limit.
    """
    card = read_plain(path)
    try:
        return Card(path=path, card=card, sums=_read_sums(path, card)), ()
    except InvalidInput as error:
        return Card(path=path, card=card, sums=None), error.findings


def read_plain(path: Path) -> Scorecard:
    """Returns the scorecard in a file, every value checked for its type; the sums are not read.

    Raises:
        NotFound: There is no such file.
        InvalidInput: It is no scorecard, too large, nested too deep, or holds NaN.
    """
    return parse_plain(require(open_store(path.parent), path.name, DOCUMENT_LIMIT), path)


def parse_plain(data: bytes, path: Path) -> Scorecard:
    """Returns the scorecard in the bytes of a file, every value checked for its type.

    Raises:
        InvalidInput: It is no scorecard, nested too deep, or holds NaN.
    """
    document = document_of(data, str(path))
    if document.pop("schema", None) != SCHEMA:
        raise InvalidInput(f"{path}: is no scorecard; expected schema {SCHEMA!r}")
    _check_keys(document, path)
    try:
        card = _ADAPTER.validate_json(json.dumps(document), strict=True)
        _BenchmarkPart.model_validate(card.benchmark)
        for part in (card.data, card.predictions, *([card.sums] if card.sums else [])):
            _DigestPart.model_validate(part)
    except ValidationError as error:
        found = [
            f"{path}: {'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in error.errors(include_url=False)[:_SHOWN]
        ]
        raise InvalidInput("\n".join(found), found) from error
    return card


def _check_keys(document: dict[str, Any], path: Path) -> None:
    """Checks that no object has a key that its class lacks: those would be dropped silently."""
    places: list[tuple[str, type, object]] = [("", Scorecard, document)]
    rows_of: tuple[tuple[str, type], ...] = (("series", SeriesLine), ("scores", Score))
    for name, kind in rows_of:
        rows = document.get(name)
        places += [(name, kind, row) for row in rows] if isinstance(rows, list) else []
    places.append(("summary", Summary, document.get("summary")))
    for name, kind, found in places:
        known = {field.name for field in fields(kind)}
        extra = sorted(set(found) - known) if isinstance(found, dict) else []
        if extra:
            raise InvalidInput(f"{path}: {name}: {extra[0]!r:.40} is no key of {SCHEMA!r}")


def _read_sums(path: Path, card: Scorecard) -> dict[str, np.ndarray] | None:
    """Returns the kept sums, or None where the scorecard names none."""
    if card.sums is None:
        return None
    name = card.sums.get("file", "")
    expected = path.with_suffix(".windows.npz").name
    if name != expected:
        raise InvalidInput(f"{path}: sums.file is {name!r:.80}, expected {expected!r}")
    data = open_store(path.parent).read(name, SUMS_LIMIT)
    if data is None:
        raise InvalidInput(f"{path}: its kept sums, {name}, are missing; copy them beside it")
    got = "blake3:" + blake3.blake3(data).hexdigest()
    if got != card.sums["digest"]:
        raise InvalidInput(
            f"{path.with_name(name)}: has digest {got[:19]}.., but sums.digest of {path.name} is "
            f"{card.sums['digest'][:19]}..; score again"
        )
    return _unpacked(data, path.with_name(name))


def _unpacked(data: bytes, path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            # zipfile reads no more of a member than its header says, so the headers can be added.
            if sum(member.file_size for member in members) > UNPACKED_LIMIT:
                raise InvalidInput(f"{path}: unpacks to more than {UNPACKED_LIMIT:,} bytes")
            if len(set(names)) != len(names):
                raise InvalidInput(f"{path}: holds an array twice")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except InvalidInput:
        raise
    except Exception as error:  # a damaged archive or header fails in many ways
        raise InvalidInput(f"{path}: is no archive of plain arrays: {error}") from error
