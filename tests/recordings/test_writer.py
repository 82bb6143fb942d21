from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from zapeval.errors import InvalidInput, StorageError
from zapeval.recordings.arrays import open_array
from zapeval.recordings.metadata import read_group_attributes
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import (
    Layout,
    beside,
    create_array,
    files_into,
    reopen_array,
    write_array,
    write_group,
)

VALUES = np.random.default_rng(2).normal(size=(9, 5, 7)).astype("f4")
LAYOUTS = {
    "plain": Layout(chunk=(4, 2, 3), compressed=False),
    "compressed": Layout(chunk=(4, 2, 3)),
    "shards": Layout(chunk=(4, 2, 3), shard=(8, 6, 9)),
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Arrays


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint16", "bool"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_zarr_python_reads_what_is_written(tmp_path, layout, dtype):
    values = (VALUES * 100).astype(dtype)
    write_array(open_store(tmp_path / "a"), values, LAYOUTS[layout])
    found = zarr.open_array(str(tmp_path / "a"), mode="r")
    assert (found.shape, found.dtype) == (values.shape, values.dtype)
    assert (found.chunks, found.shards) == ((4, 2, 3), LAYOUTS[layout].shard)
    np.testing.assert_array_equal(found[:], values)
    np.testing.assert_array_equal(open_array(tmp_path / "a").read(), values)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_chunks_of_zeros_are_stored(tmp_path, layout):
    # An absent chunk is an error when it is read, so a forecast of zeros must lie there.
    write_array(open_store(tmp_path / "a"), np.zeros_like(VALUES), LAYOUTS[layout])
    np.testing.assert_array_equal(open_array(tmp_path / "a").read(), np.zeros_like(VALUES))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_was_not_written_is_missing(tmp_path, layout):
    writer = create_array(open_store(tmp_path / "a"), VALUES.shape, "float32", LAYOUTS[layout])
    writer.write((0, 0, 0), VALUES[:4])
    array = open_array(tmp_path / "a")
    np.testing.assert_array_equal(array.read((0, 4)), VALUES[:4])
    with pytest.raises(StorageError, match="missing"):
        array.read((8, 9))


@settings(max_examples=30)
@given(order=st.permutations(range(3)), layout=st.sampled_from(sorted(LAYOUTS)))
def test_blocks_may_come_in_any_order_and_from_several_writers(tmp_path_factory, order, layout):
    store = open_store(tmp_path_factory.mktemp("writer") / "a")
    create_array(store, VALUES.shape, "float32", LAYOUTS[layout])
    for block in order:
        reopen_array(store).write((4 * block, 0, 0), VALUES[4 * block : 4 * block + 4])
    np.testing.assert_array_equal(open_array(store.uri).read(), VALUES)


def test_an_array_is_created_once(tmp_path):
    store = open_store(tmp_path / "a")
    write_array(store, VALUES, LAYOUTS["plain"])
    with pytest.raises(StorageError, match="a: could not be written: "):
        write_array(store, VALUES + 1, LAYOUTS["plain"])
    np.testing.assert_array_equal(open_array(store.uri).read(), VALUES)


def test_what_is_not_there_cannot_be_opened_again(tmp_path):
    with pytest.raises(StorageError, match="a: could not be written: "):
        reopen_array(open_store(tmp_path / "a"))


def test_a_block_outside_the_array_is_refused(tmp_path):
    writer = create_array(open_store(tmp_path / "a"), (4, 2), "float32", Layout(chunk=(4, 2)))
    with pytest.raises(StorageError, match="a: could not be written: "):
        writer.write((2, 0), np.zeros((4, 2), "f4"))


# Groups


def test_a_group_holds_its_attributes_and_can_be_written_again(tmp_path):
    for said in ({"a": 1, "é": ["x"]}, {"b": None}):
        write_group(open_store(tmp_path / "new" / "g"), said)
        assert read_group_attributes(open_store(tmp_path / "new" / "g")) == said
        assert dict(zarr.open_group(str(tmp_path / "new" / "g"), mode="r").attrs) == said
    assert names(tmp_path / "new" / "g") == ["zarr.json"]


def test_a_group_holds_no_number_that_json_lacks(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_group(open_store(tmp_path / "g"), {"a": float("nan")})
    assert names(tmp_path) == []


def test_a_group_cannot_lie_below_a_file(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(StorageError, match="file/g: could not be written: "):
        write_group(open_store(tmp_path / "file" / "g"), {})
    assert (tmp_path / "file").read_text() == "kept"


def test_remote_groups_and_arrays_are_written_too(s3):
    store = open_store("s3://zapbench-release/new")
    write_group(store, {"a": 1})
    write_array(store.child("x"), VALUES, LAYOUTS["shards"])
    assert read_group_attributes(store) == {"a": 1}
    np.testing.assert_array_equal(open_array(f"{store.uri}/x").read(), VALUES)


# Folders and files that appear when they are complete


def test_a_folder_appears_when_its_block_ends(tmp_path):
    with beside(tmp_path / "a" / "b" / "out") as partial:
        (partial / "x").write_text("1")
        assert names(tmp_path / "a" / "b") == [".out.part"]
    assert names(tmp_path / "a" / "b") == ["out"]
    assert (tmp_path / "a" / "b" / "out" / "x").read_text() == "1"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_block_that_fails_leaves_no_trace(tmp_path, error):
    for context in (beside, files_into):
        with pytest.raises(error), context(tmp_path / "a" / "b" / "out") as partial:
            (partial / "x").write_text("1")
            raise error
        assert names(tmp_path) == []


def test_what_an_earlier_run_left_is_cleared(tmp_path):
    (tmp_path / ".out.part").mkdir()
    (tmp_path / ".out.part" / "old").write_text("old")
    with beside(tmp_path / "out") as partial:
        assert names(partial) == []
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_exists_is_left_alone(tmp_path, kind):
    path = tmp_path / "out"
    {
        "folder": path.mkdir,
        "file": path.touch,
        "link": lambda: path.symlink_to("nowhere"),
    }[kind]()
    before = path.lstat()
    says = "out: exists; remove it or choose another name"
    with pytest.raises(InvalidInput, match=says), beside(path):
        pytest.fail("the block must not begin")
    assert (path.lstat(), names(tmp_path)) == (before, ["out"])


def test_files_move_together_and_replace(tmp_path):
    (tmp_path / "x").write_text("old")
    (tmp_path / "kept").write_text("kept")
    with files_into(tmp_path) as partial:
        for name in ("x", "y"):
            (partial / name).write_text("new")
        assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == ["kept", "x", "y"]
    assert (tmp_path / "x").read_text() == (tmp_path / "y").read_text() == "new"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o666 & ~umask


def test_files_move_all_or_none(tmp_path):
    (tmp_path / "x").write_text("old")
    (tmp_path / "y").mkdir()
    says = "y: is a folder, expected a file"
    with pytest.raises(StorageError, match=says), files_into(tmp_path) as partial:
        for name in ("x", "y"):
            (partial / name).write_text("new")
    assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == ["x", "y"]


def test_a_folder_in_place_of_a_file_says_what_is_wrong(tmp_path):
    (tmp_path / "file").write_text("kept")
    for context in (beside, files_into):
        says = r"could not be written: (Not a dir|File exists)"
        with pytest.raises(StorageError, match=says), context(tmp_path / "file" / "out"):
            pytest.fail("the block must not begin")
    assert names(tmp_path) == ["file"]


def test_a_document_is_json_with_what_was_said(tmp_path):
    write_group(open_store(tmp_path / "g"), {"a": 1})
    assert json.loads((tmp_path / "g/zarr.json").read_text()) == {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"a": 1},
    }
