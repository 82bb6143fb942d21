"""The check: whether predictions cover a benchmark, before any value is read.

Every finding is made at once. Non-finite values are found by the pass that scores.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.benchmarks.recipe import check_recordings
from zapeval.errors import InvalidInput
from zapeval.forecasting.coverage import uncovered
from zapeval.forecasting.predictions import Predictions
from zapeval.recordings.arrays import ZarrArray
from zapeval.recordings.recording import Recording, Recordings

ROW_LIMIT = 1 << 30
"""Largest row of chunks (all neurons of a chunk's windows and steps) in bytes; one is in memory."""

Severity = Literal["error", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a check found.

    Attributes:
        severity: ``error`` (it can't be scored) or ``note``.
        message: A sentence: where, got, expected, what to do.
    """

    severity: Severity
    message: str


def check(
    predictions: Predictions,
    benchmark: Benchmark,
    recordings: Recordings,
    *,
    context: int | None = None,
) -> tuple[Finding, ...]:
    """Returns all that is wrong with the structure of a store, and what is worth a note.

    Values are not read: non-finite ones are found by the pass that scores.

    Raises:
        InvalidInput: The recordings are not the benchmark's.
    """
    check_recordings(benchmark, recordings)
    findings = [
        *_check_manifest(predictions, benchmark, context),
        *_check_names(predictions, benchmark),
    ]
    for series in benchmark.series:
        array = predictions.arrays.get(series.array)
        if array is not None:
            recording = recordings[series.recording]
            findings += _check_array(array, benchmark, series, recording.neurons)
            findings += _check_kind(array, predictions, recording)
    return tuple(findings)


def require_no_errors(predictions: Predictions, findings: tuple[Finding, ...]) -> None:
    """Raises an error that holds every error among the findings.

    Raises:
        InvalidInput: There is one.
    """
    errors = [finding.message for finding in findings if finding.severity == "error"]
    if len(errors) == 1:
        raise InvalidInput(errors[0])
    if errors:
        head = f"{predictions.uri}: {len(errors)} things are wrong, so nothing was scored:"
        raise InvalidInput("\n".join([head, *(f"- {text}" for text in errors)]), errors)


def _check_manifest(
    predictions: Predictions, benchmark: Benchmark, context: int | None
) -> Iterator[Finding]:
    manifest = predictions.manifest
    if manifest is None:
        return
    said = f"{manifest.benchmark.id}@{manifest.benchmark.version}"
    if said != benchmark.label:
        yield _error(f"{predictions.uri}: is for {said}, not for {benchmark.label}")
    elif manifest.benchmark.digest != benchmark.digest:
        yield _error(
            f"{predictions.uri}: was forecast for another definition of {said} (digest "
            f"{manifest.benchmark.digest[:19]}.., expected {benchmark.digest[:19]}..); forecast it "
            "again"
        )
    if context is not None and manifest.context != context:
        yield _error(
            f"{predictions.uri}: was forecast from {manifest.context} frames of context, not "
            f"from {context}; leave -c out, or give -c {manifest.context}"
        )


def _check_names(predictions: Predictions, benchmark: Benchmark) -> Iterator[Finding]:
    known = [series.array for series in benchmark.series]
    for series in benchmark.series:
        if series.array in predictions.broken:
            yield _error(predictions.broken[series.array])
        elif series.array not in predictions.arrays:
            yield _error(
                f"{predictions.uri}/{series.array}: is missing; expected the forecasts of "
                f"{series.name}, {series.windows} windows"
            )
    for name in sorted({*predictions.arrays, *predictions.broken} - set(known)):
        yield _error(
            f"{predictions.uri}/{name}: is not part of {benchmark.label}; "
            f"expected {', '.join(known[:12])}{', ..' if len(known) > 12 else ''}"
        )


def _check_array(
    array: ZarrArray, benchmark: Benchmark, series: Series, neurons: int
) -> Iterator[Finding]:
    shape_errors = list(_check_shape(array, benchmark, series, neurons))
    yield from shape_errors
    if array.dtype == np.float64:
        yield Finding(
            severity="note", message=f"{array.uri}: is float64; it is scored rounded to float32"
        )
    elif array.dtype not in (np.float32, np.float16):
        yield _error(f"{array.uri}: is {array.dtype}, expected float32 or float16")
    if not shape_errors:
        yield from map(_error, uncovered(array))


def _check_kind(
    array: ZarrArray, predictions: Predictions, recording: Recording
) -> Iterator[Finding]:
    if len(array.shape) != 5:
        return
    if predictions.kind != "volume":
        yield _error(
            f"{array.uri}: holds volumes, but other arrays of the store hold traces; expected one "
            "of the two throughout"
        )
    elif recording.segmentation is None:
        yield _error(
            f"{array.uri}: holds volumes, but {recording.uri} has no segmentation to make them "
            "traces with; give a recording that has one with --data"
        )


def _check_shape(
    array: ZarrArray, benchmark: Benchmark, series: Series, neurons: int
) -> Iterator[Finding]:
    shape = array.shape
    expected = (series.windows, benchmark.horizon, neurons)
    axes = f"[windows, {'steps' if benchmark.protocol == 'horizon' else 'positions'}, neurons]"
    if len(shape) not in (3, 5):
        yield _error(f"{array.uri}: has shape {list(shape)}, expected {axes} = {list(expected)}")
        return
    if sorted(shape) == sorted(expected) and shape != expected:
        yield _error(
            f"{array.uri}: its axes are swapped: shape {list(shape)}, expected {axes} = "
            f"{list(expected)}"
        )
        return
    names = ("windows", "steps" if benchmark.protocol == "horizon" else "positions", "neurons")
    checked = 3 if len(shape) == 3 else 2
    for name, got, want in list(zip(names, shape, expected, strict=False))[:checked]:
        if got != want:
            yield _error(
                f"{array.uri}: {got} {name}, expected {want} ({benchmark.label}, {series.name})"
            )
    steps = array.chunk[1] if benchmark.protocol == "horizon" else benchmark.horizon
    wide = (-(-n // c) * c for n, c in zip(shape[2:], array.chunk[2:], strict=True))
    row = array.chunk[0] * steps * math.prod(wide) * 4
    if row > ROW_LIMIT:
        yield _error(
            f"{array.uri}: chunks of {list(array.chunk)} make {row:,} bytes in memory at once, "
            f"expected at most {ROW_LIMIT:,}; write chunks of 32 windows and 1 step"
        )


def _error(message: str) -> Finding:
    return Finding(severity="error", message=message)
