"""Preprocessing, beside an independent slow twin."""

from __future__ import annotations

import json

import numpy as np
import pytest
from benchmarks.celegans.loops import prepared_by_loops
from hypothesis import given, settings
from hypothesis import strategies as st

from zapeval.benchmarks.celegans import preprocessing as steps
from zapeval.benchmarks.celegans.names import NAMES, SLOTS
from zapeval.errors import InvalidInput


def uneven(rng, frames):
    return 7.0 + rng.uniform(0.05, 0.95, frames).cumsum()


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), frames=st.integers(2, 90), offset=st.sampled_from([0, 1e6]))
def test_standard_form_equals_the_slow_twin_on_random_input(seed, frames, offset):
    rng = np.random.default_rng(seed)
    traces = rng.normal(offset, 3, (frames, 3)).cumsum(axis=0)
    seconds = uneven(rng, frames)
    names = ["AVAL", "RIH", "VB10"]
    activity, mask = steps.standard(traces, seconds, names)
    expected = prepared_by_loops(traces, seconds)
    assert [NAMES[slot] for slot in np.flatnonzero(mask)] == names
    assert activity.dtype == np.float32
    assert len(activity) == len(expected) == steps.frames_of(seconds)
    if len(expected):
        np.testing.assert_allclose(activity[:, mask], expected, rtol=1e-5, atol=1e-5)
    assert not activity[:, ~mask].any()


@pytest.mark.parametrize("scale", steps.SCALES)
def test_standard_form_equals_the_slow_twin_on_a_real_worm(recordings_folder, scale):
    folder = recordings_folder / "celegans_atanas2023_2022-08-02-01"
    rows = json.loads((folder / "time_trace.json").read_text())
    names = [steps_name(name) for name in json.loads((folder / "neurons.json").read_text())[:98]]
    seconds, traces = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    assert traces.shape == (1600, 98)
    activity, mask = steps.standard(traces, seconds, names, scale)
    measured = None
    if scale == "train-half":
        measured = sum(t - seconds[0] < len(activity) // 2 * 0.666 for t in seconds)
        assert abs(measured - 800) < 5
    expected = prepared_by_loops(traces, seconds, measured)
    columns = [SLOTS[name] for name in names]
    np.testing.assert_allclose(activity[:, columns], expected, rtol=0, atol=2e-6)
    assert mask.sum() == 98
    assert activity.shape == (int((seconds[-1] - seconds[0]) / 0.111 + 1 + 1e-6) // 6, 302)


def steps_name(label):
    return label[:-2] + label[-1] if label[-2:-1] == "0" else label


def test_z_score_has_population_variance_one():
    traces = np.random.default_rng(0).normal(5, 3, (50, 4))
    scaled = steps.z_score(traces)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), 1)
    first = steps.z_score(traces, 20)
    np.testing.assert_allclose(first[:20].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(first[:20].std(axis=0), 1)


def test_the_train_half_scale_hangs_on_the_first_half_alone():
    rng = np.random.default_rng(1)
    traces, seconds = rng.normal(size=(400, 2)), np.arange(400) * 0.5
    changed = traces.copy()
    changed[210:] += 100
    for scale, moves in (("train-half", False), ("recording", True)):
        before, _ = steps.standard(traces, seconds, ["AVAL", "RIH"], scale)
        after, _ = steps.standard(changed, seconds, ["AVAL", "RIH"], scale)
        train = slice(0, len(before) // 2)
        assert (not np.array_equal(before[train], after[train])) == moves


def test_a_constant_neuron_becomes_zeros_at_any_offset():
    for value in (0.0, 0.1, 1e9 + 0.1):
        assert not steps.z_score(np.full((1000, 1), value)).any()


def test_smoothing_is_causal_and_starts_with_the_first_frame():
    traces = np.random.default_rng(2).normal(size=(30, 2))
    smoothed = steps.smooth(traces)
    np.testing.assert_array_equal(smoothed[0], traces[0])
    weights = 0.5 ** np.arange(30)[::-1]
    weights[1:] *= 0.5
    np.testing.assert_allclose(smoothed[-1], weights @ traces)
    changed = traces.copy()
    changed[20:] = 9
    np.testing.assert_array_equal(steps.smooth(changed)[:20], smoothed[:20])


@given(slope=st.floats(-5, 5), frames=st.integers(2, 60), seed=st.integers(0, 1000))
def test_resampling_a_line_gives_the_line_at_the_middle_of_each_block(slope, frames, seed):
    seconds = uneven(np.random.default_rng(seed), frames)
    line = slope * (seconds - seconds[0])[:, None]
    resampled = steps.resample(line, seconds)
    middles = slope * (np.arange(len(resampled)) * 0.666 + 2.5 * 0.111)
    np.testing.assert_allclose(resampled[:, 0], middles, atol=1e-9)


@pytest.mark.parametrize(("points", "blocks"), [(6, 1), (11, 1), (12, 2), (1000 * 6, 1000)])
def test_a_point_that_falls_on_the_last_frame_counts(points, blocks):
    seconds = np.linspace(0, (points - 1) * 0.111, 40)
    assert len(steps.resample(np.ones((40, 1)), seconds)) == blocks


def test_gaps_are_filled_along_time():
    seconds = np.array([0.0, 1.0, 4.0, 5.0])
    traces = np.array([[np.nan, 0.0], [2.0, np.inf], [np.nan, 4.0], [6.0, 5.0]])
    filled = steps.fill_missing(traces, seconds)
    np.testing.assert_allclose(filled, [[2, 0], [2, 1], [5, 4], [6, 5]])


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        ([0.0, 1.0], "has 3 frames and 2 timestamps, expected as many"),
        ([0.0, 1.0, 1.0], "time does not increase: timestamp 2 is 1 s after 1 s"),
        ([0.0, np.nan, 2.0], "timestamp 1 is nan, expected a number"),
    ],
)
def test_times_that_do_not_fit_are_refused(seconds, said):
    with pytest.raises(InvalidInput, match=said):
        steps.check_times(np.array(seconds), 3)
