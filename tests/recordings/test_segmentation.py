from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zapeval.errors import InvalidInput
from zapeval.recordings.arrays import Array, open_array
from zapeval.recordings.grid import Grid
from zapeval.recordings.segmentation import open_segmentation

SHAPE = (4, 3, 5)
NEURONS = 6


def stored(folder: Path, labels: np.ndarray) -> Array:
    np.save(folder / "labels.npy", labels)
    return open_array(folder / "labels.npy")


def by_loops(volumes: np.ndarray, labels: np.ndarray, grid: Grid) -> np.ndarray:
    """Eq. 1 as it is written: the mean over a neuron's voxels, exactly summed."""
    means = np.full((len(volumes), NEURONS), np.nan)
    for v, volume in enumerate(volumes):
        for n in range(NEURONS):
            own = [
                float(volume[at])
                for at in np.ndindex(volume.shape)
                if labels[
                    tuple(o + s * i for o, s, i in zip(grid.offset, grid.stride, at, strict=True))
                ]
                == n + 1
            ]
            if own:
                means[v, n] = math.fsum(own) / len(own)
    return means


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Grid]:
    seed = draw(st.integers(0, 999))
    rng = np.random.default_rng(seed)
    dtype = draw(st.sampled_from(["<u2", "<i4", "<i8", "|u1"]))
    labels = rng.integers(0, NEURONS + 1, SHAPE).astype(dtype)
    offset = tuple(draw(st.integers(0, n - 1)) for n in SHAPE)
    stride = tuple(draw(st.integers(1, 3)) for _ in SHAPE)
    shape = tuple(
        draw(st.integers(1, 1 + (n - 1 - o) // s))
        for n, o, s in zip(SHAPE, offset, stride, strict=True)
    )
    volumes = rng.normal(1, 1, (draw(st.integers(1, 3)), *shape)).astype("f4")
    return volumes, labels, Grid(offset=offset, stride=stride)


@settings(max_examples=80)
@given(cases())
def test_traces_are_means_over_voxels(tmp_path_factory, case):
    volumes, labels, grid = case
    array = stored(tmp_path_factory.mktemp("labels"), labels)
    segmentation = open_segmentation(array, NEURONS, volumes.shape[1:], grid)
    found = segmentation.means(volumes)
    expected = by_loops(volumes, labels, grid)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(segmentation.missing, np.isnan(expected[0]))
    assert segmentation.voxels.sum() == (segmentation.labels > 0).sum()


def test_a_volume_lies_voxel_on_voxel_by_default(tmp_path):
    labels = np.arange(60).reshape(SHAPE) % (NEURONS + 1)
    segmentation = open_segmentation(stored(tmp_path, labels), NEURONS, SHAPE)
    volume = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype("f4")
    np.testing.assert_allclose(
        segmentation.means(volume), by_loops(volume, labels, Grid()), rtol=1e-6
    )


def test_a_neuron_without_a_voxel_is_missing_and_nan(tmp_path):
    labels = np.ones(SHAPE, "<i4")
    segmentation = open_segmentation(stored(tmp_path, labels), 3, SHAPE)
    np.testing.assert_array_equal(segmentation.missing, [False, True, True])
    means = segmentation.means(np.ones((2, *SHAPE), "f4"))
    np.testing.assert_array_equal(np.isnan(means), [[False, True, True]] * 2)


def test_one_voxel_that_is_no_number_spoils_its_own_neuron_only(tmp_path):
    labels = np.arange(60).reshape(SHAPE) % (NEURONS + 1)
    segmentation = open_segmentation(stored(tmp_path, labels), NEURONS, SHAPE)
    volume = np.ones((1, *SHAPE), "f4")
    volume[(0, *np.argwhere(labels == 2)[0])] = np.nan
    volume[(0, *np.argwhere(labels == 0)[0])] = np.inf
    np.testing.assert_array_equal(
        np.isnan(segmentation.means(volume)[0]), [False, True, *[False] * 4]
    )


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.zeros((4, 3), "<i4"), r"int32 \(4, 3\), expected integer labels \[x, y, z\]"),
        (np.zeros(SHAPE, "f4"), r"float32 \(4, 3, 5\), expected integer labels"),
        (np.zeros(SHAPE, "?"), "bool .*, expected integer labels"),
        (np.full(SHAPE, NEURONS + 1), "label 7, but the recording has 6 neurons"),
        (np.full(SHAPE, 2**63, "<u8"), "label 9223372036854775808, but the recording has 6"),
        (np.full(SHAPE, -1), "label -1 is negative"),
    ],
)
def test_labels_that_name_no_neuron_are_refused(tmp_path, labels, says):
    with pytest.raises(InvalidInput, match=f"labels.npy: {says}"):
        open_segmentation(stored(tmp_path, labels), NEURONS, SHAPE)


@pytest.mark.parametrize(
    ("shape", "grid", "axis"),
    [
        ((5, 3, 5), Grid(), 0),
        ((4, 3, 5), Grid(offset=(0, 1, 0)), 1),
        ((4, 3, 3), Grid(stride=(1, 1, 3)), 2),
        ((4, 3, 5), Grid(offset=(0, -1, 0)), 1),
        ((4, 3, 5), Grid(stride=(0, 1, 1)), 0),
        ((4, 0, 5), Grid(), 1),
    ],
)
def test_a_volume_beyond_the_segmentation_is_refused(tmp_path, shape, grid, axis):
    with pytest.raises(InvalidInput, match=f"of axis {axis}, which has .*; mend the manifest's gr"):
        open_segmentation(stored(tmp_path, np.zeros(SHAPE, "<i4")), NEURONS, shape, grid)
