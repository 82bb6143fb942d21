"""Skill: scores relative to a baseline, and how often the baseline is beaten."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import final

import numpy as np

from zapeval.reports.draws import SEED, factor, inflation, normal_for
from zapeval.reports.entries import Entry
from zapeval.reports.evidence import Evidence, Slice
from zapeval.scoring.longrun import long_run
from zapeval.scoring.uncertainty import FEWEST_SERIES, LEVEL, about_frames, enough


@final
@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval, which is None where none can be given."""

    value: float
    low: float | None = None
    high: float | None = None


def skills(evidence: Evidence, baseline: int) -> tuple[Estimate | None, ...]:
    """Returns each entry's skill, ``1 - score / baseline's score``; None where that is 0.

    Intervals are those of a ratio by the delta method: the contrast
    ``(score - ratio x baseline) / baseline``, its errors taken window by window.

    Args:
        evidence: Scores and contributions.
        baseline: Index of the baseline.
    """
    below = float(evidence.values[baseline])
    if not below:
        return (None,) * len(evidence.values)
    return tuple(_skill(evidence, index, baseline) for index in range(len(evidence.values)))


def _skill(evidence: Evidence, index: int, baseline: int) -> Estimate:
    below = float(evidence.values[baseline])
    ratio = float(evidence.values[index]) / below
    if evidence.parts is None:
        return Estimate(value=1 - ratio)
    two = tuple(part[:, [index, baseline]] for part in evidence.parts)
    contrast = np.array([[1.0], [-ratio]]) / below
    (spread,) = replace(evidence, parts=two).spreads(contrast)
    low, high = spread.around(1 - ratio, (-math.inf, 1.0))
    return Estimate(value=1 - ratio, low=low, high=high)


def win_rates(
    entries: Sequence[Entry], baseline: int, chosen: Slice, *, steps: Sequence[int]
) -> tuple[Estimate | None, ...]:
    """Returns the share of series x steps at which each entry beats the baseline.

    Each counts the same, and a tie counts half. Where time is sampled, the interval holds 95 % of
    the rates that joint draws of all differences give, whose long-run covariance between steps is
    taken series by series. Where series are sampled, it is Wilson's (1927, J. American Statistical
    Association 22), with the number of series for the number of trials.

    Args:
        entries: The entries.
        baseline: Index of the baseline, which gets None.
        chosen: The slice; its metric and series count, whatever their weights.
        steps: Steps that count.
    """
    return tuple(
        None if index == baseline else _win_rate(entry, entries[baseline], chosen, steps)
        for index, entry in enumerate(entries)
    )


def _win_rate(entry: Entry, baseline: Entry, chosen: Slice, steps: Sequence[int]) -> Estimate:
    columns = np.array(steps) - 1
    differences = [
        (entry.errors(line.name, chosen.metric) - baseline.errors(line.name, chosen.metric))[
            :, columns
        ]
        for line in chosen.members
    ]
    rate = float(np.mean([_wins(d.mean(axis=0)) for d in differences]))
    benchmark = entry.kept[0].card.benchmark
    if benchmark["sampled"] == "series":
        if len(differences) < FEWEST_SERIES:
            return Estimate(value=rate)
        return wilson(rate, len(differences))
    origins = [entry.kept[0].origins(line.name) for line in chosen.members]
    if benchmark["protocol"] == "next-step" or not all(enough(at.tolist()) for at in origins):
        return Estimate(value=rate)
    rng = np.random.default_rng(SEED)
    pairs = zip(origins, differences, strict=True)
    drawn = np.mean([_drawn(at, d, rng) for at, d in pairs], axis=0)
    beyond = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, (beyond, 1 - beyond))
    # Where draws tend towards one half, the rate that was seen still belongs to the interval.
    return Estimate(value=rate, low=min(rate, float(low)), high=max(rate, float(high)))


def _drawn(origins: np.ndarray, differences: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the win rates of draws around the mean differences, float64 ``[DRAWS]``."""
    # Every step stands for itself here, so all are taken as columns of one step.
    run = long_run(about_frames(origins, differences[:, None, :], {1: 1.0}))
    root = factor([run], [1.0])
    # Signs are all that counts, and one width a draw is enough for them.
    drawn = inflation(run.degrees.mean(keepdims=True), rng) * (normal_for(root, rng) @ root)
    return _wins(differences.mean(axis=0) + drawn)


def _wins(differences: np.ndarray) -> np.ndarray:
    """Returns the share of negative numbers in the last axis, zeros counting half."""
    share: np.ndarray = ((differences < 0) + 0.5 * (differences == 0)).mean(axis=-1)
    return share


def wilson(rate: float, trials: int) -> Estimate:
    """Returns a rate with Wilson's score interval."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials)
    half *= math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    return Estimate(value=rate, low=max(0.0, centre - half), high=min(1.0, centre + half))
