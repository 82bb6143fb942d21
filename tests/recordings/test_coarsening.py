from __future__ import annotations

import numpy as np

from zapeval.recordings.coarsening import picked, pooled


def test_pooling_is_the_mean_of_each_block():
    frames = np.random.default_rng(0).normal(size=(2, 8, 4, 3)).astype(np.float32)
    found = pooled(frames, 4)
    for x in range(2):
        block = frames[:, 4 * x : 4 * x + 4, :4]
        np.testing.assert_allclose(found[:, x, 0], block.mean(axis=(1, 2)), rtol=1e-6)
    assert found.dtype == np.float32
    assert pooled(frames, 1) is frames


def test_the_label_of_coarse_voxels_lies_in_their_middle():
    labels = np.arange(32).reshape(8, 4, 1)
    np.testing.assert_array_equal(picked(labels, 4)[..., 0], [[labels[2, 2, 0]], [labels[6, 2, 0]]])
    assert picked(labels, 1).shape == labels.shape
