"""Entry views: what the board says of an entry, in JSON and on its page."""

from __future__ import annotations

from datetime import datetime
from typing import Any, final

from pydantic import BaseModel, ConfigDict

from leaderboard.boards import Place
from leaderboard.standings import Number, Standing
from submissions.reported import Curve, Source


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@final
class Published(_Part):
    """Published numbers, as an entry keeps them.

    Attributes:
        steps: Steps of the summary.
        by_step: The average at each of them.
        metric: Metric of the summary.
        source: Where they were taken from.
        curves: Each series over all steps.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    steps: tuple[int, ...] = ()
    by_step: dict[int, float | None] = {}
    metric: str = "mae"
    source: Source | None = None
    curves: tuple[Curve, ...] = ()


@final
class FindingLine(_Part):
    """A sign that forensics found; whether it is a fault is for people to say."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    kind: str = ""
    severity: str = ""
    message: str = ""
    evidence: dict[str, float | int | str | None] = {}


@final
class VersionLine(_Part):
    """One version of an entry.

    Attributes:
        version: Its number, from 1.
        newest: Whether it is what the board shows.
        seeds: Number of its seeds.
        summary: Mean of their summaries; the ends are the means of theirs.
        partial: Whether neurons are missing.
        created: When its first seed was scored.
    """

    version: int
    newest: bool
    seeds: int
    summary: Number
    partial: bool
    created: datetime


@final
class ResultLine(_Part):
    """One seed of the version that is shown.

    Attributes:
        id: Its id; scorecard, sums and receipt are below ``results/ID``.
        seed: The seed, or "".
        predictions: Digest of the predictions.
        partial: Whether neurons are missing.
        summary: The headline.
        created: When it was scored.
        findings: What forensics found.
        sums: Whether its sums can be had.
        receipt: Whether it has a signed receipt.
        submission: Id of the submission; None for whoever may not see that.
    """

    id: str
    seed: str
    predictions: str
    partial: bool
    summary: Number
    created: datetime
    findings: tuple[FindingLine, ...]
    sums: bool
    receipt: bool
    submission: str | None


@final
class SeriesScores(_Part):
    """The scores of one series, or of a row of averages.

    Attributes:
        series: Its name.
        held_out: Whether it stays out of the average.
        windows: Its windows, or None.
        steps: Score at each step, the mean over seeds.
        mean: Mean over the steps of the summary.
    """

    series: str
    held_out: bool
    windows: int | None
    steps: dict[int, Number]
    mean: float | None


@final
class EntryView(_Part):
    """What the board has on an entry; the page and its twins are made of it.

    Attributes:
        id: Its id.
        slug: Its name in addresses.
        name: What its authors call it.
        origin: ``submission``, ``package`` or ``reported``.
        visibility: ``private``, ``public`` or ``withdrawn``.
        baseline: Whether it is a baseline.
        verified: When somebody else ran it again, or None.
        flag: Public reason of a flag, or "".
        withdrawn: Public reason of its withdrawal, or "".
        owner: Account that it belongs to, or "".
        yours: Whether whoever asks may change it.
        board: Its board.
        created: When its first version was scored.
        published: When it was published.
        fact_sheet: What its authors say of it.
        complete: Whether they said all that is asked for.
        standing: Its row on the board, or None.
        versions: Its versions, the newest first.
        version: The version that is shown.
        results: The seeds of that version.
        source: Where reported numbers were taken from, or "".
        metric: Metric of the scores.
        metrics: Metrics that there are.
        steps: Steps of the summary.
        scores: Every series, then the average.
    """

    id: str
    slug: str
    name: str
    origin: str
    visibility: str
    baseline: bool
    verified: datetime | None
    flag: str
    withdrawn: str
    owner: str
    yours: bool
    board: Place
    created: datetime
    published: datetime | None
    fact_sheet: dict[str, Any]
    complete: bool
    standing: Standing | None
    versions: tuple[VersionLine, ...]
    version: int
    results: tuple[ResultLine, ...]
    source: str
    metric: str
    metrics: tuple[str, ...]
    steps: tuple[int, ...]
    scores: tuple[SeriesScores, ...]
