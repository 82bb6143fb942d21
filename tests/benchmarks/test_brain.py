from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from zapeval.benchmarks import brain as module
from zapeval.benchmarks.brain import (
    HIGH,
    LEAD,
    LOW,
    NOISE,
    QUANTUM,
    REACH,
    Programme,
    Waves,
    generate,
)
from zapeval.errors import InvalidInput, UsageError

# The geometry of ZAPBench, written out again: the generator takes it as arguments.
OFFSETS = (0, 649, 2422, 3078, 3735, 5047, 5638, 6623, 7279, 7879)
TRIALS = {
    "gain": 65.5,
    "dots": 591,
    "flash": 65.5,
    "taxis": 131.4,
    "turning": 262.4,
    "position": 197,
    "open loop": None,
    "rotation": 65.5,
    "dark": None,
}
HELD_OUT = 3
HORIZON = 32
SUMMARY = np.array([1, 4, 8, 16, 32]) - 1
PROGRAMMES = tuple(
    Programme(name=name, start=start, stop=stop, trial=trial)
    for (name, trial), (start, stop) in zip(TRIALS.items(), pairwise(OFFSETS), strict=True)
)
SHORT = (
    Programme(name="shown", start=0, stop=90, trial=30),
    Programme(name="dark", start=90, stop=150),
)


@pytest.fixture(scope="module")
def brain():
    return generate(9, PROGRAMMES)


@pytest.fixture(scope="module")
def small():
    return generate(1, SHORT, neurons=20, grid=(16, 16, 8))


def spans():
    """(train, test) target frames of each condition; train is None where it is held out."""
    for index, (start, stop) in enumerate(pairwise(OFFSETS)):
        first, last = start + 1, stop - 1
        test, validation = (last - first) * 2 // 10, (last - first) // 10
        if index == HELD_OUT:
            yield None, (first + 256, last)
        else:
            yield (first, last - test - validation), (last - test, last)


def origins(span, context=0):
    return np.arange(span[0] + context, span[1] - HORIZON + 1)


def training(context):
    return np.concatenate([origins(train, context) for train, _ in spans() if train])


def past(traces, at, frames):
    return traces[at[:, None] + np.arange(-frames, 0)]


def future(traces, at):
    return traces[at[:, None] + np.arange(HORIZON)]


def mae(forecast, traces):
    """Average over the conditions that are not held out, for each step."""
    tests = [origins(test) for train, test in spans() if train]
    return np.mean([np.abs(forecast(at) - future(traces, at)).mean((0, 2)) for at in tests], axis=0)


def summary(forecast, traces):
    return mae(forecast, traces)[SUMMARY].mean()


def mean_of(traces, frames):
    return lambda at: past(traces, at, frames).mean(1, keepdims=True)


def least_squares(traces, context):
    """Fits one C -> 32 map with a bias, shared by all neurons, on some windows and neurons."""
    at = training(context)[::2]
    inputs = past(traces[:, ::3], at, context).transpose(0, 2, 1).reshape(-1, context)
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
    outputs = future(traces[:, ::3], at).transpose(0, 2, 1).reshape(-1, HORIZON)
    weights = np.linalg.solve(inputs.T @ inputs, inputs.T @ outputs)

    def forecast(at):
        mapped = past(traces, at, context).transpose(0, 2, 1) @ weights[:-1] + weights[-1]
        return mapped.transpose(0, 2, 1)

    return forecast


def ridge_on_top(base, features, traces, penalty=0.01):
    """Adds to a forecast what features [windows, features] tell of its errors, by ridge."""
    at = training(4)
    known = features(at)
    centre, scale = known.mean(0), known.std(0)
    known = (known - centre) / scale
    gram = known.T @ known + penalty * len(at) * np.eye(known.shape[1])
    errors = (future(traces, at) - base(at))[:, SUMMARY]
    weights = np.linalg.solve(gram, known.T @ errors.reshape(len(at), -1))

    def forecast(at):
        corrected = base(at).copy()
        correction = (features(at) - centre) / scale @ weights
        corrected[:, SUMMARY] += correction.reshape(len(at), len(SUMMARY), -1)
        return corrected

    return forecast


def test_the_same_seed_gives_the_same_bits(small):
    again = generate(1, SHORT, neurons=20, grid=(16, 16, 8))
    for name in ("traces", "stimulus", "positions", "segmentation"):
        assert getattr(again, name).tobytes() == getattr(small, name).tobytes()
    assert again.frames(0, 150).tobytes() == small.frames(0, 150).tobytes()
    assert again.regions == small.regions


def test_another_seed_gives_another_brain(small):
    other = generate(2, SHORT, neurons=20, grid=(16, 16, 8))
    for name in ("traces", "stimulus", "positions", "segmentation"):
        assert (getattr(other, name) != getattr(small, name)).any()
    assert (other.frames(0, 1) != small.frames(0, 1)).any()


def test_shapes_and_types_are_as_promised(brain):
    frames, neurons = OFFSETS[-1], 256
    assert brain.traces.shape == (frames, neurons)
    assert brain.stimulus.shape == (frames, len(brain.stimulus_names))
    assert brain.positions.shape == (neurons, 3)
    assert len(brain.regions) == neurons and len(set(brain.regions)) == 4
    assert brain.segmentation.shape == (32, 16, 8) and brain.segmentation.dtype == np.uint16
    assert brain.frames(0, 2).shape == (2, 32, 16, 8)
    for array in (brain.traces, brain.stimulus, brain.positions, brain.frames(0, 2)):
        assert array.dtype == np.float32


def test_traces_are_finite_within_range_and_whole_quanta(brain):
    assert np.isfinite(brain.traces).all()
    assert brain.traces.min() >= LOW and brain.traces.max() <= HIGH
    quanta = brain.traces.astype(np.float64) / QUANTUM
    np.testing.assert_array_equal(quanta, np.rint(quanta))


def test_no_neuron_is_constant_in_any_test_range(brain):
    for _, (start, stop) in spans():
        assert brain.traces[start:stop].std(axis=0).min() > 0.95 * NOISE[0]


def test_every_neuron_is_a_compact_blob_around_its_position(small):
    labels = small.segmentation
    np.testing.assert_array_equal(np.unique(labels), np.arange(21))
    for neuron in range(20):
        voxels = np.argwhere(labels == neuron + 1)
        assert (np.ptp(voxels, axis=0) <= 2).all()
        centroid = (voxels.mean(axis=0) + 0.5) * np.array(module.EXTENT) / labels.shape
        np.testing.assert_allclose(small.positions[neuron], centroid, rtol=1e-6)


def test_segment_means_of_the_video_are_the_traces(brain):
    for start, stop in ((0, 40), (5000, 5001), (7870, 7879)):
        video = brain.frames(start, stop).astype(np.float64)
        for neuron in range(brain.traces.shape[1]):
            mean = video[:, brain.segmentation == neuron + 1].mean(axis=1)
            np.testing.assert_allclose(mean, brain.traces[start:stop, neuron], rtol=0, atol=1e-6)


def test_a_frame_is_the_same_whatever_range_it_is_read_in(small):
    whole = small.frames(0, 150)
    for size in (1, 7, 32, 33, 149):
        parts = [small.frames(at, min(at + size, 150)) for at in range(0, 150, size)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_video_varies_within_a_neuron_and_between_neurons(small):
    video = small.frames(0, 150)
    largest = np.bincount(small.segmentation.ravel())[1:].argmax() + 1
    assert video[:, small.segmentation == largest].std(axis=1).min() > 0
    assert video[:, small.segmentation == 0].std(axis=0).min() > 0.005


def test_background_carries_the_waves(brain):
    behind = brain.segmentation == 0
    video = np.concatenate([brain.frames(at, at + 64)[:, behind] for at in range(0, 640, 64)])
    shown = brain.neuropil.at(module._voxel_centres(behind.shape)[behind.ravel()], 0, 640)
    np.testing.assert_allclose(video.mean(axis=1), shown.mean(axis=1), atol=0.002)
    assert shown.std(axis=0).mean() > 0.02


def test_noise_of_the_video_is_fresh_in_every_block_and_for_every_seed(small):
    other = generate(2, SHORT, neurons=20, grid=(16, 16, 8))
    noises = []
    for of, start in ((small, 0), (small, module.BLOCK), (other, 0)):
        behind = (small.segmentation == 0) & (other.segmentation == 0)
        points = module._voxel_centres(behind.shape)[behind.ravel()]
        stop = start + module.BLOCK
        noise = of.frames(start, stop)[:, behind] - of.neuropil.at(points, start, stop)
        noises.append(noise.ravel())
    assert np.abs(np.corrcoef(noises) - np.eye(3)).max() < 0.02


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (3, 3), (149, 151)])
def test_frames_outside_the_recording_are_refused(small, start, stop):
    with pytest.raises(UsageError, match=r"expected a range within \[0, 150\)"):
        small.frames(start, stop)


def test_a_wave_arrives_late_and_faint_in_proportion_to_the_distance():
    rng = np.random.default_rng(0)
    sources = rng.normal(size=(LEAD + 50, 2))
    origins, speeds = np.array([[0.0, 0, 0], [831, 539, 288]]), np.array([20.0, 30.0])
    points = rng.uniform(0, 1, (6, 3)) * np.array(module.EXTENT)
    got = Waves(sources=sources, origins=origins, speeds=speeds).at(points, 10, 50)
    times = np.arange(-LEAD, 50)
    for column, point in enumerate(points):
        wanted = np.zeros(40)
        for wave in range(2):
            distance = np.linalg.norm(point - origins[wave])
            late = np.arange(10, 50) - distance / speeds[wave]
            wanted += np.exp(-distance / REACH) * np.interp(late, times, sources[:, wave])
        np.testing.assert_allclose(got[:, column], wanted, atol=1e-10)


def test_trials_resemble_each_other_and_never_repeat(brain):
    shown = brain.stimulus[0 : 5 * 131].reshape(5, 131, -1)[:4]  # two trials of 65.5 frames
    overlap = [((a != 0) == (b != 0)).mean() for a, b in pairwise(shown)]
    chance = [((a != 0) == (np.roll(b, 33, axis=0) != 0)).mean() for a, b in pairwise(shown)]
    assert 1 - np.mean(overlap) < 0.5 * (1 - np.mean(chance))
    assert all((a != b).any() for a, b in pairwise(shown))


def test_nothing_is_shown_where_there_is_no_trial_and_activity_goes_on(brain):
    for programme in PROGRAMMES:
        frames = slice(programme.start, programme.stop)
        assert brain.stimulus[frames].any() == (programme.trial is not None)
        assert np.median(brain.traces[frames].std(axis=0)) > 0.025


def test_latents_forget_a_disturbance():
    stimulus = module._present(np.random.default_rng(4), PROGRAMMES[:3])
    disturbed = stimulus.copy()
    disturbed[10:20] += 1
    calm, moved = (module._respond(np.random.default_rng(3), u) for u in (stimulus, disturbed))
    apart = np.abs(calm - moved).max(axis=1)
    assert apart[20] > 0.1
    assert apart[-100:].max() < 0.001 * apart[20]


@pytest.mark.parametrize("bounds", [(0, 50, 60, 90), (0, 50, 40, 90), (1, 50, 50, 90)])
def test_programmes_with_a_gap_or_an_overlap_are_refused(bounds):
    first = Programme(name="first", start=bounds[0], stop=bounds[1])
    second = Programme(name="second", start=bounds[2], stop=bounds[3])
    with pytest.raises(InvalidInput, match="expected a start at"):
        generate(0, (first, second), neurons=4)


def test_a_grid_without_room_is_refused():
    with pytest.raises(InvalidInput, match=r"room for .* of 100 neurons"):
        generate(0, SHORT, neurons=100, grid=(8, 8, 4))


def test_persistence_mean_and_least_squares_separate_at_short_context(brain):
    traces = brain.traces.astype(np.float64)
    persistence, mean = mae(mean_of(traces, 1), traces), mae(mean_of(traces, 4), traces)
    linear = summary(least_squares(traces, 4), traces)
    assert persistence[SUMMARY].mean() < 0.97 * mean[SUMMARY].mean()
    assert linear < 0.9 * persistence[SUMMARY].mean()
    # A longer mean is still better far ahead, and worse for the next frames.
    longer = mae(mean_of(traces, 256), traces)
    assert longer[-1] < 0.9 * persistence[-1]
    assert longer[0] > 1.3 * persistence[0]


def test_persistence_mean_and_least_squares_separate_at_long_context(brain):
    traces = brain.traces.astype(np.float64)
    persistence, mean = summary(mean_of(traces, 1), traces), summary(mean_of(traces, 256), traces)
    short, long = mae(least_squares(traces, 4), traces), mae(least_squares(traces, 256), traces)
    assert persistence < 0.97 * mean
    assert long[SUMMARY].mean() < 0.95 * persistence
    assert long[SUMMARY].mean() < 0.97 * short[SUMMARY].mean()
    assert long[-1] < 0.95 * short[-1]


def test_neighbours_and_the_future_stimulus_foretell_more_than_a_neurons_own_past(brain):
    traces = brain.traces.astype(np.float64)
    frames = np.concatenate([np.arange(*train) for train, _ in spans() if train])
    centred = traces - traces[frames].mean(axis=0)
    axes = np.linalg.eigh(centred[frames].T @ centred[frames])[1][:, -48:]
    seen = centred @ axes

    def population(at):
        return past(seen, at, 4).reshape(len(at), -1)

    def with_stimulus(at):
        shown = brain.stimulus[at[:, None] + np.arange(-4, HORIZON)]
        return np.concatenate([population(at), shown.reshape(len(at), -1)], axis=1)

    own = least_squares(traces, 4)
    alone = mae(own, traces)[SUMMARY]
    neighbours = mae(ridge_on_top(own, population, traces), traces)[SUMMARY]
    stimulus = mae(ridge_on_top(own, with_stimulus, traces), traces)[SUMMARY]
    assert (neighbours[1:4] < 0.92 * alone[1:4]).all()
    assert stimulus[-1] < 0.97 * neighbours[-1]
    assert stimulus.min() > np.mean(NOISE)  # which nothing foretells
