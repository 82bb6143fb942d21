from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from baselines.worms.generation import generate

pytestmark = pytest.mark.usefixtures("strict_promotion")

LENGTH, STEPS, NEURONS = 6, 9, 3
MASK = np.array([True, False, True])


def model(window):
    """Doubles the mean of the frames so far and adds the newest one: hangs on length and order."""
    count = jnp.arange(1, window.shape[1] + 1, dtype=jnp.float32)[None, :, None]
    return 0.5 * window - 0.9 * jnp.cumsum(window, axis=1) / count + 0.1


def twin(seen, clamp):
    """Returns generated frames, one window and one frame at a time."""
    sequence = list(seen)
    for _ in range(STEPS):
        window = np.stack(sequence[-LENGTH:])
        newest = 0.5 * window[-1] - 0.9 * window.mean(axis=0) + 0.1
        if clamp:
            newest = np.clip(newest, window.min(axis=0), window.max(axis=0))
        sequence.append(np.where(MASK, newest, 0))
    return np.stack(sequence[len(seen) :])


@pytest.mark.parametrize("clamp", [False, True])
@pytest.mark.parametrize("frames", [1, 4, 6, 11])
def test_generation_twin_by_loops(frames, clamp):
    seen = np.random.default_rng(0).normal(size=(2, frames, NEURONS)).astype(np.float32)
    seen[..., ~MASK] = 0
    options = {"steps": STEPS, "length": LENGTH, "clamp": clamp}
    found = jax.jit(lambda given: generate(model, given, jnp.asarray(MASK), **options))(seen)
    assert found.shape == (2, STEPS, NEURONS)
    for window in range(2):
        np.testing.assert_allclose(found[window], twin(seen[window], clamp), rtol=1e-5, atol=1e-5)


def test_the_clamp_holds_what_would_leave_the_range():
    seen = np.linspace(0, 1, 5, dtype=np.float32)[None, :, None]
    found = [
        generate(
            lambda window: window + 1, seen, jnp.ones(1, bool), steps=4, length=5, clamp=clamp
        ).ravel()
        for clamp in (False, True)
    ]
    np.testing.assert_allclose(found[0], [2, 3, 4, 5])
    np.testing.assert_allclose(found[1], [1, 1, 1, 1])
