"""Consistency: whether a scorecard follows from its own kept sums, value by value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from submissions.card import Card
from zapeval.benchmarks.benchmark import Benchmark
from zapeval.scoring.metrics import METRICS, range_of
from zapeval.scoring.scorecard import Score, Scorecard, Summary
from zapeval.scoring.scores import scores_of, summary_of
from zapeval.scoring.tally import Cell, Tally
from zapeval.scoring.uncertainty import LEVEL, METHOD_SERIES, METHOD_TIME, with_intervals

CLOSE = 1e-9
"""Relative difference at which two ways of adding up the same numbers are equal."""

_SHOWN = 6

Rows = Mapping[tuple[str, int, str], Score]


def findings_of(card: Card, benchmark: Benchmark) -> Iterator[str]:
    """Yields what is wrong with a scorecard, a sentence each; values are recomputed from sums.

    Args:
        card: The scorecard.
        benchmark: The benchmark that it names.
    """
    said = card.card.benchmark["digest"]
    if said != benchmark.digest:
        yield (
            f"{card.path}: benchmark digest {said[:19]}.. is not that of {benchmark.label}, "
            f"{benchmark.digest[:19]}..; score again"
        )
        return
    if card.context > benchmark.max_context:
        yield f"{card.path}: context {card.context} exceeds {benchmark.max_context} frames"
    if (card.card.missing == "official") and not card.card.partial and _lacks(card.card):
        yield f"{card.path}: neurons are missing, but the card is not marked partial"
    yield from _few(card.path, list(_other_task(card.card, benchmark)))
    out = [*_out_of_range(card.card.scores), *_out_of_order(card.card)]
    yield from _few(card.path, out)
    structure = list(_structure(card, benchmark))
    yield from _few(card.path, structure)
    if not out and not structure:
        yield from _few(card.path, list(_differences(card, benchmark)))


def _other_task(card: Scorecard, benchmark: Benchmark) -> Iterator[str]:
    """Yields where a card says other things of its task than the benchmark does."""
    wanted = {
        "protocol": benchmark.protocol,
        "sampled": benchmark.sampled,
        "summary_steps": list(benchmark.summary_steps),
    }
    for key, want in wanted.items():
        got = card.benchmark.get(key, want)
        if got != want:
            yield f"benchmark.{key} is {got!r:.80}, but that of {benchmark.label} is {want!r}"
    if card.missing not in ("strict", "official"):
        yield f"missing is {card.missing!r:.80}, expected 'strict' or 'official'"
    if card.seconds < 0:
        yield f"seconds is {card.seconds!r}, expected 0 or more"
    method = card.intervals.get("method")
    if method not in (None, METHOD_TIME, METHOD_SERIES):
        yield f"intervals.method is {method!r:.80}, which this version does not know; score again"
    elif method is not None and card.intervals.get("level") != LEVEL:
        yield f"intervals.level is {card.intervals.get('level')!r:.80}, expected {LEVEL}"
    elif method is None and any(low is not None for low in _lows(card)):
        yield "there are intervals, but intervals.method names none"


def _lows(card: Scorecard) -> Iterator[float | None]:
    yield card.summary.low
    yield from (score.low for score in card.scores)


def _lacks(card: Scorecard) -> bool:
    return any(line.missing for line in card.series)


def _out_of_range(scores: Sequence[Score]) -> Iterator[str]:
    """Yields scores that no forecast can have."""
    errors: dict[tuple[str, int, str], float] = {}
    for score in scores:
        where = f"{score.metric} of {score.series} at step {score.step}"
        if score.value is None:
            continue
        errors[score.series, score.step, score.metric] = score.value
        low, high = range_of(score.metric)
        # A sum of products in float64 may exceed the bound in its last digits.
        if not low - CLOSE <= score.value <= high + CLOSE:
            yield f"{where} is {score.value!r}, expected {low:g} to {high:g}"
        if score.undefined < 0:
            yield f"{where}: undefined is {score.undefined}, expected a count"
    for (series, step, metric), value in errors.items():
        mae = errors.get((series, step, "mae"))
        if metric == "mse" and mae is not None and mae * mae > value * (1 + CLOSE):
            yield f"mse of {series} at step {step} is {value!r}, less than its mae squared"


def _out_of_order(card: Scorecard) -> Iterator[str]:
    """Yields intervals that do not hold their value."""
    rows: list[tuple[str, Score | Summary]] = [("summary", card.summary)]
    rows += [(f"{s.metric} of {s.series} at step {s.step}", s) for s in card.scores]
    for where, one in rows:
        if one.low is None and one.high is None:
            continue
        if one.value is None or one.low is None or one.high is None:
            yield f"{where}: has half an interval: {one.low!r} to {one.high!r} around {one.value!r}"
        elif not one.low <= one.value <= one.high:
            yield f"{where}: {one.value!r} lies outside its interval {one.low!r} to {one.high!r}"


def _structure(card: Card, benchmark: Benchmark) -> Iterator[str]:
    """Yields where series, windows or shapes of the sums are not the benchmark's."""
    lines = [(line.name, line.group, line.held_out, line.windows) for line in card.card.series]
    wanted = [(one.name, one.group, one.held_out, one.windows) for one in benchmark.series]
    if lines != wanted:
        yield f"series are not those of {benchmark.label}: names, groups or windows differ"
        return
    for line in card.card.series:
        if not 0 < line.scored <= line.neurons or not 0 <= line.missing <= line.neurons:
            yield f"{line.name}: scored {line.scored} and missing {line.missing} of {line.neurons}"
    if card.sums is None:
        return
    for series in benchmark.series:
        for name, shape, kind in (
            ("absolute", (series.windows, benchmark.steps), "f"),
            ("squared", (series.windows, benchmark.steps), "f"),
            ("counts", (benchmark.steps,), "i"),
            ("origins", (series.windows,), "i"),
        ):
            array = card.sums.get(f"{series.name}/{name}")
            if array is None:
                # Sums that were kept before origins were are complete without them.
                if name != "origins":
                    yield f"kept sums lack {series.name}/{name}"
            elif array.shape != shape or array.dtype.kind != kind:
                yield f"kept sums: {series.name}/{name} is {array.dtype} {list(array.shape)}"
            elif kind == "f" and not (np.isfinite(array).all() and (array >= 0).all()):
                yield f"kept sums: {series.name}/{name} holds other than finite numbers from 0"
            elif name == "counts" and not (array > 0).all():
                yield f"kept sums: {series.name}/{name} holds other than counts from 1"
            elif name == "origins" and tuple(array.tolist()) != series.origins:
                yield f"kept sums: {series.name}/{name} are not the windows of {benchmark.label}"


def _differences(card: Card, benchmark: Benchmark) -> Iterator[str]:
    """Yields the scores that do not follow from the kept sums, or from the rows they average."""
    said = {(one.series, one.step, one.metric): one for one in card.card.scores}
    if len(said) != len(card.card.scores):
        yield "a score stands twice"
        return
    lacking = [
        (series.name, step, metric)
        for series in benchmark.series
        for step in range(1, benchmark.steps + 1)
        for metric in METRICS
        if (series.name, step, metric) not in said
    ]
    if lacking:
        series, step, metric = lacking[0]
        yield f"{len(lacking)} scores are missing, {metric} of {series} at step {step} among them"
        return
    tally = _tally(card, benchmark, said)
    scores = scores_of(tally, benchmark)
    extra = said.keys() - {(one.series, one.step, one.metric) for one in scores}
    if extra:
        series, step, metric = min(extra)
        yield f"{metric} of {series:.80} at step {step} is no score of {benchmark.label}"
    source = "the kept sums" if card.sums is not None else "the rows that it averages"
    if card.sums is None:
        # One mean error a series stands for its sums: weights by windows are not known.
        scores = tuple(score for score in scores if score.series != "pooled")
    for score in scores:
        one = said.get((score.series, score.step, score.metric))
        if one is None or not _close(one.value, score.value):
            got = "missing" if one is None else repr(one.value)
            yield (
                f"{score.metric} of {score.series} at step {score.step} is {got}, but {source} "
                f"make it {score.value!r}"
            )
    summary = summary_of(card.card.scores, benchmark)
    if card.card.summary.metric != summary.metric or not _close(
        card.card.summary.value, summary.value
    ):
        yield (
            f"summary is {card.card.summary.metric} {card.card.summary.value!r}, but its parts "
            f"make it {summary.metric} {summary.value!r}"
        )
    elif card.sums is not None:
        yield from _interval_differences(card, benchmark, tally)


def _interval_differences(card: Card, benchmark: Benchmark, tally: Tally) -> Iterator[str]:
    """Yields intervals that the kept sums do not make, where they are made as we make them."""
    scores, summary, info = with_intervals(
        scores_of(tally, benchmark), summary_of(card.card.scores, benchmark), tally, benchmark
    )
    if card.card.intervals.get("method") != info["method"] or info["method"] is None:
        return
    made = {(one.series, one.step, one.metric): one for one in scores}
    pairs: list[tuple[str, Score | Summary, Score | Summary]] = [
        ("summary", card.card.summary, summary)
    ]
    for one in card.card.scores:
        again = made.get((one.series, one.step, one.metric))
        if again is not None and again.low is not None:
            pairs.append((f"{one.metric} of {one.series} at step {one.step}", one, again))
    for where, got, want in pairs:
        scale = abs(want.value or 0.0)
        ends = zip((got.low, got.high), (want.low, want.high), strict=True)
        if not all(_close(a, b, scale) for a, b in ends):
            yield (
                f"{where}: its interval is {got.low!r} to {got.high!r}, but the kept sums make it "
                f"{want.low!r} to {want.high!r}"
            )


def _tally(card: Card, benchmark: Benchmark, said: Rows) -> Tally:
    """Returns the sums behind a card; where none were kept, such as give its rows by series."""
    cells = []
    lines = {line.name: line for line in card.card.series}
    for series in benchmark.series:
        for step in range(1, benchmark.steps + 1):
            correlation = said[series.name, step, "correlation"]
            if card.sums is None:
                # One window whose mean errors are the scores themselves.
                absolute, squared = (
                    np.array([said[series.name, step, metric].value or 0.0])
                    for metric in ("mae", "mse")
                )
                counts = 1
            else:
                absolute = card.sums[f"{series.name}/absolute"][:, step - 1]
                squared = card.sums[f"{series.name}/squared"][:, step - 1]
                counts = int(card.sums[f"{series.name}/counts"][step - 1])
            cells.append(
                Cell(
                    series=series.name,
                    step=step,
                    absolute=absolute,
                    squared=squared,
                    counts=counts,
                    correlation=correlation.value,
                    defined=lines[series.name].scored - correlation.undefined,
                    undefined=correlation.undefined,
                    missing=np.zeros(0, bool),
                    leaf="",
                    targets="",
                )
            )
    return Tally(cells)


def _close(a: float | None, b: float | None, scale: float | None = None) -> bool:
    """Tells whether numbers are equal but for rounding at a scale, their own by default."""
    if a is None or b is None:
        return a is b
    return abs(a - b) <= CLOSE * (abs(b) if scale is None else scale)


def _few(path: Path, found: Sequence[str]) -> Iterator[str]:
    yield from (f"{path}: {text}" for text in found[:_SHOWN])
    if len(found) > _SHOWN:
        yield f"{path}: {len(found) - _SHOWN} more like these"
