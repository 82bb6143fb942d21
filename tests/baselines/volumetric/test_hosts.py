"""Several hosts: real processes that train as one, each reading its part alone."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import videos

PROGRAM = Path(__file__).with_name("hosts.py")
TESTS = Path(__file__).parents[2]
NEVER = 99

pytestmark = pytest.mark.slow


def run(folder, copies, shared, stop=NEVER):
    """Runs a process for each copy of the recording, and returns what each said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared.mkdir(parents=True, exist_ok=True)
    paths = f"{TESTS}{os.pathsep}{TESTS.parent}"
    running = []
    for index, copy in enumerate(copies):
        own = folder / f"host-{index}"
        own.mkdir(parents=True)
        told = [port, len(copies), index, copy, shared, own, stop]
        running.append(
            subprocess.Popen(
                [sys.executable, PROGRAM, *map(str, told)],
                env={**os.environ, "PYTHONPATH": paths},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    said = []
    try:
        for process in running:
            out, err = process.communicate(timeout=300)
            assert process.returncode == 0, err
            said.append(json.loads(out.splitlines()[-1]))
    finally:
        for process in running:
            process.kill()
    return said


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The recording."""
    folder = tmp_path_factory.mktemp("whole")
    videos.write(folder)
    return folder


@pytest.fixture(scope="module")
def halves(whole, tmp_path_factory):
    """Copies of which each lacks the chunks of video and segmentation of the other half."""
    copies = []
    for index in range(2):
        copy = tmp_path_factory.mktemp("half") / "fish"
        shutil.copytree(whole, copy)
        others = [copy / "segmentation" / "c" / str(1 - index)]
        others += (copy / "video" / "c").glob(f"*/{1 - index}")
        assert len(others) == 1 + videos.FRAMES
        for other in others:
            shutil.rmtree(other)
        copies.append(copy)
    return copies


@pytest.fixture(scope="module")
def alone(whole, tmp_path_factory):
    """What one process makes of it: what it said, and its parameters."""
    folder = tmp_path_factory.mktemp("alone")
    (said,) = run(folder, [whole], folder / "shared")
    return said, dict(np.load(folder / "host-0" / "params.npz"))


def same(one, other):
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_allclose(values, other[name], rtol=2e-4, atol=2e-5, err_msg=name)


def test_two_hosts_train_as_one_and_read_their_halves_alone(alone, halves, tmp_path):
    expected, params = alone
    said = run(tmp_path, halves, tmp_path / "shared")
    for host, found in enumerate(said):
        assert (found["devices"], found["local"]) == (2, 1)
        assert found["bytes"] == expected["bytes"] / 2
        assert found["best"] == pytest.approx(expected["best"], rel=1e-4)
        same(dict(np.load(tmp_path / f"host-{host}" / "params.npz")), params)
    assert (tmp_path / "host-0" / "record" / "metrics.jsonl").exists()
    assert not (tmp_path / "host-1" / "record" / "metrics.jsonl").exists()


def test_what_two_hosts_began_one_ends(alone, whole, halves, tmp_path):
    expected, params = alone
    shared = tmp_path / "shared"
    said = run(tmp_path / "two", halves, shared, stop=5)
    assert [found["stopped"] for found in said] == [5, 5]
    (ended,) = run(tmp_path / "one", [whole], shared)
    assert ended["step"] == 6
    assert ended["bytes"] < expected["bytes"]
    same(dict(np.load(tmp_path / "one" / "host-0" / "params.npz")), params)


def test_lead_times_may_be_shared_out_and_volumes_cut():
    paths = f"{TESTS}{os.pathsep}{TESTS.parent}"
    done = subprocess.run(
        [sys.executable, "-W", "error", PROGRAM.with_name("meshes.py")],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["shape"] == [5, videos.NEURONS]
    assert found["apart"] < 1e-5
    assert found["steps"] > 1e-3, "lead times differ, devices do not"
    # Each of the two parts of a batch has a copy of the frames, cut in two.
    assert found["read"] == 2 * videos.CONTEXT * np.prod(videos.VOLUME) * 4
    assert found["default"] == [2, 2]
