"""The windows and neurons that a study is scored on: some of a benchmark's, the same for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from baselines.volumetric.crops import crop_of
from zapeval.benchmarks.benchmark import Benchmark, Series, mask_array
from zapeval.errors import InvalidInput, UsageError
from zapeval.recordings.coarsening import picked
from zapeval.recordings.recording import Recording, Recordings


def share_of(text: str) -> int:
    """Returns N of ``1/N``, the share of the windows to score.

    Raises:
        UsageError: It is no such share.
    """
    one, slash, every = text.partition("/")
    if one.strip() != "1" or (slash and not every.strip().isdecimal()) or not int(every or "1"):
        raise UsageError(f"--windows {text}: expected 1/N, e.g. 1/16 for each 16th window")
    return int(every or "1")


def thinned(
    benchmark: Benchmark, every: int, seen: Mapping[str, np.ndarray] | None = None
) -> Benchmark:
    """Returns a benchmark of some windows and neurons; trainings keep to the whole one.

    Args:
        benchmark: The benchmark.
        every: Each how many-th test window of a series is kept, from the first.
        seen: Which neurons are scored beside those that it masks, bool ``[neurons]`` for each
            recording; without it none are.

    Raises:
        InvalidInput: No neuron is left to score.
    """

    def fewer(series: Series) -> Series:
        mask = series.mask
        if seen is not None and not seen[series.recording].all():
            own = mask_array(series, len(seen[series.recording]))
            both = seen[series.recording] if own is None else own & seen[series.recording]
            if not both.any():
                raise InvalidInput(
                    f"{series.name}: no neuron has a voxel in every cell of the study; crop less, "
                    "or see the video more finely"
                )
            mask = tuple(bool(one) for one in both)
        return replace(series, origins=series.origins[::every], mask=mask)

    series = tuple(map(fewer, benchmark.series))
    if series == benchmark.series:
        return benchmark
    # Another name than the benchmark's: its scores never stand on the benchmark's board.
    return replace(benchmark, id=f"{benchmark.id}-every-{every}", series=series)


def seen_by_all(
    parameters: Sequence[Mapping[str, Any]], benchmark: Benchmark, recordings: Recordings
) -> dict[str, np.ndarray]:
    """Returns which neurons every model has a voxel of, bool ``[neurons]`` for each recording.

    Args:
        parameters: What each ``volumetric-unet`` says of itself.
        benchmark: The benchmark.
        recordings: Its recordings.

    Raises:
        InvalidInput: A recording has no segmentation, or a crop does not lie in it.
    """
    views = {(tuple(p["crop"] or ()), p["resolution"], p["full_resolution"]) for p in parameters}
    found = {}
    for key, _ in benchmark.frames:
        recording = recordings[key]
        every = [_seen(recording, crop, times, fine) for crop, times, fine in sorted(views)]
        found[key] = np.logical_and.reduce([np.ones(recording.neurons, bool), *every])
    return found


def _seen(recording: Recording, kept: tuple[int, ...], resolution: int, fine: bool) -> np.ndarray:
    labels = recording.segmentation
    if labels is None or len(labels.shape) != 3:
        raise InvalidInput(
            f"{recording.uri}: has no segmentation [x, y, z], which volumetric models need; use a "
            "recording with video"
        )
    x, y, z = labels.shape
    size = None if not kept else (kept[0], kept[1], kept[2])
    crop = crop_of((x, y, z), size, resolution)
    factor = 1 if fine else resolution
    values = picked(labels.read(*crop.spans((slice(None),) * 3, factor)), factor)
    present = np.zeros(max(recording.neurons, int(labels.dtype.type(values.max()))) + 1, bool)
    present[np.unique(values)] = True
    return present[1 : recording.neurons + 1]
