import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from baselines.volumetric.anatomy import anatomy_of
from baselines.volumetric.sharding import layout_over
from zapeval.errors import InvalidInput, UsageError

PROGRAM = Path(__file__).with_name("sharded.py")
PROJECT = Path(__file__).parents[3]
MESHES = ("2x4", "4x2", "8x1", "2x2x2")


@pytest.fixture(scope="module")
def sharded():
    """What the program found on simulated devices."""
    done = subprocess.run(
        [sys.executable, "-W", "error", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("mesh", MESHES)
def test_sharded_is_unsharded_to_rounding(sharded, mesh):
    found = sharded[mesh]
    for what, apart in found["apart"].items():
        # The bias of the outputs has a gradient summed over all voxels: it rounds the most.
        assert apart < 1e-5 * max(1, found["sizes"][what]), what
        assert found["sizes"][what] > 0.01


def test_outputs_lie_in_parts(sharded):
    assert sharded["2x4"]["shards"] == [2, 12, 6, 4, 1]
    assert sharded["8x1"]["shards"] == [2, 3, 24, 4, 1]
    assert sharded["2x2x2"]["shards"] == [1, 8, 8, 4, 8]


@pytest.mark.parametrize("mesh", (*MESHES, "papers"))
def test_devices_exchange_borders_and_sums_and_gather_no_volume(sharded, mesh):
    found = sharded[mesh]
    assert found["counts"]["collective-permute"] > 10
    assert found["counts"]["all-reduce"] > 10
    for kind in ("all-gather", "all-to-all", "all-reduce"):
        assert found["largest"][kind] < found["own"], "more than a device's own part travels"


def test_the_papers_step_passes_on_single_rows_and_gathers_nothing(sharded):
    found = sharded["papers"]
    assert found["counts"]["all-gather"] == found["counts"]["all-to-all"] == 0
    row = (512 // 4 + 2) * 72 * 128  # one part along x, a row on each side, all of z, all features
    assert found["largest"]["collective-permute"] == row
    assert found["largest"]["all-reduce"] == 27 * 128 * 128, "the gradient of one convolution"


def test_a_gathered_volume_is_noticed(sharded):
    assert sharded["control"]["counts"]["all-gather"] > 0
    assert sharded["control"]["largest"]["all-gather"] >= 8 * 8 * 2 * 4


def test_a_mesh_needs_as_many_devices_as_it_has_parts():
    devices = jax.devices()[:1]
    with pytest.raises(UsageError, match=r"mesh 1 x 2 x 4 .*: has 8 parts for 1 devices"):
        layout_over(x=2, y=4, devices=devices)
    with pytest.raises(UsageError, match="has 0 parts"):
        layout_over(x=0, devices=devices)
    layout = layout_over(devices=devices)
    assert (layout.batch, layout.shards) == (1, (1, 1))
    layout.check_batch(3)
    with pytest.raises(InvalidInput, match="batch of 0: expected a multiple of 1"):
        layout.check_batch(0)


def test_a_layout_on_one_device_changes_nothing():
    labels = np.random.default_rng(0).integers(0, 4, (4, 3, 2))
    layout = layout_over(devices=jax.devices()[:1])
    for one, other in zip(
        jax.tree.leaves(anatomy_of(labels, 3)),
        jax.tree.leaves(anatomy_of(labels, 3, layout=layout)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
