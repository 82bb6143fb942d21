"""Small models with every parameter drawn, so that no bias is zero and no scale is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

CONTEXT, HORIZON, NEURONS, FEATURES, WINDOWS = 6, 4, 7, 5, 3


@pytest.fixture(autouse=True)
def strict_promotion() -> Iterator[None]:
    """Lets no type be promoted behind one's back."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture
def drawn() -> Callable[..., Any]:
    """Builds a small model and adds noise to each of its parameters."""

    def build(model: Callable[..., Any], **changes: Any) -> Any:
        sizes = {"context": CONTEXT, "horizon": HORIZON, "neurons": NEURONS, "features": FEATURES}
        built = model(**{**sizes, "rngs": nnx.Rngs(0), **changes})
        rng = np.random.default_rng(1)
        noisy = jax.tree.map(
            lambda leaf: leaf + rng.normal(0, 0.2, leaf.shape).astype(np.float32), nnx.state(built)
        )
        nnx.update(built, noisy)
        return built

    return build


@pytest.fixture
def seen() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Activity, stimulus and future stimulus."""
    rng = np.random.default_rng(2)
    shapes = (WINDOWS, CONTEXT, NEURONS), (WINDOWS, CONTEXT, FEATURES), (WINDOWS, HORIZON, FEATURES)
    activity, stimulus, future = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return activity, stimulus, future


@pytest.fixture
def published() -> Callable[..., Any]:
    """Builds the shapes of a model at the size of ZAPBench: 71,721 neurons, and no memory."""

    def build(model: Callable[..., Any], context: int, **changes: Any) -> Any:
        sizes = {"context": context, "horizon": 32, "neurons": 71_721, "features": 26, **changes}
        return nnx.eval_shape(lambda: model(**sizes, rngs=nnx.Rngs(0)))

    return build


@pytest.fixture
def dense() -> Callable[[nnx.Linear, np.ndarray], np.ndarray]:
    """Applies a dense layer to one vector, in float64 and by loops."""

    def apply(layer: nnx.Linear, values: np.ndarray) -> np.ndarray:
        kernel = np.asarray(layer.kernel[...], np.float64)
        result = np.asarray(layer.bias[...], np.float64).copy()
        assert kernel.shape == (len(values), len(result))
        for i, value in enumerate(values):
            for j in range(len(result)):
                result[j] += value * kernel[i, j]
        return result

    return apply
