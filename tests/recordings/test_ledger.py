from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zapeval.errors import InvalidInput, Refused
from zapeval.recordings.ledger import (
    JOURNAL,
    MANIFEST,
    Entry,
    open_ledger,
    read_record,
    safe_path,
    size_of,
    write_file,
)

ONE = Entry(path="a/one", size=3, blake3="1" * 64)
TWO = Entry(path="two", size=2, blake3="2" * 64)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "..",
        "../x",
        "a/../../x",
        "a/./x",
        "a//x",
        "a/",
        "a\\..\\x",
        "a\0x",
        "a\nx",
        "a\x1b[31m",
        "a\udcff",
        "a\u202ex",
        "n" * 241,
        "é" * 121,
        "/".join(["abc"] * 251),
        "x.part",
        "a.part/x",
        MANIFEST,
        JOURNAL,
    ],
)
def test_a_path_that_leaves_its_folder_or_misleads_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"expected|holds|has|is "):
        safe_path(path)


@pytest.mark.parametrize(
    "path", ["c/0/0", "0.0", ".zarray", "zarr.json", "a b/é", "n" * 240, f"a/{MANIFEST}", "..x"]
)
def test_a_plain_path_is_kept(path: str) -> None:
    assert safe_path(path) == path


@settings(max_examples=50)
@given(st.text(st.sampled_from("./\\a\0é")) | st.text())
def test_a_path_that_is_kept_stays_below_its_folder(text: str) -> None:
    try:
        path = safe_path(text)
    except ValueError:
        return
    root = Path("/root/of/all")
    joined = root / path
    assert joined.is_relative_to(root)
    assert ".." not in joined.parts
    assert str(joined.relative_to(root)) == path


def test_what_is_noted_is_read_again(tmp_path: Path) -> None:
    with open_ledger(tmp_path, "gs://place") as ledger:
        ledger.add(ONE)
        ledger.add(TWO)
        ledger.add_damaged("two")
    record = read_record(tmp_path)
    assert record.source == "gs://place"
    assert record.entries == {"a/one": ONE, "two": TWO}
    assert record.damaged == {"two"}
    assert not record.complete


def test_a_file_is_finished_only_with_the_size_that_was_noted(tmp_path: Path) -> None:
    (tmp_path / "two").write_bytes(b"22")
    with open_ledger(tmp_path, "s") as ledger:
        assert not ledger.finished("two")
        ledger.add(TWO)
        assert ledger.finished("two")
        ledger.add_damaged("two")
        assert not ledger.finished("two")
        ledger.add(TWO)
        assert ledger.finished("two")
        (tmp_path / "two").write_bytes(b"2")
        assert not ledger.finished("two")
        ledger.add(ONE)
        assert not ledger.finished("a/one")


def test_the_manifest_takes_the_place_of_the_journal(tmp_path: Path) -> None:
    with open_ledger(tmp_path, "s") as ledger:
        ledger.add(TWO)
        ledger.add(ONE)
        ledger.finish({"a": "from/a"})
    assert (tmp_path / JOURNAL).read_bytes() == b""
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest.pop("created")
    assert manifest == {
        "schema": "zapeval.mirror/1",
        "source": "s",
        "items": {"a": "from/a"},
        "files": [ONE.model_dump(), TWO.model_dump()],
    }
    record = read_record(tmp_path)
    assert record.complete
    assert record.entries == {"a/one": ONE, "two": TWO}


def test_a_manifest_with_nothing_new_is_not_written_again(tmp_path: Path) -> None:
    with open_ledger(tmp_path, "s") as ledger:
        ledger.add(ONE)
        ledger.finish({"a": "from/a"})
    before = (tmp_path / MANIFEST).stat()
    with open_ledger(tmp_path, "s") as ledger:
        ledger.finish({"a": "from/a"})
    assert (tmp_path / MANIFEST).stat().st_ino == before.st_ino
    with open_ledger(tmp_path, "s") as ledger:
        ledger.finish({"b": "from/b"})
    assert read_record(tmp_path).items == {"a": "from/a", "b": "from/b"}


@given(cut=st.integers(0, 400), rest=st.sampled_from([b"", b"\0\0", b'{"path":"tw', b"\xff\n"]))
def test_a_torn_journal_loses_lines_and_invents_none(
    tmp_path_factory: pytest.TempPathFactory, cut: int, rest: bytes
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    with open_ledger(folder, "s") as ledger:
        ledger.add(ONE)
        ledger.add(TWO)
    whole = (folder / JOURNAL).read_bytes()
    assert len(whole) <= 400
    (folder / JOURNAL).write_bytes(whole[:cut] + rest)
    kept = whole[:cut].count(b"\n") - 1
    record = read_record(folder)
    # A line that lacks only its end of line says all the same what it says.
    assert list(record.entries.values()) in ([ONE, TWO][: max(kept, 0)], [ONE, TWO][: kept + 1])
    with open_ledger(folder, "s") as ledger:
        ledger.add(TWO)
    assert read_record(folder).entries["two"] == TWO
    assert set(read_record(folder).entries) <= {"a/one", "two"}


def test_a_journal_cannot_name_a_file_elsewhere(tmp_path: Path) -> None:
    line = ONE.model_dump_json().replace("a/one", "../one")
    (tmp_path / JOURNAL).write_text(f'{{"source":"s"}}\n{line}\n{TWO.model_dump_json()}\n')
    assert read_record(tmp_path).entries == {"two": TWO}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"schema":"zapeval.mirror/2","source":"s","items":{},"files":[],"created":""}',
        '{"schema":"zapeval.mirror/1","source":"s","items":{},"created":"","files":'
        '[{"path":"../x","size":1,"blake3":"' + "0" * 64 + '"}]}',
    ],
)
def test_a_manifest_that_is_none_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(InvalidInput, match=r"mirror\.json: is no manifest .*; delete it and fetch"):
        read_record(tmp_path)


def test_a_folder_belongs_to_one_source(tmp_path: Path) -> None:
    with open_ledger(tmp_path, "gs://one") as ledger:
        ledger.add(ONE)
    refusal = pytest.raises(Refused, match="is a mirror of gs://one, not of gs://two")
    with refusal, open_ledger(tmp_path, "gs://two"):
        pass
    assert read_record(tmp_path).entries == {"a/one": ONE}


def test_a_folder_is_written_by_one_command_at_a_time(tmp_path: Path) -> None:
    refusal = pytest.raises(Refused, match="another command is fetching into it")
    with open_ledger(tmp_path, "s"), refusal, open_ledger(tmp_path, "s"):
        pass
    with open_ledger(tmp_path, "s"):
        pass


def test_a_file_that_cannot_be_put_in_place_leaves_no_part(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(IsADirectoryError):
        write_file(tmp_path / "x", b"data")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_only_a_plain_file_has_a_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"123")
    (tmp_path / "link").symlink_to("file")
    assert size_of(tmp_path / "file") == 3
    assert size_of(tmp_path / "link") is None
    assert size_of(tmp_path) is None
    assert size_of(tmp_path / "file" / "below") is None
