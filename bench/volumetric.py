"""A training step of the volumetric UNet: its time, its wait for data, and its memory.

    python bench/volumetric.py                               zapbench-smoke, S64, 16 features
    python bench/volumetric.py --set features=32 levels=1    other settings of volumetric-unet

Steps are timed by the clock, each until its loss is there; the wait is what a step spends until its
batch is. The roofline of convolutions is what this machine reaches in one large float32 matrix
product, measured just before; a step counts as three forward passes. One convolution and its
gradients are timed in both forms that the model knows, in turns.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax

from baselines.batches import ahead
from baselines.training import _compiled
from baselines.volumetric.convolution import in_planes
from baselines.volumetric.forecaster import VolumetricUNet
from baselines.volumetric.learning import losses_of, new_parameters
from baselines.volumetric.loader import VideoBatches
from baselines.volumetric.memory import training_bytes
from baselines.volumetric.sharding import default_layout
from baselines.volumetric.structure import flops, parameter_count
from zapeval.benchmarks.synthetic import Smoke
from zapeval.cli.forecasters import setting
from zapeval.forecasting.training import training_of

DEMO = {"levels": 2, "features": 16, "resolution": 1}
CONTEXT, WARM = 4, 3


def main() -> None:
    """Runs the steps and prints the figures."""
    options = _options()
    made = VolumetricUNet(**(DEMO | dict(map(setting, options.set))))
    smoke = Smoke()
    recordings = smoke.recordings()
    benchmark = smoke.resolve(recordings)
    settings, layout = made._settings, default_layout()
    c = settings.configuration(CONTEXT, benchmark.horizon)
    with tempfile.TemporaryDirectory() as folder:
        training = training_of(
            benchmark,
            recordings,
            context=CONTEXT,
            seed=0,
            folder=Path(folder),
            record=Path(folder),
            covariates=("video",),
        )
        batches = VideoBatches(
            training, c, layout, size=settings.batch, resolution=settings.resolution
        )
    volume = batches.specimens[0].crop.size
    params = new_parameters(c, 0, layout)
    optimizer = made.plan.optimizer()
    memory = jax.jit(optimizer.init, out_shardings=layout.everywhere)(params)
    step, _ = _compiled(*losses_of(c, settings.loss, layout), optimizer)
    peak = _matrix_product()
    waits, steps, begun = [], [], 0.0
    coming = ahead(batches.train, 0, WARM + options.steps)
    for _ in range(WARM + options.steps):
        begun = time.perf_counter()
        batch = next(coming)
        ready = time.perf_counter()
        params, memory, value = step(params, memory, batch, 1e-4)
        value.block_until_ready()
        waits.append(ready - begun)
        steps.append(time.perf_counter() - begun)
    operations = 3 * settings.batch * flops(c, volume)
    seconds = statistics.median(steps[WARM:])
    share = sum(waits[WARM:]) / sum(steps[WARM:])
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"{jax.devices()[0].device_kind}, {len(jax.devices())} device(s); input {volume}")
    print(f"{parameter_count(c):,} parameters, {operations / 1e9:.2f} GFLOP a step")
    print(f"step: {seconds * 1e3:.1f} ms (median of {options.steps})")
    print(f"wait for data: {100 * share:.1f} % of it")
    print(f"convolutions: {operations / seconds / 1e9:.1f} GFLOP/s, ", end="")
    print(f"{100 * operations / seconds / peak:.1f} % of {peak / 1e9:.0f} GFLOP/s")
    print(
        f"memory: {training_bytes(c, volume, settings.batch) / 2**20:.0f} MiB estimated, ", end=""
    )
    print(f"{resident / 2**20:.0f} MiB resident at most, JAX and recording included")
    print(f"read: {batches.read_bytes / 2**20:.1f} MiB of voxels")
    ours, theirs = _convolutions((*volume, c.features))
    print(f"one convolution, both ways: {ours * 1e3:.1f} ms by planes, ", end="")
    print(f"{theirs * 1e3:.1f} ms by XLA's own in 3D, {theirs / ours:.0f} x")


def _convolutions(shape: tuple[int, ...], rounds: int = 9) -> tuple[float, float]:
    """Returns the seconds of a convolution and its gradients, by planes and by XLA's own."""
    volumes = jax.random.normal(jax.random.key(0), (1, *shape))
    kernel = jax.random.normal(jax.random.key(1), (3, 3, 3, shape[-1], shape[-1]))
    numbers = ("NXYZC", "XYZIO", "NXYZC")
    own = partial(
        lax.conv_general_dilated,
        window_strides=(1, 1, 1),
        padding="SAME",
        dimension_numbers=numbers,
    )

    def both_ways(convolve: Callable[..., jax.Array]) -> Callable[[], object]:
        slopes = jax.jit(jax.grad(lambda v, k: (convolve(v, k) ** 2).sum(), argnums=(0, 1)))
        return lambda: jax.block_until_ready(slopes(volumes, kernel))

    ways = [both_ways(in_planes), both_ways(own)]
    times: list[list[float]] = [[], []]
    for _ in range(rounds + 1):  # the first compiles
        for way, taken in zip(ways, times, strict=True):
            begun = time.perf_counter()
            way()
            taken.append(time.perf_counter() - begun)
    ours, theirs = (statistics.median(taken[1:]) for taken in times)
    return ours, theirs


def _matrix_product(size: int = 2048) -> float:
    """Returns the operations a second of a large matrix product."""
    product = jax.jit(jnp.matmul)
    one = jnp.ones((size, size))
    product(one, one).block_until_ready()
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        product(one, one).block_until_ready()
        times.append(time.perf_counter() - begun)
    return 2 * size**3 / min(times)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--set", nargs="*", default=[], help="settings, as features=32")
    return parser.parse_args()


if __name__ == "__main__":
    main()
