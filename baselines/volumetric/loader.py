"""The loader: batches of video for the training loop, each host reading its own parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import final

import numpy as np

from baselines.batches import Batch, Batches
from baselines.volumetric.configuration import Configuration
from baselines.volumetric.sharding import Layout
from baselines.volumetric.sizes import Size
from baselines.volumetric.specimens import (
    Loader,
    Specimen,
    placed,
    specimen_of,
    told_stimulus,
)
from zapeval.errors import InvalidInput
from zapeval.forecasting.training import Training, TrainingSeries

_VALIDATION_SEED = 0
"""Every training validates on the same windows and lead times."""


@dataclass(frozen=True, kw_only=True)
class _Window:
    series: TrainingSeries
    origin: int
    lead: int
    """Frames from the last of the context to the one that is wanted; for all, the first: 1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Group:
    """Series of one recording in which the same neurons are scored."""

    specimen: Specimen
    series: list[TrainingSeries] = field(default_factory=list)


@final
class VideoBatches(Batches):
    """Windows of video, their lead time and the frame at it drawn uniformly.

    A batch has ``frames``, ``lead`` (where the head is told one), ``truth``, ``windows`` (weights),
    ``anatomy``, ``past_stimulus`` and ``future_stimulus`` as the model is told them and, to train
    with dropout, ``key``. The truth is the frame itself; to validate it is the recorded traces,
    which are what is scored.

    Source: Immer et al. 2025 (arXiv 2503.00073), section 4.

    Args:
        training: Where the windows are.
        configuration: The model's.
        layout: Where its arrays lie.
        size: Windows a batch.
        kept: Size of the centre of frames to keep, None for all.
        resolution: How much coarser in x and y the model sees the video.
        validation: Windows to validate with, at most.
        others: Frames of further recordings, to train on and not to validate with.

    Raises:
        InvalidInput: A recording has no video or segmentation that fits, or there is no window to
            validate with.
    """

    def __init__(
        self,
        training: Training,
        configuration: Configuration,
        layout: Layout,
        *,
        size: int,
        kept: Size | None = None,
        resolution: int = 1,
        validation: int = 128,
        others: Sequence[TrainingSeries] = (),
    ) -> None:
        layout.check_batch(size)
        self._c, self._layout, self._size = configuration, layout, size
        self._seed, self._horizon = training.seed, training.horizon
        # What is shown during a horizon is known of whole windows alone.
        self._whole = bool(configuration.past_stimulus or configuration.future_stimulus)
        self._loader = Loader()
        self._groups = self._grouped((*training.series, *others), kept, resolution)
        self._known: dict[tuple[int, int], list[tuple[TrainingSeries, int]]] = {}
        counts = [len(self._windows(number, 1)) for number in range(len(self._groups))]
        self._shares = np.array(counts) / sum(counts)
        self._validation = [self._thinned(group, validation) for group in self._groups]
        if not any(self._validation):
            raise InvalidInput(
                f"{training.benchmark}: has no validation window of {training.context} + "
                f"{training.horizon} frames to choose a checkpoint by; give its series "
                "validation ranges"
            )

    @property
    def specimens(self) -> tuple[Specimen, ...]:
        """What is seen of each recording."""
        return tuple(group.specimen for group in self._groups)

    @property
    def read_bytes(self) -> int:
        """Bytes of voxels that this host has read so far, as float32."""
        return self._loader.read_bytes

    def train(self, step: int) -> Batch:
        """Returns the batch of a step."""
        rng = np.random.default_rng([self._seed, step])
        number = int(rng.choice(len(self._groups), p=self._shares))
        windows = [self._drawn(rng, number) for _ in range(self._size)]
        group = self._groups[number]
        batch = self._batch(group, windows)
        wanted = [
            partial(w.series.video, (w.origin + w.lead - 1, w.origin + w.lead - 1 + self._c.steps))
            for w in windows
        ]
        specimen, where = group.specimen, self._layout.frames
        batch["truth"] = self._loader.frames(
            wanted, self._c.steps, specimen.crop, specimen.output, where
        )
        if self._c.dropout:
            key = rng.integers(0, 1 << 32, 2, dtype=np.uint32)
            batch["key"] = placed(key, self._layout.everywhere)
        return batch

    def validation(self) -> Iterator[Batch]:
        """Yields every window that is validated with once; copies without weight fill a batch."""
        for group, windows in zip(self._groups, self._validation, strict=True):
            for start in range(0, len(windows), self._size):
                some = windows[start : start + self._size]
                missing = self._size - len(some)
                batch = self._batch(group, some + some[-1:] * missing, without=missing)
                traces = np.stack([self._traces(window) for window in some + some[-1:] * missing])
                yield batch | {"truth": placed(traces, self._layout.windows)}

    def _batch(self, group: _Group, windows: list[_Window], without: int = 0) -> Batch:
        context, crop = self._c.context, group.specimen.crop
        reads = [partial(w.series.video, (w.origin - context, w.origin)) for w in windows]
        weight = np.ones(len(windows), np.float32)
        weight[len(windows) - without :] = 0
        batch: Batch = {
            "frames": self._loader.frames(
                reads, context, crop, crop.resolution, self._layout.frames
            ),
            "windows": placed(weight, self._layout.windows),
            "anatomy": group.specimen.anatomy,
        }
        if self._c.told_lead_time:
            leads = np.array([window.lead for window in windows], np.int32)
            batch["lead"] = placed(leads, self._layout.windows)
        if self._whole:
            batch |= self._stimuli(windows)
        return batch

    def _stimuli(self, windows: list[_Window]) -> Batch:
        """Returns what the model is told of stimuli, float32 ``[windows, frames, features]``."""
        seen = [window.series.contexts([window.origin]) for window in windows]
        past = told_stimulus(
            windows[0].series.name, [s.stimulus for s in seen], self._c.past_stimulus
        )
        future = told_stimulus(
            windows[0].series.name, [s.future_stimulus for s in seen], self._c.future_stimulus
        )
        told = {"past_stimulus": past, "future_stimulus": future}
        return {n: placed(v, self._layout.windows) for n, v in told.items() if v is not None}

    def _traces(self, window: _Window) -> np.ndarray:
        """Returns what was recorded, float32 ``[steps, neurons]``."""
        targets = window.series.targets([window.origin])[0]
        wanted: np.ndarray = targets[window.lead - 1 :][: self._c.steps]
        return wanted

    def _drawn(self, rng: np.random.Generator, group: int) -> _Window:
        lead = int(rng.integers(1, self._horizon + 1)) if self._c.told_lead_time else 1
        windows = self._windows(group, lead)
        series, origin = windows[int(rng.integers(len(windows)))]
        return _Window(series=series, origin=origin, lead=lead)

    def _windows(self, group: int, lead: int) -> list[tuple[TrainingSeries, int]]:
        """Returns the windows to draw from, all the frames of which are trained on."""
        if (group, lead) not in self._known:
            near = self._c.steps == 1 and not self._whole
            self._known[group, lead] = [
                (series, origin)
                for series in self._groups[group].series
                for origin in (series.lead_origins(lead) if near else series.train_origins)
            ]
        return self._known[group, lead]

    def _thinned(self, group: _Group, most: int) -> list[_Window]:
        """Returns validation windows, evenly spread, each with a lead time of its own."""
        every = [
            (series, origin) for series in group.series for origin in series.validation_origins
        ]
        count = min(most, len(every))
        chosen = [every[i * len(every) // count] for i in range(count)]
        leads = np.ones(count, int)
        if self._c.told_lead_time:
            leads = np.arange(count) % self._horizon + 1
            np.random.default_rng(_VALIDATION_SEED).shuffle(leads)
        return [
            _Window(series=series, origin=origin, lead=int(lead))
            for (series, origin), lead in zip(chosen, leads, strict=True)
        ]

    def _grouped(
        self, every: Sequence[TrainingSeries], kept: Size | None, resolution: int
    ) -> list[_Group]:
        groups: dict[object, _Group] = {}
        for series in every:
            mask = series.mask
            key = (series.recording, None if mask is None else mask.tobytes())
            if key not in groups:
                video = series.contexts(series.train_origins[:1]).video
                if video is None:
                    raise InvalidInput(f"{series.name}: is trained on without its video")
                x, y, z = video.shape
                specimen = specimen_of(
                    self._c,
                    self._layout,
                    video.labels,
                    (x, y, z),
                    series.neurons,
                    mask=mask,
                    kept=kept,
                    resolution=resolution,
                )
                groups[key] = _Group(specimen=specimen)
            groups[key].series.append(series)
        return list(groups.values())
