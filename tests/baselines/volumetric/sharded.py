"""A program: the same steps on 1 and on 8 simulated devices; prints how far apart, as JSON.

The paper's own step is compiled for its 16 devices too, and not run.

It runs in a process of its own, since the number of simulated devices is set before JAX starts.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from functools import cache

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=16 --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true"
)

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from baselines.volumetric.anatomy import Anatomy, anatomy_of
from baselines.volumetric.configuration import LEVELS, Configuration, named
from baselines.volumetric.loss import loss_of
from baselines.volumetric.sharding import layout_over
from baselines.volumetric.sizes import check_volume, output_size
from baselines.volumetric.unet import UNet

NEURONS = 40
SMALL = {"context": 3, "horizon": 5, "features": 4, "groups": 2, "blocks": 1, "bins": 8}
DEEP = Configuration(**SMALL, resampling=LEVELS[:2])
FINER = Configuration(
    **SMALL,
    resampling=((1, 2, 2),),
    upsampling=((2, 2, 1),),
    upsampled_features=2,
    head="hl-gauss",
    skip="concat",
    remat=True,
    dropout=0.3,
)

CASES = {
    # (batch, x, y); levels of 24, 12, 6 rows: 6 can't be cut into 4 equal parts, nor 12 into 8.
    "2x4": (DEEP, (1, 2, 4), (24, 24, 4), "trace"),
    "4x2": (DEEP, (1, 4, 2), (24, 24, 4), "trace"),
    "8x1": (DEEP, (1, 8, 1), (24, 24, 4), "trace"),
    "2x2x2": (FINER, (2, 2, 2), (8, 8, 4), "hl-gauss"),
}


def drawn(c, volume):
    """Returns parameters, a batch and labels; neurons are spread over the whole volume."""
    rng = np.random.default_rng(0)
    shapes = nnx.split(nnx.eval_shape(lambda: UNet(c, rngs=nnx.Rngs(0))))[1]
    state = jax.tree.map(lambda a: rng.normal(0, 0.3, a.shape).astype(np.float32), shapes)
    fine = output_size(c, volume)
    batch = {
        "frames": rng.normal(0, 1, (2, c.context, *volume)).astype(np.float32),
        "lead": np.array([1, 5], np.int32),
        "truth": rng.uniform(-0.25, 1.5, (2, 1, *fine)).astype(np.float32),
    }
    return state, batch, rng.integers(0, NEURONS + 1, fine)


def stepped(c, volume, loss, layout):
    """Returns outputs, loss and gradient of a step, and the compiled program's text."""
    state, batch, labels = drawn(c, volume)
    anatomy = anatomy_of(labels, NEURONS, layout=layout)
    if layout is not None:
        places = {"frames": layout.frames, "lead": layout.windows, "truth": layout.frames}
        batch = {name: jax.device_put(batch[name], places[name]) for name in batch}
        state = jax.device_put(state, layout.everywhere)
    compiled = step(c, loss, layout).lower(state, batch, anatomy).compile()
    (value, outputs), gradient = compiled(state, batch, anatomy)
    shards = outputs.sharding.shard_shape(outputs.shape)
    return {"outputs": outputs, "loss": value, "gradient": gradient}, compiled.as_text(), shards


@cache
def plainly(c, volume, loss):
    """Returns what a step gives on one device."""
    return stepped(c, volume, loss, None)[0]


def step(c, loss, layout):
    """Returns what computes loss, outputs and gradient."""
    shapes = nnx.eval_shape(lambda: UNet(c, rngs=nnx.Rngs(0), layout=layout))
    definition, measure = nnx.split(shapes)[0], loss_of(loss, c, layout)
    key = jax.random.key(7) if c.dropout else None

    def mean(state, batch, anatomy):
        outputs = nnx.merge(definition, state)(batch["frames"], batch["lead"], key=key)
        total, weight = measure(outputs, batch["truth"], anatomy)
        return total / weight, outputs

    return jax.jit(jax.value_and_grad(mean, has_aux=True))


def papers():
    """Returns what the paper's step exchanges: S256, 4 frames, 512 x 288 x 72 over 4 x 4."""
    c, volume, layout = named("S256", context=4, remat=True), (512, 288, 72), layout_over(x=4, y=4)
    check_volume(c, volume, layout.shards)

    def described(shape, dtype, where):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=where)

    batch = {
        "frames": described((1, c.context, *volume), jnp.float32, layout.frames),
        "lead": described((1,), jnp.int32, layout.windows),
        "truth": described((1, 1, *volume), jnp.float32, layout.frames),
    }
    anatomy = Anatomy(
        labels=described(volume, jnp.int32, layout.labels),
        voxels=described((71_721,), jnp.int32, layout.everywhere),
        weight=described((71_721,), jnp.float32, layout.everywhere),
    )
    shapes = nnx.split(nnx.eval_shape(lambda: UNet(c, rngs=nnx.Rngs(0))))[1]
    state = jax.tree.map(lambda a: described(a.shape, a.dtype, layout.everywhere), shapes)
    compiled = step(c, "trace", layout).lower(state, batch, anatomy).compile()
    return {"own": math.prod(volume) * c.features // 16, **exchanged(compiled.as_text())}


def exchanged(text):
    """Returns how often a program moves arrays between devices, and the largest of each kind."""
    counts, largest = {}, {}
    for kind in ("collective-permute", "all-reduce", "all-gather", "all-to-all"):
        found = re.findall(rf"= (.+?) {kind}(?:-start)?\(", text)
        shapes = re.findall(r"\[([\d,]+)\]", " ".join(found))
        counts[kind] = len(found)
        largest[kind] = max((math.prod(map(int, s.split(","))) for s in shapes), default=0)
    return {"counts": counts, "largest": largest}


def compared(name):
    """Returns how far sharded is from unsharded."""
    c, (batch, x, y), volume, loss = CASES[name]
    check_volume(c, volume, (x, y))
    layout = layout_over(batch=batch, x=x, y=y, devices=jax.devices()[:8])
    plain = plainly(c, volume, loss)
    cut, text, shards = stepped(c, volume, loss, layout)
    apart = {
        what: max(jax.tree.leaves(jax.tree.map(_apart, plain[what], cut[what]))) for what in plain
    }
    sizes = {
        what: max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(plain[what]))
        for what in plain
    }
    own = math.prod(output_size(c, volume)) * c.features * 2 // 8
    return {"apart": apart, "sizes": sizes, "shards": shards, "own": own, **exchanged(text)}


def control():
    """Returns what a program exchanges that does gather a volume."""
    layout = layout_over(x=2, y=4, devices=jax.devices()[:8])
    volumes = jax.device_put(jnp.ones((1, 8, 8, 2, 4)), layout.activations)
    gather = jax.jit(lambda v: v * 2, out_shardings=layout.everywhere)
    return exchanged(gather.lower(volumes).compile().as_text())


def _apart(one, other):
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())


if __name__ == "__main__":
    found = {"control": control(), "papers": papers()}
    json.dump({**found, **{name: compared(name) for name in CASES}}, sys.stdout)
