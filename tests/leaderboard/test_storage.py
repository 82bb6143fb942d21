"""Bytes on disk: whole or not there, one writer a file, nothing behind a link."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leaderboard import storage as module
from leaderboard.database import Database
from leaderboard.problems import Conflict, Full
from leaderboard.settings import Settings
from leaderboard.storage import Storage, Tampered

DATA = os.urandom(100_000)
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(Settings(data_dir=tmp_path / "board"))


def fill(storage: Storage, submission: str = "one", data: bytes = DATA) -> str:
    """Makes a blob as an upload does; returns its digest."""
    digest = hashlib.sha256(data).hexdigest()
    with storage.arrive(submission, digest) as part:
        part.write(data)
        part.sync()
        part.verify(digest)
        with storage.steady():
            storage.adopt(part, digest)
    return digest


def test_only_its_owner_looks_into_the_folder_of_a_board(tmp_path: Path) -> None:
    settings = [Settings(data_dir=tmp_path / name) for name in ("files", "database")]
    Storage(settings[0])
    Database(settings[1]).close()
    assert {one.data_dir.stat().st_mode & 0o777 for one in settings} == {0o700}


def test_a_file_arrives_in_parts_and_becomes_a_blob(storage: Storage) -> None:
    for start in (0, 40_000):
        with storage.arrive("one", DIGEST) as part:
            assert part.size == start
            part.write(DATA[start : start + 40_000])
        assert storage.received("one") == {DIGEST: start + 40_000}
    with storage.arrive("one", DIGEST) as part:
        part.write(DATA[80_000:])
        part.verify(DIGEST)
        storage.adopt(part, DIGEST)
    assert storage.blob(DIGEST).read_bytes() == DATA
    assert storage.received("one") == {}


def test_other_bytes_than_announced_are_dropped(storage: Storage) -> None:
    with storage.arrive("one", DIGEST) as part:
        part.write(DATA[:-1] + b"\0")
        with pytest.raises(Tampered):
            part.verify(DIGEST)
    assert storage.received("one") == {}
    assert not storage.blob(DIGEST).exists()


def test_only_one_adds_to_a_file(storage: Storage) -> None:
    with storage.arrive("one", DIGEST), pytest.raises(Conflict, match="another request"):
        storage.arrive("one", DIGEST)
    storage.arrive("one", DIGEST).close()


def test_a_link_in_place_of_what_arrives_is_not_followed(storage: Storage, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    place = storage.incoming("one", DIGEST)
    place.parent.mkdir()
    place.symlink_to(target)
    with pytest.raises(OSError, match="symbolic link"):
        storage.arrive("one", DIGEST)
    assert target.read_bytes() == b"precious"


def test_a_store_is_links_to_blobs_and_appears_as_a_whole(storage: Storage) -> None:
    other = fill(storage, data=b"x")
    fill(storage)
    files = [("zarr.json", other), ("a/c/0/0", DIGEST), ("a/c/0/1", DIGEST)]
    storage.assemble("one", files)
    store = storage.store("one")
    assert sorted(str(p.relative_to(store)) for p in store.rglob("*") if p.is_file()) == [
        "a/c/0/0",
        "a/c/0/1",
        "zarr.json",
    ]
    assert (store / "a/c/0/1").samefile(storage.blob(DIGEST))
    storage.assemble("one", [])  # it is there: nothing changes
    assert (store / "zarr.json").read_bytes() == b"x"


def test_a_store_that_lacks_a_blob_leaves_nothing(storage: Storage) -> None:
    fill(storage)
    with pytest.raises(FileNotFoundError):
        storage.assemble("one", [("a/c/0", DIGEST), ("a/c/1", "0" * 64)])
    assert list((storage.root / "stores").iterdir()) == []


def test_where_links_cannot_be_made_files_are_copied(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(errno.EXDEV, "another device")

    fill(storage)
    monkeypatch.setattr(module.os, "link", refuse)
    storage.assemble("one", [("a/c/0", DIGEST)])
    assert (storage.store("one") / "a/c/0").read_bytes() == DATA


def test_discarding_takes_store_and_arrivals_not_blobs(storage: Storage) -> None:
    fill(storage)
    storage.assemble("one", [("a/c/0", DIGEST)])
    storage.arrive("one", "f" * 64).close()
    storage.discard("one")
    storage.discard("one")
    assert not storage.store("one").exists()
    assert storage.received("one") == {}
    assert storage.blob(DIGEST).exists()
    assert list((storage.root / "stores").iterdir()) == []


def test_the_same_bytes_twice_are_kept_once(storage: Storage) -> None:
    fill(storage, "one")
    before = storage.blob(DIGEST).stat().st_ino
    fill(storage, "two")
    assert storage.blob(DIGEST).stat().st_ino == before
    assert storage.received("two") == {}


def test_nobody_sweeps_while_others_count_on_blobs(storage: Storage) -> None:
    with (
        storage.steady(),
        storage.steady(),
        pytest.raises(BlockingIOError),
        storage.steady(sweeping=True),
    ):
        pass
    with storage.steady(sweeping=True):
        pass


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_keeps_what_fits_and_goes_on_later(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    data = os.urandom(3 << 20)
    digest = hashlib.sha256(data).hexdigest()
    with small_disk(disk):
        storage = Storage(Settings(data_dir=disk))
        with storage.arrive("one", digest) as part, pytest.raises(Full, match="disk is full"):
            part.write(data)
        size = storage.received("one")[digest]
        assert 0 < size < len(data)
        assert storage.incoming("one", digest).read_bytes() == data[:size]
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        with storage.arrive("one", digest) as part:
            part.write(data[size:])
            part.verify(digest)
            storage.adopt(part, digest)
        assert storage.blob(digest).read_bytes() == data
