"""A report: what preparing a folder of worms did, source by source, and all that it left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from zapeval.benchmarks.celegans.names import NAMES

SCHEMA = "zapeval.worms.report/1"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a user should know.

    Attributes:
        source: Name of the source; "" for a file of none.
        where: Worm or file.
        text: What it is, a sentence.
        left_out: Whether the worm or file stays out; otherwise it goes on without a part of it.
    """

    source: str
    where: str
    text: str
    left_out: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """One worm that was prepared.

    Attributes:
        name: Its name.
        source: Where it comes from.
        digest: Its digest.
        labelled: Names of its labelled neurons.
        recorded: Neurons of the recording.
        frames: Frames of the prepared worm.
        seconds: Its duration.
        licence: Terms of use.
    """

    name: str
    source: str
    digest: str
    labelled: tuple[str, ...]
    recorded: int
    frames: int
    seconds: float
    licence: str


@dataclass(frozen=True, kw_only=True)
class SourceLine:
    """One source of a report.

    Attributes:
        source: Its name.
        worms: Worms that were prepared.
        left_out: Worms and files that were not.
        labelled: Mean number of labelled neurons of a worm.
        fewest: Smallest number of them.
        most: Largest number of them.
        recorded: Mean number of recorded neurons.
        seconds: Duration of all its worms.
        frames: Frames of all its worms.
    """

    source: str
    worms: int
    left_out: int
    labelled: float
    fewest: int
    most: int
    recorded: float
    seconds: float
    frames: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was done.

    Attributes:
        folder: Where the worms are.
        digest: Digest of the set.
        scale: Which frames made the z-scores.
        worms: Every worm.
        findings: Everything that was left out or mended.
        taken_over: Pieces that an interrupted run had finished.
    """

    folder: str
    digest: str
    scale: str
    worms: tuple[Prepared, ...]
    findings: tuple[Finding, ...]
    taken_over: int = 0

    @property
    def names(self) -> int:
        """How many of the 302 neurons are labelled in any worm."""
        return len({name for worm in self.worms for name in worm.labelled} & set(NAMES))

    @property
    def lines(self) -> tuple[SourceLine, ...]:
        """A line for each source, by name."""
        sources = {worm.source for worm in self.worms}
        sources |= {finding.source for finding in self.findings if finding.source}
        return tuple(self._line(source) for source in sorted(sources))

    def to_json(self) -> str:
        """Returns the report as JSON; it says nothing of the machine it was made on."""
        document = {
            "schema": SCHEMA,
            "digest": self.digest,
            "scale": self.scale,
            "sources": [asdict(line) for line in self.lines],
            "worms": [asdict(worm) for worm in self.worms],
            "findings": [asdict(finding) for finding in self.findings],
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"

    def _line(self, source: str) -> SourceLine:
        worms = [worm for worm in self.worms if worm.source == source]
        labelled = [len(worm.labelled) for worm in worms]
        return SourceLine(
            source=source,
            worms=len(worms),
            left_out=sum(f.left_out and f.source == source for f in self.findings),
            labelled=_mean(labelled),
            fewest=min(labelled, default=0),
            most=max(labelled, default=0),
            recorded=_mean([worm.recorded for worm in worms]),
            seconds=sum(worm.seconds for worm in worms),
            frames=sum(worm.frames for worm in worms),
        )


def _mean(counts: Sequence[int]) -> float:
    return sum(counts) / len(counts) if counts else 0.0
