"""A program: one host of several that train a small volumetric model together.

It is told the coordinator's port, the number of hosts, which one it is, its copy of the recording,
the folder that all share, its own folder, and the step to be interrupted at. It prints JSON.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
import videos

from baselines.batches import Batches
from baselines.keeping import flat
from baselines.training import Plan, train
from baselines.volumetric.configuration import Configuration
from baselines.volumetric.learning import losses_of, new_parameters
from baselines.volumetric.loader import VideoBatches
from baselines.volumetric.sharding import default_layout

C = Configuration(
    context=videos.CONTEXT,
    horizon=videos.HORIZON,
    features=4,
    groups=2,
    resampling=((2, 2, 1),),
    blocks=1,
    dropout=0.2,
)
PLAN = Plan(
    batch=1, learning_rate=1e-2, schedule="cosine", max_steps=6, validate_every=2, save_seconds=0
)


class Interrupted(Batches):
    """Stops where a cable is pulled."""

    def __init__(self, batches, at):
        self.batches, self.at = batches, at

    def train(self, step):
        if step == self.at:
            raise KeyboardInterrupt
        return self.batches.train(step)

    def validation(self):
        return self.batches.validation()


def main(port, count, index, data, shared, own, stop):
    """Trains, and says what came of it."""
    jax.config.update("jax_disable_most_optimizations", True)
    if count > 1:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"127.0.0.1:{port}", count, index)
    layout = default_layout()
    given = videos.training(data, own)
    given = replace(given, folder=shared)
    batches = VideoBatches(given, C, layout, size=1, validation=3)
    loss, judge = losses_of(C, "trace", layout)
    said = {"devices": len(jax.devices()), "local": len(jax.local_devices())}
    try:
        params, counters = train(
            loss,
            new_parameters(C, 0, layout),
            Interrupted(batches, stop),
            PLAN,
            given,
            where=layout.everywhere,
            judge=judge,
        )
        np.savez(own / "params.npz", **{n: np.asarray(v) for n, v in flat(params).items()})
        said |= {"best": counters.best, "step": counters.step}
    except KeyboardInterrupt:
        said |= {"stopped": stop}
    said["bytes"] = batches.read_bytes
    print(json.dumps(said))
    if count > 1:
        jax.distributed.shutdown()


if __name__ == "__main__":
    port, count, index = map(int, sys.argv[1:4])
    main(port, count, index, *map(Path, sys.argv[4:7]), int(sys.argv[7]))
