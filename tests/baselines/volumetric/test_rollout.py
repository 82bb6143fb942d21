import jax.numpy as jnp
import numpy as np

from baselines.volumetric.rollout import roll_out


def test_each_frame_is_fed_back_as_the_newest():
    frames = np.random.default_rng(0).normal(size=(2, 3, 2, 2, 1)).astype(np.float32)
    weights = np.array([0.2, -0.5, 0.9], np.float32)

    def step(context):
        return jnp.einsum("bcxyz,c->bxyz", context, weights)[:, None]

    found = roll_out(step, jnp.asarray(frames), 5)
    past = list(np.moveaxis(frames, 1, 0))
    for step_number in range(5):
        past.append(sum(w * frame for w, frame in zip(weights, past[-3:], strict=True)))
        np.testing.assert_allclose(found[:, step_number], past[-1], atol=1e-6)
    assert found.shape == (2, 5, 2, 2, 1)
