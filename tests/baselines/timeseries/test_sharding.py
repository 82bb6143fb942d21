"""Models over several devices: the test runs this file in a process that has four."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from baselines.timeseries.linear import DLinear, Linear
from baselines.timeseries.tide import TiDE
from baselines.timeseries.time_mix import TimeMix
from baselines.timeseries.tsmixer import TSMixer

DEVICES, WINDOWS, CONTEXT, HORIZON, NEURONS, FEATURES = 4, 8, 6, 4, 12, 5
MODELS = {
    "linear": (Linear, {}),
    "dlinear": (DLinear, {}),
    "time-mix": (TimeMix, {"instance_norm": True}),
    "tsmixer": (TSMixer, {"instance_norm": True, "mixed": 5}),
    "tide": (TiDE, {"past_stimulus": True, "hidden": 8}),
}
ACROSS = {"windows": PartitionSpec("devices"), "neurons": PartitionSpec(None, None, "devices")}


@pytest.fixture(scope="module")
def measured():
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={DEVICES}",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-W", "error", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("across", ACROSS)
@pytest.mark.parametrize("name", MODELS)
def test_forecast_and_gradient_are_those_of_one_device(measured, name, across):
    of = measured[f"{name} across {across}"]
    assert of["devices"] == DEVICES
    assert of["forecast"] < 1e-6
    assert of["gradient"] < 1e-6


def main():
    mesh = Mesh(np.array(jax.devices()), ("devices",))
    print(json.dumps(dict(pair for name in MODELS for pair in measure(name, mesh))))


def measure(name, mesh):
    """Yields largest differences between one device and all, relative to the largest value."""
    model, sizes = MODELS[name]
    arguments = {"context": CONTEXT, "horizon": HORIZON, "neurons": NEURONS, "features": FEATURES}
    definition, params = nnx.split(model(**arguments, **sizes, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(0)
    shapes = (CONTEXT, NEURONS), (CONTEXT, FEATURES), (HORIZON, FEATURES)
    seen = [rng.normal(size=(WINDOWS, *shape)).astype(np.float32) for shape in shapes]

    def loss(params, *values):
        forecast = nnx.merge(definition, params)(*values)
        return (forecast**2).mean(), forecast

    both = jax.jit(jax.grad(loss, has_aux=True))
    gradient, forecast = both(params, *seen)
    everywhere = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
    for across, spec in ACROSS.items():
        stimuli = spec if across == "windows" else PartitionSpec()
        placed = [NamedSharding(mesh, part) for part in (spec, stimuli, stimuli)]
        spread = [jax.device_put(v, at) for v, at in zip(seen, placed, strict=True)]
        gradients, forecasts = both(everywhere, *spread)
        yield (
            f"{name} across {across}",
            {
                "devices": len({str(shard.index) for shard in forecasts.addressable_shards}),
                "forecast": difference(forecast, forecasts),
                "gradient": difference(gradient, gradients),
            },
        )


def difference(one, many):
    pairs = list(zip(jax.tree.leaves(one), jax.tree.leaves(many), strict=True))
    largest = max(float(np.abs(leaf).max()) for leaf, _ in pairs)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs) / largest


if __name__ == "__main__":
    main()
