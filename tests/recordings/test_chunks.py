from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from cli.tiny import (
    ABSENT,
    BLOSC2,
    CHECKED,
    RAW2,
    RAW3,
    SHARDED,
    Layout,
    chunk_key,
    index_of,
    with_index,
    write_array,
)

from zapeval.errors import StorageError
from zapeval.recordings.chunks import ChunkFiles
from zapeval.recordings.metadata import read_array_metadata
from zapeval.recordings.stores import open_store

VALUES = np.random.default_rng(1).normal(size=(17, 4, 5)).astype("f4")
LAYOUTS = {"raw": RAW2, "blosc": BLOSC2, "checked": CHECKED, "shards": SHARDED}


def files_of(folder: Path, layout: Layout) -> ChunkFiles:
    write_array(folder, VALUES, layout)
    return ChunkFiles(folder, read_array_metadata(open_store(folder)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_chunk_is_decoded_into_the_shape_of_a_whole_one(tmp_path, layout):
    files = files_of(tmp_path / "a", LAYOUTS[layout])
    for i, j, k in product(range(3), range(4), range(2)):
        expected = VALUES[8 * i : 8 * i + 8, j : j + 1, 3 * k : 3 * k + 3]
        found = files.read((i, j, k))
        assert found.shape == (8, 1, 3)
        np.testing.assert_array_equal(found[: len(expected), :, : expected.shape[2]], expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_rows_that_are_wanted_are_read(tmp_path, layout):
    files = files_of(tmp_path / "a", LAYOUTS[layout])
    for start, stop in ((0, 8), (0, 1), (3, 7), (7, 8), (4, 4)):
        for i in (0, 1):
            found = files.read((i, 2, 0), (start, stop))[start:stop, 0]
            np.testing.assert_array_equal(found, VALUES[8 * i : 8 * i + 8][start:stop, 2, :3])


def test_the_buffer_is_used_again(tmp_path):
    files = files_of(tmp_path / "a", BLOSC2)
    first = files.read((0, 0, 0))
    kept = first.copy()
    assert files.read((1, 0, 0)) is first
    assert not np.array_equal(first, kept)


def test_damage_does_not_outlast_the_chunk_that_has_it(tmp_path):
    files = files_of(tmp_path / "a", BLOSC2)
    expected = files.read((0, 1, 0)).copy()
    file = tmp_path / "a/0.0.0"
    file.write_bytes(file.read_bytes()[:-3])
    for _ in range(2):
        with pytest.raises(StorageError, match=r"0\.0\.0"):
            files.read((0, 0, 0))
        np.testing.assert_array_equal(files.read((0, 1, 0)), expected)


def test_a_shard_index_is_read_at_the_start_too(tmp_path):
    write_array(tmp_path / "a", VALUES, SHARDED)
    document = json.loads((tmp_path / "a/zarr.json").read_text())
    document["codecs"][0]["configuration"]["index_location"] = "start"
    (tmp_path / "a/zarr.json").write_text(json.dumps(document))
    for file in (tmp_path / "a/c").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            index = index_of(data, 16)
            index[:, 0] += 16 * 16 + 4
            with_end = with_index(data, index)
            size = 16 * 16 + 4
            file.write_bytes(with_end[-size:] + with_end[:-size])
    files = ChunkFiles(tmp_path / "a", read_array_metadata(open_store(tmp_path / "a")))
    np.testing.assert_array_equal(files.read((1, 2, 0))[:, 0], VALUES[8:16, 2, :3])


def test_an_index_without_a_checksum_is_read_and_bounded(tmp_path):
    write_array(tmp_path / "a", VALUES, SHARDED)
    document = json.loads((tmp_path / "a/zarr.json").read_text())
    document["codecs"][0]["configuration"]["index_codecs"].pop()
    (tmp_path / "a/zarr.json").write_text(json.dumps(document))
    shard = tmp_path / "a/c/0/0/0"
    shard.write_bytes(shard.read_bytes()[:-4])
    files = ChunkFiles(tmp_path / "a", read_array_metadata(open_store(tmp_path / "a")))
    np.testing.assert_array_equal(files.read((0, 0, 0))[:, 0], VALUES[:8, 0, :3])
    shard.write_bytes(shard.read_bytes()[:-1])  # the index is now off by one byte: nonsense
    files = ChunkFiles(tmp_path / "a", read_array_metadata(open_store(tmp_path / "a")))
    with pytest.raises(StorageError, match="c/0/0/0: "):
        files.read((0, 0, 0))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ((ABSENT, ABSENT), r"inner chunk \[0, 1, 1\] is missing"),
        ((0, 0), "its blosc header says 0 bytes from 0"),
        ((ABSENT, 10), "fits neither the file"),
        ((1 << 63, 1 << 63), "fits neither the file"),
        ((10, 1 << 40), "fits neither the file"),
        ((1990, 200), "fits neither the file"),
    ],
)
def test_an_entry_of_the_index_that_leads_nowhere_is_refused(tmp_path, entry, says):
    files = files_of(tmp_path / "a", SHARDED)
    shard = tmp_path / "a/c/0/0/0"
    index = index_of(shard.read_bytes(), 16)
    index[3] = entry
    shard.write_bytes(with_index(shard.read_bytes(), index))
    with pytest.raises(StorageError, match=f"c/0/0/0: .*{says}"):
        files.read((0, 1, 1))


def test_two_entries_may_share_their_bytes(tmp_path):
    files = files_of(tmp_path / "a", SHARDED)
    shard = tmp_path / "a/c/0/0/0"
    index = index_of(shard.read_bytes(), 16)
    index[1] = index[0]
    shard.write_bytes(with_index(shard.read_bytes(), index))
    first = files.read((0, 0, 0)).copy()
    np.testing.assert_array_equal(files.read((0, 0, 1)), first)


@pytest.mark.parametrize("layout", [RAW2, RAW3])
def test_links_are_not_followed(tmp_path, layout):
    files = files_of(tmp_path / "a", layout)
    file = tmp_path / "a" / chunk_key(layout, (0, 0, 0))
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="is a symbolic link, expected a chunk file"):
        files.read((0, 0, 0))
    file.unlink()
    file.mkdir()
    with pytest.raises(StorageError, match="is a folder or a device, expected a chunk file"):
        files.read((0, 0, 0))


def test_reading_many_files_keeps_one_of_them_open(tmp_path):
    values = np.zeros((300, 1, 2), "f4")
    write_array(tmp_path / "a", values, Layout(chunk=(1, 1, 2)))
    code = """
import resource, sys
from zapeval.recordings.arrays import open_array
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
array = open_array(sys.argv[1])
assert array.read().shape == (300, 1, 2)
for i in range(300):
    array.read_chunk((i, 0, 0))
"""
    command = [sys.executable, "-c", code, str(tmp_path / "a")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
