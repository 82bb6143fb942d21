from __future__ import annotations

import tomllib

import numpy as np
import pytest
import videos

from baselines.volumetric.studies.companions import bounds_of, companions_of
from baselines.volumetric.studies.windows import seen_by_all, share_of, thinned
from zapeval.benchmarks.own import read_own
from zapeval.benchmarks.synthetic import SEED
from zapeval.benchmarks.zapbench import CONDITIONS, FRAMES, ZAPBENCH, conditions
from zapeval.errors import InvalidInput, UsageError
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import Layout, write_array

WHOLE = {"crop": None, "resolution": 1, "full_resolution": False}


def test_each_nth_window_is_kept_from_the_first():
    found = thinned(ZAPBENCH, 16)
    assert found.id == "zapbench-every-16"
    for few, every in zip(found.series, ZAPBENCH.series, strict=True):
        assert few.origins == tuple(o for i, o in enumerate(every.origins) if i % 16 == 0)
        assert (few.train, few.validation, few.mask) == (every.train, every.validation, None)
    assert thinned(ZAPBENCH, 1).digest == ZAPBENCH.digest


@pytest.mark.parametrize(("text", "every"), [("1/16", 16), ("1", 1), ("1/1", 1)])
def test_a_share_is_one_of_so_many(text, every):
    assert share_of(text) == every


@pytest.mark.parametrize("text", ["16", "1/", "1/0", "2/3", "1/-4", "1/x", ""])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(UsageError, match="expected 1/N"):
        share_of(text)


def test_only_neurons_that_every_cell_sees_are_scored(fish):
    recordings, benchmark = videos.opened(fish), videos.benchmark()
    views = [WHOLE, {**WHOLE, "crop": [4, 4, 2]}, {**WHOLE, "resolution": 2}]
    labels = videos.labels()
    expected = [
        all((part == n + 1).any() for part in (labels, labels[2:6], labels[1::2, 1::2]))
        for n in range(videos.NEURONS)
    ]
    found = seen_by_all(views, benchmark, recordings)["fish"]
    assert found.tolist() == expected
    assert 0 < sum(expected) < videos.NEURONS
    assert thinned(benchmark, 2, {"fish": found}).series[0].mask == tuple(expected)
    fine = seen_by_all([{**WHOLE, "resolution": 2, "full_resolution": True}], benchmark, recordings)
    assert thinned(benchmark, 1, fine) == benchmark


def test_a_mask_of_the_benchmark_stays(fish):
    benchmark = videos.benchmark(mask=(True, False, True, True, True, True))
    seen = {"fish": np.array([True, True, False, True, True, True])}
    found = thinned(benchmark, 1, seen).series[0].mask
    assert found == (True, False, False, True, True, True)
    with pytest.raises(InvalidInput, match="no neuron has a voxel in every cell"):
        thinned(benchmark, 1, {"fish": np.array([False, True, False, False, False, False])})


def test_an_embedded_benchmark_has_a_brain_of_another_seed_beside():
    text = bounds_of("brain", SEED + 1)
    series = tomllib.loads(text)["series"]
    assert [one["name"] for one in series] == list(CONDITIONS)
    for one, condition in zip(series, conditions(), strict=True):
        start, stop = condition.span
        assert one["train"] == [start, stop - 1]
        assert one["frames"] == [start, stop]
    assert companions_of(ZAPBENCH, ["fish-2"]) == ("fish-2",)
    with pytest.raises(UsageError, match="has no other specimen to train on"):
        companions_of(ZAPBENCH, ())


def test_the_bounds_of_a_brain_define_a_benchmark(tmp_path):
    (tmp_path / "brain.toml").write_text(bounds_of("brain", SEED + 1))
    traces = np.zeros((FRAMES, 2), np.float32)
    layout = Layout(chunk=traces.shape)
    write_array(open_store(tmp_path / "brain").child("traces"), traces, layout)
    recipe = read_own(str(tmp_path / "brain.toml"))
    found = recipe.resolve(recipe.recordings())
    expected = [((a, b - 1),) for a, b in (condition.span for condition in conditions())]
    assert [series.train for series in found.series] == expected
