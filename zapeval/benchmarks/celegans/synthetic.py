"""Synthetic worms, of which the best possible loss is known: sines and a random walk.

Source: Simeon et al. 2024 (200 worms, 1500 steps, 50 random labelled neurons each). Every worm has
a stream of random numbers of its own, so that a smaller set is the beginning of a larger one.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.benchmarks.celegans.names import NAMES
from zapeval.benchmarks.celegans.preprocessing import DT, z_score
from zapeval.benchmarks.celegans.store import open_worms, write_list, write_worm
from zapeval.benchmarks.celegans.tasks import WINDOWS, Entry, Task, benchmark_over
from zapeval.benchmarks.celegans.worm import Provenance, Worm
from zapeval.benchmarks.recipe import Recipe
from zapeval.recordings.mirror import data_folder
from zapeval.recordings.recording import Recording, Recordings
from zapeval.recordings.writer import beside

SEED = 9
"""Seed of every set: its sines come close to the expected losses, and none stands still."""

HIGHEST = 0.1
"""Highest frequency of a sine, in cycles a step."""

DECIMALS = 4
"""Decimals that frequencies are rounded to."""

STEP = 0.01
"""Standard deviation of a step of the walk, before it is z-scored."""

_MASK, _VALUES, _FREQUENCIES = range(3)


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a set is.

    Attributes:
        worms: Number of worms.
        frames: Frames of each.
        labelled: Labelled neurons of each.
        windows: Windows of each that are tested on, 2 or more.
    """

    worms: int
    frames: int
    labelled: int
    windows: int = WINDOWS


PAPER = Size(worms=200, frames=1500, labelled=50)
"""The paper's size."""

SMALL = Size(worms=200, frames=800, labelled=50, windows=2)
"""A size for trials: two windows cover half a worm, and each neuron is labelled in 33 worms."""


def mask_of(size: Size, number: int, seed: int = SEED) -> np.ndarray:
    """Returns which neurons of a worm are labelled, bool ``[302]``."""
    rng = np.random.default_rng((seed, _MASK, number))
    mask = np.zeros(len(NAMES), bool)
    mask[rng.choice(len(NAMES), size.labelled, replace=False)] = True
    return mask


def frequencies(seed: int = SEED) -> np.ndarray:
    """Returns the frequency of each neuron, the same in all worms, in cycles a step."""
    rng = np.random.default_rng((seed, _FREQUENCIES))
    return np.round(rng.uniform(0, HIGHEST, len(NAMES)), DECIMALS)


def sines(frames: int, number: int, seed: int = SEED) -> np.ndarray:
    """Returns a worm of sines, not yet z-scored, float64 ``[frames, 302]``.

    Each neuron has its own frequency, and in each worm a phase of its own.
    """
    phases = np.random.default_rng((seed, _VALUES, number)).uniform(0, 2 * np.pi, len(NAMES))
    waves: np.ndarray = np.sin(2 * np.pi * np.arange(frames)[:, None] * frequencies(seed) + phases)
    return waves


def walk(frames: int, number: int, seed: int = SEED) -> np.ndarray:
    """Returns a worm of random walks, not yet z-scored, float64 ``[frames, 302]``."""
    rng = np.random.default_rng((seed, _VALUES, number))
    return rng.normal(0, STEP, (frames, len(NAMES))).cumsum(axis=0)


class SyntheticRecipe(Recipe):
    """A benchmark over synthetic worms, which are made on first use and kept in the data folder.

    Attributes:
        size: How large the set is.
    """

    version = 1
    size: ClassVar[Size]

    def recordings(self, data: str | None = None) -> Recordings:
        """Returns the recordings by key, opened lazily, in the data folder or where data says."""
        return Recordings(
            {
                self._key(number): partial(self._open, number, data)
                for number in range(self.size.worms)
            }
        )

    def resolve(self, recordings: Recordings) -> Benchmark:
        """Returns the benchmark, which is complete without its recordings."""
        del recordings
        windows = self.size.windows
        task = Task(id=self.id, version=self.version, title=self.title, windows=windows)
        entries = [
            Entry(
                key=self._key(number),
                name=self._name(number),
                source=self.id,
                frames=self.size.frames,
                mask=tuple(mask_of(self.size, number).tolist()),
            )
            for number in range(self.size.worms)
        ]
        return benchmark_over(task, entries)

    def folder(self) -> Path:
        """Returns the folder of the synthetic worms."""
        return data_folder() / f"{self.id}-{self._settings[:12]}"

    def worms(self) -> Iterator[Worm]:
        """Yields the worms, z-scored over all frames, neither smoothed nor resampled."""
        for number in range(self.size.worms):
            mask = mask_of(self.size, number)
            values = np.zeros((self.size.frames, len(NAMES)), np.float32)
            values[:, mask] = z_score(self._traces(number)[:, mask])
            yield Worm(
                name=self._name(number),
                activity=values,
                mask=mask,
                dt=DT,
                provenance=self._provenance(),
            )

    def write(self, folder: Path) -> None:
        """Makes the worms and writes them as a store.

        Raises:
            InvalidInput: The folder exists.
            StorageError: The disk is full.
        """
        with beside(folder) as partial_:
            digests = {}
            for worm in self.worms():
                write_worm(partial_, worm)
                digests[worm.name] = worm.digest
            write_list(partial_, digests, {"settings": self._settings})

    @abstractmethod
    def _traces(self, number: int) -> np.ndarray: ...

    def _open(self, number: int, data: str | None) -> Recording:
        folder = self.folder() if data is None else Path(data)
        if data is None and not folder.exists():
            self.write(folder)
        store = open_worms(folder)
        return store.recordings()[store.cards[number].key]

    def _name(self, number: int) -> str:
        return f"{self.id}-{number:03d}"

    def _key(self, number: int) -> str:
        return f"{self._name(number)}@{self._settings[:16]}"

    @property
    def _settings(self) -> str:
        """SHA-256 of all that makes the worms, in hex."""
        said = [self.id, self.version, SEED, HIGHEST, DECIMALS, STEP]
        said += [self.size.worms, self.size.frames, self.size.labelled]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def _provenance(self) -> Provenance:
        return Provenance(
            source=self.id,
            file="",
            file_digest=f"sha256:{self._settings}",
            recorded=self.size.labelled,
            raw_frames=self.size.frames,
            raw_seconds=DT,
            scale="recording",
            steps=0,
            licence="Apache-2.0",
            citation="",
        )


class _Sines(SyntheticRecipe):
    @final
    def _traces(self, number: int) -> np.ndarray:
        return sines(self.size.frames, number)


class _Walk(SyntheticRecipe):
    @final
    def _traces(self, number: int) -> np.ndarray:
        return walk(self.size.frames, number)


@final
class Sines(_Sines):
    """Sines, in the paper's size."""

    id = "sines"
    title = "200 synthetic worms of sines, one step ahead"
    size = PAPER


@final
class SinesSmall(_Sines):
    """Sines, in a small size."""

    id = "sines-small"
    title = "200 synthetic worms of sines, 800 frames each, one step ahead"
    size = SMALL


@final
class RandomWalk(_Walk):
    """Random walks, in the paper's size."""

    id = "random-walk"
    title = "200 synthetic worms of random walks, one step ahead"
    size = PAPER


@final
class RandomWalkSmall(_Walk):
    """Random walks, in a small size."""

    id = "random-walk-small"
    title = "200 synthetic worms of random walks, 800 frames each, one step ahead"
    size = SMALL
