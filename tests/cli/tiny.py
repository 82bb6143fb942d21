"""A tiny benchmark on disk, and zarr stores of it whose every byte is written here.

The writer shares nothing with zapeval nor with a zarr library, so it can write what they would not:
every layout stays in the hands of a test that wants to break it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import blosc
import google_crc32c
import numcodecs
import numpy as np

FRAMES, NEURONS, HORIZON, WINDOWS = 80, 5, 4, 17
ARRAYS = ("still", "moving")
ORIGINS = {"still": range(20, 37), "moving": range(60, 77)}
CHUNK = (8, 1, 3)
ABSENT = 2**64 - 1

TOML = """\
id = "tiny"
version = 2
context_lengths = [2, 3]
horizon = 4

[split]
train = [0.0, 0.4]
validation = [0.4, 0.5]
test = [0.5, 1.0]

[[recordings]]
key = "fish"
activity = "fish.npy"

[[series]]
name = "still"
frames = [0, 40]

[[series]]
name = "moving"
frames = [40, 80]
"""

LITTLE: dict[str, Any] = {"name": "bytes", "configuration": {"endian": "little"}}
CRC32C: dict[str, Any] = {"name": "crc32c"}
BLOSC: dict[str, Any] = {
    "name": "blosc",
    "configuration": {
        "cname": "lz4",
        "clevel": 5,
        "shuffle": "shuffle",
        "typesize": 4,
        "blocksize": 0,
    },
}
GZIP: dict[str, Any] = {"name": "gzip", "configuration": {"level": 5}}
ZSTD: dict[str, Any] = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "blosc": lambda data: bytes(blosc.compress(data, typesize=4, cname="lz4")),
    "gzip": lambda data: gzip.compress(data, 5),
    "zlib": lambda data: bytes(numcodecs.Zlib(5).encode(data)),
    "zstd": lambda data: bytes(numcodecs.Zstd(1).encode(data)),
    "crc32c": lambda data: data + google_crc32c.value(data).to_bytes(4, "little"),
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How an array is stored; the chunks of a shard lie in it in C order, its index at its end."""

    zarr_format: int = 2
    chunk: tuple[int, ...] = CHUNK
    shard: tuple[int, ...] | None = None
    codecs: tuple[dict[str, Any], ...] = ()
    compressor: str | None = None
    fill: Any = 0.0


RAW2 = Layout()
RAW3 = Layout(zarr_format=3)
BLOSC2 = Layout(compressor="blosc")
GZIP3 = Layout(zarr_format=3, codecs=(GZIP,))
CHECKED = Layout(zarr_format=3, codecs=(BLOSC, CRC32C))
SHARDED = Layout(zarr_format=3, shard=(16, 4, 6), codecs=(BLOSC,))
GZIP_SHARDED = Layout(zarr_format=3, shard=(16, 4, 6), codecs=(GZIP,))
LAYOUTS = {
    "raw v2": RAW2,
    "raw v3": RAW3,
    "blosc v2": BLOSC2,
    "zlib v2": Layout(compressor="zlib"),
    "gzip v3": GZIP3,
    "zstd v3": Layout(zarr_format=3, codecs=(ZSTD,)),
    "blosc and crc32c v3": CHECKED,
    "shards": SHARDED,
    "gzip shards": GZIP_SHARDED,
}


def activity(frames: int = FRAMES, neurons: int = NEURONS) -> np.ndarray:
    """Returns traces, float32 ``[frames, neurons]``."""
    rng = np.random.default_rng(7)
    return rng.normal(0.1, 0.3, (frames, neurons)).astype(np.float32)


def forecasts(array: str) -> np.ndarray:
    """Returns forecasts that resemble the targets, float32 ``[windows, horizon, neurons]``."""
    rng = np.random.default_rng(ARRAYS.index(array))
    traces = activity()
    targets = np.stack([traces[o : o + HORIZON] for o in ORIGINS[array]])
    return (targets + rng.normal(0, 0.1, targets.shape)).astype(np.float32)


def write_benchmark(folder: Path, text: str = TOML) -> Path:
    """Writes the benchmark's file and its recording, and returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "fish.npy", activity())
    file = folder / "tiny.toml"
    file.write_text(text)
    return file


def write_predictions(
    folder: Path,
    layout: Layout = RAW2,
    *,
    attributes: dict[str, Any] | None = None,
    **values: np.ndarray,
) -> Path:
    """Writes a store; values replace those of an array. With attributes it is a v3 group."""
    folder.mkdir(parents=True)
    if attributes is not None:
        group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
        (folder / "zarr.json").write_text(json.dumps(group))
    for name, array in ({name: forecasts(name) for name in ARRAYS} | values).items():
        write_array(folder / name, array, layout)
    return folder


def write_array(path: Path, values: np.ndarray, layout: Layout = RAW2) -> None:
    """Writes one array: metadata, then every chunk or shard."""
    path.mkdir(parents=True)
    if layout.zarr_format == 2:
        (path / ".zarray").write_text(json.dumps(document_v2(values, layout)))
    else:
        (path / "zarr.json").write_text(json.dumps(document_v3(values, layout)))
    codecs = [layout.compressor] if layout.compressor else [c["name"] for c in layout.codecs]
    outer = layout.shard or layout.chunk
    for index in product(*(range(-(-n // c)) for n, c in zip(values.shape, outer, strict=True))):
        piece = _cut(values, index, outer)
        data = _encode(piece, codecs) if layout.shard is None else _shard(piece, layout, codecs)
        file = path / chunk_key(layout, index)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def document_v2(values: np.ndarray, layout: Layout = RAW2) -> dict[str, Any]:
    """Returns a ``.zarray`` document."""
    compressors: Mapping[str | None, dict[str, Any] | None] = {
        None: None,
        "blosc": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
        "zlib": {"id": "zlib", "level": 5},
    }
    return {
        "zarr_format": 2,
        "shape": list(values.shape),
        "chunks": list(layout.chunk),
        "dtype": values.dtype.str,
        "compressor": compressors[layout.compressor],
        "fill_value": layout.fill,
        "order": "C",
        "filters": None,
    }


def document_v3(values: np.ndarray, layout: Layout = RAW3) -> dict[str, Any]:
    """Returns a ``zarr.json`` document of an array."""
    codecs = [LITTLE, *layout.codecs]
    if layout.shard is not None:
        sharding = {
            "chunk_shape": list(layout.chunk),
            "codecs": codecs,
            "index_codecs": [LITTLE, CRC32C],
            "index_location": "end",
        }
        codecs = [{"name": "sharding_indexed", "configuration": sharding}]
    outer = list(layout.shard or layout.chunk)
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(values.shape),
        "data_type": values.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": outer}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": layout.fill,
        "codecs": codecs,
        "attributes": {},
    }


def chunk_key(layout: Layout, index: tuple[int, ...]) -> str:
    """Returns the name of a chunk file below its array."""
    numbers = [str(i) for i in index]
    return ".".join(numbers) if layout.zarr_format == 2 else "/".join(["c", *numbers])


def index_of(shard: bytes, count: int) -> np.ndarray:
    """Returns offset and size of each inner chunk of a shard, uint64 ``[count, 2]``, to change."""
    return np.frombuffer(shard[-4 - 16 * count : -4], "<u8").reshape(count, 2).copy()


def with_index(shard: bytes, index: np.ndarray) -> bytes:
    """Returns a shard with another index, whose checksum fits."""
    data = index.astype("<u8").tobytes()
    return shard[: -4 - len(data)] + ENCODERS["crc32c"](data)


def _cut(values: np.ndarray, index: tuple[int, ...], size: tuple[int, ...]) -> np.ndarray:
    """Returns a chunk, padded with zeros at the array's edge."""
    spans = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, size, strict=True))
    piece = values[spans]
    room = [(0, c - n) for c, n in zip(size, piece.shape, strict=True)]
    return np.pad(piece, room)


def _encode(piece: np.ndarray, codecs: list[str]) -> bytes:
    data = piece.tobytes()
    for codec in codecs:
        data = ENCODERS[codec](data)
    return data


def _shard(piece: np.ndarray, layout: Layout, codecs: list[str]) -> bytes:
    body, entries = b"", []
    for index in _grid(piece.shape, layout.chunk):
        data = _encode(_cut(piece, index, layout.chunk), codecs)
        entries.append((len(body), len(data)))
        body += data
    return body + ENCODERS["crc32c"](np.array(entries, "<u8").tobytes())


def _grid(shape: tuple[int, ...], chunk: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    return product(*(range(-(-n // c)) for n, c in zip(shape, chunk, strict=True)))
