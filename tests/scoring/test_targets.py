from __future__ import annotations

from dataclasses import replace

import blake3
import h5py
import numpy as np
import pytest
from builders import horizon_case

from zapeval.errors import InvalidInput
from zapeval.recordings.arrays import open_array
from zapeval.recordings.recording import open_recording
from zapeval.scoring.targets import check_finite, load_targets


def stored(tmp_path, activity):
    np.save(tmp_path / "a.npy", activity)
    return open_array(tmp_path / "a.npy")


def test_rows_are_the_frames_that_windows_predict(tmp_path):
    case = horizon_case()
    series = case.benchmark.series[1]
    targets = load_targets(case.benchmark, series, stored(tmp_path, case.activity["fish"]))
    assert targets.first_frame == series.origins[0]
    stop = series.origins[-1] + case.benchmark.horizon
    expected = case.activity["fish"][series.origins[0] : stop]
    assert targets.rows.dtype == np.float32
    np.testing.assert_array_equal(targets.rows, expected)
    assert targets.digest == blake3.blake3(expected.tobytes()).hexdigest()
    assert targets.finite


@pytest.mark.parametrize("dtype", ["float64", "float16", "int16", "uint8", ">f4"])
def test_other_real_numbers_become_float32(tmp_path, dtype):
    case = horizon_case()
    activity = np.abs(np.round(case.activity["fish"] * 8)).astype(dtype)
    targets = load_targets(case.benchmark, case.benchmark.series[0], stored(tmp_path, activity))
    same = load_targets(
        *(case.benchmark, case.benchmark.series[0]), stored(tmp_path, activity.astype("<f4"))
    )
    assert targets.rows.dtype == np.dtype("<f4")
    assert targets.digest == same.digest


def test_neurons_first_is_read_transposed(tmp_path):
    case = horizon_case()
    np.save(tmp_path / "t.npy", np.ascontiguousarray(case.activity["fish"].T))
    recording = open_recording(str(tmp_path / "t.npy"), neurons_first=True)
    series = case.benchmark.series[0]
    targets = load_targets(case.benchmark, series, recording.activity)
    same = load_targets(case.benchmark, series, stored(tmp_path, case.activity["fish"]))
    assert targets.digest == same.digest
    assert targets.rows.flags.c_contiguous


def test_hdf5_is_read_alike(tmp_path):
    case = horizon_case()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("traces", data=case.activity["fish"], chunks=(7, 3))
    series = case.benchmark.series[0]
    found = load_targets(case.benchmark, series, open_array(f"{tmp_path / 'a.h5'}:/traces"))
    same = load_targets(case.benchmark, series, stored(tmp_path, case.activity["fish"]))
    assert found.digest == same.digest


def test_some_neurons_keep_their_order(tmp_path):
    case = horizon_case()
    series = case.benchmark.series[0]
    targets = load_targets(case.benchmark, series, stored(tmp_path, case.activity["fish"]))
    kept = np.array([1, 4, 6])
    np.testing.assert_array_equal(targets.of_neurons(kept).rows, targets.rows[:, kept])


@pytest.mark.parametrize("dtype", ["bool", "complex64"])
def test_other_than_real_numbers_are_refused(tmp_path, dtype):
    case = horizon_case()
    activity = stored(tmp_path, case.activity["fish"].astype(dtype))
    with pytest.raises(InvalidInput, match=f"holds {dtype}, expected real numbers"):
        load_targets(case.benchmark, case.benchmark.series[0], activity)


def test_recording_that_ends_early_is_refused(tmp_path):
    case = horizon_case()
    activity = stored(tmp_path, case.activity["fish"][:20])
    with pytest.raises(InvalidInput, match="has 20 frames, but condition 2 of case@1 needs frames"):
        load_targets(case.benchmark, case.benchmark.series[2], activity)


def test_float64_beyond_float32_is_not_finite(tmp_path):
    case = horizon_case()
    activity = case.activity["fish"].astype(np.float64)
    activity[6, 2] = -1e39
    targets = load_targets(case.benchmark, case.benchmark.series[0], stored(tmp_path, activity))
    assert not targets.finite
    with pytest.raises(InvalidInput, match="fish: frame 6, neuron 2 is -inf"):
        check_finite(targets, None, "fish")


def test_only_kept_neurons_are_checked(tmp_path):
    case = horizon_case()
    activity = case.activity["fish"].copy()
    activity[6, 2] = np.nan
    targets = load_targets(case.benchmark, case.benchmark.series[0], stored(tmp_path, activity))
    check_finite(targets, np.array([0, 1, 3]), "fish")
    with pytest.raises(InvalidInput, match="fish: frame 6, neuron 2 is nan"):
        check_finite(targets, np.array([0, 2, 3]), "fish")


def test_huge_finite_values_are_finite(tmp_path):
    case = horizon_case()
    activity = np.full_like(case.activity["fish"], np.finfo(np.float32).max)
    targets = load_targets(case.benchmark, case.benchmark.series[0], stored(tmp_path, activity))
    assert targets.finite


def test_frames_between_windows_are_no_targets(tmp_path):
    case = horizon_case()
    series = replace(case.benchmark.series[0], origins=(4, 20))
    activity = case.activity["fish"].copy()
    before = load_targets(case.benchmark, series, stored(tmp_path, activity))
    activity[9:20] = np.nan
    after = load_targets(case.benchmark, series, stored(tmp_path, activity))
    assert after.finite
    assert after.digest == before.digest


def test_memory_of_spare_targets_serves_again_and_changes_nothing(tmp_path):
    case = horizon_case()
    activity = stored(tmp_path, case.activity["fish"])
    series = [one for one in case.benchmark.series if one.recording == "fish"]
    spare = None
    for one in [*series, *reversed(series)]:
        alone = load_targets(case.benchmark, one, activity)
        again = load_targets(case.benchmark, one, activity, spare)
        assert spare is None or again.room is spare.room
        np.testing.assert_array_equal(again.rows, alone.rows)
        assert (again.digest, again.finite) == (alone.digest, alone.finite)
        again.rows[...] = np.nan
        spare = again


def test_spare_targets_that_are_too_small_are_left_alone(tmp_path):
    case = horizon_case()
    one = case.benchmark.series[0]
    activity = stored(tmp_path, case.activity["fish"])
    expected = load_targets(case.benchmark, one, activity)
    spare = replace(expected, room=np.zeros(3, np.float32))
    found = load_targets(case.benchmark, one, activity, spare)
    np.testing.assert_array_equal(found.rows, expected.rows)
    assert not spare.room.any()
