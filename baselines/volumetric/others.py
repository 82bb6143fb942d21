"""The others: recordings of further animals whose frames are trained on, and on nothing else.

Source: Immer et al. 2025 (arXiv 2503.00073), pre-training on other specimens: their frames join the
training frames, within condition bounds of their own, and never those that choose a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from zapeval.benchmarks.own import read_own
from zapeval.errors import InvalidInput
from zapeval.forecasting.training import Training, TrainingSeries, joined_series
from zapeval.recordings.recording import Recording, open_recording


def other_series(
    places: Sequence[str], training: Training, covariates: tuple[str, ...]
) -> tuple[TrainingSeries, ...]:
    """Returns the frames of other recordings that join the training frames.

    Args:
        places: A recording's folder, all frames of which join; or a TOML file that defines a
            benchmark, the training ranges of which do.
        training: What they join.
        covariates: What the forecaster asks for beside activity.

    Raises:
        InvalidInput: A place holds no window that may be trained on, or is a recording that the
            benchmark is over: its test frames would be trained on.
        NotFound: There is nothing at a place.
    """
    found: list[TrainingSeries] = []
    for place in places:
        joined = _of_benchmark if place.endswith(".toml") else _of_recording
        own = tuple(joined(place, training, covariates))
        windows = sum(len(series.train_origins) for series in own)
        if not windows:
            raise InvalidInput(
                f"{place}: no training range holds a window of {training.context} + "
                f"{training.horizon} frames; widen its ranges, or leave it out"
            )
        training.note(f"{place}: {windows:,} windows of another recording join the training")
        found += (series for series in own if series.train_origins)
    return tuple(found)


def _of_recording(
    place: str, training: Training, covariates: tuple[str, ...]
) -> Iterator[TrainingSeries]:
    recording = open_recording(place)
    _check_another(place, recording, training)
    yield joined_series(
        recording,
        place,
        ((0, recording.frames),),
        context=training.context,
        horizon=training.horizon,
        covariates=covariates,
    )


def _of_benchmark(
    place: str, training: Training, covariates: tuple[str, ...]
) -> Iterator[TrainingSeries]:
    recipe = read_own(place)
    recordings = recipe.recordings()
    for series in recipe.resolve(recordings).series:
        recording = recordings[series.recording]
        _check_another(place, recording, training)
        if series.train:
            yield joined_series(
                recording,
                f"{place}: {series.recording}",
                series.train,
                context=training.context,
                horizon=training.horizon,
                mask=series.mask,
                covariates=covariates,
            )


def _check_another(place: str, recording: Recording, training: Training) -> None:
    """Checks that a recording is none of the benchmark's, wherever it is stored."""
    for series in training.series:
        start = series.train[0][0]
        if recording.neurons != series.neurons or recording.frames <= start:
            continue
        frame = recording.activity.read((start, start + 1)).astype(np.float32, copy=False)
        if np.array_equal(frame, series.activity((start, start + 1))):
            raise InvalidInput(
                f"{place}: {recording.activity_uri} is recording {series.recording!r} of "
                f"{training.benchmark}, which is tested on some of its frames; give another"
            )
