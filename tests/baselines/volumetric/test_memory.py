from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from baselines.volumetric.anatomy import anatomy_of
from baselines.volumetric.configuration import LEVELS, Configuration
from baselines.volumetric.learning import losses_of, new_parameters
from baselines.volumetric.memory import available_bytes, training_bytes
from baselines.volumetric.sharding import layout_over

VOLUME = (32, 16, 8)


def allotted(c):
    """Returns what XLA sets aside for loss and gradient."""
    layout = layout_over(devices=jax.devices()[:1])
    params = new_parameters(c, 0, layout)
    loss, _ = losses_of(c, "trace", layout)
    batch = {
        "frames": jnp.zeros((1, c.context, *VOLUME)),
        "truth": jnp.zeros((1, 1, *VOLUME)),
        "lead": jnp.ones(1, jnp.int32),
        "windows": jnp.ones(1),
        "anatomy": anatomy_of(jnp.ones(VOLUME, jnp.int32), 1, layout=layout),
    }
    gradient = jax.jit(jax.value_and_grad(lambda p, b: loss(p, b)[0]))
    return gradient.lower(params, batch).compile().memory_analysis().temp_size_in_bytes


def test_the_estimate_is_near_what_xla_sets_aside():
    c = Configuration(context=4, features=16, groups=4, blocks=2, resampling=LEVELS[:1])
    copies_of_parameters = training_bytes(c, (0, 0, 0))
    estimate = training_bytes(c, VOLUME) - copies_of_parameters
    assert 0.7 < estimate / allotted(c) < 1.3


def test_parts_share_the_volume_but_not_the_parameters():
    c = Configuration(context=4, features=16)
    parameters = training_bytes(c, (0, 0, 0))
    whole, quarter = training_bytes(c, (64, 64, 16)), training_bytes(c, (64, 64, 16), parts=4)
    assert quarter - parameters == pytest.approx((whole - parameters) / 4)
    assert training_bytes(c, (64, 64, 16), windows=2) > 1.9 * (whole - parameters)


def test_remat_and_lower_precision_need_less():
    volume = (64, 64, 16)
    parameters = training_bytes(Configuration(context=4), (0, 0, 0))
    plain = training_bytes(Configuration(context=4), volume) - parameters
    remat = training_bytes(Configuration(context=4, remat=True), volume) - parameters
    assert remat < 0.4 * plain
    half = training_bytes(Configuration(context=4, precision="bfloat16"), volume) - parameters
    assert half < 0.9 * plain


def test_a_device_says_what_it_has():
    assert available_bytes("gpu", {"bytes_limit": 80}) == 80
    assert available_bytes("tpu", None) is None
    assert available_bytes("cpu", None) > 1 << 28
