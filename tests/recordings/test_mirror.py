from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore as ts
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from zapeval.errors import InvalidInput, NotFound, Refused, StorageError, UsageError
from zapeval.recordings import stores
from zapeval.recordings.ledger import JOURNAL, MANIFEST, open_ledger
from zapeval.recordings.mirror import Item, data_folder, fetch, verify

BUCKET = "zapbench-release"
TRACES = np.arange(1, 40 * 30 + 1, dtype="<f4").reshape(40, 30)
FEATURES = np.arange(40 * 26, dtype="<f4").reshape(40, 26)

TRACES_ITEM = Item(source="volumes/1/traces", target="traces")
ITEMS = (
    TRACES_ITEM,
    Item(source="volumes/1/stimuli_features", target="stimuli_features"),
    Item(
        source="volumes/1/segmentation/dataframe.json",
        target="segmentation/dataframe.json",
        kind="file",
    ),
    Item(source="frames/combined.json", target="combined.json", kind="file", optional=True),
)


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout of the public bucket, small: 20 plain chunks, 2 compressed, metadata, 2 files."""
    root = tmp_path_factory.mktemp("bucket")
    _write_zarr(root / "volumes/1/traces", "zarr3", TRACES, {"chunk_grid": _grid(8, 8)})
    compressed = {"chunks": [20, 26], "compressor": {"id": "zlib", "level": 1}}
    _write_zarr(root / "volumes/1/stimuli_features", "zarr", FEATURES, compressed)
    (root / "volumes/1/stimuli_features/.zattrs").write_text('{"a": 1}')
    (root / "volumes/1/segmentation").mkdir()
    (root / "volumes/1/segmentation/dataframe.json").write_text('{"label": [1]}')
    (root / "volumes/1/traces_of_another_kind").write_text("not asked for")
    (root / "frames").mkdir()
    (root / "frames/combined.json").write_text('"{}"')
    return root


def _grid(*shape: int) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": shape}}


def _write_zarr(path: Path, driver: str, values: np.ndarray, metadata: dict[str, Any]) -> None:
    kvstore = {"driver": "file", "path": str(path)}
    spec = {"driver": driver, "kvstore": kvstore, "metadata": metadata}
    array = ts.open(spec, create=True, dtype=values.dtype, shape=values.shape).result()
    array.write(values).result()


def _read_zarr(path: Path, driver: str) -> np.ndarray:
    spec = {"driver": driver, "kvstore": {"driver": "file", "path": str(path)}}
    strict = spec | {"fill_missing_data_reads": False}
    values: np.ndarray = ts.open(strict).result().read().result()
    return values


def _expected(bucket: Path) -> dict[str, bytes]:
    """What a finished mirror holds, found without the code under test."""
    moved = {"volumes/1/": "", "frames/": ""}
    files = {}
    for file in bucket.rglob("*"):
        key = str(file.relative_to(bucket))
        if file.is_file() and not key.endswith("another_kind"):
            start = next(start for start in moved if key.startswith(start))
            files[moved[start] + key.removeprefix(start)] = file.read_bytes()
    assert len(files) == 20 + 1 + 2 + 2 + 2
    return files


def _found(folder: Path) -> dict[str, bytes]:
    """What a folder holds besides the mirror's own two files."""
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and file.name not in (MANIFEST, JOURNAL)
    }


@pytest.fixture
def site(web: Any, bucket: Path) -> Any:
    """The bucket behind a web server that can be told to misbehave."""
    web.root = bucket
    return web


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stores.RETRIES, "initial_delay", "10ms")
    monkeypatch.setitem(stores.RETRIES, "max_retries", 1)


@pytest.fixture(params=["folder", "http", "s3"])
def source(request: pytest.FixtureRequest, bucket: Path) -> str:
    if request.param == "folder":
        return str(bucket)
    if request.param == "http":
        return str(request.getfixturevalue("site").url)
    client = request.getfixturevalue("s3")
    for file in bucket.rglob("*"):
        if file.is_file():
            _put(client, str(file.relative_to(bucket)), file.read_bytes())
    _put(client, "volumes/1/traces/", b"")
    return f"s3://{BUCKET}"


def _put(client: Any, key: str, data: bytes = b"x") -> None:
    client.put_object(Bucket=BUCKET, Key=key, Body=data)


def test_every_kind_of_source_gives_the_same_folder(
    source: str, bucket: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "mirror"
    seen: list[tuple[int, int]] = []
    report = fetch(source, ITEMS, folder, progress=lambda *counts: seen.append(counts))
    expected = _expected(bucket)
    assert _found(folder) == expected
    assert np.array_equal(_read_zarr(folder / "traces", "zarr3"), TRACES)
    assert np.array_equal(_read_zarr(folder / "stimuli_features", "zarr"), FEATURES)
    assert (report.files, report.fetched, report.absent) == (27, 27, ())
    assert report.fetched_bytes == sum(map(len, expected.values()))
    assert seen == [(done, 27) for done in range(28)]
    assert verify(folder) == []


def test_google_storage_gives_the_same_folder(gcs: Any, bucket: Path, tmp_path: Path) -> None:
    printed = gcs.run(
        """
import sys, tensorstore as ts
from pathlib import Path
from zapeval.recordings.mirror import Item, fetch, verify
source, folder = map(Path, sys.argv[1:])
bucket = ts.KvStore.open({"driver": "gcs", "bucket": "zapbench-release"}).result()
for file in source.rglob("*"):
    if file.is_file():
        bucket.write(str(file.relative_to(source)), file.read_bytes()).result()
items = [Item(source="volumes/1/traces", target="traces"),
         Item(source="volumes/1/stimuli_features", target="stimuli_features"),
         Item(source="volumes/1/segmentation/dataframe.json",
              target="segmentation/dataframe.json", kind="file"),
         Item(source="frames/combined.json", target="combined.json", kind="file")]
print([fetch("gs://zapbench-release", items, folder).fetched for _ in range(2)], verify(folder))
""",
        bucket,
        tmp_path / "mirror",
    )
    assert printed == "[27, 0] []\n"
    assert _found(tmp_path / "mirror") == _expected(bucket)


def test_the_manifest_says_what_is_there(bucket: Path, tmp_path: Path) -> None:
    fetch(str(bucket), ITEMS, tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["schema"] == "zapeval.mirror/1"
    assert manifest["source"] == str(bucket)
    assert manifest["items"] == {item.target: item.source for item in ITEMS}
    assert manifest["files"] == [
        {"path": path, "size": len(data), "blake3": blake3(data).hexdigest()}
        for path, data in sorted(_expected(bucket).items())
    ]


def test_a_repeated_fetch_asks_for_no_file_again(site: Any, tmp_path: Path) -> None:
    fetch(site.url, ITEMS, tmp_path)
    manifest = (tmp_path / MANIFEST).read_bytes()
    site.requests.clear()
    report = fetch(site.url, ITEMS, tmp_path)
    assert (report.files, report.fetched, report.fetched_bytes) == (27, 0, 0)
    documents = ("zarr.json", ".zarray", ".zattrs")
    assert {path.rpartition("/")[2] for path in site.requests} <= set(documents)
    assert (tmp_path / MANIFEST).read_bytes() == manifest


def test_a_killed_fetch_goes_on_where_it_was(site: Any, bucket: Path, tmp_path: Path) -> None:
    answered = threading.Semaphore(12)
    held = threading.Event()

    def hold(path: str) -> None:
        if "/c/" in path and not answered.acquire(blocking=False):
            held.set()
            site.closing.wait()

    site.rule = hold
    code = (
        "import sys; from pathlib import Path; from zapeval.recordings.mirror import Item, fetch\n"
        "item = Item(source='volumes/1/traces', target='traces')\n"
        "fetch(sys.argv[1], [item], Path(sys.argv[2]), workers=3)"
    )
    fetching = subprocess.Popen([sys.executable, "-c", code, site.url, str(tmp_path)])
    try:
        assert held.wait(30)
        finished = _wait_for(lambda: _journal(tmp_path), 9)
    finally:
        fetching.send_signal(signal.SIGKILL)
        fetching.wait()
    assert verify(tmp_path) == [f"{tmp_path}: is not finished; fetch it"]
    finished = _journal(tmp_path)
    assert not (tmp_path / MANIFEST).exists()
    site.rule = lambda path: None
    site.requests.clear()
    report = fetch(site.url, [TRACES_ITEM], tmp_path)
    again = {path for path in site.requests if "/c/" in path}
    assert not again & {f"volumes/1/{path}" for path in finished}
    assert report.fetched == 21 - len(finished)
    traces = {path: data for path, data in _expected(bucket).items() if path.startswith("traces/")}
    assert _found(tmp_path) == traces
    assert verify(tmp_path) == []


def _journal(folder: Path) -> list[str]:
    try:
        lines = (folder / JOURNAL).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [entry["path"] for entry in map(json.loads, lines) if "path" in entry]


def _wait_for(count: Callable[[], list[str]], least: int) -> list[str]:
    end = time.monotonic() + 30
    while len(count()) < least:
        assert time.monotonic() < end
        time.sleep(0.02)
    return count()


@settings(max_examples=12)
@given(st.data())
def test_a_fetch_cut_short_anywhere_ends_the_same(
    bucket: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    fetch(str(bucket), ITEMS, folder)
    lines = json.loads((folder / MANIFEST).read_text())["files"]
    (folder / MANIFEST).unlink()
    journal = json.dumps({"source": str(bucket)}) + "\n" + "\n".join(map(json.dumps, lines))
    cut = data.draw(st.integers(0, len(journal)))
    (folder / JOURNAL).write_text(journal[:cut])
    part = folder / (data.draw(st.sampled_from(lines))["path"] + ".part")
    part.write_bytes(b"half")
    report = fetch(str(bucket), ITEMS, folder)
    whole = max(journal[:cut].count("\n") - 1, 0)
    assert report.fetched in (27 - whole, 26 - whole)  # a line may lack no more than its end
    found = _found(folder)
    found.pop(str(part.relative_to(folder)), None)
    assert found == _expected(bucket)
    assert verify(folder) == []


def test_an_interrupted_fetch_stops_and_goes_on(site: Any, bucket: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    # The rest of the chunks would never be answered: an interruption must not wait for them.
    answered = threading.Semaphore(5)
    site.rule = lambda path: (
        ("/c/" in path and not answered.acquire(blocking=False) and site.closing.wait() and None)
        or None
    )
    with pytest.raises(KeyboardInterrupt):
        fetch(site.url, [TRACES_ITEM], tmp_path, progress=interrupt, workers=2)
    assert not list(tmp_path.rglob("*.part"))
    site.rule = lambda path: None
    assert fetch(site.url, [TRACES_ITEM], tmp_path).fetched == 16
    assert np.array_equal(_read_zarr(tmp_path / "traces", "zarr3"), TRACES)


CHUNK = "traces/c/1/2"


def _change(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


def _shrink(path: Path) -> None:
    os.truncate(path, 100)


def _replace_by_link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_change, "has other content than was fetched"),
        (_shrink, "is 100 bytes, expected 256"),
        (Path.unlink, "is missing"),
        (_replace_by_link, "is missing"),
    ],
)
def test_a_damaged_file_is_found_and_fetched_again(
    damage: Callable[[Path], None], says: str, bucket: Path, tmp_path: Path
) -> None:
    fetch(str(bucket), ITEMS, tmp_path)
    damage(tmp_path / CHUNK)
    finding = f"{tmp_path / CHUNK}: {says}; fetch it again"
    assert [verify(tmp_path) for _ in range(2)] == [[finding]] * 2
    assert fetch(str(bucket), ITEMS, tmp_path).fetched == 1
    assert verify(tmp_path) == []
    assert np.array_equal(_read_zarr(tmp_path / "traces", "zarr3"), TRACES)


def test_a_file_that_was_put_right_by_hand_is_not_fetched_again(
    bucket: Path, tmp_path: Path
) -> None:
    fetch(str(bucket), ITEMS, tmp_path)
    _change(tmp_path / CHUNK)
    assert len(verify(tmp_path)) == 1
    _change(tmp_path / CHUNK)
    assert verify(tmp_path) == []
    assert fetch(str(bucket), ITEMS, tmp_path).fetched == 0


def test_verify_counts_every_file(bucket: Path, tmp_path: Path) -> None:
    fetch(str(bucket), ITEMS, tmp_path)
    seen: list[tuple[int, int]] = []
    verify(tmp_path, progress=lambda *counts: seen.append(counts))
    assert seen == [(done, 27) for done in range(1, 28)]


def test_an_empty_or_absent_folder_holds_no_mirror(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nothing"):
        assert verify(folder) == [f"{folder}: holds no mirror; fetch it"]
    assert list(tmp_path.iterdir()) == []


def test_items_can_be_added_later(bucket: Path, tmp_path: Path) -> None:
    fetch(str(bucket), ITEMS[2:], tmp_path)
    assert fetch(str(bucket), ITEMS, tmp_path).fetched == 25
    assert set(json.loads((tmp_path / MANIFEST).read_text())["items"]) == {i.target for i in ITEMS}


def test_what_is_optional_may_be_absent(bucket: Path, tmp_path: Path) -> None:
    nowhere = (
        Item(source="nowhere.json", target="n.json", kind="file", optional=True),
        Item(source="nowhere", target="n", optional=True),
    )
    report = fetch(str(bucket), (*ITEMS, *nowhere), tmp_path)
    assert (report.files, report.absent) == (27, ("n.json", "n"))
    assert "n" not in json.loads((tmp_path / MANIFEST).read_text())["items"]
    assert verify(tmp_path) == []


def test_what_is_not_optional_must_be_there(bucket: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nowhere: holds no zarr array"):
        fetch(str(bucket), [Item(source="nowhere", target="n")], tmp_path)
    item = Item(source="nowhere.json", target="n.json", kind="file")
    with pytest.raises(StorageError, match=r"nowhere\.json: does not exist at the source"):
        fetch(str(bucket), [item], tmp_path)
    assert not (tmp_path / MANIFEST).exists()


@pytest.mark.parametrize("status", [404, 500])
@pytest.mark.usefixtures("impatient")
def test_a_file_that_is_not_answered_is_named(site: Any, tmp_path: Path, status: int) -> None:
    site.rule = lambda path: status if path.endswith("c/1/2") else None
    with pytest.raises(StorageError, match=r"/volumes/1/traces/c/1/2: .*repeat the command: it "):
        fetch(site.url, ITEMS, tmp_path)
    assert not (tmp_path / CHUNK).exists()
    site.rule = lambda path: None
    assert fetch(site.url, ITEMS, tmp_path).files == 27
    assert verify(tmp_path) == []


@pytest.mark.usefixtures("impatient")
def test_a_server_that_falls_silent_is_named(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "PATIENCE", 0.3)
    site.rule = lambda path: (path.endswith("c/1/2") and site.closing.wait() and None) or None
    with pytest.raises(StorageError, match=r"c/1/2: .* no answer within .*repeat the command"):
        fetch(site.url, [TRACES_ITEM], tmp_path)


def test_a_passing_error_is_not_noticed(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stores.RETRIES, "initial_delay", "10ms")
    site.rule = lambda path: 503 if site.requests[path] == 1 else None
    assert fetch(site.url, ITEMS, tmp_path).fetched == 27
    assert site.requests["volumes/1/traces/c/1/2"] == 2


def test_a_chunk_of_a_wrong_size_is_not_kept(s3: Any, bucket: Path, tmp_path: Path) -> None:
    for file in (bucket / "volumes/1/traces").rglob("*"):
        if file.is_file():
            _put(s3, str(file.relative_to(bucket)), file.read_bytes())
    _put(s3, "volumes/1/traces/c/1/2", b"short")
    with pytest.raises(StorageError, match="c/1/2: is 5 bytes, expected 256"):
        fetch(f"s3://{BUCKET}", [TRACES_ITEM], tmp_path)
    assert not (tmp_path / CHUNK).exists()


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (["../../../../outside"], "has an empty name, '.' or '..'"),
        (["c/../../../../outside"], "has an empty name, '.' or '..'"),
        (["/outside"], "has an empty name"),
        (["c\\..\\outside"], "holds a backslash"),
        (["c/\x1b[31m"], "a character that cannot be printed"),
        (["n" * 300], "is longer than 240 bytes a name"),
        (["c/0.part"], "the mirror keeps for itself"),
        (["c"], "'volumes/1/traces/c' is a file and a folder"),
        (["note", "Note"], "would be one file"),
    ],
)
def test_a_hostile_listing_is_refused_before_anything_is_written(
    s3: Any, bucket: Path, tmp_path: Path, keys: list[str], says: str
) -> None:
    for key in ("zarr.json", "c/0/0"):
        _put(s3, f"volumes/1/traces/{key}", (bucket / "volumes/1/traces" / key).read_bytes())
    for key in keys:
        _put(s3, f"volumes/1/traces/{key}")
    folder = tmp_path / "below" / "mirror"
    with pytest.raises(InvalidInput) as caught:
        fetch(f"s3://{BUCKET}", [TRACES_ITEM], folder)
    assert says in str(caught.value)
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == []


def test_an_array_that_declares_too_many_files_is_refused(site: Any, tmp_path: Path) -> None:
    document = json.loads((site.root / "volumes/1/traces/zarr.json").read_text())
    document |= {"shape": [3000, 3000], "chunk_grid": _grid(1, 1)}
    site.root = tmp_path / "hostile"
    (site.root / "volumes/1/traces").mkdir(parents=True)
    (site.root / "volumes/1/traces/zarr.json").write_text(json.dumps(document))
    with pytest.raises(InvalidInput, match="declares over 1,000,000 files"):
        fetch(site.url, [TRACES_ITEM], tmp_path / "mirror")


def test_two_items_cannot_share_a_place(bucket: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="would be one file"):
        fetch(str(bucket), [TRACES_ITEM, TRACES_ITEM], tmp_path)
    with pytest.raises(InvalidInput, match=r"'\.\./x' has an empty name"):
        fetch(
            str(bucket), [Item(source="frames/combined.json", target="../x", kind="file")], tmp_path
        )


def test_a_folder_mirrors_one_source_and_is_fetched_once_at_a_time(
    site: Any, bucket: Path, tmp_path: Path
) -> None:
    fetch(str(bucket), ITEMS, tmp_path)
    with pytest.raises(Refused, match=f"is a mirror of {bucket}, not of {site.url}"):
        fetch(site.url, ITEMS, tmp_path)
    with open_ledger(tmp_path, str(bucket)), pytest.raises(Refused, match="another command"):
        fetch(str(bucket), ITEMS, tmp_path)
    with pytest.raises(UsageError, match="0 workers"):
        fetch(str(bucket), ITEMS, tmp_path, workers=0)


@contextmanager
def _small_disk(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_folder_that_cannot_be_one_is_named(bucket: Path, tmp_path: Path) -> None:
    (tmp_path / "traces").write_text("a file where a folder belongs")
    with pytest.raises(StorageError, match=f"{tmp_path}/traces.*: could not be written: "):
        fetch(str(bucket), ITEMS, tmp_path)


def test_a_full_disk_says_how_much_is_needed_and_is_resumed(tmp_path: Path) -> None:
    source, disk = tmp_path / "source", tmp_path / "disk"
    source.mkdir()
    items = [Item(source=name, target=name, kind="file") for name in "abcde"]
    for item in items:
        (source / item.source).write_bytes(item.source.encode() * 300_000)
    with _small_disk(disk, "1m"):
        with pytest.raises(StorageError) as caught:
            fetch(str(source), items, disk, workers=1)
        says = str(caught.value)
        assert f"{disk}: the disk is full: 2 files, about 600,000 bytes, still to fetch" in says
        assert "bytes free; make room; repeat the command: it resumes" in says
        assert sorted(_found(disk)) == ["a", "b", "c"]
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        assert fetch(str(source), items, disk).fetched == 2
        assert verify(disk) == []


def test_a_disk_that_is_too_small_is_refused_before_the_first_chunk(tmp_path: Path) -> None:
    traces = np.ones((1024, 1024), "<f4")
    _write_zarr(tmp_path / "traces", "zarr3", traces, {"chunk_grid": _grid(512, 512)})
    disk = tmp_path / "disk"
    with _small_disk(disk, "1m"):
        with pytest.raises(StorageError, match=r"4,194,304 bytes to fetch, 1,0\d\d,\d{3} bytes fr"):
            fetch(str(tmp_path), [Item(source="traces", target="traces")], disk)
        assert _found(disk) == {}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ZAPEVAL_DATA": "/big/disk"}, "/big/disk"),
        ({"ZAPEVAL_DATA": "~/data", "XDG_CACHE_HOME": "/cache"}, "/home/me/data"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/zapeval"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/zapeval"),
        ({"XDG_CACHE_HOME": "", "ZAPEVAL_DATA": ""}, "/home/me/.cache/zapeval"),
        ({}, "/home/me/.cache/zapeval"),
    ],
)
def test_the_data_folder_follows_the_environment(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ZAPEVAL_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert data_folder() == Path(expected)
