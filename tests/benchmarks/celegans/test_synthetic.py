"""Synthetic worms: what the best possible loss of each is, in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from zapeval.benchmarks.catalogue import find_recipe
from zapeval.benchmarks.celegans.preprocessing import smooth, z_score
from zapeval.benchmarks.celegans.store import open_worms, verify_worms
from zapeval.benchmarks.celegans.synthetic import (
    PAPER,
    RandomWalk,
    RandomWalkSmall,
    Sines,
    SinesSmall,
    Size,
    frequencies,
    mask_of,
    sines,
    walk,
)


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("ZAPEVAL_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def naive(values):
    return np.square(np.diff(values, axis=0)).mean(axis=0)


@pytest.mark.parametrize("cycles", [1, 7, 40, 99])
def test_naive_on_a_sine_is_two_times_one_minus_the_cosine(cycles):
    frames = 1000
    f = cycles / frames
    phases = np.linspace(0, 6, 9)
    z = z_score(np.sin(2 * np.pi * f * np.arange(frames + 1)[:, None] + phases), frames)
    np.testing.assert_allclose(naive(z), 2 * (1 - np.cos(2 * np.pi * f)), rtol=1e-9)
    best = (z[1:] * z[:-1]).sum(axis=0) / (z[:-1] ** 2).sum(axis=0)
    left = np.square(z[1:] - best * z[:-1]).mean(axis=0)
    np.testing.assert_allclose(left, np.sin(2 * np.pi * f) ** 2, rtol=1e-9)
    two = 2 * np.cos(2 * np.pi * f) * z[1:-1] - z[:-2]
    np.testing.assert_allclose(two, z[2:], atol=1e-9)


def test_over_all_frequencies_naive_comes_to_0_1290_and_memoryless_to_0_1216():
    worms = [z_score(sines(1500, number)) for number in range(12)]
    f = frequencies()
    assert f.min() > 0
    assert f.max() <= 0.1
    np.testing.assert_array_equal(f, np.round(f, 4))
    whole = 2 * (1 - np.cos(2 * np.pi * f))
    per_neuron = np.mean([naive(z) for z in worms], axis=0)
    fast = f > 0.005
    np.testing.assert_allclose(per_neuron[fast], whole[fast], rtol=0.05)
    spread = whole.std() / np.sqrt(302)
    assert abs(per_neuron.mean() - 0.1290) < spread / 2
    assert abs((np.sin(2 * np.pi * f) ** 2).mean() - 0.1216) < spread / 2


def test_naive_on_the_walk_is_10_8_over_the_frames():
    for frames, worms in ((1500, 8), (400, 8)):
        losses = np.concatenate([naive(z_score(walk(frames, n))) for n in range(worms)])
        error = losses.std() / np.sqrt(len(losses))
        assert abs(losses.mean() - 10.8 / frames) < 4 * error + 0.02 * 10.8 / frames


def test_a_smoothed_walk_would_be_beaten_so_it_is_not_smoothed():
    z = z_score(walk(1500, 0))
    steps, smoothed = np.diff(z, axis=0), np.diff(smooth(z), axis=0)
    neighbours = (steps[1:] * steps[:-1]).sum() / np.square(steps).sum()
    assert abs(neighbours) < 0.02
    assert (smoothed[1:] * smoothed[:-1]).sum() / np.square(smoothed).sum() > 0.4


def test_the_papers_sizes():
    assert Size(worms=200, frames=1500, labelled=50) == PAPER
    for recipe in (Sines(), RandomWalk()):
        benchmark = recipe.resolve(recipe.recordings())
        assert len(benchmark.series) == 200
        assert dict(benchmark.frames).keys() == {s.recording for s in benchmark.series}
        assert {sum(series.mask) for series in benchmark.series} == {50}
        assert {frames for _, frames in benchmark.frames} == {1500}
        assert benchmark.windows == 200 * 32
        assert (benchmark.primary, benchmark.extra_metrics) == ("mse", ("mse_pooled",))


def test_a_smaller_set_is_the_beginning_of_a_larger_one():
    for size in (PAPER, Size(worms=3, frames=800, labelled=50)):
        np.testing.assert_array_equal(mask_of(size, 2), mask_of(PAPER, 2))
    np.testing.assert_array_equal(sines(800, 2), sines(1500, 2)[:800])
    np.testing.assert_array_equal(walk(800, 2), walk(1500, 2)[:800])
    assert len({mask_of(PAPER, number).tobytes() for number in range(50)}) == 50


@pytest.mark.parametrize("recipe", [SinesSmall(), RandomWalkSmall()])
def test_the_small_sets_are_made_on_first_use_as_the_benchmark_says(data, recipe):
    recordings = recipe.recordings()
    benchmark = recipe.resolve(recordings)
    assert not data.exists()
    first = recordings[benchmark.series[0].recording]
    assert first.activity.shape == (800, 302)
    store = open_worms(recipe.folder())
    assert verify_worms(store) == []
    for series, card in zip(benchmark.series, store.cards, strict=True):
        assert (series.name, series.mask) == (card.name, card.mask)
        activity = recordings[series.recording].activity.read()
        mask = np.array(series.mask)
        assert not activity[:, ~mask].any()
        np.testing.assert_allclose(activity[:, mask].std(axis=0), 1, rtol=1e-4)
    assert {f for _, f in benchmark.frames} == {recordings[k].frames for k in recordings}


def test_both_sets_and_both_sizes_are_benchmarks_of_their_own():
    recipes = [
        find_recipe(f"{kind}{size}") for kind in ("sines", "random-walk") for size in ("", "-small")
    ]
    digests = {recipe.resolve(recipe.recordings()).digest for recipe in recipes}
    assert len(digests) == 4
    assert len({recipe.folder() for recipe in recipes}) == 4
