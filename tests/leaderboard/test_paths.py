"""Which paths a store's files may have."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.paths import LENGTH_LIMIT, clashes, fault_of

GOOD = [
    "zarr.json",
    ".zgroup",
    ".zattrs",
    ".zmetadata",
    "test_condition_0/zarr.json",
    "test_condition_0/.zarray",
    "test_condition_0/c/0/12/3",
    "test_condition_0/0.12.3",
    "test_condition_0/0/12/3",
    "test_condition_0/c.0.1.2.3.4",
    "worm 2022-06-14-01/c/0",
]
BAD = [
    "",
    "/etc/passwd",
    "../zarr.json",
    "a/../../b",
    "./zarr.json",
    "a//zarr.json",
    "a/zarr.json/",
    "a\0b",
    "a/c/0\n",
    "a\\..\\b",
    "a/\u202e0.0",
    "c:/zarr.json",
    "con/zarr.json",
    "NUL.txt/zarr.json",
    "a/c/01/0",
    "a/c/-1",
    "a/c/0/0/0/0/0/0/0/0/0",
    "a/" + "9" * 12,
    "a/b/zarr.json",
    "a/c/0.part",
    "a/readme.txt",
    "run.py",
    ".hidden/zarr.json",
    "mirror.json",
    "x" * 129 + "/zarr.json",
    "a/c/" + "/".join(["1"] * LENGTH_LIMIT),
    "ä/zarr.json",
    "a\ud800/zarr.json",
]


@pytest.mark.parametrize("path", GOOD)
def test_what_zarr_writes_is_taken(path: str) -> None:
    assert fault_of(path) == ""


@pytest.mark.parametrize("path", BAD)
def test_what_no_store_holds_is_refused_with_a_reason(path: str) -> None:
    assert fault_of(path)


@given(st.text(alphabet="abc0./-_ \\\0\n:~é", max_size=30) | st.text(max_size=30))
def test_what_is_taken_stays_below_the_folder_and_is_one_plain_name_a_part(path: str) -> None:
    if fault_of(path):
        return
    folder = Path("/store")
    assert (folder / path).resolve().is_relative_to(folder)
    assert path.isascii() and path.isprintable()
    assert str(Path(path)) == path
    assert len(Path(path).parts) <= 10


def test_paths_that_a_file_system_takes_for_one_clash() -> None:
    same = "".join(["a", "/zarr.json"])
    assert list(clashes(["a/zarr.json", "b/zarr.json"])) == []
    assert list(clashes(["a/zarr.json", same])) == ["a/zarr.json: is listed twice"]
    assert list(clashes(["a/zarr.json", "A/zarr.json"])) == [
        "A/zarr.json: and a/zarr.json would be one file"
    ]
    assert list(clashes(["a/0", "a/0/1"])) == ["a/0/1: lies in a/0, which is a file"]
    assert list(clashes(["a/0/1", "A/0"])) == ["a/0/1: lies in A/0, which is a file"]
