"""Comparison views: what a comparison says, in JSON and on its page."""

from __future__ import annotations

from typing import final

from pydantic import BaseModel, ConfigDict

from leaderboard.boards import Place
from leaderboard.standings import Cost, Number, Pair

SUMMARY = "summary"
"""The step that stands for the mean over the steps of the summary."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@final
class Compared(_Part):
    """One entry of a comparison.

    Attributes:
        entry: Its id.
        slug: Its name in addresses.
        name: What its authors call it.
        mark: ``partial``, ``reported`` or "".
        seeds: Number of its seeds.
        rank: Rank among the compared ones, or None.
        ranks: 95 % interval of that rank, or None.
        group: Tie group among them, or None.
        score: Its score on the slice.
        two_se: Two standard errors of the mean over seeds, or None.
        skill: 1 - score / that of the baseline.
        wins: Share of series x steps at which it beats the baseline.
        cost: What it took.
    """

    entry: str
    slug: str
    name: str
    mark: str
    seeds: int
    rank: int | None
    ranks: tuple[int, int] | None
    group: int | None
    score: Number
    two_se: float | None
    skill: Number | None
    wins: Number | None
    cost: Cost


@final
class LeftOut(_Part):
    """An entry without differences, and why."""

    entry: str
    name: str
    reason: str


@final
class ComparisonView(_Part):
    """A comparison; the page and its twins are made of it.

    Attributes:
        board: The board that all entries are on.
        metric: Metric of the slice.
        series: A series or a row of averages.
        step: A step, or ``summary``: the mean over the steps of the summary.
        baseline: Slug of what skill and wins are against, or None.
        method: How intervals and p-values were made, or None.
        reason: Why there are none, or None.
        entries: The entries, the best first.
        pairs: Their differences, the better less the worse.
        left_out: Entries that have no sums to compare, and why.
        metrics: Metrics to choose from.
        rows: Series to choose from.
        steps: Steps to choose from.
    """

    board: Place
    metric: str
    series: str
    step: str
    baseline: str | None
    method: str | None
    reason: str | None
    entries: tuple[Compared, ...]
    pairs: tuple[Pair, ...]
    left_out: tuple[LeftOut, ...]
    metrics: tuple[str, ...]
    rows: tuple[str, ...]
    steps: tuple[str, ...]
