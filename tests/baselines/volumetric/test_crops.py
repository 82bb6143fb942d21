import numpy as np
import pytest

from baselines.volumetric.crops import crop_of
from zapeval.errors import InvalidInput, UsageError


def test_the_paper_sees_512_by_288_by_72():
    crop = crop_of((2048, 1328, 72), (2048, 1152, 72), 4)
    assert crop.size == (512, 288, 72)
    first = crop.spans((slice(0, 128), slice(0, 72), slice(None)), 4)
    assert first == ((0, 512), (88, 88 + 288), (0, 72))


def test_parts_together_are_the_centre():
    values = np.random.default_rng(0).normal(size=(10, 9, 3))
    crop = crop_of((10, 9, 3), (8, 4, 3), 2)
    whole = values[1:9, 2:6]
    halves = [
        values[tuple(slice(*span) for span in crop.spans((part, slice(None), slice(None)), 2))]
        for part in (slice(0, 2), slice(2, 4))
    ]
    np.testing.assert_array_equal(np.concatenate(halves), whole)
    assert crop.size == (4, 2, 3)


def test_a_crop_that_does_not_fit_is_refused():
    with pytest.raises(InvalidInput, match=r"crop of 9 along y, .* 10 x 8 x 3; expected 1 to 8"):
        crop_of((10, 8, 3), (8, 9, 3), 1)
    with pytest.raises(InvalidInput, match="10 voxels along x can't be seen 4x coarser; crop to 8"):
        crop_of((10, 8, 3), None, 4)
    with pytest.raises(UsageError, match="resolution is 3, expected 1, 2 or 4"):
        crop_of((10, 8, 3), None, 3)
