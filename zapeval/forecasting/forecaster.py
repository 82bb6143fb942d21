"""The forecaster: contexts in, forecast out; the contract of every plugin.

Three classes to choose from: ``Forecaster`` forecasts the whole horizon, ``NextStepForecaster``
goes through a sequence one step ahead, ``VideoForecaster`` forecasts frames of video. Each has one
method to write.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from zapeval.errors import BrokenPlugin
from zapeval.forecasting.contexts import VIDEO, Contexts
from zapeval.recordings.grid import Grid

if TYPE_CHECKING:
    from zapeval.forecasting.training import Training
    from zapeval.recordings.segmentation import Segmentation


class Forecaster(ABC):
    """Forecasts activity; subclass it, name it, and write one method.

    One that learns also writes ``fit``, ``save`` and ``load``.

    Attributes:
        name: Name in manifests and tables.
        version: Version of the forecaster.
        covariates: What it asks for beside activity: ``stimulus``, ``future_stimulus``, ``video``.
        leaks: What it sees of the test frames beside its contexts; "" if nothing, as it should be.
        when_forecasting: Arguments that change how it forecasts and not what it learns, and so may
            be given anew beside a checkpoint; each is one of its parameters too.
    """

    name: ClassVar[str]
    version: ClassVar[str] = ""
    covariates: tuple[str, ...] = ()
    leaks: str = ""
    when_forecasting: ClassVar[tuple[str, ...]] = ()

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What sets it apart from others of its name; JSON, for the manifest."""
        return {}

    @property
    def size(self) -> int | None:
        """Number of learned parameters, where it is known."""
        return None

    @property
    def learns(self) -> bool:
        """Whether it has to be fitted before it forecasts."""
        return type(self).fit is not Forecaster.fit

    @abstractmethod
    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the forecast in df/f, float32 ``[windows, horizon, neurons]``.

        Each window is forecast from its own context alone, and equally in any batch.
        """

    # Not abstract: a forecaster that learns nothing leaves the next three alone.
    def fit(self, training: Training) -> None:
        """Learns from the training frames of a benchmark, and from nothing else.

        What it keeps in ``training.folder`` outlives an interruption.
        """
        raise NotImplementedError(f"{self.name}: has nothing to learn")

    def save(self, folder: Path) -> None:
        """Writes what it has learned into a folder that exists."""
        raise NotImplementedError(f"{self.name}: learns, but can't save what it has learned")

    def load(self, folder: Path) -> None:
        """Takes up what was saved there."""
        raise NotImplementedError(f"{self.name}: learns, but can't load what it has learned")


class NextStepForecaster(Forecaster):
    """Goes through a sequence and forecasts each next frame; causal."""

    @abstractmethod
    def next_steps(self, contexts: Contexts) -> np.ndarray:
        """Returns the frame after each frame of the sequences, in df/f.

        Position ``k`` of the result hangs on the frames up to ``k`` and on nothing later; where a
        benchmark scores next steps, that is put to the test.

        Returns:
            float32 ``[windows, context, neurons]``.
        """

    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns a roll-out: each step is fed back as the newest frame of the sequence.

        Raises:
            BrokenPlugin: It asks for the stimulus of the context or of the horizon alone.
        """
        sequence = contexts.activity
        for step in range(contexts.horizon):
            newest = self.next_steps(self._fed_back(contexts, sequence, step))[:, -1:]
            sequence = np.concatenate([sequence, newest], axis=1)
        return sequence[:, contexts.activity.shape[1] :]

    def _fed_back(self, contexts: Contexts, sequence: np.ndarray, step: int) -> Contexts:
        """Returns the sequence after some steps, with the stimulus of all its frames."""
        stimulus, future = contexts.stimulus, contexts.future_stimulus
        if stimulus is not None and future is not None:
            stimulus, future = (
                np.concatenate([stimulus, future[:, :step]], axis=1),
                np.concatenate([stimulus[:, 1:], future[:, : step + 1]], axis=1),
            )
        elif future is not None or (stimulus is not None and contexts.horizon > 1):
            raise BrokenPlugin(
                f"{self.name}: asks for {', '.join(self.covariates)}; next steps that are fed back "
                "need both stimulus and future_stimulus, or neither"
            )
        return replace(
            contexts,
            activity=sequence,
            horizon=1,
            origins=tuple(origin + step for origin in contexts.origins),
            stimulus=stimulus,
            future_stimulus=future,
        )


class VideoForecaster(Forecaster):
    """Forecasts frames of video; the segmentation turns them into traces.

    Attributes:
        grid: Where the voxels of its frames lie in the segmentation; by default voxel on voxel.
    """

    covariates = (VIDEO,)
    grid: Grid = Grid()

    @abstractmethod
    def frames(self, contexts: Contexts) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yields ``(window, step, frame)``, each pair once, in any order, steps from 1.

        Frames are float32 ``[x, y, z]`` in df/f, all of one size. A batch is never held whole.
        """

    def grid_of(self, contexts: Contexts) -> Grid:
        """Returns where the voxels of its frames lie in the segmentation of such contexts."""
        del contexts
        return self.grid

    @final
    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the mean of each frame over each neuron's voxels; NaN for one without any.

        Source: Immer et al. 2025 (arXiv 2503.00073), Eq. 1.
        """
        shape = (len(contexts), contexts.horizon, contexts.activity.shape[2])
        traces = np.empty(shape, np.float32)
        written = np.zeros(shape[:2], bool)
        for window, step, frame in self.frames(contexts):
            if not (0 <= window < shape[0] and 1 <= step <= shape[1]) or written[window, step - 1]:
                raise BrokenPlugin(
                    f"{self.name}: {contexts.series}: gave a frame for window {window}, step "
                    f"{step}; expected each of {shape[0]} windows and steps 1 to {shape[1]} once"
                )
            traces[window, step - 1] = self._traces(contexts, frame)
            written[window, step - 1] = True
        if not written.all():
            window, step = np.argwhere(~written)[0]
            raise BrokenPlugin(
                f"{self.name}: {contexts.series}: gave no frame for window {window}, step "
                f"{step + 1}; expected one for each"
            )
        return traces

    def _traces(self, contexts: Contexts, frame: np.ndarray) -> np.ndarray:
        if not isinstance(frame, np.ndarray) or frame.dtype != np.float32 or frame.ndim != 3:
            got = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame)
            raise BrokenPlugin(f"{self.name}: a frame is {got}, expected float32 [x, y, z]")
        segmentation = self._segmentation(contexts, frame.shape)
        means: np.ndarray = segmentation.means(np.ascontiguousarray(frame)[None])[0]
        return means

    def _segmentation(self, contexts: Contexts, shape: tuple[int, ...]) -> Segmentation:
        """Returns the labels under a frame's voxels, read once for a recording."""
        from zapeval.recordings.segmentation import open_segmentation

        if contexts.video is None:
            raise BrokenPlugin(f"{self.name}: has no video; declare covariates = ('video',)")
        key = (contexts.video.labels.uri, shape)
        known: dict[object, Segmentation] = self.__dict__.setdefault("_segmentations", {})
        if key not in known:
            x, y, z = shape
            neurons = contexts.activity.shape[2]
            known.clear()
            known[key] = open_segmentation(contexts.video.labels, neurons, (x, y, z), self.grid)
        return known[key]
