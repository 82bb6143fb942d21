from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from cli.tiny import (
    ABSENT,
    GZIP3,
    GZIP_SHARDED,
    LAYOUTS,
    RAW2,
    RAW3,
    SHARDED,
    Layout,
    chunk_key,
    document_v2,
    index_of,
    with_index,
    write_array,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from zapeval.forecasting.coverage import uncovered
from zapeval.recordings.arrays import ZarrArray
from zapeval.recordings.stores import open_store

VALUES = np.ones((17, 4, 5), "f4")
GRID = list(product(range(3), range(4), range(2)))


def array(folder: Path, layout: Layout = RAW2, values: np.ndarray = VALUES) -> ZarrArray:
    write_array(folder, values, layout)
    return ZarrArray(open_store(folder))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_whole_array_is_covered(tmp_path, layout):
    assert list(uncovered(array(tmp_path / "a", LAYOUTS[layout]))) == []


@settings(max_examples=40)
@given(
    st.sampled_from([RAW2, RAW3, GZIP3]),
    st.lists(st.sampled_from(GRID), min_size=1, max_size=8, unique=True),
)
def test_exactly_the_missing_chunks_are_found(tmp_path_factory, layout, gone):
    found = array(tmp_path_factory.mktemp("coverage") / "a", layout)
    for index in gone:
        (found.store.path / chunk_key(layout, index)).unlink()
    said = list(uncovered(found))
    keys = [chunk_key(layout, index) for index in sorted(gone)]
    expected = [f"{found.uri}/{key}: chunk is missing; write it again" for key in keys]
    if len(keys) > 3:
        expected[3:] = [f"{found.uri}: {len(keys) - 3} more chunks are missing or damaged"]
    assert said == expected


def test_millions_of_missing_chunks_are_not_counted_to_the_end(tmp_path):
    (tmp_path / "a").mkdir()
    document = document_v2(VALUES) | {"shape": [1 << 12, 1 << 12, 1], "chunks": [1, 1, 1]}
    (tmp_path / "a/.zarray").write_text(json.dumps(document))
    *shown, last = uncovered(ZarrArray(open_store(tmp_path / "a")))
    assert len(shown) == 3
    assert last == f"{tmp_path}/a: at least 10,000 more chunks are missing or damaged"


def test_a_chunk_that_is_larger_than_its_array_is_one_chunk(tmp_path):
    found = array(tmp_path / "a", Layout(chunk=(99, 9, 9)))
    assert list(uncovered(found)) == []
    (tmp_path / "a/0.0.0").unlink()
    assert len(list(uncovered(found))) == 1


@pytest.mark.parametrize("layout", [SHARDED, GZIP_SHARDED])
def test_the_padding_of_a_shard_may_be_missing(tmp_path, layout):
    # The second shard holds windows 16 to 31 of 17: its later inner chunks hold nothing.
    found = array(tmp_path / "a", layout)
    shard = tmp_path / "a/c/1/0/0"
    index = index_of(shard.read_bytes(), 16)
    for entry in range(8, 16):
        index[entry] = ABSENT
    shard.write_bytes(with_index(shard.read_bytes(), index))
    assert list(uncovered(found)) == []
    np.testing.assert_array_equal(found.read(), VALUES)
    index[7] = ABSENT
    shard.write_bytes(with_index(shard.read_bytes(), index))
    (said,) = uncovered(ZarrArray(found.store))
    assert said == f"{shard}: 1 of its 8 inner chunks are missing; write it again"


@pytest.mark.parametrize("size", [0, 95, 97])
def test_an_uncompressed_chunk_has_one_length(tmp_path, size):
    found = array(tmp_path / "a")
    (tmp_path / "a/1.0.0").write_bytes(bytes(size))
    (said,) = uncovered(found)
    assert said == f"{tmp_path}/a/1.0.0: has {size} bytes, expected 96; write it again"


def test_an_array_behind_a_link_is_not_looked_at(tmp_path):
    array(tmp_path / "real")
    (tmp_path / "a").symlink_to(tmp_path / "real")
    found = ZarrArray(open_store(tmp_path / "a"))
    assert list(uncovered(found)) == [
        f"{tmp_path}/a: is a symbolic link; expected the array's own folder"
    ]


def test_files_beside_the_chunks_do_not_matter(tmp_path):
    found = array(tmp_path / "a", RAW3)
    (tmp_path / "a/c/9/9").mkdir(parents=True)
    (tmp_path / "a/c/9/9/9").write_text("another")
    (tmp_path / "a/readme").write_text("me")
    assert list(uncovered(found)) == []


def test_an_array_of_no_window_has_no_chunk(tmp_path):
    assert list(uncovered(array(tmp_path / "a", values=np.ones((0, 4, 5), "f4")))) == []
