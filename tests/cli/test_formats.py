"""Recordings as people have them, NumPy, HDF5 and zarr, through a benchmark of one's own."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli.tiny import (
    LAYOUTS,
    TOML,
    Layout,
    activity,
    write_array,
    write_benchmark,
    write_predictions,
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_predictions(tmp_path / "p")


def card_of(run, tiny: Path, store: Path) -> dict[str, object]:
    outcome = run("score", store, "-b", tiny, "-c", 2, "--json", "-")
    assert outcome.code == 0, outcome
    return json.loads(outcome.out) | {"seconds": 0}


def benchmark_over(folder: Path, place: str, *, neurons_first: bool = False) -> Path:
    """Writes the tiny benchmark over another recording, and returns its file."""
    axes = '\naxes = ["neurons", "frames"]' if neurons_first else ""
    text = TOML.replace('activity = "fish.npy"', f'activity = "{place}"{axes}')
    assert text != TOML
    return write_benchmark(folder, text)


def write_hdf5(file: Path, name: str, values: np.ndarray, **options: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as opened:
        opened.create_dataset(name, data=values, **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (7, 2)}, {"chunks": (16, 5), "compression": "gzip", "shuffle": True}],
)
@pytest.mark.parametrize("neurons_first", [False, True])
def test_hdf5_scores_like_numpy(run, tiny, store, tmp_path, options, neurons_first):
    folder = tmp_path / "other"
    values = activity().T if neurons_first else activity()
    if neurons_first and "chunks" in options:
        options = options | {"chunks": options["chunks"][::-1]}
    write_hdf5(folder / "fish.h5", "a/traces", values, **options)
    other = benchmark_over(folder, "fish.h5:/a/traces", neurons_first=neurons_first)
    assert card_of(run, other, store) == card_of(run, tiny, store)


@pytest.mark.parametrize("ending", ["hdf5", "nwb"])
def test_other_endings_of_hdf5_are_known(run, tiny, store, tmp_path, ending):
    write_hdf5(tmp_path / f"other/fish.{ending}", "traces", activity())
    other = benchmark_over(tmp_path / "other", f"fish.{ending}:/traces")
    assert card_of(run, other, store) == card_of(run, tiny, store)


@pytest.mark.parametrize("kind", ["F", ">f4", "f8"])
@pytest.mark.parametrize("neurons_first", [False, True])
def test_numpy_files_of_any_order_and_width_score_alike(
    run, tiny, store, tmp_path, kind, neurons_first
):
    values = activity().T if neurons_first else activity()
    values = np.asfortranarray(values) if kind == "F" else values.astype(kind)
    other = benchmark_over(tmp_path / "other", "other.npy", neurons_first=neurons_first)
    np.save(tmp_path / "other/other.npy", values)
    assert card_of(run, other, store) == card_of(run, tiny, store)


@pytest.mark.parametrize("layout", ["raw v2", "blosc v2", "gzip v3", "shards"])
@pytest.mark.parametrize("neurons_first", [False, True])
def test_zarr_scores_like_numpy(run, tiny, store, tmp_path, layout, neurons_first):
    written = LAYOUTS[layout]
    stored = Layout(
        zarr_format=written.zarr_format,
        chunk=(9, 4),
        shard=None if written.shard is None else (18, 8),
        codecs=written.codecs,
        compressor=written.compressor,
    )
    values = activity().T if neurons_first else activity()
    other = benchmark_over(tmp_path / "other", "fish", neurons_first=neurons_first)
    write_array(tmp_path / "other/fish", values, stored)
    assert card_of(run, other, store) == card_of(run, tiny, store)


def test_a_folder_in_the_public_layout_is_a_recording(run, tiny, store, tmp_path):
    other = benchmark_over(tmp_path / "other", "fish")
    write_array(tmp_path / "other/fish/traces", activity(), Layout(chunk=(32, 5)))
    assert card_of(run, other, store) == card_of(run, tiny, store)


def test_whole_numbers_are_traces_too(run, tmp_path):
    other = benchmark_over(tmp_path / "other", "counts.npy")
    np.save(tmp_path / "other/counts.npy", (activity() * 100).astype("i2"))
    made = run("forecast", "mean", "-b", other, "-c", 2, "--out", tmp_path / "p", "--quiet")
    assert made.code == 0, made
    assert run("score", tmp_path / "p", "-b", other, "--quiet").code == 0


# Files that are something else


def test_hdf5_files_that_hold_no_traces_are_refused(run, store, tmp_path):
    folder = tmp_path / "other"
    write_hdf5(folder / "fish.h5", "group/traces", activity())
    with h5py.File(folder / "fish.h5", "a") as file:
        file["words"] = np.array([b"a", b"b"] * 40, dtype="S1").reshape(80, 1)
        file["complex"] = activity().astype("c8")
        file["nothing"] = h5py.Empty("f4")
        file["number"] = 3.0
        file["cube"] = np.zeros((80, 5, 1), "f4")
        file["link"] = h5py.SoftLink("/nowhere")
        file["outside"] = h5py.ExternalLink("nowhere.h5", "/traces")
    (folder / "text.h5").write_text("no HDF5")
    (folder / "empty.h5").write_text("")
    (folder / "folder.h5").mkdir()
    whole = (folder / "fish.h5").read_bytes()
    (folder / "half.h5").write_bytes(whole[: len(whole) // 2])
    for place, code, says in (
        ("fish.h5:/nowhere", 4, "the file holds no /nowhere"),
        ("fish.h5:/link", 4, "the file holds no /link"),
        ("fish.h5:/outside", 4, "the file holds no /outside"),
        ("fish.h5:/group", 3, "is a group or empty, expected a dataset of numbers"),
        ("fish.h5:/nothing", 3, "is a group or empty, expected a dataset of numbers"),
        ("fish.h5:/words", 3, "holds |S1, expected real numbers"),
        ("fish.h5:/complex", 3, "holds complex64, expected real numbers"),
        ("fish.h5:/number", 3, "has shape [], expected [frames, neurons]"),
        ("fish.h5:/cube", 3, "has shape [80, 5, 1], expected [frames, neurons]"),
        ("fish.h5", 3, "names a file; say which dataset"),
        ("text.h5:/traces", 3, "text.h5: is no HDF5 file"),
        ("empty.h5:/traces", 3, "empty.h5: is no HDF5 file"),
        ("folder.h5:/traces", 3, "folder.h5: is no HDF5 file"),
        ("half.h5:/group/traces", 3, "half.h5: is no HDF5 file"),
        ("nowhere.h5:/traces", 4, "nowhere.h5: does not exist"),
    ):
        other = benchmark_over(folder, place)
        outcome = run("score", store, "-b", other, "-c", 2)
        assert (outcome.code, outcome.out) == (code, ""), (place, outcome)
        assert says in outcome.err, (place, outcome)


def test_a_damaged_chunk_of_hdf5_is_refused(run, store, tmp_path):
    file = tmp_path / "other/fish.h5"
    options = {"chunks": (80, 5), "compression": "gzip", "fletcher32": True}
    write_hdf5(file, "traces", activity(), **options)
    with h5py.File(file) as opened:
        at = opened["traces"].id.get_chunk_info(0).byte_offset
    data = bytearray(file.read_bytes())
    data[at + 100] ^= 255
    file.write_bytes(data)
    other = benchmark_over(tmp_path / "other", "fish.h5:/traces")
    outcome = run("score", store, "-b", other, "-c", 2)
    assert (outcome.code, outcome.out) == (3, "")
    assert "fish.h5:/traces: could not be read" in outcome.err


def test_numpy_files_that_hold_no_traces_are_refused(run, store, tmp_path):
    folder = tmp_path / "other"
    benchmark_over(folder, "other.npy")
    np.save(folder / "whole.npy", activity())
    whole = (folder / "whole.npy").read_bytes()
    (folder / "half.npy").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.npy").write_bytes(b"")
    (folder / "text.npy").write_text("1 2 3")
    (folder / "folder.npy").mkdir()
    (folder / "pickle.npy").write_bytes(pickle.dumps(activity()))
    (folder / "header.npy").write_bytes(whole[:10] + b"(" * 118 + whole[128:])
    np.save(folder / "object.npy", np.array([[1, "a"]], dtype=object), allow_pickle=True)
    np.savez(folder / "archive", activity())
    (folder / "archive.npz").rename(folder / "archive.npy")
    np.save(folder / "complex.npy", activity().astype("c8"))
    np.save(folder / "words.npy", np.array([["a"] * 5] * 80))
    np.save(folder / "number.npy", np.float32(3))
    np.save(folder / "cube.npy", np.zeros((80, 5, 1), "f4"))
    for place, code, says in (
        ("nowhere.npy", 4, "nowhere.npy: does not exist"),
        ("half.npy", 3, "is no NumPy file of plain numbers"),
        ("empty.npy", 3, "is no NumPy file of plain numbers"),
        ("text.npy", 3, "is no NumPy file of plain numbers"),
        ("folder.npy", 3, "is no NumPy file of plain numbers"),
        ("pickle.npy", 3, "is no NumPy file of plain numbers"),
        ("header.npy", 3, "is no NumPy file of plain numbers"),
        ("object.npy", 3, "is no NumPy file of plain numbers"),
        ("archive.npy", 3, "is an archive of NumPy files, expected a single one"),
        ("complex.npy", 3, "holds complex64, expected real numbers"),
        ("words.npy", 3, "holds <U1, expected real numbers"),
        ("number.npy", 3, "has shape [], expected [frames, neurons]"),
        ("cube.npy", 3, "has shape [80, 5, 1], expected [frames, neurons]"),
    ):
        other = benchmark_over(folder, place)
        outcome = run("score", store, "-b", other, "-c", 2)
        assert (outcome.code, outcome.out) == (code, ""), (place, outcome)
        assert says in outcome.err, (place, outcome)


def test_a_zarr_recording_with_a_missing_part_is_refused(run, store, tmp_path):
    other = benchmark_over(tmp_path / "other", "fish")
    write_array(tmp_path / "other/fish", activity(), Layout(chunk=(9, 4)))
    (tmp_path / "other/fish/3.1").unlink()
    outcome = run("score", store, "-b", other, "-c", 2)
    assert (outcome.code, outcome.out) == (3, "")
    assert "fish/3.1: chunk is missing; write it again" in outcome.err


def test_a_recording_of_complex_numbers_cannot_be_forecast(run, tmp_path, out):
    other = benchmark_over(tmp_path / "other", "complex.npy")
    np.save(tmp_path / "other/complex.npy", activity().astype("c8"))
    outcome = run("forecast", "mean", "-b", other, "-c", 2, "--out", out / "p")
    assert (outcome.code, outcome.out) == (3, "")
    assert "holds complex64, expected real numbers" in outcome.err
