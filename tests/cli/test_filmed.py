"""Recordings with video, from a public bucket or one's own files, to scores."""

from __future__ import annotations

import io
import json
import shutil
import sys

import filmed
import numpy as np
import pytest
import videos

from zapeval.recordings.recording import open_recording

OWN = """\
id = "own-video"
context_lengths = [3]
horizon = 4
[split]
train = [0, 30]
validation = [30, 42]
test = [46, 60]
[[recordings]]
key = "fish"
activity = "traces.npy"
video = "film.npy"
segmentation = "labels.npy"
"""
TINY = ["levels=0", "features=4", "groups=2", "blocks=1", "steps=2", "validation=2"]


@pytest.fixture(scope="module")
def lightly():
    """Compiles little: these models run once."""
    import jax

    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def own(tmp_path):
    """A recording as three NumPy files, and the benchmark over it."""
    folder = tmp_path / "own"
    folder.mkdir()
    np.save(folder / "film.npy", videos.video())
    np.save(folder / "labels.npy", videos.labels())
    np.save(folder / "traces.npy", videos.traces(videos.video(), videos.labels()))
    (folder / "own.toml").write_text(OWN)
    return folder


@pytest.fixture
def public(run, tmp_path):
    """Fetches from a bucket like the public one, small: which is cropped as the paper crops."""
    bucket = filmed.write_bucket(tmp_path / "bucket", levels=(4,))

    def fetch(*options, crop="32,24,2"):
        return run("data", "fetch", "zapbench", "--from", bucket, "--crop", crop, *options)

    return fetch


def settings(*more):
    return [word for text in (*TINY, *more) for word in ("--set", text)]


def test_own_files_are_trained_on_forecast_and_scored(run, own, tmp_path, lightly):
    videos.write(tmp_path / "second", seed=1)
    made = run(
        *("train", "volumetric-unet", "-b", own / "own.toml", "--out", tmp_path / "unet"),
        *settings("resolution=1", f'others=["{tmp_path / "second"}"]'),
    )
    assert made.code == 0, made.err
    assert "54 windows of another recording join the training" in made.err
    trained = ("-b", own / "own.toml", "--checkpoint", tmp_path / "unet" / "seed-0")
    cards = {}
    for kind, options in {"traces": [], "volume": ["--volumes"]}.items():
        store = tmp_path / f"{kind}.zarr"
        done = run("forecast", "volumetric-unet", *trained, "--out", store, *options)
        assert done.code == 0, done.err
        scored = run("score", store, "-b", own / "own.toml", "--json", tmp_path / f"{kind}.json")
        assert scored.code == 0, scored.err
        cards[kind] = json.loads((tmp_path / f"{kind}.json").read_text())
        assert cards[kind]["predictions"]["kind"] == kind
    assert "44 frames of 8 x 4 x 2 float32: at most 11,264 bytes, " in done.err
    assert cards["volume"]["summary"]["value"] == pytest.approx(
        cards["traces"]["summary"]["value"], rel=1e-6
    )
    assert cards["volume"]["data"] == cards["traces"]["data"]


def rewritten(folder, name, change):
    np.save(folder / name, change(np.load(folder / name)))


BROKEN = {
    "labels of another shape": (
        lambda folder: rewritten(folder, "labels.npy", lambda v: v[:, :, :1]),
        [],
        "labels.npy: uint16 [8, 4, 1], but the video's frames are [8, 4, 2]",
    ),
    "labels that are no integers": (
        lambda folder: rewritten(folder, "labels.npy", lambda v: v.astype(np.float32)),
        [],
        "labels.npy: float32 [8, 4, 2], but the video's frames are [8, 4, 2]; expected integer",
    ),
    "labels of no neuron": (
        lambda folder: rewritten(folder, "labels.npy", lambda v: v + 1),
        [],
        "has labels 1 to 7, expected 0 to 6",
    ),
    "no neuron in the crop": (
        lambda folder: rewritten(
            folder, "labels.npy", lambda v: v * (np.arange(8) < 2)[:, None, None]
        ),
        ["crop=[4,4,2]"],
        "none of the 6 neurons is scored and has a voxel in it; crop elsewhere",
    ),
    "a video of another length": (
        lambda folder: rewritten(folder, "film.npy", lambda v: v[:-1]),
        [],
        "film.npy: has shape [59, 8, 4, 2], expected [60 frames, x, y, z]",
    ),
    "frames last": (
        lambda folder: rewritten(folder, "film.npy", lambda v: np.moveaxis(v, 0, 3)),
        [],
        "film.npy: has shape [8, 4, 2, 60], expected [60 frames, x, y, z]",
    ),
    "no video": (
        lambda folder: (folder / "film.npy").unlink(),
        [],
        "traces.npy: its video: ",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_own_files_that_do_not_fit_are_named(run, own, tmp_path, kind):
    change, more, message = BROKEN[kind]
    change(own)
    made = run(
        *("train", "volumetric-unet", "-b", own / "own.toml", "--out", tmp_path / "unet"),
        *settings("resolution=1", *more),
    )
    assert made.code == (4 if kind == "no video" else 3)
    assert message in made.err
    assert not (tmp_path / "unet" / "seed-0").exists()


def test_the_public_video_is_fetched_verified_and_trained_on(run, public, tmp_path, lightly):
    folder = tmp_path / "data" / "zapbench-video-4x"
    asked = public("--video", "4x")
    assert asked.code == 5
    sizes = "36 of 36 frames to fetch, 73.7 kB to download; as 8 x 6 x 2 float32 at most 13.8 kB"
    assert sizes in asked.err
    assert "add --yes to fetch that much" in asked.err
    assert not folder.exists()
    fetched = public("--video", "4x", "--yes")
    assert fetched.code == 0, fetched.err
    assert fetched.out.startswith(f"{folder}: 54 files, 54 of them fetched now (")
    again = public("--video", "4x")
    assert again.out.startswith(f"{folder}: 54 files, 0 of them fetched now (")
    assert run("data", "where", "zapbench", "--video", "4x").out == f"{folder}\n"
    verified = run("data", "verify", "zapbench", "--video", "4x")
    assert verified.out == f"{folder}: every file is as it was fetched\n"
    text = OWN.partition('activity = "traces.npy"')[0] + f'activity = "{folder}"\n'
    for old, new in (("[0, 30]", "[0, 16]"), ("[30, 42]", "[16, 24]"), ("[46, 60]", "[28, 36]")):
        text = text.replace(old, new)
    benchmark = tmp_path / "fetched.toml"
    benchmark.write_text(text)
    made = run(
        *("train", "volumetric-unet", "-b", benchmark, "--out", tmp_path / "unet"),
        *settings("resolution=1"),
    )
    assert made.code == 0, made.err
    assert "1 of 9 neurons have no voxel in the crop" in made.err
    store = tmp_path / "p.zarr"
    checkpoint = ("--checkpoint", tmp_path / "unet" / "seed-0")
    assert (
        run("forecast", "volumetric-unet", "-b", benchmark, *checkpoint, "--out", store).code == 0
    )
    scored = run("score", store, "-b", benchmark, "--json", tmp_path / "card.json")
    assert scored.code == 0, scored.err
    (series,) = json.loads((tmp_path / "card.json").read_text())["series"]
    assert (series["neurons"], series["scored"], series["missing"]) == (9, 8, 1)


def test_a_smaller_crop_at_half_the_size_is_fetched(run, public, tmp_path):
    options = ("--video", "4x", "--yes", "--quiet", "--dtype", "float16")
    fetched = public(*options, crop="16,16,1")
    assert (fetched.code, fetched.out, fetched.err) == (0, "", "")
    video = open_recording(str(tmp_path / "data" / "zapbench-video-4x")).video
    assert (video.shape, video.dtype) == ((36, 4, 4, 1), np.float16)


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 5)])
def test_at_a_terminal_it_asks(public, tmp_path, monkeypatch, answer, code):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
    asked = public("--video", "4x")
    assert (asked.code, "Fetch it? [y/N]" in asked.err) == (code, True)
    assert (tmp_path / "data").exists() == (answer == "y")


def test_what_cannot_be_fetched_is_said(run, public):
    few = public("--video", "2x", "--yes")
    assert (few.code, "holds no video at" in few.err) == (4, True)
    odd = public("--video", "4x", "--yes", crop="16,16")
    assert (odd.code, "expected three numbers, as 2048,1152,72" in odd.err) == (2, True)
    worms = run("data", "fetch", "celegans", "--video", "4x", "--yes")
    assert (worms.code, "celegans: has no public video" in worms.err) == (5, True)
    lone = public()
    assert (lone.code, "are for a video; say which with --video" in lone.err) == (2, True)
    missing = run("data", "verify", "zapbench", "--video", "1x")
    assert (missing.code, "`zapeval data fetch zapbench --video 1x`" in missing.err) == (4, True)


def test_a_disk_without_room_refuses_the_video(run, public, monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)._replace(free=13_823)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    full = public("--video", "4x", "--yes")
    assert full.code == 3
    assert not (tmp_path / "data").exists()
    assert "the disk is too full: 13,824 bytes of video to store, 13,823 bytes free" in full.err
