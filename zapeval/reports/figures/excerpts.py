"""Excerpts: what was seen, what came, and what was forecast of single neurons in single windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Series, Span, context_span
from zapeval.errors import InvalidInput, UsageError
from zapeval.forecasting.check import check, require_no_errors
from zapeval.forecasting.predictions import Predictions
from zapeval.recordings.grid import Grid
from zapeval.recordings.recording import Recording, Recordings
from zapeval.recordings.segmentation import open_segmentation
from zapeval.reports.figures import look
from zapeval.reports.figures.curves import labels_of
from zapeval.reports.figures.labels import numbered, short
from zapeval.reports.groups import neuron_finder

NEURONS, WINDOWS, FORECASTERS = 8, 4, len(look.COLOURS) - 1
"""Most of each in one figure: black, the last colour, is for what came."""

Kind = Literal["context", "actual", "forecast"]

CONTEXT, ACTUAL = "context", "actual"
"""What the lines are called that are no forecast."""

_GREY, _BLACK = "#8C8C8C", "#000000"


@final
@dataclass(frozen=True, kw_only=True)
class Contender:
    """Predictions, as a figure of traces calls them.

    Attributes:
        name: What to call them.
        predictions: The predictions.
        context: Context length that they were made with, in frames.
    """

    name: str
    predictions: Predictions
    context: int


@final
@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of one line.

    Attributes:
        neuron: Label of the neuron.
        window: Label of the window.
        kind: What the line is.
        line: Label of the line, which no other has.
        step: Steps from the last frame that was seen, which is 0; those before are negative.
        frame: Index of the frame in the recording.
        value: Activity.
    """

    neuron: str
    window: str
    kind: Kind
    line: str
    step: int
    frame: int
    value: float


@final
@dataclass(frozen=True, kw_only=True)
class Traces:
    """Lines of some neurons in some windows.

    Attributes:
        title: Of which series.
        labels: What runs across and up, with units.
        points: The points, panel by panel and line by line.
        contexts: Label of each forecaster to the context length that it saw, in frames.
    """

    title: str
    labels: tuple[str, str]
    points: tuple[Point, ...]
    contexts: Mapping[str, int]

    @property
    def colours(self) -> dict[str, str]:
        """Line to its colour."""
        own = {name: look.COLOURS[index] for index, name in enumerate(self.contexts)}
        return {CONTEXT: _GREY, ACTUAL: _BLACK} | own

    @property
    def neurons(self) -> tuple[str, ...]:
        """Label of each neuron."""
        return tuple(dict.fromkeys(point.neuron for point in self.points))

    @property
    def windows(self) -> tuple[str, ...]:
        """Label of each window."""
        return tuple(dict.fromkeys(point.window for point in self.points))

    @property
    def span(self) -> Span:
        """The first and the last step."""
        steps = [point.step for point in self.points]
        return min(steps), max(steps)

    @property
    def marks(self) -> list[tuple[float, str]]:
        """Where each context length begins, the longest first, and what it is called there."""
        first, found = self.span[0], []
        for length in sorted(set(self.contexts.values()), reverse=True):
            cut = "" if 1 - length >= first else f", its last {1 - first} frames"
            found.append((max(1 - length, first) - 0.5, f"C = {length}{cut}"))
        return found


def traces_of(
    contenders: Sequence[Contender],
    benchmark: Benchmark,
    recordings: Recordings,
    *,
    series: str,
    windows: Sequence[int],
    neurons: Sequence[str],
    unit: str = "df/f",
) -> Traces:
    """Returns the lines of neurons in windows of a series.

    Args:
        contenders: The predictions.
        benchmark: What they are for.
        recordings: Its recordings.
        series: Name of the series.
        windows: Which windows, from 0.
        neurons: Names in the neuron table, or indices from 0.
        unit: Unit of the activity.

    Raises:
        NotFound: There is no such series or neuron.
        UsageError: There is no such window, or there is too much for one figure.
        InvalidInput: The predictions can't be scored; says all that is wrong.
        StorageError: Something can't be read.
    """
    for what, given, most in (
        ("forecasters", len(contenders), FORECASTERS),
        ("windows", len(windows), WINDOWS),
        ("neurons", len(neurons), NEURONS),
    ):
        if not 1 <= given <= most:
            raise UsageError(f"traces: {given} {what}, expected 1 to {most} in one figure")
    one = benchmark.one(series)
    outside = [window for window in windows if not 0 <= window < one.windows]
    if outside:
        raise UsageError(
            f"traces: window {outside[0]} is not in {short(series)}, which has windows 0 to "
            f"{one.windows - 1}"
        )
    for contender in contenders:
        found = check(contender.predictions, benchmark, recordings, context=contender.context)
        require_no_errors(contender.predictions, found)
    recording = recordings[one.recording]
    find = neuron_finder(recording)
    columns = list(dict.fromkeys(find(neuron) for neuron in neurons))
    horizon = benchmark.protocol == "horizon"
    names = _names(contenders, named=horizon)
    seen = {
        name: contender.context if horizon else 1
        for name, contender in zip(names, contenders, strict=True)
    }
    # A context of 256 frames would leave no room for what was forecast.
    shown = min(max(seen.values()), benchmark.horizon)
    points: list[Point] = []
    called = numbered([_neuron(recording, column) for column in columns])
    for window in dict.fromkeys(windows):
        read = {
            name: _forecast(contender.predictions, one, recording, window)
            for name, contender in zip(names, contenders, strict=True)
        }
        points += _window(
            benchmark, one, recording, window, shown, dict(zip(called, columns, strict=True)), read
        )
    order = {name: index for index, name in enumerate(called)}
    points.sort(key=lambda point: order[point.neuron])
    return Traces(
        title=f"{short(series)} on {benchmark.label}",
        labels=(labels_of("mae", unit, benchmark.frame_seconds)[0], unit),
        points=tuple(points),
        contexts=seen,
    )


def _names(contenders: Sequence[Contender], *, named: bool) -> list[str]:
    """Returns a label a forecaster, none of which is that of another line."""
    made = [
        short(contender.name) + (f", C = {contender.context}" if named else "")
        for contender in contenders
    ]
    return list(numbered([CONTEXT, ACTUAL, *made])[2:])


def _neuron(recording: Recording, column: int) -> str:
    table = recording.table
    if table is None:
        return f"neuron {column}"
    region = short(table.regions[column])
    return f"{short(table.names[column])}{f', {region}' if region else ''}"


def _forecast(
    predictions: Predictions, series: Series, recording: Recording, window: int
) -> np.ndarray:
    """Returns what is forecast for a window, ``[steps, neurons]``."""
    values: np.ndarray = predictions.arrays[series.array].read((window, window + 1))[0]
    if values.ndim == 4:
        labels = recording.segmentation
        if labels is None:
            raise InvalidInput(
                f"{predictions.uri}: holds volumes, but {recording.uri} has no segmentation"
            )
        said_grid = predictions.manifest.grid if predictions.manifest else None
        grid = said_grid.grid() if said_grid else Grid()
        x, y, z = values.shape[1:]
        values = open_segmentation(labels, recording.neurons, (x, y, z), grid).means(values)
    return values


def _window(
    benchmark: Benchmark,
    series: Series,
    recording: Recording,
    window: int,
    shown: int,
    columns: Mapping[str, int],
    forecasts: Mapping[str, np.ndarray],
) -> Iterator[Point]:
    """Yields the points of a window, neuron by neuron: context, what came, forecasts."""
    origin = series.origins[window]
    first = max(0, context_span(benchmark, origin, shown)[0])
    actual = recording.activity.read((first, origin + benchmark.horizon))
    label = f"{short(series.name)}, window {window}"
    for neuron, column in columns.items():
        # Both begin or end at the last frame that was seen, so that the line does not break.
        lines: list[tuple[Kind, str, int, np.ndarray]] = [
            ("context", CONTEXT, first, actual[: origin - first, column]),
            ("actual", ACTUAL, origin - 1, actual[origin - first - 1 :, column]),
        ]
        for name, values in forecasts.items():
            lines.append(("forecast", name, origin, values[:, column]))
        for kind, line, start, values in lines:
            for frame, value in enumerate(values, start):
                yield Point(
                    neuron=neuron,
                    window=label,
                    kind=kind,
                    line=line,
                    step=frame - origin + 1,
                    frame=frame,
                    value=float(value),
                )
