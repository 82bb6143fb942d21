"""Small volumetric models with every parameter drawn, so that no bias and no FiLM is zero."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.experimental.compilation_cache import compilation_cache

from baselines.volumetric.configuration import Configuration
from baselines.volumetric.unet import UNet


@pytest.fixture(autouse=True)
def strict_promotion() -> Iterator[None]:
    """Lets no type be promoted behind one's back."""
    with jax.numpy_dtype_promotion("strict"):
        yield


QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
"""Compiling takes longer here than running: optimise little."""


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of what was compiled."""
    return str(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module")
def compiled_once(compiled: str) -> Iterator[None]:
    """Compiles little, and keeps it, for tests in which most models are equal."""
    settings = {
        "jax_disable_most_optimizations": True,
        "jax_compilation_cache_dir": compiled,
        "jax_persistent_cache_min_compile_time_secs": 0,
    }
    before = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


@pytest.fixture(scope="session")
def quick() -> Callable[..., Any]:
    """Compiles quickly; otherwise as jax.jit."""
    return partial(jax.jit, compiler_options=QUICK)


@pytest.fixture(scope="session")
def called(quick: Callable[..., Any]) -> Callable[..., np.ndarray]:
    """Calls a model, compiled once for each configuration."""

    def apply(definition: Any, state: Any, given: dict[str, Any], key: Any) -> jax.Array:
        return nnx.merge(definition, state)(**given, key=key)

    compiled = quick(apply, static_argnums=0)
    return lambda model, given, key=None: np.asarray(compiled(*nnx.split(model), given, key))


@pytest.fixture
def small() -> Callable[..., Configuration]:
    """Builds a configuration of two levels, four features and three blocks."""

    def build(**changes: Any) -> Configuration:
        sizes = {"context": 3, "horizon": 5, "features": 4, "groups": 2, "blocks": 1, "bins": 8}
        return Configuration(**{**sizes, "resampling": ((2, 2, 1),), **changes})

    return build


@pytest.fixture
def drawn() -> Callable[[Configuration], UNet]:
    """Builds a model and draws each of its parameters."""

    def build(configuration: Configuration, scale: float = 0.3) -> UNet:
        model = nnx.eval_shape(lambda: UNet(configuration, rngs=nnx.Rngs(0)))
        definition, shapes = nnx.split(model)
        rng = np.random.default_rng(1)

        def draw(leaf: Any) -> jax.Array:
            return jnp.asarray(rng.normal(0, scale, leaf.shape), leaf.dtype)

        return nnx.merge(definition, jax.tree.map(draw, shapes))

    return build


@pytest.fixture
def seen() -> Callable[..., dict[str, jax.Array]]:
    """Draws what a configuration's model is called with, for two windows of a volume."""

    def draw(c: Configuration, volume: tuple[int, int, int] = (4, 6, 3)) -> dict[str, jax.Array]:
        rng = np.random.default_rng(2)

        def normal(*shape: int) -> jax.Array:
            return jnp.asarray(rng.normal(0, 1, shape), jnp.float32)

        given = {"frames": normal(2, c.context, *volume)}
        if c.told_lead_time:
            given["lead"] = jnp.array([1, c.horizon], jnp.int32)
        if c.past_stimulus:
            given["past_stimulus"] = normal(2, c.context, c.past_stimulus)
        if c.future_stimulus:
            given["future_stimulus"] = normal(2, c.horizon, c.future_stimulus)
        return given

    return draw
