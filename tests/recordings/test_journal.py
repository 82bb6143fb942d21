from __future__ import annotations

from pathlib import Path

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapeval.errors import StorageError
from zapeval.recordings import journal as module
from zapeval.recordings.journal import NAME, Journal

DATA = np.random.default_rng(0).bytes(5000)


def descriptors():
    return len(list(Path("/dev/fd").iterdir()))


def written(folder, *names, data=DATA):
    journal = Journal(folder)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        journal.add(name)
    return journal


def test_what_was_added_is_held_now_and_by_the_next_run(tmp_path):
    journal = written(tmp_path, "a/c/0", "a/c/1")
    for one in (journal, Journal(tmp_path)):
        assert one.holds("a/c/0")
        assert one.holds("a/c/1")
        assert not one.holds("a/c/2")


def test_a_file_that_is_not_noted_is_not_held(tmp_path):
    written(tmp_path, "a")
    (tmp_path / "b").write_bytes(DATA)
    assert not Journal(tmp_path).holds("b")


def test_a_file_that_is_gone_is_not_held(tmp_path):
    written(tmp_path, "a")
    (tmp_path / "a").unlink()
    assert not Journal(tmp_path).holds("a")
    (tmp_path / "a").mkdir()
    assert not Journal(tmp_path).holds("a")


@given(bit=st.integers(0, 8 * len(DATA) - 1))
def test_any_flipped_bit_is_seen(tmp_path_factory, bit):
    folder = tmp_path_factory.mktemp("journal")
    written(folder, "a")
    data = bytearray(DATA)
    data[bit // 8] ^= 1 << bit % 8
    (folder / "a").write_bytes(data)
    assert not Journal(folder).holds("a")


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"\0", DATA[: len(DATA) // 2]])
def test_other_length_is_seen(tmp_path, data):
    written(tmp_path, "a")
    (tmp_path / "a").write_bytes(data)
    assert not Journal(tmp_path).holds("a")


def test_the_last_line_about_a_block_counts(tmp_path):
    written(tmp_path, "a", data=b"first")
    written(tmp_path, "a", data=b"then")
    assert Journal(tmp_path).holds("a")
    (tmp_path / "a").write_bytes(b"first")
    assert not Journal(tmp_path).holds("a")


def test_a_line_torn_anywhere_costs_its_block_alone(tmp_path):
    written(tmp_path, "a", "b")
    path = tmp_path / NAME
    whole = path.read_bytes()
    begin = whole.index(b'{"block": "b"')
    for end in range(begin, len(whole) - 2):
        path.write_bytes(whole[:end])
        torn = Journal(tmp_path)
        assert torn.holds("a")
        assert not torn.holds("b")
        torn.add("b")
        assert Journal(tmp_path).holds("a")
        assert Journal(tmp_path).holds("b")


@pytest.mark.parametrize(
    "line",
    [
        b"12",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"\0" * 100,
        b'{"block": "b"}',
        b'{"block": "b", "size": Infinity, "crc32c": 1}',
        b'{"block": "b", "size": null, "crc32c": 1}',
    ],
)
def test_a_line_that_is_none_is_passed_over(tmp_path, line):
    written(tmp_path, "a")
    with (tmp_path / NAME).open("ab") as file:
        file.write(line)
    journal = Journal(tmp_path)
    assert journal.holds("a")
    assert not journal.holds("b")


def test_sum_over_slabs_is_the_crc32c_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SLAB", 700)
    journal = written(tmp_path, "a")
    assert journal._known["a"] == (len(DATA), google_crc32c.value(DATA))


def test_removed_journal_leaves_nothing(tmp_path):
    written(tmp_path, "a").remove()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert not Journal(tmp_path).holds("a")
    Journal(tmp_path).remove()


def test_a_line_that_cannot_be_written_is_an_error_and_nothing_is_held(tmp_path):
    (tmp_path / "a").write_bytes(DATA)
    journal = Journal(tmp_path)
    (tmp_path / NAME).mkdir()
    with pytest.raises(StorageError, match=r"\.blocks\.jsonl: could not be written: Is a dir"):
        journal.add("a")
    assert not journal.holds("a")


def test_a_block_that_is_not_there_cannot_be_noted(tmp_path):
    with pytest.raises(StorageError, match="could not be written: No such file"):
        Journal(tmp_path).add("a")


def test_checking_leaves_no_file_open(tmp_path):
    journal = written(tmp_path, "a")
    before = descriptors()
    for _ in range(50):
        assert journal.holds("a")
    assert descriptors() == before


def test_a_forgotten_block_is_gone_and_can_be_written_again(tmp_path):
    journal = written(tmp_path, "a", "b")
    journal.forget("a")
    assert not (tmp_path / "a").exists()
    for one in (journal, Journal(tmp_path)):
        assert not one.holds("a")
        assert one.holds("b")
    written(tmp_path, "a")
    assert Journal(tmp_path).holds("a")
    journal.forget("c")
    (tmp_path / "d").mkdir()
    with pytest.raises(StorageError, match="d: could not be removed"):
        journal.forget("d")
