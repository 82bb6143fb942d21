"""Intake: what somebody announces that they submit, held against what the board takes.

All that is wrong is said at once, before a byte of the store is sent.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from leaderboard.known import recipe_of
from leaderboard.paths import clashes, fault_of, shown
from leaderboard.problems import Invalid, TooLarge, Unavailable
from leaderboard.settings import Settings
from leaderboard.sources import check_source
from submissions.fact_sheet import FactSheet, fact_sheet_of
from zapeval.benchmarks.benchmark import Benchmark
from zapeval.errors import InvalidInput, NotFound, ZapevalError
from zapeval.forecasting.manifest import Manifest, read_manifest
from zapeval.recordings.documents import DOCUMENT_LIMIT, document_of
from zapeval.registry import BENCHMARKS, plugins

COMPLETE = "complete"
"""Key of a kept fact sheet: whether its authors wrote it; false where a manifest made it."""

_Made = TypeVar("_Made")

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SHOWN = 20
_NOT_SAID = "not said"


class _Edge(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class AnnouncedFile(_Edge):
    """One file of a store: its path below the store's folder, size in bytes and SHA-256 in hex."""

    path: Annotated[str, Field(min_length=1, max_length=1000)]
    size: Annotated[int, Field(ge=1, lt=1 << 62)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Announcement(_Edge):
    """What is submitted: either files, which are then sent, or the address of a store."""

    name: Annotated[str, Field(max_length=200, description="Name of the entry on its board.")]
    manifest: Annotated[
        dict[str, Any], Field(description="Manifest of the store; see docs/predictions.md.")
    ]
    fact_sheet: Annotated[
        dict[str, Any] | None, Field(description="What the authors say; see docs/entries.md.")
    ] = None
    files: Annotated[list[AnnouncedFile], Field(description="Every file of the store.")] = []
    source: Annotated[
        str, Field(max_length=2000, description="Address that the store is fetched from, or none.")
    ] = ""


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """An announcement that the board takes.

    Attributes:
        name: Name of the entry.
        manifest: The manifest.
        fact_sheet: As it is kept: the sheet's keys and COMPLETE.
        files: The files of the store.
        source: Address of the store, or "".
        identity: SHA-256 over all of that.
    """

    name: str
    manifest: Manifest
    fact_sheet: dict[str, Any]
    files: tuple[AnnouncedFile, ...]
    source: str
    identity: str

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def read_announcement(body: bytes) -> Announcement:
    """Returns the announcement in the body of a request.

    Raises:
        InvalidInput: It is no JSON that says what it should.
    """
    document = document_of(body, "the request")
    try:
        # Text that JSON can name and UTF-8 can't hold could never be shown again.
        rest = {key: value for key, value in document.items() if key != "files"}
        text = json.dumps(rest, ensure_ascii=False)
        size = len(text.encode())
        announcement = Announcement.model_validate(document)
    except UnicodeEncodeError as error:
        raise InvalidInput("the request: holds half a surrogate pair, which is no text") from error
    except ValidationError as error:
        found = [
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
            for one in error.errors(include_url=False, include_input=False)[:_SHOWN]
        ]
        raise InvalidInput("\n".join(found), found) from error
    if _NUL.search(text):
        raise InvalidInput("the request: holds a NUL character, which is no text")
    if size > DOCUMENT_LIMIT:
        raise InvalidInput(
            f"the request: manifest and fact sheet have {size:,} bytes, expected at most "
            f"{DOCUMENT_LIMIT:,}"
        )
    return announcement


def accept(announcement: Announcement, settings: Settings, author: str) -> Accepted:
    """Returns an announcement that the board takes.

    Args:
        announcement: What was announced.
        settings: Limits, and what may be fetched.
        author: Who is the author where no fact sheet says so.

    Raises:
        Invalid: Something is wrong; says all that is.
        TooLarge: It passes a limit of size.
        Unavailable: The board has that benchmark and can't score it just now.
    """
    findings: list[str] = []
    manifest = _kept(findings, lambda: read_manifest(announcement.manifest, "the store"))
    if manifest is not None:
        findings += _benchmark_findings(manifest, settings)
    elif not findings:
        findings.append("manifest: has no schema; expected the manifest of a predictions store")
    sheet = None
    if announcement.fact_sheet is not None:
        said = announcement.fact_sheet
        sheet = _kept(findings, lambda: fact_sheet_of(said, "fact sheet"))
    findings += _name_findings(announcement.name)
    findings += _file_findings(announcement, settings)
    if findings or manifest is None:
        head = findings[0] if len(findings) == 1 else f"{len(findings)} things are wrong"
        raise Invalid(head, findings=findings[:_SHOWN])
    _check_sizes(announcement, settings)
    made = sheet or _sheet_from(manifest, announcement.name, author)
    kept = made.model_dump(mode="json") | {COMPLETE: sheet is not None}
    return Accepted(
        name=announcement.name,
        manifest=manifest,
        fact_sheet=kept,
        files=tuple(announcement.files),
        source=announcement.source,
        identity=_identity(announcement, manifest, kept),
    )


def benchmark_of(name: str, settings: Settings) -> Benchmark:
    """Returns a registered benchmark, over the recordings that the board has of it.

    Raises:
        NotFound: None is registered under that name; lists those that are.
        Unavailable: The board lacks its recordings.
    """
    if name not in plugins(BENCHMARKS):
        known = ", ".join(plugins(BENCHMARKS))
        raise NotFound(f"benchmark {shown(name)}: has no board here; known: {known}")
    return _resolved(name, settings.recordings.get(name))


@lru_cache(maxsize=64)
def _resolved(name: str, data: str | None) -> Benchmark:
    try:
        recipe = recipe_of(name)
        return recipe.resolve(recipe.recordings(data))
    except ZapevalError as error:
        raise Unavailable(
            f"benchmark {name!r}: can't be scored on this board just now; tell its operator"
        ) from error


def _kept(findings: list[str], make: Callable[[], _Made]) -> _Made | None:
    """Returns what is made, or notes what stands in its way."""
    try:
        return make()
    except InvalidInput as error:
        findings += error.findings
        return None


def _benchmark_findings(manifest: Manifest, settings: Settings) -> Iterator[str]:
    said = manifest.benchmark
    try:
        benchmark = benchmark_of(said.id, settings)
    except NotFound as error:
        yield f"manifest: {error}"
        return
    if manifest.context not in benchmark.context_lengths:
        known = " and ".join(map(str, benchmark.context_lengths))
        yield f"manifest: context length {manifest.context} has no board; those of {known} have"
    if said.version != benchmark.version:
        yield (
            f"manifest: benchmark {said.id}@{said.version} has no board here; "
            f"known version: {benchmark.label}"
        )
    elif said.digest != benchmark.digest:
        yield (
            f"manifest: was forecast for another definition of {benchmark.label} (digest "
            f"{shown(said.digest[:19])}.., expected {benchmark.digest[:19]}..); forecast it again"
        )


def _name_findings(name: str) -> Iterator[str]:
    if not _SLUG.fullmatch(name):
        better = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).lstrip("._-")[:64].rstrip("-")
        hint = f", such as {better!r}" if better else ""
        yield (
            f"name: got {shown(name)}, expected 1 to 64 of a-z, 0-9, '.', '_' and '-', "
            f"a letter or digit first{hint}"
        )


def _file_findings(announcement: Announcement, settings: Settings) -> Iterator[str]:
    files = announcement.files
    if announcement.source:
        if files:
            yield "files: a store that is fetched from an address has none to send; leave them out"
        yield from check_source(announcement.source, settings)
        return
    if not files:
        yield "files: there are none; list every file of the store, or give a source"
    for file in files:
        fault = fault_of(file.path)
        if fault:
            yield f"files: {shown(file.path)}: {fault}"
    yield from (f"files: {finding}" for finding in clashes(file.path for file in files))
    sizes: dict[str, int] = {}
    for file in files:
        if sizes.setdefault(file.sha256, file.size) != file.size:
            yield f"files: {shown(file.path)}: has the SHA-256 of a file of another size"


def _check_sizes(announcement: Announcement, settings: Settings) -> None:
    files = announcement.files
    if len(files) > settings.max_files:
        raise TooLarge(f"files: {len(files):,}, expected at most {settings.max_files:,} of a store")
    for file in files:
        if file.size > settings.max_file_bytes:
            raise TooLarge(
                f"{shown(file.path)}: {file.size:,} bytes, expected at most "
                f"{settings.max_file_bytes:,}; write smaller shards"
            )
    size = sum(file.size for file in files)
    if size > settings.max_store_bytes:
        raise TooLarge(
            f"files: {size:,} bytes together, expected at most {settings.max_store_bytes:,}"
        )


def _sheet_from(manifest: Manifest, name: str, author: str) -> FactSheet:
    """Returns the fact sheet that a manifest and an account make, where nobody wrote one."""
    said = manifest.forecaster
    cost = said.cost
    document: dict[str, Any] = {
        "name": name,
        "authors": [_printable(author, 200) or _NOT_SAID],
        "training_data": _printable(said.training_data, 2000) or _NOT_SAID,
        "future_stimulus": "future_stimulus" in said.covariates,
        "model_per_step": False,
        "leakage": _printable(said.leaks, 2000) or _NOT_SAID,
        "seeds": [said.seed] if said.seed is not None and 0 <= said.seed < 1 << 63 else [],
    }
    if cost is not None:
        hours = None if cost.training_seconds is None else cost.training_seconds / 3600
        document["cost"] = {
            "parameters": cost.parameters,
            "training_hours": hours,
            "hardware": _printable(cost.hardware, 200),
        }
    try:
        return fact_sheet_of(document, "manifest")
    except InvalidInput as error:
        raise Invalid(str(error), findings=list(error.findings)) from error


def _printable(text: str, limit: int) -> str:
    return "".join(mark if mark.isprintable() else " " for mark in text)[:limit].strip()


def _identity(announcement: Announcement, manifest: Manifest, sheet: Mapping[str, Any]) -> str:
    said = [
        announcement.name,
        manifest.to_attributes(),
        sheet,
        sorted([file.path, file.size, file.sha256] for file in announcement.files),
        announcement.source,
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def sheet_of(kept: Mapping[str, Any]) -> FactSheet:
    """Returns the fact sheet that was kept with a submission or an entry."""
    return FactSheet.model_validate({k: v for k, v in kept.items() if k != COMPLETE})
