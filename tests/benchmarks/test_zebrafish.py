from __future__ import annotations

import numpy as np
import pytest

from zapeval.benchmarks.catalogue import find_recipe
from zapeval.benchmarks.own import read_own
from zapeval.benchmarks.zebrafish import DEFINITION, ZebrafishRegions
from zapeval.errors import NotFound

DIGEST = "sha256:b91a88d66e75b45c773d0072c099b81d2460b0bc28191e2836e2a229175c1d5e"


def test_it_is_complete_without_its_recordings():
    recipe = find_recipe("zebrafish-regions@1")
    benchmark = recipe.resolve(recipe.recordings())
    assert benchmark.windows == 22 * 148
    assert {sum(series.mask or ()) for series in benchmark.series} == {65}
    assert benchmark.digest == DIGEST, "a change of a benchmark is a new version, never an edit"


def test_recordings_of_that_shape_give_the_same_benchmark(tmp_path):
    traces = np.random.default_rng(0).normal(size=(70, 892))
    for fish in range(1, 23):
        np.save(tmp_path / f"timeseries_regions_fish{fish}.npy", traces)
    own = read_own(DEFINITION)
    assert own.resolve(own.recordings(str(tmp_path))).digest == DIGEST
    own_title = (ZebrafishRegions.id, ZebrafishRegions.version, ZebrafishRegions.title)
    assert own_title == (own.id, own.version, own.title)


def test_absent_recordings_are_asked_for():
    recordings = ZebrafishRegions().recordings()
    assert len(recordings) == 22
    with pytest.raises(NotFound, match=r"fish7: zapeval does not fetch .* with --data"):
        recordings["fish7"]
