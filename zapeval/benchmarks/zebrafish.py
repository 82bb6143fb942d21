"""22 zebrafish: brain regions of larval zebrafish, a benchmark over an openly licensed recording.

Its definition is a TOML file as users write one; the shape of the recordings is known, so it is
complete without them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import final

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.benchmarks.own import Shape, read_own
from zapeval.benchmarks.recipe import Recipe
from zapeval.errors import NotFound
from zapeval.recordings.recording import Recording, Recordings

DEFINITION = Path(__file__).with_name("zebrafish-regions.toml")
"""The definition."""

SHAPE = Shape(frames=892, neurons=70)
"""Of every recording (Legare et al.; doi:10.5683/SP3/IIVGOB)."""


@final
class ZebrafishRegions(Recipe):
    """The regions of 22 fish, 32 frames ahead."""

    id = "zebrafish-regions"
    version = 1
    title = "22 larval zebrafish, 65 brain regions, 32 steps ahead"

    def recordings(self, data: str | None = None) -> Recordings:
        """Returns the recordings, in the folder of the authors' files that data names.

        Raises:
            NotFound: There is no such folder; without one, when a recording is opened.
        """
        own = read_own(DEFINITION)
        if data is not None:
            return own.recordings(data)
        return Recordings({key: partial(_absent, key) for key in own.keys})

    def resolve(self, recordings: Recordings) -> Benchmark:
        """Returns the benchmark, which is complete without its recordings."""
        del recordings
        own = read_own(DEFINITION)
        return own.over(dict.fromkeys(own.keys, SHAPE))


def _absent(key: str) -> Recording:
    raise NotFound(
        f"zebrafish-regions: {key}: zapeval does not fetch these recordings; give the folder that "
        f"holds timeseries_regions_{key}.npy with --data (doi:10.5683/SP3/IIVGOB)"
    )
