"""Predictions that are wrong, by accident or on purpose: exit 3, a reason, and nothing written."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zarr
from cli.conftest import Outcome, tree
from cli.tiny import (
    ABSENT,
    ARRAYS,
    BLOSC2,
    CHECKED,
    CRC32C,
    GZIP,
    GZIP3,
    GZIP_SHARDED,
    LAYOUTS,
    LITTLE,
    NEURONS,
    RAW2,
    RAW3,
    SHARDED,
    WINDOWS,
    Layout,
    activity,
    forecasts,
    index_of,
    with_index,
    write_array,
    write_predictions,
)

Change = Callable[[Path], object]
INNER = 16  # inner chunks of a shard of SHARDED


@pytest.fixture
def refused(run, tiny, wanted, out, tmp_path) -> Callable[[Path], Outcome]:
    """Scores a store with every output asked for; it must end with 3 and leave no trace."""

    def refused(store: Path, *options: object, code: int = 3) -> Outcome:
        before = tree(tmp_path)
        outcome = run("score", store, "-b", tiny, "-c", 2, *wanted, *options)
        assert outcome.code == code, outcome
        assert outcome.out == ""
        assert outcome.err.startswith("error: ")
        assert tree(tmp_path) == before
        return outcome

    return refused


# What is there, and its shape and type


def lacking(store: Path) -> None:
    shutil.rmtree(store / "moving")


def with_extra(store: Path) -> None:
    write_array(store / "flying", forecasts("still"))


def replaced(array: str, values: np.ndarray) -> Change:
    def change(store: Path) -> None:
        shutil.rmtree(store / array)
        chunk = tuple(min(n, 4) for n in values.shape)
        write_array(store / array, values, Layout(chunk=chunk))

    return change


STILL = forecasts("still")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lacking, "/moving: is missing; expected the forecasts of moving, 17 windows"),
        (with_extra, "/flying: is not part of tiny@2; expected still, moving"),
        (replaced("still", STILL[:-1]), r"/still: 16 windows, expected 17 \(tiny@2, still\)"),
        (replaced("still", np.repeat(STILL, 2, 0)), "/still: 34 windows, expected 17"),
        (replaced("still", STILL[:, :-1]), "/still: 3 steps, expected 4"),
        (replaced("still", np.repeat(STILL, 2, 1)), "/still: 8 steps, expected 4"),
        (replaced("still", STILL[:, :, :-1]), "/still: 4 neurons, expected 5"),
        (
            replaced("still", STILL.transpose(0, 2, 1)),
            r"its axes are swapped: shape \[17, 5, 4\], expected \[windows, steps, neurons\] = "
            r"\[17, 4, 5\]",
        ),
        (replaced("still", STILL.transpose(2, 1, 0)), "its axes are swapped"),
        (replaced("still", STILL[0]), r"has shape \[4, 5\], expected \[windows, steps, neurons\]"),
        (replaced("still", STILL[..., None]), r"has shape \[17, 4, 5, 1\], expected"),
        (replaced("still", STILL.astype("i1")), "is int8, expected float32 or float16"),
        (replaced("still", STILL.astype("<i4")), "is int32, expected float32 or float16"),
        (replaced("still", STILL.astype("?")), "is bool, expected float32 or float16"),
        (replaced("still", STILL.astype(">f4")), r"dtype '>f4' is big-endian, expected little"),
        (replaced("still", STILL.astype("<c8")), r"dtype '<c8' is not one of \|b1, "),
        (
            replaced("still", np.broadcast_to(STILL[..., None, None], (*STILL.shape, 1, 1))),
            "holds volumes, but other arrays of the store hold traces",
        ),
    ],
)
def test_a_store_of_the_wrong_shape_or_type_is_refused(tmp_path, refused, change, says):
    store = write_predictions(tmp_path / "p")
    change(store)
    assert_says(refused(store), says)


def assert_says(outcome: Outcome, says: str) -> None:
    assert re.search(says, outcome.err), outcome.err


def test_everything_that_is_wrong_is_said_at_once(tmp_path, refused):
    store = write_predictions(tmp_path / "p", still=STILL[:-1, :, :-1].astype("<i4"))
    lacking(store)
    with_extra(store)
    err = refused(store).err.splitlines()
    assert err[0] == f"error: {store}: 5 things are wrong, so nothing was scored:"
    for line, says in zip(
        err[1:],
        [
            "/moving: is missing",
            "/flying: is not part of",
            "16 windows",
            "4 neurons",
            "is int32",
        ],
        strict=True,
    ):
        assert line.startswith("- ")
        assert says in line


def test_volumes_need_a_segmentation(tmp_path, refused):
    volumes = np.zeros((WINDOWS, 4, 2, 2, 2), np.float32)
    layout = Layout(chunk=(8, 1, 2, 2, 2))
    store = write_predictions(tmp_path / "p", layout, still=volumes, moving=volumes)
    assert_says(refused(store), "holds volumes, but .*fish.npy has no segmentation")


def test_chunks_that_make_too_large_a_row_are_refused(tmp_path, refused):
    store = write_predictions(tmp_path / "p")
    document = json.loads((store / "still/.zarray").read_text())
    document["chunks"] = [1 << 16, 1, 1 << 12]
    (store / "still/.zarray").write_text(json.dumps(document))
    assert_says(refused(store), "chunk|row")


# Chunks


def damage(key: str, change: Callable[[bytes], bytes]) -> Change:
    return lambda store: (store / key).write_bytes(change((store / key).read_bytes()))


def missing(key: str) -> Change:
    return lambda store: (store / key).unlink()


def folder(key: str) -> Change:
    def change(store: Path) -> None:
        (store / key).unlink()
        (store / key).mkdir()

    return change


def link(key: str, target: str) -> Change:
    def change(store: Path) -> None:
        file = store / key
        shutil.rmtree(file) if file.is_dir() else file.unlink()
        file.symlink_to(target if target.startswith("/") else store / target)

    return change


def pipe(key: str) -> Change:
    def change(store: Path) -> None:
        (store / key).unlink()
        os.mkfifo(store / key)

    return change


def linked_array(store: Path) -> None:
    (store / "still").rename(store.parent / "elsewhere")
    (store / "still").symlink_to(store.parent / "elsewhere")


def flipped(at: int) -> Callable[[bytes], bytes]:
    def flip(data: bytes) -> bytes:
        data = bytearray(data)
        data[at] ^= 0x40
        return bytes(data)

    return flip


def claims(size: int) -> Callable[[bytes], bytes]:
    """A blosc header that says how much comes out, and lies."""
    return lambda data: data[:4] + size.to_bytes(4, "little") + data[8:]


def entry(at: int, offset: int, size: int) -> Callable[[bytes], bytes]:
    def change(shard: bytes) -> bytes:
        index = index_of(shard, INNER)
        index[at] = offset, size
        return with_index(shard, index)

    return change


K2, K3, SHARD = "still/1.2.0", "still/c/1/2/0", "still/c/1/0/0"
FAULTS = {
    "missing, raw v2": (RAW2, missing(K2), f"{K2}: chunk is missing; write it again"),
    "missing, raw v3": (RAW3, missing(K3), f"{K3}: chunk is missing; write it again"),
    "missing, gzip": (GZIP3, missing(K3), f"{K3}: chunk is missing; write it again"),
    "missing folder": (RAW3, lambda s: shutil.rmtree(s / "still/c/1"), "chunk is missing"),
    "missing shard": (SHARDED, missing(SHARD), f"{SHARD}: chunk is missing; write it again"),
    "missing inner chunk": (
        SHARDED,
        damage(SHARD, entry(0, ABSENT, ABSENT)),
        f"{SHARD}: 1 of its 8 inner chunks are missing; write it again",
    ),
    "missing inner chunk, gzip": (
        GZIP_SHARDED,
        damage(SHARD, entry(0, ABSENT, ABSENT)),
        f"{SHARD}: 1 of its 8 inner chunks are missing; write it again",
    ),
    "folder for a chunk": (RAW2, folder(K2), f"{K2}: is a folder, expected a chunk file"),
    "folder for a gzip chunk": (GZIP3, folder(K3), f"{K3}: is a folder, expected a chunk file"),
    "link to a chunk": (RAW2, link(K2, "still/0.0.0"), f"{K2}: is a symbolic link, expected"),
    "link to a gzip chunk": (GZIP3, link(K3, "still/c/0/0/0"), f"{K3}: is a symbolic link"),
    "link to /dev/zero": (RAW2, link(K2, "/dev/zero"), f"{K2}: is a symbolic link, expected"),
    "link to /dev/zero, gzip": (GZIP3, link(K3, "/dev/zero"), f"{K3}: is a symbolic link"),
    "dangling link": (RAW3, link(K3, "/nowhere"), f"{K3}: is a symbolic link, expected a chunk"),
    "linked folder": (RAW3, link("still/c/1", "moving/c/1"), "lies behind c/1, a symbolic link"),
    "linked array": (RAW2, linked_array, "/still: is a symbolic link; expected the array's own"),
    "pipe": (RAW2, pipe(K2), f"{K2}: is a pipe or device, expected a chunk file"),
    "truncated": (RAW2, damage(K2, lambda d: d[:-4]), f"{K2}: has 92 bytes, expected 96"),
    "too long": (RAW3, damage(K3, lambda d: d + b"\0"), f"{K3}: has 97 bytes, expected 96"),
    "empty": (RAW2, damage(K2, lambda d: b""), f"{K2}: has 0 bytes, expected 96"),
    "empty, blosc": (BLOSC2, damage(K2, lambda d: b""), f"{K2}: is empty; write it again"),
    "truncated, blosc": (BLOSC2, damage(K2, lambda d: d[:-1]), f"{K2}: its blosc header says"),
    "too short, blosc": (BLOSC2, damage(K2, lambda d: d[:9]), f"{K2}: its blosc header says"),
    "too long, blosc": (BLOSC2, damage(K2, lambda d: d + b"\0"), f"{K2}: its blosc header says"),
    "truncated, gzip": (GZIP3, damage(K3, lambda d: d[:-9]), K3),
    "flipped, gzip": (GZIP3, damage(K3, flipped(-6)), K3),
    "flipped in the blosc version": (BLOSC2, damage(K2, flipped(0)), "blosc data is damaged"),
    "flipped in the blosc size": (BLOSC2, damage(K2, flipped(5)), "its blosc header says 16,480"),
    "flipped in the blosc length": (BLOSC2, damage(K2, flipped(13)), "its blosc header says 96"),
    "claims a gigabyte": (
        BLOSC2,
        damage(K2, claims(1 << 30)),
        f"{K2}: its blosc header says 1,073,741,824 bytes from 112, expected 96 from 112",
    ),
    "claims nothing": (BLOSC2, damage(K2, claims(0)), f"{K2}: its blosc header says 0 bytes"),
    "claims a gigabyte, in a shard": (
        SHARDED,
        damage(SHARD, claims(1 << 30)),
        f"{SHARD}: its blosc header says 1,073,741,824 bytes",
    ),
    "flipped under a CRC32C": (CHECKED, damage(K3, flipped(20)), f"{K3}: its CRC32C does not fit"),
    "flipped CRC32C": (CHECKED, damage(K3, flipped(-1)), f"{K3}: its CRC32C does not fit"),
    "shorter than a CRC32C": (CHECKED, damage(K3, lambda d: d[:3]), K3),
    "flipped shard index": (SHARDED, damage(SHARD, flipped(-9)), f"{SHARD}: shard index: its CRC"),
    "flipped gzip shard index": (GZIP_SHARDED, damage(SHARD, flipped(-9)), "shard index: its CRC"),
    "truncated shard": (SHARDED, damage(SHARD, lambda d: d[:-1]), f"{SHARD}: shard index: its CRC"),
    "shard shorter than its index": (
        SHARDED,
        damage(SHARD, lambda d: d[:100]),
        f"{SHARD}: has 100 bytes, expected 260",
    ),
    "index beyond the shard": (
        SHARDED,
        damage(SHARD, entry(0, 1 << 20, 100)),
        f"{SHARD}: its index reaches beyond the file",
    ),
    "index that overflows": (
        SHARDED,
        damage(SHARD, entry(0, ABSENT - 10, 20)),
        f"{SHARD}: its index reaches beyond the file",
    ),
    "index that takes the whole shard": (
        SHARDED,
        damage(SHARD, entry(0, 0, 1000)),
        f"{SHARD}: a chunk of 1,000 bytes at 0|its blosc header says|reaches beyond",
    ),
    "inner chunk of no length": (SHARDED, damage(SHARD, entry(0, 0, 0)), SHARD),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_store_is_refused_by_name(tmp_path, refused, fault):
    layout, change, says = FAULTS[fault]
    store = write_predictions(tmp_path / "p", layout)
    change(store)
    assert_says(refused(store), says)


def test_the_undamaged_stores_score(run, tiny, tmp_path):
    for name, layout in LAYOUTS.items():
        store = write_predictions(tmp_path / name, layout)
        assert run("score", store, "-b", tiny, "-c", 2, "--quiet").code == 0, name


def test_many_missing_chunks_are_counted(tmp_path, refused):
    store = write_predictions(tmp_path / "p")
    for file in (store / "still").glob("[0-9]*"):
        file.unlink()
    err = refused(store).err
    assert err.count("chunk is missing; write it again") == 3
    assert f"{store}/still: 21 more chunks are missing or damaged" in err


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("fill", [0.0, float("nan")])
def test_a_region_that_was_never_written_is_refused(tmp_path, refused, zarr_format, fill):
    # With a NaN fill value it would pass for neurons that are missing on purpose.
    store = write_predictions(tmp_path / "p")
    shutil.rmtree(store / "still")
    array = zarr.create_array(
        store=str(store / "still"),
        shape=STILL.shape,
        chunks=(8, 2, 3),
        shards=None if zarr_format == 2 else (16, 2, 3),
        dtype="f4",
        zarr_format=zarr_format,
        fill_value=fill,
    )
    array[:8] = STILL[:8]
    assert_says(refused(store), "chunk is missing|inner chunks are missing")


@pytest.mark.parametrize("layout", [RAW2, RAW3, SHARDED])
def test_a_fill_value_of_nan_does_no_harm_where_all_is_written(run, tiny, tmp_path, layout):
    store = write_predictions(tmp_path / "p", replace(layout, fill="NaN"))
    assert run("score", store, "-b", tiny, "-c", 2).code == 0


# Values


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", ["raw v2", "gzip v3", "shards"])
def test_one_value_that_is_no_number_is_named(tmp_path, refused, layout, bad):
    values = forecasts("moving")
    values[9, 2, 4] = values[16, 3, 1] = bad
    store = write_predictions(tmp_path / "p", LAYOUTS[layout], moving=values)
    says = rf"/moving\[9, 2, 4\]: is {bad}, expected a finite number"
    assert_says(refused(store), says)
    assert_says(refused(store, "--workers", 1), says)


def test_a_neuron_that_is_nan_at_some_steps_only_is_refused(tmp_path, refused):
    values = forecasts("still")
    values[:, 1:, 3] = np.nan
    store = write_predictions(tmp_path / "p", still=values)
    assert_says(refused(store), "neuron 3 is NaN at some steps only|is NaN")


def test_a_float64_beyond_float32_is_refused(tmp_path, refused):
    values = forecasts("still").astype("f8")
    values[3, 1, 2] = 1e300
    store = write_predictions(tmp_path / "p", still=values)
    assert_says(refused(store), r"/still\[3, 1, 2\]: is inf, expected a finite number")


def test_float64_scores_with_a_note(run, tiny, tmp_path):
    store = write_predictions(tmp_path / "p", still=forecasts("still").astype("f8"))
    outcome = run("score", store, "-b", tiny, "-c", 2)
    assert outcome.code == 0
    assert f"{store}/still: is float64; it is scored rounded to float32" in (
        outcome.out + outcome.err
    )


# Metadata


def text(data: str | bytes) -> Change:
    def change(store: Path) -> None:
        raw = data if isinstance(data, bytes) else data.encode()
        (store / "still/zarr.json").write_bytes(raw)

    return change


def member(where: str, value: Any) -> Change:
    """Sets, or with ABSENT deletes, a member of the document, named by its path."""

    def change(store: Path) -> None:
        file = next(f for f in (store / "still/zarr.json", store / "still/.zarray") if f.exists())
        document = json.loads(file.read_text())
        node = document
        *path, last = [int(part) if part.isdigit() else part for part in where.split("/")]
        for part in path:
            node = node[part]
        node[last] = value
        file.write_text(json.dumps(document))

    return change


def huge_document(store: Path) -> None:
    with (store / "still/zarr.json").open("wb") as file:
        file.write(b'{"a": "')
        file.truncate(200 << 20)


GRID = "chunk_grid/configuration/chunk_shape"
INSIDE = "codecs/0/configuration"
METADATA = {
    "truncated": (RAW3, lambda s: text((s / "still/zarr.json").read_bytes()[:-20])(s), "not valid"),
    "empty": (RAW3, text(""), "is not valid JSON"),
    "200 MB": (RAW3, huge_document, "is 209,715,200 bytes, expected at most 1,048,576"),
    "deep": (RAW3, text('{"a": ' + "[" * 100_000), "is nested deeper than 64 levels"),
    "deep, whole": (
        RAW3,
        member("attributes", json.loads("[" * 300 + "]" * 300)),
        "is nested deeper than 64 levels",
    ),
    "twice": (RAW3, text('{"zarr_format": 3, "zarr_format": 2}'), "a name stands twice"),
    "no UTF-8": (RAW3, text(b'{"a": "\xff"}'), "is not valid JSON"),
    "NaN": (RAW3, text('{"a": NaN}'), "NaN is no JSON value"),
    "beyond a number": (RAW3, text('{"a": 1e999}'), "1e999 is beyond the range of a number"),
    "too many digits": (RAW3, text('{"a": ' + "9" * 5000 + "}"), "a number of 5,000 digits"),
    "a list": (RAW3, text("[1, 2]"), "is a JSON list, expected an object"),
    "group for an array": (RAW3, member("node_type", "group"), "is a zarr group, expected an arra"),
    "no node type": (RAW3, member("node_type", None), "node_type: Input should be 'array'"),
    "other format": (RAW3, member("zarr_format", 4), "zarr_format: Input should be 3, got 4"),
    "huge shape": (RAW3, member("shape", [17, 4, 1 << 40]), "array size in bytes|limit"),
    "huge shape v2": (RAW2, member("shape", [17, 4, 1 << 40]), "array size in bytes|limit"),
    "overflowing shape": (RAW3, member("shape", [17, 4, 1 << 70]), "shape.2: Input should be less"),
    "negative shape": (RAW3, member("shape", [17, 4, -5]), "shape.2: Input should be greater"),
    "negative shape v2": (RAW2, member("shape", [17, 4, -5]), "shape.2: Input should be greater"),
    "float shape": (RAW3, member("shape", [17, 4, 5.0]), "shape.2: Input should be a valid integ"),
    "text shape": (RAW3, member("shape", [17, 4, "5"]), "shape.2: Input should be a valid integer"),
    "true shape": (RAW3, member("shape", [17, 4, True]), "shape.2: Input should be a valid integ"),
    "no axis": (RAW3, member("shape", []), "shape: List should have at least 1 item"),
    "rank 33": (RAW3, member("shape", [1] * 33), "shape: List should have at most 8 items"),
    "empty shape": (RAW3, member("shape", [17, 4, 0]), "0 neurons, expected 5"),
    "huge chunk": (RAW3, member(GRID, [8, 1, 1 << 40]), "chunk size in bytes|limit"),
    "huge chunk v2": (RAW2, member("chunks", [8, 1, 1 << 40]), "chunk size in bytes|limit"),
    "overflowing chunk": (RAW3, member(GRID, [8, 1, 1 << 70]), "Input should be less than"),
    "no chunk": (RAW3, member(GRID, [8, 1, 0]), "chunk_shape.2: Input should be greater than or"),
    "no chunk v2": (RAW2, member("chunks", [8, 1, 0]), "chunks.2: Input should be greater than"),
    "negative chunk": (RAW3, member(GRID, [8, 1, -3]), "chunk_shape.2: Input should be greater"),
    "float chunk": (RAW3, member(GRID, [8, 1, 3.0]), "chunk_shape.2: Input should be a valid int"),
    "chunk of other rank": (RAW3, member(GRID, [8, 1]), "differ in the number of axes"),
    "chunk of other rank v2": (RAW2, member("chunks", [8]), "differ in the number of axes"),
    "inner chunk of other rank": (
        SHARDED,
        member(f"{INSIDE}/chunk_shape", [8, 1]),
        "differ in the number of axes",
    ),
    "inner chunk that does not divide": (
        SHARDED,
        member(f"{INSIDE}/chunk_shape", [8, 1, 4]),
        r"shard \(16, 4, 6\) is no multiple of chunk \(8, 1, 4\)",
    ),
    "no inner chunk": (SHARDED, member(f"{INSIDE}/chunk_shape", [8, 1, 0]), "greater than or eq"),
    "other grid": (RAW3, member("chunk_grid/name", "rectangular"), "chunk_grid.name: Input should"),
    "other keys": (
        RAW3,
        member("chunk_key_encoding/name", "x"),
        "chunk_key_encoding 'x' is not kn",
    ),
    "other separator": (
        RAW3,
        member("chunk_key_encoding/configuration/separator", ["/"]),
        "chunk_key_encoding: separator is",
    ),
    "complex": (RAW3, member("data_type", "complex64"), "data_type 'complex64' is not one of bool"),
    "object": (RAW2, member("dtype", "|O"), r"dtype '\|O' is not one of"),
    "structure": (RAW2, member("dtype", [["a", "<f4"]]), "dtype: Input should be a valid string"),
    "raw bits": (RAW3, member("data_type", "r32"), "data_type 'r32' is not one of"),
    "extension type": (
        RAW3,
        member("data_type", {"name": "x"}),
        "data_type: Input should be a val",
    ),
    "big-endian bytes": (
        RAW3,
        member("codecs/0/configuration/endian", "big"),
        "bytes: is big-endian, expected little-endian",
    ),
    "v2 compressor": (RAW2, member("compressor", {"id": "lz4"}), "codec 'lz4' is not allowed; ex"),
    "v2 compressor without name": (RAW2, member("compressor", {}), "compressor: id is None"),
    "v2 compressor of lists": (
        RAW2,
        member("compressor", {"id": [[]]}),
        r"compressor: id is \[\[\]",
    ),
    "v2 crc32c": (RAW2, member("compressor", {"id": "crc32c"}), "codec 'crc32c' is not allowed"),
    "v2 filter": (RAW2, member("filters", [{"id": "delta"}]), "filters: expected none, got"),
    "v2 order": (RAW2, member("order", "K"), "order: Input should be 'C' or 'F'"),
    "v3 codec": (
        RAW3,
        member("codecs", [LITTLE, {"name": "pickle"}]),
        "codec 'pickle' is not allo",
    ),
    "v3 codec before bytes": (
        RAW3,
        member("codecs", [{"name": "scale_offset"}, LITTLE]),
        "expected the codec bytes, got 'scale_offset'",
    ),
    "v3 no codec": (RAW3, member("codecs", []), "codecs: List should have at least 1 item"),
    "v3 string codec": (
        RAW3,
        member("codecs", ["bytes"]),
        "codecs.0: expected an object, got 'bytes'",
    ),
    "v3 two compressors": (
        RAW3,
        member("codecs", [LITTLE, GZIP, GZIP]),
        "codecs gzip, gzip follow each other; expected one compressor at most, then crc32c",
    ),
    "v3 crc32c under a compressor": (
        RAW3,
        member("codecs", [LITTLE, CRC32C, GZIP]),
        "codecs crc32c, gzip follow each other",
    ),
    "codec in shards": (
        SHARDED,
        member(f"{INSIDE}/codecs", [LITTLE, {"name": "vlen-utf8"}]),
        "codec 'vlen-utf8' is not allowed",
    ),
    "codec on shards": (
        SHARDED,
        lambda s: member("codecs", [*_codecs(s), GZIP])(s),
        "expected one level of them|expected the codec bytes",
    ),
    "codec in index": (
        SHARDED,
        member(f"{INSIDE}/index_codecs", [LITTLE, GZIP]),
        "index_codecs: got 'gzip' after bytes, expected crc32c or nothing",
    ),
    "no codec in index": (
        SHARDED,
        member(f"{INSIDE}/index_codecs", [CRC32C]),
        "expected the codec",
    ),
    "index in the middle": (
        SHARDED,
        member(f"{INSIDE}/index_location", "middle"),
        "index_location: Input should be 'start' or 'end'",
    ),
    "shards in shards": (
        SHARDED,
        lambda s: member(f"{INSIDE}/codecs", _codecs(s))(s),
        "shards lie in shards; expected one level of them",
    ),
    "shards without configuration": (
        SHARDED,
        member("codecs", [{"name": "sharding_indexed"}]),
        "sharding_indexed: chunk_shape: Field required",
    ),
    **{
        f"transpose {order}": (
            RAW3,
            member("codecs", [{"name": "transpose", "configuration": {"order": order}}, LITTLE]),
            "codecs: transpose: order is .*, expected the 3 axes from 0, each once",
        )
        for order in ([0, 1], [0, 1, 1], [0, 1, 3], [[0], [1], [2]], [0.0, 1, 2], "F", None, [])
    },
    "transpose alone": (
        RAW3,
        member("codecs", [{"name": "transpose", "configuration": {"order": [2, 1, 0]}}]),
        "expected the codec bytes, got 'nothing'",
    ),
    "storage transformer": (
        RAW3,
        member("storage_transformers", [{}]),
        "storage_transformers: expected none",
    ),
}


def _codecs(store: Path) -> Any:
    return json.loads((store / "still/zarr.json").read_text())["codecs"]


@pytest.mark.parametrize("fault", METADATA)
def test_metadata_outside_the_limits_is_refused(tmp_path, refused, fault):
    layout, change, says = METADATA[fault]
    store = write_predictions(tmp_path / "p", layout)
    change(store)
    outcome = refused(store)
    assert_says(outcome, says)
    assert len(outcome.err) < 1000
    assert str(store / "still") in outcome.err


def test_a_link_in_place_of_metadata_is_refused(tmp_path, refused):
    store = write_predictions(tmp_path / "p")
    (store / "still/.zarray").unlink()
    (store / "still/.zarray").symlink_to(store / "moving/.zarray")
    assert_says(refused(store), "still/.zarray: is a folder, a link or a device")


@pytest.mark.parametrize("layout", [RAW2, RAW3])
def test_an_array_where_a_group_is_expected_is_refused(tmp_path, refused, layout):
    store = write_predictions(tmp_path / "p", layout) / "still"
    assert_says(refused(store), "still: is a zarr array, expected the group or folder that holds")


def test_the_targets_must_be_finite_too(tmp_path, refused, tiny):
    traces = activity()
    traces[25, 3] = np.nan
    np.save(tiny.parent / "fish.npy", traces)
    says = "fish.npy: frame 25, neuron 3 is nan; targets must be finite"
    assert_says(refused(write_predictions(tmp_path / "p")), says)


def test_names_that_steer_a_terminal_are_made_harmless(tmp_path, refused):
    store = write_predictions(tmp_path / "p")
    write_array(store / "x\x1b[2Jx", STILL)
    (store / os.fsdecode(b"y\xff")).mkdir()
    err = refused(store).err
    assert "is not part of tiny@2" in err
    assert err.isprintable() or set(err) - {"\n"} == {c for c in err if c.isprintable()}


def test_the_checksum_that_the_tests_write_is_crc32c():
    assert google_crc32c.value(b"123456789") == 0xE3069283  # RFC 3720, appendix B.4 and its kin
    assert ARRAYS == ("still", "moving")
    assert activity().shape[1] == NEURONS
