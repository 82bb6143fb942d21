"""The pool: worms that training sets are drawn from, and what every model is chosen by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np

from zapeval.errors import InvalidInput, UsageError
from zapeval.forecasting.contexts import data_mark
from zapeval.forecasting.training import Training

if TYPE_CHECKING:
    from baselines.worms.windows import WormBatches
    from zapeval.benchmarks.benchmark import Benchmark
    from zapeval.recordings.recording import Recordings

WORMS = (
    *(10, 11, 13, 16, 18, 21, 25, 30, 35, 41),
    *(48, 56, 66, 77, 90, 106, 124, 145, 170, 199),
)
"""Sizes of the training sets that are drawn from 200 worms."""

FEWEST = 10
"""Worms of the smallest training set, where there are as many."""

WIDTHS = (
    *(8, 12, 16, 22, 30, 42, 58, 80, 110, 154),
    *(214, 296, 412, 572, 794, 1102, 1530, 2124, 2950, 4096),
)
"""Widths of the models whose size grows."""

_DRAWN = 7


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """The worms of a benchmark.

    Attributes:
        benchmark: The benchmark, of the protocol next-step.
        recordings: Its recordings.
        training: Their training and validation frames.
    """

    benchmark: Benchmark
    recordings: Recordings
    training: Training

    def __post_init__(self) -> None:
        if self.benchmark.protocol != "next-step":
            raise UsageError(
                f"{self.benchmark.label}: has the protocol {self.benchmark.protocol!r}; scaling "
                "is measured one step ahead"
            )

    def __len__(self) -> int:
        return len(self.training.series)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of training sets, evenly in their logarithm, up to all there are."""
        if len(self) == 200:
            return WORMS
        many = np.geomspace(min(FEWEST, len(self)), len(self), len(WORMS))
        # Floored, as the paper's are; the root of a power may fall just short of a whole number.
        return tuple(sorted({int(size + 1e-9) for size in many}))

    @property
    def sources(self) -> Mapping[str, str]:
        """The source of each worm by its name."""
        return {series.name: series.group for series in self.benchmark.series}

    @cached_property
    def mark(self) -> str:
        """A digest that tells the recordings apart."""
        return data_mark(self.benchmark, self.recordings, self.training.context)

    def drawn(self, size: int, seed: int) -> tuple[int, ...]:
        """Returns the numbers of some worms, drawn without replacement, in order.

        They hang on size and seed alone, so that every model learns from the same.

        Raises:
            InvalidInput: There are not so many.
        """
        if not 1 <= size <= len(self):
            raise InvalidInput(
                f"{self.benchmark.label}: {size} worms to train on, but there are {len(self)}"
            )
        rng = np.random.default_rng((_DRAWN, size, seed))
        return tuple(sorted(rng.choice(len(self), size, replace=False).tolist()))


def train_steps(batches: WormBatches) -> int:
    """Returns the number of train time steps: different frames that windows cover, of all worms.

    Source: Simeon et al. 2024, section 3.2.
    """
    return sum(worm.covered for worm in batches.worms)
