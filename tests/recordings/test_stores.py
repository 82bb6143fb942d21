from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from zapeval.errors import InvalidInput, NotFound, StorageError
from zapeval.recordings import stores
from zapeval.recordings.stores import open_store, require

FILES = {
    "top": b"1",
    "array/zarr.json": b"{}",
    "array/c/0/0": b"\x00" * 100,
    "array/c/0/1": b"",
    "array-old/zarr.json": b"old",
    "name with space % and é": b"2",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "site"
    for key, data in FILES.items():
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(data)
    return root


@pytest.fixture(params=["folder", "file", "s3", "http"])
def uri(request: pytest.FixtureRequest, folder: Path) -> str:
    """The same files at every kind of address; gs:// has a test of its own."""
    if request.param == "folder":
        return str(folder)
    if request.param == "file":
        return f"file://{folder}"
    if request.param == "http":
        return str(request.getfixturevalue("web").url)
    client = request.getfixturevalue("s3")
    for key, data in FILES.items():
        client.put_object(Bucket="zapbench-release", Key=f"below/{key}", Body=data)
    client.put_object(Bucket="zapbench-release", Key="beside", Body=b"x")
    return "s3://zapbench-release/below/"


def test_every_kind_of_store_reads_the_same_bytes(uri: str) -> None:
    store = open_store(uri)
    assert {key: store.read(key) for key in FILES} == FILES
    assert store.child("array").read("c/0/0") == FILES["array/c/0/0"]
    assert not store.uri.endswith("/")


def test_a_missing_key_is_none_and_an_error_where_it_is_required(uri: str) -> None:
    store = open_store(uri)
    assert store.read("array/c/9/9") is None
    assert store.child("nothing").read("zarr.json") is None
    with pytest.raises(NotFound, match="array/nothing: does not exist"):
        require(store.child("array"), "nothing")


def test_a_key_over_the_limit_is_refused_with_its_size(uri: str) -> None:
    store = open_store(uri)
    assert store.read("array/c/0/0", 100) == FILES["array/c/0/0"]
    with pytest.raises(InvalidInput, match="c/0/0: is 100 bytes, expected at most 99"):
        store.read("array/c/0/0", 99)


def test_a_listing_holds_the_keys_below_its_prefix_and_no_others(uri: str) -> None:
    store = open_store(uri)
    if not store.can_list:
        with pytest.raises(StorageError, match="could not be listed"):
            store.keys()
        return
    assert store.keys() == tuple(sorted(FILES))
    assert store.keys("array/") == ("array/c/0/0", "array/c/0/1", "array/zarr.json")
    assert store.child("array").keys() == ("c/0/0", "c/0/1", "zarr.json")
    assert store.child("array").keys("c") == ("c/0/0", "c/0/1")
    assert store.child("nothing").keys() == ()


def test_a_store_that_was_read_from_can_go_to_another_process(uri: str) -> None:
    store = open_store(uri)
    store.read("top")
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert again.read("top") == b"1"


def test_a_bucket_without_a_path_is_a_store(s3: Any) -> None:
    s3.put_object(Bucket="zapbench-release", Key="beside", Body=b"x")
    store = open_store("s3://zapbench-release")
    assert store.keys() == ("beside",)
    assert store.read("beside") == b"x"
    assert open_store("s3://nobodys-bucket").read("x") is None
    with pytest.raises(StorageError, match=r"nobodys-bucket: could not be listed: .*\(HTTP 404"):
        open_store("s3://nobodys-bucket").keys()


def test_google_storage_reads_and_lists(gcs: Any) -> None:
    # The emulator ignores the range of a listing: what is beside must be left out all the same.
    printed = gcs.run(
        """
import sys, tensorstore as ts
from zapeval.errors import InvalidInput, StorageError
from zapeval.recordings.stores import open_store
bucket = ts.KvStore.open({"driver": "gcs", "bucket": "zapbench-release"}).result()
for key in ("a", "below/stores/x/1", "below/stores/x/2", "below/stores/x-old", "zzz"):
    bucket.write(key, key.encode()).result()
store = open_store("gs://zapbench-release/below/stores/")
print(store.keys(), store.child("x").keys(), store.keys("x/2"), "a" in
      open_store("gs://zapbench-release").keys())
print(store.read("x/1"), store.read("x/3"), open_store("gs://zapbench-release").read("a"))
for task in (lambda: open_store("gs://nobodys-bucket/x").keys(),
             lambda: open_store("gs://-/x").read("y"), lambda: store.read("x/1", 3)):
    try:
        task()
    except (StorageError, InvalidInput) as error:
        print(type(error).__name__, error)
"""
    ).splitlines()
    assert printed == [
        "('x-old', 'x/1', 'x/2') ('1', '2') ('x/2',) True",
        "b'below/stores/x/1' None b'a'",
        *printed[2:4],
        "InvalidInput gs://zapbench-release/below/stores/x/1: is 16 bytes, expected at most 3",
    ]
    assert printed[2].startswith("StorageError gs://nobodys-bucket/x: could not be listed: ")
    assert printed[3].startswith("StorageError gs://-/x/y: could not be read: ")


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("ftp://place/x", "scheme 'ftp' is not one of file, gs, s3, http, https"),
        ("memory://x", "scheme 'memory'"),
        ("gs://place/x|zarr3:", "expected a plain address"),
        ("gs://place/x.zip|zip:y", "expected a plain address"),
        ("https://place/x?version=2", "expected a plain address"),
        ("https://place/x#part", "expected a plain address"),
        ("https://name:word@place/x", "expected a plain address"),
        ("https://place/x/../../y", "expected a plain address"),
        ("https://place\\x", "expected a plain address"),
        ("https://place/x\x1b[2J", "expected a plain address"),
        ("http://[1/x", "is no address"),
        ("gs:///x", "names no bucket or host"),
        ("https://", "names no bucket or host"),
        ("file://folder/x", "expected file:///path, with three slashes"),
    ],
)
def test_an_address_that_is_not_plain_is_refused(uri: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        open_store(uri)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("uri", ["https://me:secret@place/x", "https://place/x?token=secret"])
def test_a_refusal_does_not_repeat_a_secret(uri: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        open_store(uri)
    assert "secret" not in str(caught.value)
    assert "https://place/x" in str(caught.value)


def test_a_link_or_folder_in_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "top")
    for key in ("link", "array"):
        with pytest.raises(InvalidInput, match=f"{key}: is a folder, a link or a device"):
            open_store(folder).read(key)


def test_a_web_address_is_decoded_once(web: Any, folder: Path) -> None:
    store = open_store(f"{web.url}/name%20with%20space%20%25%20and%20é/..x")
    assert store.read("y") is None
    assert set(web.requests) == {"name with space % and é/..x/y"}


def test_a_passing_error_is_tried_again(
    web: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stores.RETRIES, "initial_delay", "10ms")
    web.rule = lambda path: 503 if web.requests[path] < 3 else None
    assert open_store(web.url).read("top") == b"1"
    assert web.requests["top"] == 3


@pytest.mark.parametrize("status", [403, 500])
def test_a_lasting_error_names_the_key_and_the_status(
    web: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setitem(stores.RETRIES, "initial_delay", "10ms")
    monkeypatch.setitem(stores.RETRIES, "max_retries", 2)
    web.rule = lambda path: status
    with pytest.raises(StorageError, match=rf"{web.url}/top: .*\(HTTP {status}\)$"):
        open_store(web.url).read("top")


def test_a_silent_server_ends_the_patience(
    web: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "PATIENCE", 0.2)
    web.rule = lambda path: web.closing.wait() and None
    with pytest.raises(StorageError, match=r"top: .* no answer within 0\.2 seconds"):
        open_store(web.url).read("top")


def test_a_read_that_is_stopped_ends_before_the_answer(web: Any, folder: Path) -> None:
    stop = threading.Event()

    def silent(path: str) -> None:
        stop.set()
        web.closing.wait()

    web.rule = silent
    with pytest.raises(StorageError, match="stopped"):
        open_store(web.url).read("top", stop=stop)


def test_a_stalled_transfer_is_dropped_and_tried_again(web: Any, folder: Path) -> None:
    def silent_once(path: str) -> None:
        if web.requests[path] == 1:
            web.closing.wait()

    web.rule = silent_once
    # TensorStore reads the limit once, when a process first opens a connection.
    code = (
        "import sys; from zapeval.recordings import stores\n"
        "stores._STALLED['TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS'] = '1'\n"
        "print(stores.open_store(sys.argv[1]).read('top'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, web.url],
        env={name: value for name, value in os.environ.items() if "CURL_LOW_SPEED" not in name},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "b'1'\n"
    assert web.requests["top"] == 2
