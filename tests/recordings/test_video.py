"""A public video is copied frame by frame: coarser, cropped, resumed, checked."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import filmed
import numpy as np
import pytest
from servers import BUCKET

from zapeval.errors import InvalidInput, NotFound, Refused, StorageError, UsageError
from zapeval.recordings import stores
from zapeval.recordings.ledger import JOURNAL, MANIFEST
from zapeval.recordings.mirror import fetch, verify
from zapeval.recordings.recording import open_recording
from zapeval.recordings.video_plan import plan_copy

PROGRAM = """
import sys
from pathlib import Path
import filmed
from zapeval.recordings.mirror import fetch, verify
from zapeval.recordings.video_plan import plan_copy
source, folder = sys.argv[1], Path(sys.argv[2])
copy = plan_copy(source, filmed.PUBLIC, factor=4, workers=2)
print(fetch(source, filmed.ITEMS, folder, derived=copy).fetched, verify(folder))
"""


@pytest.fixture(scope="session")
def bucket(tmp_path_factory):
    return filmed.write_bucket(tmp_path_factory.mktemp("bucket"))


@pytest.fixture
def site(web, bucket):
    """The bucket behind a web server that can be told to misbehave."""
    web.root = bucket
    return web


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setitem(stores.RETRIES, "initial_delay", "10ms")
    monkeypatch.setitem(stores.RETRIES, "max_retries", 1)


@pytest.fixture(params=["folder", "http", "s3"])
def source(request, bucket):
    if request.param == "folder":
        return str(bucket)
    if request.param == "http":
        return request.getfixturevalue("site").url
    client = request.getfixturevalue("s3")
    for file in bucket.rglob("*"):
        key = str(file.relative_to(bucket))
        if file.is_file() and "/s0/" not in key and "/s1/" not in key:
            client.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())
    return f"s3://{BUCKET}"


def copied(source, folder, factor=4, **options):
    copy = plan_copy(str(source), filmed.PUBLIC, factor=factor, **options)
    return fetch(str(source), filmed.ITEMS, folder, derived=copy)


def check(folder, factor=4, atol=1e-6):
    """Checks a copy against what loops find, as the recording that it is."""
    recording = open_recording(str(folder))
    frames, labels = filmed.expected(factor)
    np.testing.assert_allclose(recording.video.read(), frames, rtol=0, atol=atol)
    np.testing.assert_array_equal(recording.segmentation.read(), labels)
    np.testing.assert_array_equal(recording.activity.read(), filmed.traces())
    assert verify(folder) == []


def test_every_kind_of_source_gives_the_same_recording(source, tmp_path):
    folder = tmp_path / "new" / "copy"
    seen = []
    report = copied(source, folder, progress=lambda *counts: seen.append(counts))
    check(folder)
    assert seen == [(done, filmed.FRAMES) for done in range(filmed.FRAMES + 1)]
    # Chunks and metadata of the traces; a file a frame and one of labels, each with metadata.
    assert report.files == report.fetched == 3 * 3 + 1 + filmed.FRAMES + 1 + 2
    found = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert len(found - {MANIFEST, JOURNAL}) == report.files


def test_google_storage_gives_the_same_recording(gcs, bucket, tmp_path):
    upload = """
import sys, tensorstore as ts
from pathlib import Path
bucket = ts.KvStore.open({"driver": "gcs", "bucket": "zapbench-release"}).result()
root = Path(sys.argv[3])
for file in root.rglob("*"):
    if file.is_file() and not {"s0", "s1"} & set(file.parts):
        bucket.write(str(file.relative_to(root)), file.read_bytes()).result()
"""
    path = f"import sys; sys.path.insert(0, {str(Path(filmed.__file__).parent)!r})\n"
    printed = gcs.run(path + upload + PROGRAM, "gs://zapbench-release", tmp_path / "copy", bucket)
    assert printed == "49 []\n"
    check(tmp_path / "copy")


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_what_the_source_has_not_coarse_enough_is_averaged(factor, tmp_path):
    source = filmed.write_bucket(tmp_path / "bucket", levels=(1,), codecs=("blosc",))
    copy = plan_copy(str(source), filmed.PUBLIC, factor=factor)
    assert (copy.rest, copy.compressed) == (factor, True)
    copied(source, tmp_path / "copy", factor)
    check(tmp_path / "copy", factor)


def test_the_coarsest_level_that_is_fine_enough_is_read(site, tmp_path):
    copied(site.url, tmp_path, 2)
    check(tmp_path, 2)
    read = {path for path in site.requests if "/c/" in path and "xyz_chunked" in path}
    assert {path.split("/")[3] for path in read} == {"s1"}
    # The crop is x 2 to 18 and y 2 to 14 there: chunks 0 and 1 along x, 0 along y.
    assert len(read) == 2 * filmed.FRAMES
    assert max(site.requests[path] for path in read) == 1


def test_several_frames_a_chunk_are_read_once(web, tmp_path):
    web.root = filmed.write_bucket(tmp_path / "bucket", levels=(4,), chunk=(16, 16, 2, 8))
    copied(web.url, tmp_path / "copy")
    check(tmp_path / "copy")
    chunks = [count for path, count in web.requests.items() if "/s2/c/" in path]
    assert chunks == [1] * 5


def test_half_the_size_is_half_as_exact(bucket, tmp_path):
    copied(bucket, tmp_path, dtype="float16")
    check(tmp_path, atol=1e-3)
    assert open_recording(str(tmp_path)).video.dtype == np.float16


def test_sizes_are_known_before(bucket, tmp_path):
    copy = plan_copy(str(bucket), filmed.PUBLIC, factor=4)
    assert (copy.frames, copy.shape) == (36, (8, 6, 2))
    assert copy.source_bytes == 16 * 16 * 2 * 4  # one chunk, though its edge is beyond the frame
    assert copy.frame_bytes == 8 * 6 * 2 * 4
    assert copy.left(tmp_path) == 36
    fine = plan_copy(str(bucket), filmed.PUBLIC, factor=1, kept=(16, 8, 1), dtype="float16")
    assert (fine.shape, fine.frame_bytes) == ((16, 8, 1), 256)
    assert fine.source_bytes == 2 * 2 * 16 * 16 * 2 * 4
    assert not fine.compressed


def test_a_killed_copy_goes_on_where_it_was(site, tmp_path):
    answered = threading.Semaphore(14)
    held = threading.Event()

    def hold(path):
        if "/s2/c/" in path and not answered.acquire(blocking=False):
            held.set()
            site.closing.wait()

    site.rule = hold
    path = f"import sys; sys.path.insert(0, {str(Path(filmed.__file__).parent)!r})\n"
    command = [sys.executable, "-c", path + PROGRAM, site.url, str(tmp_path / "copy")]
    with subprocess.Popen(command) as copying:
        try:
            assert held.wait(30)
            end = time.monotonic() + 30
            while len(finished(tmp_path / "copy")) < 12:
                assert time.monotonic() < end
                time.sleep(0.02)
        finally:
            copying.send_signal(signal.SIGKILL)
    done = finished(tmp_path / "copy")
    assert not (tmp_path / "copy" / MANIFEST).exists()
    assert verify(tmp_path / "copy") == [f"{tmp_path / 'copy'}: is not finished; fetch it"]
    site.rule = lambda path: None
    site.requests.clear()
    copied(site.url, tmp_path / "copy")
    again = {int(path.rpartition("/c/0/0/0/")[2]) for path in site.requests if "/s2/c/" in path}
    assert again == set(range(filmed.FRAMES)) - done
    check(tmp_path / "copy")
    assert not list((tmp_path / "copy").rglob("*.__lock"))


def finished(folder):
    """Returns the frames that the journal knows."""
    journal = folder / JOURNAL
    text = journal.read_text() if journal.exists() else ""
    paths = (line.partition('"path":"video/c/')[2] for line in text.splitlines())
    return {int(path.partition("/")[0]) for path in paths if path}


def test_an_interrupted_copy_goes_on(bucket, tmp_path):
    def interrupt(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copied(bucket, tmp_path, progress=interrupt, workers=1)
    first = []
    copied(bucket, tmp_path, progress=lambda *counts: first.append(counts))
    assert first[0] == (5, filmed.FRAMES)
    check(tmp_path)


@pytest.mark.parametrize("damage", ["flipped", "cut", "gone"])
def test_a_damaged_or_missing_chunk_is_named_and_fetched_when_it_is_mended(damage, tmp_path):
    source = filmed.write_bucket(tmp_path / "bucket", levels=(4,), codecs=("zstd", "crc32c"))
    chunk = source / filmed.PUBLIC.levels[4] / "c/0/0/0/21"
    whole = chunk.read_bytes()
    flipped = bytes([*whole[:50], whole[50] ^ 1, *whole[51:]])
    chunk.unlink() if damage == "gone" else chunk.write_bytes(
        flipped if damage == "flipped" else whole[:50]
    )
    with pytest.raises(StorageError, match=r"s2.*21.*; repeat the command: it resumes"):
        copied(source, tmp_path / "copy")
    assert verify(tmp_path / "copy") == [f"{tmp_path / 'copy'}: is not finished; fetch it"]
    assert not (tmp_path / "copy/video/c/21").exists()
    chunk.write_bytes(whole)
    copied(source, tmp_path / "copy")
    check(tmp_path / "copy")


@pytest.mark.parametrize("status", [404, 403, 503])
def test_a_source_that_refuses_a_chunk_is_named(status, site, tmp_path, impatient):
    site.rule = lambda path: status if path.endswith("/s2/c/0/0/0/3") else None
    with pytest.raises(StorageError, match=r"/s2\[.*3:4\].*; repeat the command: it resumes"):
        copied(site.url, tmp_path)
    site.rule = lambda path: None
    copied(site.url, tmp_path)
    check(tmp_path)


def test_a_damaged_frame_is_found_and_fetched_again(site, tmp_path):
    copied(site.url, tmp_path)
    for frame in (7, 31):
        file = tmp_path / f"video/c/{frame}/0/0/0"
        file.write_bytes(file.read_bytes()[::-1])
    labels = tmp_path / "segmentation/c/0/0/0"
    labels.unlink()
    assert len(verify(tmp_path)) == 3
    site.requests.clear()
    assert copied(site.url, tmp_path).fetched == 4  # with the metadata of the labels
    read = {path for path in site.requests if "/s2/c/" in path}
    assert {path.rpartition("/")[2] for path in read} == {"7", "31"}
    check(tmp_path)


def test_a_repeated_copy_reads_no_frame(site, tmp_path):
    copied(site.url, tmp_path)
    site.requests.clear()
    assert copied(site.url, tmp_path).fetched == 0
    assert not [path for path in site.requests if "/c/" in path]
    assert plan_copy(site.url, filmed.PUBLIC, factor=4).left(tmp_path) == 0


def test_another_video_in_the_folder_is_refused(bucket, tmp_path):
    copied(bucket, tmp_path)
    for other in ({"factor": 2}, {"dtype": "float16"}, {"kept": (24, 24, 2)}):
        with pytest.raises(Refused, match="choose another folder, or delete this one"):
            copied(bucket, tmp_path, **{"factor": 4, **other})
    check(tmp_path)


def test_a_disk_without_room_is_refused_before_a_frame_is_read(site, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=36 * 384 - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StorageError, match=r"too full: 13,824 bytes of video .* 13,823 bytes free"):
        copied(site.url, tmp_path)
    assert not [path for path in site.requests if "/s2/c/" in path]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"factor": 3}, UsageError, "video 3x: expected 1x, 2x, 4x"),
        ({"workers": 0}, UsageError, "0 workers, expected at least 1"),
        ({"kept": (30, 24, 2)}, InvalidInput, "a crop of 30 along x of 40; expected a multiple"),
        ({"kept": (36, 24, 2)}, InvalidInput, "that begins at one: it would at 2"),
        ({"kept": (32, 24, 3)}, InvalidInput, "a crop of 3 along z of 2"),
    ],
)
def test_a_copy_that_cannot_be_is_refused(bucket, options, error, message):
    with pytest.raises(error, match=message):
        plan_copy(str(bucket), filmed.PUBLIC, **{"factor": 4, **options})


def test_a_source_whose_parts_do_not_fit_is_refused(tmp_path):
    source = filmed.write_bucket(tmp_path / "bucket", levels=(4,))
    with pytest.raises(NotFound, match=r"holds no video at .*/s0, .*/s1"):
        plan_copy(str(source), filmed.PUBLIC, factor=2)
    (source / filmed.PUBLIC.levels[4]).rename(source / filmed.PUBLIC.levels[2])
    with pytest.raises(
        InvalidInput, match=r"\[10, 8, 2, 36\], expected floats \[20, 16, 2, frames"
    ):
        plan_copy(str(source), filmed.PUBLIC, factor=2)
    shutil.rmtree(source / filmed.PUBLIC.segmentation)
    with pytest.raises(NotFound, match="segmentation: holds no zarr array"):
        plan_copy(str(source), filmed.PUBLIC, factor=2)
