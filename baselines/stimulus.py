"""Stimulus-evoked forecasters: the average response to ZAPBench's trials, whatever the context.

A condition shows its stimulus in trials. Trials are aligned at their ends, since the first may lack
its beginning, and averaged; the average, laid under the trials again, is the forecast. A condition
without trials has its mean. Source: Lueckmann et al. 2025 (arXiv 2503.02618), the stimulus
baseline; lengths of trials as in its published series.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from baselines.columns import columns_of
from zapeval.benchmarks.benchmark import Span
from zapeval.benchmarks.zapbench import CONDITIONS, OFFSETS
from zapeval.errors import InvalidInput, UsageError
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.training import Training, TrainingSeries

_FILE = "evoked.npz"


@dataclass(frozen=True, kw_only=True)
class Trials:
    """The stimulus trials of one condition.

    Attributes:
        lengths: Frames of each trial; together they fill the condition, padding included.
        kept_back: How many of the last trials stay out of the average, for they hold test frames.
    """

    lengths: tuple[int, ...]
    kept_back: int

    @property
    def phases(self) -> np.ndarray:
        """Place of each frame in the average, integers ``[frames]``."""
        longest = max(self.lengths)
        return np.concatenate([np.arange(longest - length, longest) for length in self.lengths])

    @property
    def averaged(self) -> int:
        """Frames of the trials that are averaged."""
        return sum(self.lengths[: len(self.lengths) - self.kept_back])


TRIALS: dict[str, Trials] = {
    "gain": Trials(lengths=(58, 66, 66, 65, 66, 66, 65, 66, 66, 65), kept_back=2),
    "dots": Trials(lengths=(591, 591, 591), kept_back=1),
    "flash": Trials(lengths=(65, 66, 66, 65, 66, 65, 66, 66, 65, 66), kept_back=2),
    "taxis": Trials(lengths=(131, 132, 131, 131, 132), kept_back=1),
    "turning": Trials(lengths=(262, 263, 262, 263, 262), kept_back=1),
    "position": Trials(lengths=(197, 197, 197), kept_back=1),
    "rotation": Trials(lengths=(66, 65, 66, 65, 66, 66, 65, 66, 66, 65), kept_back=2),
}
"""Trials of the conditions that have any; ``open loop`` and ``dark`` have none."""


def frames_of(condition: str) -> Span:
    """Returns the frames of a condition, padding included."""
    index = CONDITIONS.index(condition)
    return OFFSETS[index], OFFSETS[index + 1]


def phases_of(condition: str) -> np.ndarray:
    """Returns the place of each of a condition's frames in its average, integers ``[frames]``."""
    if condition in TRIALS:
        return TRIALS[condition].phases
    start, stop = frames_of(condition)
    return np.zeros(stop - start, np.int64)


def averaged_frames(condition: str) -> Span:
    """Returns the frames that the published series averages: all but those of the last trials."""
    start, stop = frames_of(condition)
    return start, start + TRIALS[condition].averaged if condition in TRIALS else stop


class _Evoked(Forecaster):
    """Forecasts an average that it keeps for each condition, float32 ``[phases, neurons]``."""

    version = "1"

    def __init__(self) -> None:
        self._averages: dict[str, np.ndarray] = {}

    @property
    def size(self) -> int | None:
        """Number of averaged values."""
        return sum(average.size for average in self._averages.values()) or None

    @abstractmethod
    def fit(self, training: Training) -> None:
        """Averages the trials of each condition."""

    def save(self, folder: Path) -> None:
        """Writes the averages."""
        np.savez(folder / _FILE, **self._averages)  # type: ignore[arg-type]

    def load(self, folder: Path) -> None:
        """Reads the averages."""
        with np.load(folder / _FILE, allow_pickle=False) as archive:
            self._averages = {name: archive[name] for name in archive.files}

    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the average at the target frames.

        Raises:
            InvalidInput: The series is no condition of ZAPBench, or has other frames.
        """
        start, stop = frames_of(_condition(self.name, contexts.series))
        if contexts.series not in self._averages:
            return self._unseen(contexts)
        frames = np.array(contexts.origins)[:, None] + np.arange(contexts.horizon) - start
        if frames.min() < 0 or frames.max() >= stop - start:
            raise InvalidInput(
                f"{self.name}: {contexts.series}: target frames {frames.min() + start} to "
                f"{frames.max() + start}, expected frames of [{start}, {stop}), as in ZAPBench"
            )
        evoked: np.ndarray = self._averages[contexts.series][phases_of(contexts.series)[frames]]
        return evoked

    @abstractmethod
    def _unseen(self, contexts: Contexts) -> np.ndarray:
        """Returns the forecast of a condition that has no average."""

    def _average(
        self,
        series: TrainingSeries,
        spans: tuple[Span, ...],
        read: Callable[[Span, Span], np.ndarray],
    ) -> None:
        """Averages the trials of a condition over some of its frames."""
        first = frames_of(series.name)[0]
        phases = phases_of(series.name)
        averages = np.empty((phases.max() + 1, series.neurons), np.float32)
        for columns in columns_of(series.neurons):
            sums = np.zeros((len(averages), columns[1] - columns[0]))
            counts = np.zeros(len(averages))
            for span in spans:
                for phase, frame in zip(
                    phases[span[0] - first : span[1] - first], read(span, columns), strict=True
                ):
                    sums[phase] += frame
                    counts[phase] += 1
            averages[:, slice(*columns)] = sums / counts[:, None]
        self._averages[series.name] = averages


@final
class Stimulus(_Evoked):
    """Repeats the average response to the stimulus, as published; it sees test frames.

    The average is over all but the last trials of a condition, and over the whole of those without
    trials (Lueckmann et al. 2025).
    """

    name = "stimulus"
    leaks = (
        "averages test frames into its forecast: all 196 of open loop, all 119 of dark, 268 of 399 "
        "of taxis, 1 of 262 of turning"
    )

    def fit(self, training: Training) -> None:
        """Averages the trials, test frames among them.

        Raises:
            InvalidInput: The benchmark has other conditions than ZAPBench.
        """
        for series in _conditions(self.name, training):
            array = series.every_frame()
            self._average(
                series,
                (averaged_frames(series.name),),
                lambda span, columns, array=array: array.read(span, columns),  # type: ignore[misc]
            )

    def _unseen(self, contexts: Contexts) -> np.ndarray:
        raise UsageError(f"{self.name}: {contexts.series}: was not fitted; call fit or load first")


@final
class StimulusTrain(_Evoked):
    """Repeats the average response to the stimulus in the training frames.

    The twin of ``stimulus`` that sees no test frame: trials, and conditions without trials, are
    averaged over training frames alone. Of a held-out condition it knows no response; it repeats
    the mean of the context.
    """

    name = "stimulus-train"

    def fit(self, training: Training) -> None:
        """Averages the training frames of the trials.

        Raises:
            InvalidInput: The benchmark has other conditions than ZAPBench.
        """
        for series in _conditions(self.name, training):
            if series.train:
                self._average(series, series.train, series.activity)

    def _unseen(self, contexts: Contexts) -> np.ndarray:
        mean = contexts.activity.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
        return np.repeat(mean, contexts.horizon, axis=1)


def _conditions(who: str, training: Training) -> Iterator[TrainingSeries]:
    """Yields every series, after a look at whether they are ZAPBench's conditions."""
    every = training.series + training.held_out
    for series in every:
        start, stop = frames_of(_condition(who, series.name))
        for a, b in series.train:
            if not start <= a < b <= stop:
                raise InvalidInput(
                    f"{who}: {training.benchmark}: {series.name} is trained on frames [{a}, {b}), "
                    f"expected some of [{start}, {stop}), as in ZAPBench"
                )
    yield from every


def _condition(who: str, series: str) -> str:
    if series not in CONDITIONS:
        raise InvalidInput(
            f"{who}: series {series!r} is no condition of ZAPBench, whose stimulus it knows: "
            f"{', '.join(CONDITIONS)}; use it on zapbench or a benchmark in its frames"
        )
    return series
