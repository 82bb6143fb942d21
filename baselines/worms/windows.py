"""Windows: what the worm models learn from and are chosen by, some of each worm."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import jax
import numpy as np

from baselines.batches import Batch, Batches
from zapeval.benchmarks.celegans.tasks import WINDOWS, starts_in
from zapeval.errors import InvalidInput
from zapeval.forecasting.training import Training, TrainingSeries

_SHUFFLED, _DROPPED = range(2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
    """The windows of one worm.

    Attributes:
        frames: Frames of its labelled neurons, float32 ``[windows, length + 1, labelled]``.
        mask: Which neurons are labelled, bool ``[neurons]``.
        covered: Different frames that lie in any of its windows.
    """

    frames: np.ndarray
    mask: np.ndarray
    covered: int


@final
class WormBatches(Batches):
    """Windows of each worm's training frames, shuffled anew in each epoch.

    A batch holds ``frames`` ``[windows, length + 1, neurons]``, zeros where nothing is labelled,
    and ``weight`` ``[windows, neurons]``, one by the number of the worm's labelled neurons; those
    to train on hold a key for dropout too. The last batch of an epoch is what is left, and its
    mean counts as much as any; copies without weight fill it up.

    Source: Simeon et al. 2024, sections 2.3 and 2.5.

    Attributes:
        length: Frames that a model sees.
        horizon: Steps that are forecast.
        worms: The worms to train on.
        windows: Windows to train on.

    Args:
        training: Where the windows are.
        size: Windows a batch, at most as many as there are to train on.
        each: Windows of a worm to train on, and as many to choose by.

    Raises:
        InvalidInput: There is nothing to choose by, or a value is not finite.
    """

    def __init__(self, training: Training, size: int, each: int = WINDOWS) -> None:
        self._seed = training.seed
        self.length, self.horizon = length_of(training), training.horizon
        self.worms = [packed(training, one, one.train_origins, each) for one in training.series]
        self.chosen_by = {
            one.name: validated(training, one, each)
            for one in training.series
            if one.validation_origins
        }
        if not self.chosen_by:
            raise InvalidInput(
                f"{training.benchmark}: every frame to choose by is tested on; --set "
                "published=true chooses by them all the same, as the paper does, and the "
                "predictions say so"
            )
        self._most = size

    def part(self, worms: Sequence[int], seed: int) -> WormBatches:
        """Returns batches of some of the worms, shuffled by another seed, chosen by the same.

        Args:
            worms: Numbers of the worms to train on.
            seed: Seed of the shuffles and of dropout.
        """
        other = copy.copy(self)
        other.worms = [self.worms[number] for number in worms]
        other._seed = seed
        return other

    @property
    def windows(self) -> int:
        """Windows to train on."""
        return sum(len(one.frames) for one in self.worms)

    @property
    def naive(self) -> float:
        """Validation loss of the forecast that nothing changes."""
        return float(np.mean([naive_loss(one) for one in self.chosen_by.values()]))

    @property
    def _size(self) -> int:
        return min(self._most, self.windows)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return -(-self.windows // self._size)

    def train(self, step: int) -> Batch:
        """Returns the batch of a step."""
        epoch, number = divmod(step, self.steps)
        order = np.random.default_rng((self._seed, _SHUFFLED, epoch)).permutation(self.windows)
        size = self._size
        batch = self._batch(self.worms, order[number * size : (number + 1) * size], size)
        key = np.random.default_rng((self._seed, _DROPPED, step)).integers(0, 2**32, 2, np.uint32)
        return batch | {"key": jax.device_put(key)}

    def validation(self) -> Iterator[Batch]:
        """Yields every validation window once."""
        worms = tuple(self.chosen_by.values())
        total = sum(len(one.frames) for one in worms)
        # Few worms make small batches to train on, not to validate by.
        size = min(self._most, total)
        for start in range(0, total, size):
            yield self._batch(worms, np.arange(start, min(start + size, total)), size)

    def _batch(self, worms: Sequence[Packed], numbers: np.ndarray, size: int) -> Batch:
        """Returns windows, counted through all worms."""
        neurons = len(worms[0].mask)
        frames = np.zeros((size, self.length + 1, neurons), np.float32)
        weight = np.zeros((size, neurons), np.float32)
        firsts = np.cumsum([0, *(len(one.frames) for one in worms)])
        owners = np.searchsorted(firsts, numbers, side="right") - 1
        for row, (number, owner) in enumerate(zip(numbers, owners, strict=True)):
            worm = worms[owner]
            frames[row][:, worm.mask] = worm.frames[number - firsts[owner]]
            weight[row, worm.mask] = 1 / worm.mask.sum()
        return {"frames": jax.device_put(frames), "weight": jax.device_put(weight)}


def naive_loss(worm: Packed) -> float:
    """Returns the mean squared change from a frame to the next (Eq. 4)."""
    return float(np.square(np.diff(worm.frames, axis=1)).mean(dtype=np.float64))


def length_of(training: Training) -> int:
    """Returns the number of frames that a model sees in training: 180 of the paper."""
    return training.horizon if training.protocol == "next-step" else training.context


def validated(training: Training, series: TrainingSeries, each: int = WINDOWS) -> Packed:
    """Returns the windows that a model is chosen by.

    As in the paper those whose contexts lie in the validation range too. Where there are none the
    contexts reach back, perhaps into training frames; then only what comes behind them is
    forecast.
    """
    lead = 1 if training.protocol == "next-step" else training.context
    inside = tuple(
        origin
        for origin in series.validation_origins
        if any(start + lead <= origin < stop for start, stop in series.validation)
    )
    origins = inside or series.validation_origins
    return packed(training, series, origins, each, spread=bool(inside))


def packed(
    training: Training,
    series: TrainingSeries,
    origins: Sequence[int],
    each: int = WINDOWS,
    *,
    spread: bool = True,
) -> Packed:
    """Returns some windows of a series, evenly from the first origin to the last.

    Args:
        training: What the series is part of.
        series: The series.
        origins: Origins to take some of.
        each: Number of windows, 2 or more.
        spread: Where a window of the benchmark is longer than what a model sees, as in generation:
            whether they reach together from its first frame to its last, or all end with it.

    Raises:
        InvalidInput: A value of a labelled neuron is not finite.
    """
    length = length_of(training) + 1
    some = [origins[number] for number in starts_in(len(origins), 1, each)]
    mask = np.ones(series.neurons, bool) if series.mask is None else series.mask
    contexts, targets = series.contexts(some).activity, series.targets(some)
    new = targets[:, -1:] if training.protocol == "next-step" else targets
    frames = np.concatenate([contexts, new], axis=1)[..., mask]
    behind = frames.shape[1] - length
    starts = starts_in(frames.shape[1], length, each) if spread else (behind,) * each
    cut = np.stack([window[a : a + length] for window, a in zip(frames, starts, strict=True)])
    if not np.isfinite(cut).all():
        raise InvalidInput(
            f"{series.name}: its training or validation frames hold values that are not finite "
            "in neurons that are scored; mask those neurons, or repair the recording"
        )
    firsts = {origin + start for origin, start in zip(some, starts, strict=True)}
    covered = {first + frame for first in firsts for frame in range(length)}
    return Packed(frames=cut, mask=mask, covered=len(covered))
