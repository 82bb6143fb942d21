import jax
import numpy as np
import pytest
from jax import lax

from baselines.volumetric.convolution import in_planes


def of_volumes(volumes, kernel):
    """The same by XLA's own convolution of volumes."""
    return lax.conv_general_dilated(
        volumes, kernel, (1, 1, 1), "SAME", dimension_numbers=("NXYZC", "XYZIO", "NXYZC")
    )


@pytest.mark.parametrize("shape", [(1, 6, 5, 4, 3), (2, 3, 4, 1, 2), (1, 1, 1, 2, 5)])
def test_planes_convolve_as_volumes_do_with_their_gradients(shape):
    rng = np.random.default_rng(7)
    volumes = rng.normal(size=shape).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 3, shape[-1], 4)).astype(np.float32)
    weights = rng.normal(size=(*shape[:-1], 4)).astype(np.float32)
    np.testing.assert_allclose(in_planes(volumes, kernel), of_volumes(volumes, kernel), atol=2e-5)

    def slopes(convolve):
        return jax.grad(lambda v, k: (convolve(v, k) * weights).sum(), argnums=(0, 1))(
            volumes, kernel
        )

    for ours, theirs in zip(slopes(in_planes), slopes(of_volumes), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
