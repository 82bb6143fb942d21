import pytest

from baselines.volumetric.configuration import named
from baselines.volumetric.sizes import check_volume, multiples, output_size
from zapeval.errors import InvalidInput

WIDEST = named("S256", context=4)


def test_the_papers_volume_and_mesh_fit_though_inner_levels_do_not_divide():
    check_volume(WIDEST, (512, 288, 72), (4, 4))
    assert 288 // 16 % 4 != 0
    check_volume(named("S256", context=4, full_resolution=True), (512, 288, 72), (4, 4))


@pytest.mark.parametrize("shards", [(1, 1), (4, 4), (3, 5), (6, 32)])
def test_multiples_are_the_smallest_sizes_that_fit(shards):
    found = multiples(WIDEST, shards)
    check_volume(WIDEST, found, shards)
    for axis, (step, parts, factor) in enumerate(
        zip(found, (*shards, 1), WIDEST.coarsest, strict=True)
    ):
        smaller = [n for n in range(1, step) if n % parts == 0 and n % factor == 0]
        assert not smaller, (axis, smaller)


def test_the_message_names_the_nearest_sizes_that_work():
    with pytest.raises(InvalidInput) as caught:
        check_volume(WIDEST, (512, 332, 70), (4, 3))
    message = str(caught.value)
    assert "volume 512 x 332 x 70" in message
    assert "y is 332, expected a multiple of 48 (3 parts, resampled by 16): 288 or 336" in message
    assert "z is 70, expected a multiple of 8 (1 parts, resampled by 8): 64 or 72" in message
    assert "x is" not in message
    check_volume(WIDEST, (512, 288, 64), (4, 3))
    check_volume(WIDEST, (512, 336, 72), (4, 3))


def test_a_volume_smaller_than_a_coarse_voxel_is_told_the_one_size_that_works():
    with pytest.raises(InvalidInput, match=r"x is 7, .*: 16; crop or pad it"):
        check_volume(WIDEST, (7, 16, 8))


def test_mesh_and_resampling_are_held_apart():
    coarse = named("S21", context=4)
    check_volume(coarse, (9, 5, 1), (3, 5))
    with pytest.raises(InvalidInput, match="x is 10"):
        check_volume(coarse, (10, 5, 1), (3, 5))


def test_frames_that_come_out_are_finer_by_the_upsampling():
    full = named("S256", context=4, full_resolution=True)
    assert output_size(full, (512, 288, 72)) == (2048, 1152, 72)
    assert output_size(WIDEST, (512, 288, 72)) == (512, 288, 72)
