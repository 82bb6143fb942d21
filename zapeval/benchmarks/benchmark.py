"""A benchmark: a task as frozen data, with its window arithmetic and its digest.

Index convention (both protocols; frames count from 0):

* ``horizon``: a window has an origin ``o``. The forecaster sees frames ``[o - C, o)``; step ``h``
  (1-based) predicts frame ``o + h - 1``.
* ``next-step``: position ``k`` (1-based) predicts frame ``o + k - 1`` from frames
  ``[o - 1, o + k - 1)`` and nothing later. All positions are one step ahead and are pooled.

In both, the targets of a window are the frames ``[o, o + H)``: they do not depend on the context
length, so scores at different context lengths are over the same targets.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zapeval.errors import InvalidInput, NotFound, UsageError

Protocol = Literal["horizon", "next-step"]
Sampled = Literal["time", "series"]
Span = tuple[int, int]

PRIMARY = ("mae", "mse", "correlation")
"""Metrics that can be the summary."""

EXTRA = ("mse_pooled",)
"""Metrics that a benchmark may ask for beside those."""

METRIC_DEFINITIONS = 1
"""Version of the metric definitions in zapeval/scoring/metrics.py; part of every digest."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """What is averaged together: one condition of a fish, one worm.

    Attributes:
        name: Plain name, as it stands in tables ("gain").
        array: Name of its array in a predictions store ("test_condition_0").
        recording: Key of the recording that holds its frames; never a URI.
        origins: Origins of the scored windows, never decreasing.
        group: Source or animal it belongs to, or "".
        held_out: Whether it is left out of training, and so of the average.
        train: Frame ranges ``[start, stop)`` that may be trained on.
        validation: Frame ranges ``[start, stop)`` for choosing checkpoints.
        mask: Which neurons are scored, one flag a neuron; None scores all.
    """

    name: str
    array: str
    recording: str
    origins: tuple[int, ...]
    group: str = ""
    held_out: bool = False
    train: tuple[Span, ...] = ()
    validation: tuple[Span, ...] = ()
    mask: tuple[bool, ...] | None = None

    def __post_init__(self) -> None:
        if not self.origins:
            raise InvalidInput(f"series {self.name!r}: has no window; widen its test range")
        if any(b < a for a, b in zip(self.origins, self.origins[1:], strict=False)):
            raise InvalidInput(f"series {self.name!r}: window origins decrease; sort them")
        for start, stop in self.train + self.validation:
            if not 0 <= start < stop:
                raise InvalidInput(f"series {self.name!r}: frame range [{start}, {stop}) is empty")
        if self.mask is not None and not any(self.mask):
            raise InvalidInput(f"series {self.name!r}: its mask scores no neuron")

    @property
    def windows(self) -> int:
        """Number of scored windows."""
        return len(self.origins)


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A resolved task: all that determines its scores, and nothing that can change.

    Attributes:
        id: Name on the command line ("zapbench").
        version: Whole number; a change of a benchmark is a new version. 0 means free to change.
        protocol: ``horizon`` or ``next-step`` (see the module's index convention).
        context_lengths: The context lengths that have boards, ascending.
        max_context: Longest context length that is allowed; 1 is the shortest.
        horizon: Steps ahead (``horizon``) or positions (``next-step``) of a window.
        series: What is averaged, in the order of every table.
        frames: (recording key, number of frames) of each recording.
        primary: The metric of the summary.
        extra_metrics: Metrics beside the usual ones, in the order of tables.
        summary_steps: Steps (1-based) whose mean is the summary.
        sampled: What chance acts on: windows in time, or series (animals).
        frame_seconds: Time between frames in seconds, where it is known.
        title: One line that says what it is.
        citation: The work to cite for it.
    """

    id: str
    version: int
    protocol: Protocol
    context_lengths: tuple[int, ...]
    max_context: int
    horizon: int
    series: tuple[Series, ...]
    frames: tuple[tuple[str, int], ...]
    summary_steps: tuple[int, ...]
    primary: str = "mae"
    extra_metrics: tuple[str, ...] = ()
    sampled: Sampled = "time"
    frame_seconds: float | None = None
    title: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        _check_names(self)
        _check_steps(self)
        for series in self.series:
            _check_frames(self, series)

    @property
    def label(self) -> str:
        """Id and version as users write them: ``zapbench@1``."""
        return f"{self.id}@{self.version}"

    @property
    def steps(self) -> int:
        """Number of scored steps: the horizon, or 1 where all positions are pooled."""
        return self.horizon if self.protocol == "horizon" else 1

    @property
    def windows(self) -> int:
        """Number of scored windows over all series."""
        return sum(series.windows for series in self.series)

    @property
    def digest(self) -> str:
        """SHA-256 over everything that determines scores, as ``sha256:`` and 64 hex digits.

        Covered: identity, protocol, context lengths, horizon, frames, every series with its
        origins, ranges and mask bits, summary, and the version of the metric definitions. Title,
        citation and the duration of a frame are prose and stand outside.
        """
        text = json.dumps(_identity(self), sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def one(self, name: str) -> Series:
        """Returns the series of that name.

        Raises:
            NotFound: No series is called that; the message lists the known ones.
        """
        for series in self.series:
            if series.name == name:
                return series
        known = ", ".join(series.name for series in self.series)
        raise NotFound(f"series {name!r}: not in {self.label}; known: {known}")

    def check_context(self, context: int | None) -> int:
        """Returns the context length to use, the only one where none is asked for.

        Raises:
            UsageError: None was given and several exist, or the protocol does not allow it.
        """
        if context is None:
            if len(self.context_lengths) == 1:
                return self.context_lengths[0]
            known = " or ".join(str(length) for length in self.context_lengths)
            raise UsageError(f"{self.label}: has several context lengths; say -c {known}")
        if not 1 <= context <= self.max_context:
            raise UsageError(
                f"{self.label}: context length {context} is not allowed; "
                f"expected 1 to {self.max_context} frames"
            )
        return context


def target_span(benchmark: Benchmark, series: Series) -> Span:
    """Returns the frames ``[start, stop)`` that hold every target of the series."""
    return series.origins[0], series.origins[-1] + benchmark.horizon


def context_span(benchmark: Benchmark, origin: int, context: int) -> Span:
    """Returns the frames ``[start, stop)`` that a forecaster may see for the window at origin.

    For ``next-step`` these are the inputs of all positions: ``[origin - 1, origin - 1 + H)``.
    """
    if benchmark.protocol == "next-step":
        return origin - 1, origin - 1 + benchmark.horizon
    return origin - context, origin


def windows_in(span: Span, horizon: int, stride: int = 1) -> tuple[int, ...]:
    """Returns the origins of all windows whose targets lie in ``[start, stop)``."""
    start, stop = span
    return tuple(range(start, stop - horizon + 1, stride))


def mask_array(series: Series, neurons: int) -> np.ndarray | None:
    """Returns the mask as ``bool [neurons]``, or None where every neuron is scored.

    Raises:
        InvalidInput: The mask has another length than the recording has neurons.
    """
    if series.mask is None:
        return None
    if len(series.mask) != neurons:
        raise InvalidInput(
            f"series {series.name!r}: its mask has {len(series.mask)} flags, expected one for "
            f"each of the recording's {neurons} neurons"
        )
    return np.array(series.mask, dtype=bool)


def _check_names(benchmark: Benchmark) -> None:
    if not benchmark.series:
        raise InvalidInput(f"benchmark {benchmark.label}: has no series")
    for kind in ("name", "array"):
        names = [getattr(series, kind) for series in benchmark.series]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InvalidInput(f"benchmark {benchmark.label}: series {kind} {twice[0]!r} is taken")
    reserved = [s.name for s in benchmark.series if s.name.split(":")[0] in ("average", "pooled")]
    if reserved:
        raise InvalidInput(
            f"benchmark {benchmark.label}: a series is called {reserved[0]!r}, which names a "
            "row of the scorecard; call it something else"
        )
    if all(series.held_out for series in benchmark.series):
        raise InvalidInput(f"benchmark {benchmark.label}: every series is held out")


def _check_steps(benchmark: Benchmark) -> None:
    if benchmark.horizon < 1:
        raise InvalidInput(f"benchmark {benchmark.label}: horizon {benchmark.horizon} is below 1")
    if benchmark.primary not in PRIMARY:
        raise InvalidInput(
            f"benchmark {benchmark.label}: primary metric {benchmark.primary!r}, expected one of "
            f"{', '.join(PRIMARY)}"
        )
    unknown = [name for name in benchmark.extra_metrics if name not in EXTRA]
    if unknown:
        raise InvalidInput(
            f"benchmark {benchmark.label}: extra metric {unknown[0]!r}, expected one of "
            f"{', '.join(EXTRA)}"
        )
    bad = [step for step in benchmark.summary_steps if not 1 <= step <= benchmark.steps]
    if bad or not benchmark.summary_steps:
        raise InvalidInput(
            f"benchmark {benchmark.label}: summary steps {list(benchmark.summary_steps)}, "
            f"expected some of 1 to {benchmark.steps}"
        )
    lengths = benchmark.context_lengths
    if not lengths or list(lengths) != sorted(set(lengths)) or lengths[0] < 1:
        raise InvalidInput(
            f"benchmark {benchmark.label}: context lengths {list(lengths)}, expected ascending "
            "whole numbers from 1"
        )
    if lengths[-1] > benchmark.max_context:
        raise InvalidInput(
            f"benchmark {benchmark.label}: context length {lengths[-1]} exceeds the longest "
            f"allowed, {benchmark.max_context}"
        )


def _check_frames(benchmark: Benchmark, series: Series) -> None:
    frames = dict(benchmark.frames)
    if series.recording not in frames:
        raise InvalidInput(
            f"series {series.name!r}: recording {series.recording!r} is not one of {sorted(frames)}"
        )
    start = context_span(benchmark, series.origins[0], benchmark.max_context)[0]
    stop = target_span(benchmark, series)[1]
    if start < 0 or stop > frames[series.recording]:
        raise InvalidInput(
            f"series {series.name!r}: its windows need frames [{start}, {stop}), but recording "
            f"{series.recording!r} has frames [0, {frames[series.recording]})"
        )


def _identity(benchmark: Benchmark) -> Mapping[str, object]:
    # Named only where there are any: the digests of benchmarks without them stay what they were.
    extra: dict[str, object] = (
        {"extra_metrics": benchmark.extra_metrics} if benchmark.extra_metrics else {}
    )
    return extra | {
        "id": benchmark.id,
        "version": benchmark.version,
        "protocol": benchmark.protocol,
        "context_lengths": benchmark.context_lengths,
        "max_context": benchmark.max_context,
        "horizon": benchmark.horizon,
        "frames": sorted(benchmark.frames),
        "primary": benchmark.primary,
        "summary_steps": benchmark.summary_steps,
        "sampled": benchmark.sampled,
        "metric_definitions": METRIC_DEFINITIONS,
        "series": [
            {
                "name": series.name,
                "array": series.array,
                "recording": series.recording,
                "group": series.group,
                "held_out": series.held_out,
                "train": series.train,
                "validation": series.validation,
                "origins": series.origins,
                "mask": _packed(series.mask),
            }
            for series in benchmark.series
        ],
    }


def _packed(mask: tuple[bool, ...] | None) -> str | None:
    if mask is None:
        return None
    bits = np.packbits(np.array(mask, dtype=bool)).tobytes()
    return f"{len(mask)}:{hashlib.sha256(bits).hexdigest()}"
