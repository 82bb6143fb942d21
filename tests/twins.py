"""Twins: every score again, by plain loops over series, windows, steps and neurons.

Written from the definitions alone and sharing no line with zapeval: sums are exact (``math.fsum``),
correlations take two passes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import blake3
import numpy as np
import pytest
from builders import Case, targets_of

from zapeval.scoring.scorecard import Scorecard

Key = tuple[str, int, str]


@dataclass(frozen=True)
class Twin:
    """Scores by (series, step, metric), neurons without a correlation, and the summary."""

    values: dict[Key, float | None]
    undefined: dict[tuple[str, int], int]
    summary: float | None


def scores_by_loops(
    case: Case,
    *,
    missing: dict[str, set[int]] | None = None,
    targets: dict[str, np.ndarray] | None = None,
) -> Twin:
    """Returns every score of a case.

    Args:
        case: Benchmark, activity and predictions.
        missing: Neurons to leave out, by name of the series.
        targets: Targets by array name, where they are not those of the activity.
    """
    values: dict[Key, float | None] = {}
    undefined: dict[tuple[str, int], int] = {}
    for series in case.benchmark.series:
        neurons = case.activity[series.recording].shape[1]
        mask = series.mask or (True,) * neurons
        out = (missing or {}).get(series.name, set())
        scored = [n for n in range(neurons) if mask[n] and n not in out]
        own_targets = targets_of(case, series) if targets is None else targets[series.array]
        truth = own_targets.astype(np.float64).tolist()
        forecast = case.values[series.array].astype(np.float64).tolist()
        for step, positions in _steps(case):
            own = [
                [(forecast[w][k][n], truth[w][k][n]) for w in range(len(truth)) for k in positions]
                for n in scored
            ]
            key = series.name, step
            values[*key, "mae"] = _mean([_mean([abs(p - t) for p, t in s]) for s in own])
            values[*key, "mse"] = _mean([_mean([(p - t) ** 2 for p, t in s]) for s in own])
            correlations = [_pearson(samples) for samples in own]
            known = [r for r in correlations if r is not None]
            values[*key, "correlation"] = _mean(known)
            undefined[key] = len(correlations) - len(known)
    _add_means(case, values, undefined)
    shown = [values["average", s, case.benchmark.primary] for s in case.benchmark.summary_steps]
    return Twin(values, undefined, _mean(shown))


def digest_by_hand(case: Case) -> str:
    """Returns the predictions digest from its documented definition."""
    lines = ""
    for series in case.benchmark.series:
        values = case.values[series.array]
        for step, positions in _steps(case):
            rows = values[:, positions].astype("<f4").reshape(-1, *values.shape[2:])
            hashes = b"".join(blake3.blake3(row.tobytes()).digest() for row in rows)
            leaf = blake3.blake3(hashes).hexdigest()
            lines += f"{series.array} {step} {leaf}\n"
    return "blake3:" + blake3.blake3(lines.encode()).hexdigest()


def data_digest_by_hand(case: Case) -> str:
    """Returns the data digest: over the target rows of each series, as little-endian float32.

    The windows of a series must leave no frame between them.
    """
    lines = ""
    for series in case.benchmark.series:
        start, stop = series.origins[0], series.origins[-1] + case.benchmark.horizon
        rows = case.activity[series.recording][start:stop].astype("<f4")
        lines += f"{series.name} {start} {stop} {blake3.blake3(rows.tobytes()).hexdigest()}\n"
    return "blake3:" + blake3.blake3(lines.encode()).hexdigest()


def assert_scores(card: Scorecard, twin: Twin, *, tolerance: float = 1e-9) -> None:
    """Fails unless a card has exactly the twin's rows: errors relative, correlation absolute."""
    assert [(s.series, s.step, s.metric) for s in card.scores] == list(twin.values)
    for score in card.scores:
        expected = twin.values[score.series, score.step, score.metric]
        where = (score.series, score.step, score.metric)
        if expected is None:
            assert score.value is None, where
        elif score.metric == "correlation":
            assert score.value == pytest.approx(expected, rel=0, abs=tolerance), where
        else:
            assert score.value == pytest.approx(expected, rel=tolerance, abs=0), where
        if score.metric == "correlation":
            assert score.undefined == twin.undefined[score.series, score.step], where
        else:
            assert score.undefined == 0, where
    if twin.summary is None:
        assert card.summary.value is None
    else:
        assert card.summary.value == pytest.approx(twin.summary, rel=tolerance, abs=0)


def _steps(case: Case) -> list[tuple[int, list[int]]]:
    """Returns (step, indices on the second axis): all positions are one step ahead."""
    indices = range(case.benchmark.horizon)
    if case.benchmark.protocol == "next-step":
        return [(1, list(indices))]
    return [(index + 1, [index]) for index in indices]


def _add_means(
    case: Case, values: dict[Key, float | None], undefined: dict[tuple[str, int], int]
) -> None:
    trained = [series for series in case.benchmark.series if not series.held_out]
    groups = sorted({series.group for series in trained} - {""})
    rows = {"average": [(series, 1) for series in trained]}
    for group in groups:
        rows[f"average:{group}"] = [(series, 1) for series in trained if series.group == group]
    rows["pooled"] = [(series, len(series.origins)) for series in trained]
    for row, members in rows.items():
        for step, _ in _steps(case):
            undefined[row, step] = sum(undefined[series.name, step] for series, _ in members)
            for metric in ("mae", "mse", "correlation"):
                of = [values[series.name, step, metric] for series, _ in members]
                weights = [weight for _, weight in members]
                values[row, step, metric] = (
                    None
                    if None in of
                    else math.fsum(v * w for v, w in zip(of, weights, strict=True)) / sum(weights)
                )


def _mean(numbers: list[float | None]) -> float | None:
    if not numbers or None in numbers:
        return None
    return math.fsum(numbers) / len(numbers)


def _pearson(samples: list[tuple[float, float]]) -> float | None:
    """Returns Pearson's r in two passes, or None where a side is constant."""
    first, second = zip(*samples, strict=True)
    if len(set(first)) == 1 or len(set(second)) == 1:
        return None
    p = [value - math.fsum(first) / len(first) for value in first]
    t = [value - math.fsum(second) / len(second) for value in second]
    scale = math.sqrt(math.fsum(a * a for a in p)) * math.sqrt(math.fsum(b * b for b in t))
    return math.fsum(a * b for a, b in zip(p, t, strict=True)) / scale


def long_run_by_loops(values: list[float]) -> tuple[float, float]:
    """Returns variance and degrees of the sum of one centred series, by the formulas alone."""
    n = len(values)
    products = sum(values[i] * values[i - 1] for i in range(1, n))
    raw = products / sum(values[i] ** 2 for i in range(n - 1))
    phi = (n * raw + 1) / (n - 3)
    largest = min(0.97, 1 - 4 / n)
    phi = max(-largest, min(largest, phi))
    rest = [values[i] - phi * values[i - 1] for i in range(1, n)]
    count = max(4, round(0.41 * n ** (2 / 3)))
    squares = []
    for wave in range(1, count + 1):
        terms = (
            rest[i] * math.cos(math.pi * wave * (i + 0.5) / (n - 1)) * math.sqrt(2 / (n - 1))
            for i in range(n - 1)
        )
        squares.append(sum(terms) ** 2)
    # The variance of a sum of AR(1) values, as the double sum of their covariances.
    covariances = sum(phi ** abs(i - j) for i in range(n) for j in range(n)) / (1 - phi**2)
    degrees = 1 / (1 / count + 2 * (1 + phi) / (n * (1 - phi)))
    return sum(squares) / count * covariances, degrees
