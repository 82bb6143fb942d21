"""Stores that are made to kill: each is scored in a process of its own, whose memory is measured.

Peaks are compared with that of the same command on a sound store.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blosc
import numcodecs
import pytest
from cli.conftest import Outcome, tree
from cli.tiny import (
    BLOSC2,
    GZIP3,
    RAW2,
    RAW3,
    SHARDED,
    ZSTD,
    Layout,
    write_predictions,
)

BOMB = 1 << 29
ROOM = 120
"""What a refusal may take beyond the usual, in MB: far below what the bombs hold."""

K2, K3 = "still/0.0.0", "still/c/0/0/0"


@pytest.fixture(scope="module")
def peaks() -> dict[str, float]:
    return {}


@pytest.fixture
def usual(peaks, spawn, tiny, tmp_path) -> float:
    """The peak of scoring a sound store, in MB, measured once."""
    if not peaks:
        store = write_predictions(tmp_path / "sound", GZIP3)
        outcome = spawn("score", store, "-b", tiny, "-c", 2, "--workers", 2)
        assert outcome.code == 0, outcome
        peaks["usual"] = outcome.peak
    assert peaks["usual"] > 20
    return peaks["usual"]


@pytest.fixture
def survived(spawn, tiny, wanted, tmp_path, usual) -> Callable[..., Outcome]:
    """Scores a store; it must end with 3, in bounded memory, and leave no trace."""

    def survived(store: Path) -> Outcome:
        before = tree(tmp_path)
        outcome = spawn("score", store, "-b", tiny, "-c", 2, "--workers", 2, *wanted)
        assert outcome.code == 3, outcome
        assert outcome.out == ""
        assert outcome.err.startswith("error: ")
        assert "Traceback" not in outcome.err
        assert outcome.peak < usual + ROOM
        (tmp_path / "peak").unlink()
        assert tree(tmp_path) == before
        return outcome

    (tmp_path / "peak").unlink(missing_ok=True)
    return survived


def edit(file: Path, **members: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | members))


def gzip_bomb() -> bytes:
    squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    parts = [squeeze.compress(zeros) for _ in range(BOMB >> 20)]
    return b"".join([*parts, squeeze.flush()])


def blosc_bomb() -> bytes:
    return bytes(blosc.compress(bytes(BOMB), typesize=4, cname="zstd", clevel=1))


BOMBS = {
    "gzip": (GZIP3, K3, gzip_bomb),
    "zstd": (
        Layout(zarr_format=3, codecs=(ZSTD,)),
        K3,
        lambda: bytes(numcodecs.Zstd(1).encode(bytes(BOMB))),
    ),
    "blosc": (BLOSC2, K2, blosc_bomb),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_chunk_that_inflates_beyond_its_size_is_refused_cheaply(tmp_path, survived, kind):
    layout, key, bomb = BOMBS[kind]
    store = write_predictions(tmp_path / "p", layout)
    (store / key).write_bytes(bomb())
    assert (store / key).stat().st_size < 5e6
    assert key in survived(store).err


@pytest.mark.parametrize("place", ["v2", "v3", "shards"])
def test_a_blosc_bomb_is_no_better_off_with_its_axes_in_another_order(tmp_path, survived, place):
    # A storage library would inflate it before it compares sizes.
    layout = {"v2": BLOSC2, "v3": Layout(zarr_format=3, codecs=SHARDED.codecs), "shards": SHARDED}
    store = write_predictions(tmp_path / "p", layout[place])
    if place == "v2":
        edit(store / "still/.zarray", order="F")
    else:
        document = json.loads((store / "still/zarr.json").read_text())
        codecs = document["codecs"]
        inner = codecs if place == "v3" else codecs[0]["configuration"]["codecs"]
        inner.insert(0, {"name": "transpose", "configuration": {"order": [1, 2, 0]}})
        (store / "still/zarr.json").write_text(json.dumps(document))
    key = K2 if place == "v2" else K3
    data = (store / key).read_bytes()
    bomb = blosc_bomb()
    (store / key).write_bytes(bomb if place != "shards" else bomb[:16] + data[16:])
    assert key in survived(store).err


@pytest.mark.parametrize("layout", [RAW2, RAW3])
def test_a_declared_chunk_of_a_terabyte_ends_in_an_error(tmp_path, survived, layout):
    # TensorStore aborts the process where it sees this one.
    store = write_predictions(tmp_path / "p", layout)
    size = [17, 4, 1 << 40]
    if layout is RAW2:
        edit(store / "still/.zarray", shape=size, chunks=size)
        (store / K2).write_bytes(bytes(16))
    else:
        grid = {"name": "regular", "configuration": {"chunk_shape": size}}
        edit(store / "still/zarr.json", shape=size, chunk_grid=grid)
        (store / K3).write_bytes(bytes(16))
    assert "declared" in survived(store).err


def test_a_shard_of_a_terabyte_ends_in_an_error(tmp_path, survived):
    store = write_predictions(tmp_path / "p", SHARDED)
    grid = {"name": "regular", "configuration": {"chunk_shape": [1 << 20, 1 << 10, 3 << 10]}}
    edit(store / "still/zarr.json", chunk_grid=grid)
    assert "number of chunks in a shard" in survived(store).err


def test_a_declared_chunk_of_gigabytes_is_refused_before_it_inflates(tmp_path, survived):
    store = write_predictions(tmp_path / "p", BLOSC2)
    edit(store / "still/.zarray", chunks=[1 << 12, 1, 1 << 17])
    (store / K2).write_bytes(blosc_bomb())
    assert "chunk size in bytes: declared 2,147,483,648" in survived(store).err


def test_metadata_of_200_megabytes_is_not_read(tmp_path, survived):
    store = write_predictions(tmp_path / "p", RAW3)
    with (store / "still/zarr.json").open("r+b") as file:
        file.truncate(200 << 20)
    assert "is 209,715,200 bytes, expected at most 1,048,576" in survived(store).err


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_metadata_nested_a_hundred_thousand_deep_is_refused(tmp_path, survived, opening):
    store = write_predictions(tmp_path / "p", RAW3)
    (store / "still/zarr.json").write_text('{"a":' + opening * 100_000)
    assert "nested deeper than 64 levels" in survived(store).err


def test_an_endless_device_behind_a_link_is_not_read(tmp_path, survived):
    store = write_predictions(tmp_path / "p", GZIP3)
    for key in (K3, "moving/zarr.json"):
        (store / key).unlink()
        (store / key).symlink_to("/dev/zero")
    err = survived(store).err
    assert f"{K3}: is a symbolic link" in err
    assert "moving/zarr.json: is a folder, a link or a device" in err


def test_a_pipe_that_nobody_writes_to_does_not_hang_it(tmp_path, survived):
    store = write_predictions(tmp_path / "p", GZIP3)
    for key in (K3, "moving/zarr.json"):
        (store / key).unlink()
        os.mkfifo(store / key)
    err = survived(store).err
    assert f"{K3}: is a pipe or device" in err
    assert "moving/zarr.json: is a folder, a link or a device" in err


def test_every_flipped_byte_of_a_blosc_chunk_ends_in_values_or_an_error(tmp_path):
    store = write_predictions(tmp_path / "p", BLOSC2)
    code = """
import pathlib, sys
from zapeval.errors import StorageError
from zapeval.recordings.arrays import open_array
array = open_array(sys.argv[1])
file = pathlib.Path(sys.argv[1], "0.0.0")
data = file.read_bytes()
refused = 0
for at in range(len(data)):
    for bit in range(8):
        bad = bytearray(data)
        bad[at] ^= 1 << bit
        file.write_bytes(bytes(bad))
        try:
            array.read((0, 8), (0, 1), (0, 3))
        except StorageError:
            refused += 1
print(len(data), refused)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(store / "still")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done
    size, refused = map(int, done.stdout.split())
    assert size > 100
    assert refused >= 8 * 8  # at least both sizes of the header


def test_the_installed_program_ends_with_the_code_and_one_line(tiny, tmp_path, out):
    store = write_predictions(tmp_path / "p", BLOSC2)
    (store / K2).unlink()
    program = Path(sys.executable).with_name("zapeval")
    command = [program, "score", store, "-b", tiny, "-c", "2", "--json", out / "card.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr == f"error: {store}/{K2}: chunk is missing; write it again\n"
    assert list(out.iterdir()) == []
