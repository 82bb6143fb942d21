"""Small models with every parameter drawn, so that no bias is zero and no scale is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from baselines.worms.shell import Shell

HIDDEN, NEURONS, WINDOWS, FRAMES = 8, 7, 3, 12


@pytest.fixture
def strict_promotion() -> Iterator[None]:
    """Lets no type be promoted behind one's back."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def drawn() -> Callable[..., Any]:
    """Builds a small model and adds noise to each of its parameters."""

    def build(core: str, hidden: int = HIDDEN) -> Any:
        built = Shell(core=core, neurons=NEURONS, hidden=hidden, rngs=nnx.Rngs(0))
        rng = np.random.default_rng(1)
        noisy = jax.tree.map(
            lambda leaf: leaf + rng.normal(0, 0.2, leaf.shape).astype(np.float32), nnx.state(built)
        )
        nnx.update(built, noisy)
        return built

    return build


@pytest.fixture
def seen() -> np.ndarray:
    """Activity of a few windows."""
    rng = np.random.default_rng(2)
    return rng.normal(size=(WINDOWS, FRAMES, NEURONS)).astype(np.float32)
