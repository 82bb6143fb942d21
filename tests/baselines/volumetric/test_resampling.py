import jax.numpy as jnp
import numpy as np
import pytest

from baselines.volumetric.resampling import downsample, upsample
from baselines.volumetric.sharding import Layout, layout_over


class Uneven:
    """Says of every volume that its parts differ, so that the other way is taken."""

    def __init__(self, layout):
        self.activations = layout.activations

    def is_even(self, shape):
        return False


@pytest.fixture(params=["whole", "even", "uneven"])
def layout(request) -> Layout | None:
    import jax

    one = layout_over(devices=jax.devices()[:1])
    return {"whole": None, "even": one, "uneven": Uneven(one)}[request.param]


@pytest.mark.parametrize("factor", [(2, 2, 1), (2, 2, 2), (1, 3, 2)])
def test_pooling_averages_blocks(layout, factor):
    volumes = np.random.default_rng(0).normal(size=(2, 4, 6, 2, 3)).astype(np.float32)
    found = np.asarray(downsample(jnp.asarray(volumes), factor, layout))
    assert found.shape == (2, 4 // factor[0], 6 // factor[1], 2 // factor[2], 3)
    for b, x, y, z in np.ndindex(*found.shape[:4]):
        places = [slice(n * f, n * f + f) for n, f in zip((x, y, z), factor, strict=True)]
        block = volumes[(b, *places)].astype(np.float64)
        np.testing.assert_allclose(found[b, x, y, z], block.mean((0, 1, 2)), atol=1e-6)


@pytest.mark.parametrize("factor", [(2, 2, 1), (2, 2, 2), (1, 3, 2)])
def test_upsampling_takes_the_nearest_voxel(layout, factor):
    volumes = np.random.default_rng(0).normal(size=(2, 2, 3, 2, 3)).astype(np.float32)
    found = np.asarray(upsample(jnp.asarray(volumes), factor, layout))
    assert found.shape == (2, 2 * factor[0], 3 * factor[1], 2 * factor[2], 3)
    for x, y, z in np.ndindex(*found.shape[1:4]):
        nearest = volumes[:, x // factor[0], y // factor[1], z // factor[2]]
        np.testing.assert_array_equal(found[:, x, y, z], nearest)


def test_bfloat16_is_averaged_in_float32(layout):
    values = jnp.array([256.0, 1.0, 1.0, 2.0], jnp.bfloat16).reshape(1, 4, 1, 1, 1)
    found = downsample(values, (4, 1, 1), layout)
    assert found.dtype == jnp.bfloat16
    assert float(found[0, 0, 0, 0, 0]) == 65
    fine = upsample(values, (2, 1, 1), layout)
    assert fine.dtype == jnp.bfloat16
    assert float(fine[0, 1, 0, 0, 0]) == 256
