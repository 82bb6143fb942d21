"""A program: the forecast of a window on one and on four simulated devices; prints JSON.

It runs in a process of its own, since the number of simulated devices is set before JAX starts.
"""

from __future__ import annotations

import json
import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=4 --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true"
)

import jax
import numpy as np
import videos

from baselines.volumetric.anatomy import anatomy_of
from baselines.volumetric.configuration import Configuration
from baselines.volumetric.crops import crop_of
from baselines.volumetric.learning import forecast_of, split_model
from baselines.volumetric.sharding import default_layout, layout_over
from baselines.volumetric.specimens import Loader

C = Configuration(
    context=videos.CONTEXT, horizon=5, features=4, groups=2, resampling=((2, 2, 1),), blocks=1
)


def forecast(layout):
    """Returns the forecast, and how many bytes were read."""
    rng, values, loader = np.random.default_rng(0), videos.video(), Loader()
    shapes = split_model(C, layout)[1]
    params = jax.tree.map(lambda a: rng.normal(0, 0.3, a.shape).astype(np.float32), shapes)
    params = jax.device_put(params, layout.everywhere)

    def read(*space):
        return values[: videos.CONTEXT][(slice(None), *(slice(*span) for span in space))]

    crop = crop_of(videos.VOLUME, None, 1)
    frames = loader.frames([read] * layout.batch, videos.CONTEXT, crop, 1, layout.frames)
    anatomy = anatomy_of(videos.labels(), videos.NEURONS, layout=layout)
    traces = forecast_of(C, layout)(params, frames, anatomy)
    return np.asarray(traces), loader.read_bytes


if __name__ == "__main__":
    plain, _ = forecast(layout_over(devices=jax.devices()[:1]))
    cut, read = forecast(layout_over(batch=2, x=2))
    apart = float(np.abs(cut - plain).max())
    steps = float(np.abs(np.diff(plain, axis=0)).max())
    said = {"apart": apart, "steps": steps, "shape": plain.shape, "read": read}
    json.dump(said | {"default": default_layout().shards}, sys.stdout)
