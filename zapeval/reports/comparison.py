"""A comparison: entries ranked, with what is known of their differences.

Entries are compared on the same windows, the mean over seeds for each: every p-value, interval,
rank interval and tie group comes from the differences of their errors, window by window.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, final

import numpy as np

from zapeval.errors import NotFound
from zapeval.reports.entries import Entry
from zapeval.reports.evidence import Evidence, Slice, gather, slice_of
from zapeval.reports.pairs import Pair, contrasts, in_order, pairs_of
from zapeval.reports.ranks import RankInterval, ranking_of, ranks_of
from zapeval.reports.skill import Estimate, skills, win_rates
from zapeval.scoring.metrics import range_of
from zapeval.scoring.uncertainty import LEVEL, METHOD_SERIES, METHOD_TIME

SCHEMA = "zapeval.comparison/1"

BASELINE = "persistence"
"""Baseline where none is named, if there is an entry of that name."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One entry in a comparison.

    Attributes:
        entry: The entry.
        score: Its score, with the interval over windows in time or over sampled series.
        over_seeds: Two standard errors of the mean over seeds, or None below two.
        rank: Rank of the score; None where entries are not ranked.
        ranks: Interval of the rank.
        group: Tie group, 1 being that of the best.
        skill: Relative to the baseline.
        wins: Share of series x steps at which it beats the baseline.
        cost: What the manifests say of parameters, training seconds and hardware.
    """

    entry: Entry
    score: Estimate
    over_seeds: float | None
    rank: int | None
    ranks: RankInterval | None
    group: int | None
    skill: Estimate | None
    wins: Estimate | None
    cost: Mapping[str, Any]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Entries and their differences on one slice.

    Attributes:
        chosen: The slice.
        rows: The entries by rank, equal ones by name.
        pairs: Every pair once, in the order of the rows.
        baseline: Name of the baseline, or None.
        method: How intervals and p-values were made, or None.
        reason: Why there are none, or None.
        partial: Whether neurons are missing, so that nothing is ranked.
    """

    chosen: Slice
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
    baseline: str | None
    method: str | None
    reason: str | None
    partial: bool

    def to_json(self) -> str:
        """Returns everything as JSON (schema ``zapeval.comparison/1``)."""
        card = self.rows[0].entry.kept[0].card
        document = {
            "schema": SCHEMA,
            "benchmark": {
                key: card.benchmark[key]
                for key in ("id", "version", "protocol", "context", "digest")
            },
            "data": {"digest": card.data["digest"]},
            "scored_set": card.scored_set,
            "missing": card.missing,
            "partial": self.partial,
            "slice": {
                "metric": self.chosen.metric,
                "series": self.chosen.series,
                "steps": self.chosen.steps,
            },
            "level": LEVEL,
            "method": self.method,
            "reason": self.reason,
            "baseline": self.baseline,
            "entries": [_row_document(row) for row in self.rows],
            "pairs": [pair.to_document() for pair in self.pairs],
        }
        return json.dumps(document, indent=1, allow_nan=False) + "\n"


def compare(
    entries: Sequence[Entry],
    *,
    metric: str | None = None,
    series: str | None = None,
    step: int | None = None,
    baseline: str | None = None,
) -> Comparison:
    """Returns the comparison of entries, the same whatever their order.

    Args:
        entries: Entries of one benchmark and context length.
        metric: ``mae`` or ``mse``; default: that of the summary.
        series: A series or a row of averages; default: ``average``.
        step: One step; default: the mean over the steps of the summary.
        baseline: Name of an entry; default: persistence, where it is among them.

    Raises:
        NotFound: There is no such series or baseline.
        UsageError: There is no such step, or the metric is no mean of errors.
    """
    entries = sorted(entries, key=lambda entry: entry.name)
    chosen = slice_of(entries, metric=metric, series=series, step=step)
    base = _baseline(entries, baseline)
    evidence = gather(entries, chosen)
    sides = list(combinations(range(len(entries)), 2))
    pairs = pairs_of(entries, evidence, sides)
    sampled = entries[0].kept[0].card.benchmark["sampled"] == "series"
    partial = any(kept.card.partial for entry in entries for kept in entry.kept)
    rows = _rows(entries, chosen, evidence, sides, pairs, base, step, ranked=not partial)
    order = sorted(range(len(rows)), key=lambda i: (evidence.values[i], rows[i].entry.name))
    place = {entries[index].name: at for at, index in enumerate(order)}
    return Comparison(
        chosen=chosen,
        rows=tuple(rows[index] for index in order),
        pairs=in_order(pairs, place),
        baseline=None if base is None else entries[base].name,
        method=None if evidence.parts is None else METHOD_SERIES if sampled else METHOD_TIME,
        reason=evidence.reason,
        partial=partial,
    )


def _baseline(entries: Sequence[Entry], name: str | None) -> int | None:
    names = [entry.name for entry in entries]
    if name is None:
        return names.index(BASELINE) if BASELINE in names else None
    if name not in names:
        raise NotFound(f"compare: has no entry {name!r} as baseline; known: {', '.join(names)}")
    return names.index(name)


def _rows(
    entries: Sequence[Entry],
    chosen: Slice,
    evidence: Evidence,
    sides: Sequence[tuple[int, int]],
    pairs: Sequence[Pair],
    base: int | None,
    step: int | None,
    *,
    ranked: bool,
) -> list[Row]:
    """Returns a row for each entry, in their order."""
    count = len(entries)
    values = [float(value) for value in evidence.values]
    nothing: tuple[None, ...] = (None,) * count
    scores: Sequence[Estimate] = [Estimate(value=value) for value in values]
    ranks: Sequence[int | None] = ranks_of(values) if ranked else nothing
    intervals: Sequence[RankInterval | None] = nothing
    groups: Sequence[int | None] = nothing
    if evidence.parts is not None:
        possible, spreads = range_of(chosen.metric), evidence.spreads(np.eye(count))
        around = [s.around(v, possible) for s, v in zip(spreads, values, strict=True)]
        scores = [
            Estimate(value=v, low=low, high=high)
            for v, (low, high) in zip(values, around, strict=True)
        ]
    if evidence.parts is not None and ranked and sides:
        tests = [(one.spread, one.p) for one in pairs if one.spread and one.p is not None]
        runs = evidence.runs(contrasts(count, sides))
        ranking = ranking_of(values, sides, tests, runs, evidence.weights)
        intervals, groups = ranking.intervals, ranking.groups
    skill: Sequence[Estimate | None] = nothing if base is None else skills(evidence, base)
    last = len(entries[0].kept[0].sums[f"{chosen.members[0].name}/counts"])
    steps = range(1, last + 1) if step is None else (step,)
    wins = nothing if base is None else win_rates(entries, base, chosen, steps=steps)
    return [
        Row(
            entry=entry,
            score=scores[i],
            over_seeds=_over_seeds(entry, chosen),
            rank=ranks[i],
            ranks=intervals[i],
            group=groups[i],
            skill=skill[i],
            wins=wins[i],
            cost=_cost(entry),
        )
        for i, entry in enumerate(entries)
    ]


def _over_seeds(entry: Entry, chosen: Slice) -> float | None:
    """Returns two standard errors of the mean over seeds, the papers' convention."""
    if len(entry.kept) < 2:
        return None
    columns = np.array(chosen.steps) - 1
    scores = [
        sum(
            weight * float(one.errors(line.name, chosen.metric)[:, columns].mean())
            for line, weight in zip(chosen.members, chosen.weights, strict=True)
        )
        for one in entry.kept
    ]
    return 2 * float(np.std(scores, ddof=1)) / math.sqrt(len(scores))


def _cost(entry: Entry) -> dict[str, Any]:
    """Returns parameters, the mean of the training seconds over seeds, and the hardware."""
    costs = [kept.card.forecaster.get("cost") for kept in entry.kept]
    said = [cost for cost in costs if isinstance(cost, dict)]
    found: dict[str, Any] = {}
    for key in ("parameters", "training_seconds"):
        known = [one[key] for one in said if isinstance(one.get(key), int | float)]
        if known:
            found[key] = known[0] if len(set(known)) == 1 else math.fsum(known) / len(known)
    hardware = list(dict.fromkeys(str(one["hardware"]) for one in said if one.get("hardware")))
    return found | ({"hardware": "; ".join(hardware)} if hardware else {})


def _row_document(row: Row) -> dict[str, Any]:
    forecaster = row.entry.forecaster
    return {
        "name": row.entry.name,
        "forecaster": {
            key: forecaster.get(key) for key in ("name", "version", "parameters", "covariates")
        },
        "cards": [
            {
                "file": one.file.name,
                "seed": one.card.forecaster.get("seed"),
                "predictions": one.card.predictions["digest"],
                "sums": (one.card.sums or {}).get("digest"),
            }
            for one in row.entry.kept
        ],
        **asdict(row.score),
        "two_standard_errors_over_seeds": row.over_seeds,
        "rank": row.rank,
        "ranks": None if row.ranks is None else asdict(row.ranks),
        "tie_group": row.group,
        "skill": None if row.skill is None else asdict(row.skill),
        "win_rate": None if row.wins is None else asdict(row.wins),
        "cost": dict(row.cost) or None,
    }
