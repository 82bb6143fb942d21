"""A training that was begun on eight devices and killed is ended on one, through the program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import videos
from cli.conftest import PROGRAM

pytestmark = pytest.mark.slow

OWN = """\
id = "own-video"
context_lengths = [3]
horizon = 4
[split]
train = [0, 30]
validation = [30, 42]
test = [46, 60]
[[recordings]]
key = "fish"
activity = "fish"
"""
SETTINGS = [
    *("levels=0", "features=4", "groups=2", "blocks=1", "resolution=1", "rate=0.003"),
    *("steps=300", "validation=4", "validate_every=20"),
]
EIGHT = "--xla_force_host_platform_device_count=8"


def start(folder, flags):
    """Begins to train in a process of its own."""
    words = [word for text in SETTINGS for word in ("--set", text)]
    command = ["train", "volumetric-unet", "-b", folder.parent / "own.toml", "--out", folder]
    environment = os.environ | {
        "XLA_FLAGS": f"{flags} --xla_backend_optimization_level=0",
        "JAX_PLATFORMS": "cpu",
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, command), *words],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def test_a_training_goes_on_with_another_number_of_devices(tmp_path):
    videos.write(tmp_path / "fish")
    (tmp_path / "own.toml").write_text(OWN)
    begun = start(tmp_path / "moved", EIGHT)
    state = tmp_path / "moved" / ".seed-0.part" / "unfinished" / "states" / "20" / "counters.json"
    try:
        end = time.monotonic() + 240
        while not state.exists():
            assert begun.poll() is None, begun.communicate()[1]
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        begun.kill()
        said = begun.communicate()[1]
    assert "on each cpu" in said
    assert not (tmp_path / "moved" / "seed-0").exists()
    moved = ended(start(tmp_path / "moved", ""))
    assert "goes on at step 20, from what was kept" in moved
    ended(start(tmp_path / "alone", ""))
    one, other = (tmp_path / name / "seed-0" for name in ("alone", "moved"))
    curves = [
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (one, other)
    ]
    assert [line["step"] for line in curves[1]] == list(range(20, 301, 20))
    losses = np.array([[line["validation"] for line in curve] for curve in curves])
    assert losses[0].argmin() > 0  # what is kept was learned on one device
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    names = sorted(path.name for path in (one / "model" / "params").iterdir())
    assert names == sorted(path.name for path in (other / "model" / "params").iterdir())
    for name in names:
        found = (np.load(folder / "model" / "params" / name) for folder in (one, other))
        np.testing.assert_allclose(*found, rtol=1e-2, atol=1e-3, err_msg=name)
