"""Preparing: a folder of public files becomes a store of worms; a repeated command resumes.

Each piece of work, a file or a worm of the export, is noted in a journal when its worms are
written. What can't be used is named in the report, and the rest goes on.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, final

from zapeval.benchmarks.celegans import preprocessing
from zapeval.benchmarks.celegans.discovery import discover
from zapeval.benchmarks.celegans.preprocessing import SCALES, Scale
from zapeval.benchmarks.celegans.raw import Job, RawWorm, Unread
from zapeval.benchmarks.celegans.report import Finding, Prepared, Report
from zapeval.benchmarks.celegans.sources import UNSTATED
from zapeval.benchmarks.celegans.standard import Origin, standardised, worm_name
from zapeval.benchmarks.celegans.store import REPORT, read_card, write_list, write_worm
from zapeval.benchmarks.celegans.worm import Worm
from zapeval.errors import InvalidInput, StorageError, UsageError
from zapeval.recordings.lock import locked
from zapeval.recordings.stores import open_store

JOURNAL = ".journal.jsonl"

_SLAB = 16 << 20

Progress = Callable[[int, int], None]
"""Is told how many pieces are done, and how many there are."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one piece.

    Attributes:
        key: The piece.
        fingerprint: SHA-256 of its files and of what is done to them.
        worms: Worms that were written.
        findings: What was left out or mended.
    """

    key: str
    fingerprint: str
    worms: tuple[Prepared, ...]
    findings: tuple[Finding, ...]


def prepare(
    folder: Path,
    out: Path,
    *,
    scale: Scale = "recording",
    licence: str | None = None,
    progress: Progress | None = None,
) -> Report:
    """Prepares every worm of a folder.

    Args:
        folder: Holds the sources' files, in whatever sub-folders.
        out: The store to make; must not exist.
        scale: Which frames make the z-scores.
        licence: Terms of those worms whose files state none.
        progress: Told of the pieces that are done.

    Raises:
        NotFound: The folder does not exist or holds nothing that a reader knows.
        InvalidInput: out exists, or no worm can be used; says why of each.
        UsageError: A file needs a library that is not installed.
        Refused: Another run prepares into it.
        StorageError: The disk is full.
    """
    if scale not in SCALES:
        raise UsageError(f"scale {scale!r}: expected one of {', '.join(SCALES)}")
    if out.exists():
        raise InvalidInput(f"{out}: exists; remove it or choose another folder with --out")
    found = discover(folder)
    partial = out.with_name(f".{out.name}.part")
    with locked(partial, "prepare"):
        work = _Work(folder, partial, scale, licence)
        for done, job in enumerate(found.jobs, start=1):
            work.do(job)
            if progress is not None:
                progress(done, len(found.jobs))
        unknown = [
            Finding(source="", where=file, text="is no recording that is known", left_out=True)
            for file in found.unknown
        ]
        return _finished(work, out, scale, unknown)


def _finished(work: _Work, out: Path, scale: Scale, unknown: list[Finding]) -> Report:
    worms = tuple(worm for outcome in work.outcomes for worm in outcome.worms)
    findings = tuple(f for outcome in work.outcomes for f in outcome.findings) + tuple(unknown)
    if not worms:
        lines = [str(finding) for finding in findings]
        raise InvalidInput("\n".join(["no worm can be used:", *lines]), lines)
    digests = {worm.name: worm.digest for worm in sorted(worms, key=lambda worm: worm.name)}
    said = {"scale": scale, "steps": preprocessing.VERSION, "dt": preprocessing.DT}
    try:
        work.drop_others(set(digests))
        digest = write_list(work.folder, digests, said)
        report = Report(
            folder=str(out),
            digest=digest,
            scale=scale,
            worms=worms,
            findings=findings,
            taken_over=work.taken_over,
        )
        (work.folder / REPORT).write_text(report.to_json(), encoding="utf-8")
        (work.folder / JOURNAL).unlink()
        work.folder.rename(out)
    except OSError as error:
        raise StorageError(f"{out}: could not be written: {error.strerror}") from error
    return report


@final
class _Work:
    """The pieces of one run, and what came of them.

    Attributes:
        folder: The unfinished store.
        outcomes: What came of each piece so far.
        taken_over: How many of them an earlier run had done.
    """

    def __init__(self, source: Path, folder: Path, scale: Scale, licence: str | None) -> None:
        self.folder = folder
        self.outcomes: list[Outcome] = []
        self.taken_over = 0
        self._source, self._scale, self._licence = source, scale, licence
        self._sums: dict[Path, str] = {}
        self._taken: dict[str, str] = {}
        self._before = {outcome.key: outcome for outcome in read_journal(folder / JOURNAL)}

    def do(self, job: Job) -> None:
        """Does a piece, or takes over what an earlier run made of it."""
        fingerprint = self._fingerprint(job)
        outcome = self._before.get(job.key)
        if outcome is not None and outcome.fingerprint == fingerprint and self._whole(outcome):
            self.taken_over += 1
        else:
            outcome = self._done(job, fingerprint)
            self._note(outcome)
        for worm in outcome.worms:
            self._taken[worm.name.casefold()] = job.key
        self.outcomes.append(outcome)

    def drop_others(self, names: set[str]) -> None:
        """Removes worms that an earlier run wrote and that are not in the folder any more."""
        for path in self.folder.iterdir():
            if path.is_dir() and path.name not in names:
                shutil.rmtree(path)

    def _done(self, job: Job, fingerprint: str) -> Outcome:
        worms: list[Prepared] = []
        findings: list[Finding] = []

        def leave(where: str, text: str, *, out: bool = True) -> None:
            findings.append(Finding(source=job.source.name, where=where, text=text, left_out=out))

        found = job.read()
        while True:
            try:
                raw = next(found, None)
            except InvalidInput as error:
                leave(job.key, _without(str(error), [str(file) for file in job.files]))
                break
            if raw is None:
                break
            name = worm_name(job.source, raw.name)
            if isinstance(raw, Unread):
                leave(name, raw.reason)
                continue
            taken = self._taken.get(name.casefold())
            if taken is not None or any(worm.name == name for worm in worms):
                leave(name, f"{job.key} has a worm called as one of {taken or job.key}; rename it")
                continue
            try:
                worm, notes = standardised(raw, self._origin(job), self._scale)
            except InvalidInput as error:
                leave(name, str(error))
                continue
            for note in notes:
                leave(name, note, out=False)
            write_worm(self.folder, worm)
            worms.append(_prepared(worm, raw))
        if not worms and not findings:
            leave(job.key, "holds no worm")
        return Outcome(
            key=job.key, fingerprint=fingerprint, worms=tuple(worms), findings=tuple(findings)
        )

    def _origin(self, job: Job) -> Origin:
        source = job.source
        if self._licence is not None and source.licence == UNSTATED:
            source = replace(source, licence=self._licence)
        names = ", ".join(file.relative_to(self._source).as_posix() for file in job.files)
        return Origin(source=source, file=names, file_digest=f"sha256:{self._sum(job)}")

    def _sum(self, job: Job) -> str:
        """Returns the SHA-256 of a file, or of those of several."""
        for file in job.files:
            if file not in self._sums:
                self._sums[file] = _sha256(file)
        if len(job.files) == 1:
            return self._sums[job.files[0]]
        lines = "".join(f"{file.name} {self._sums[file]}\n" for file in job.files)
        return hashlib.sha256(lines.encode()).hexdigest()

    def _fingerprint(self, job: Job) -> str:
        said = [job.source.name, self._sum(job), self._scale, self._licence, preprocessing.VERSION]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def _whole(self, outcome: Outcome) -> bool:
        """Tells whether every worm of an outcome is there, under a name that is still free."""
        for worm in outcome.worms:
            path = self.folder / worm.name
            if worm.name.casefold() in self._taken or not path.is_dir():
                return False
            try:
                if read_card(open_store(path)).digest != worm.digest:
                    return False
            except InvalidInput:
                return False
        return True

    def _note(self, outcome: Outcome) -> None:
        try:
            with (self.folder / JOURNAL).open("a", encoding="utf-8") as file:
                file.write(f"\n{json.dumps(asdict(outcome))}\n")
        except OSError as error:
            raise StorageError(
                f"{self.folder / JOURNAL}: could not be written: {error.strerror}"
            ) from error


def read_journal(path: Path) -> list[Outcome]:
    """Returns what an earlier run noted; a line that an interruption tore is passed over."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            found.append(_outcome(json.loads(line)))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _outcome(said: dict[str, Any]) -> Outcome:
    return Outcome(
        key=said["key"],
        fingerprint=said["fingerprint"],
        worms=tuple(
            Prepared(**{**worm, "labelled": tuple(worm["labelled"])}) for worm in said["worms"]
        ),
        findings=tuple(Finding(**finding) for finding in said["findings"]),
    )


def _prepared(worm: Worm, raw: RawWorm) -> Prepared:
    return Prepared(
        name=worm.name,
        source=worm.provenance.source,
        digest=worm.digest,
        labelled=worm.labelled,
        recorded=raw.traces.shape[1],
        frames=worm.frames,
        seconds=round(worm.frames * worm.dt, 3),
        licence=worm.provenance.licence,
    )


def _without(text: str, files: list[str]) -> str:
    """Returns a message without the path that it begins with: the finding names its file."""
    for file in files:
        text = text.removeprefix(f"{file}: ")
    return text


def _sha256(file: Path) -> str:
    total = hashlib.sha256()
    try:
        with file.open("rb", buffering=0) as stream:
            while data := stream.read(_SLAB):
                total.update(data)
    except OSError as error:
        raise StorageError(f"{file}: could not be read: {error.strerror}") from error
    return total.hexdigest()
