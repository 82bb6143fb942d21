"""The metadata gate: what a zarr document declares, checked before any storage library sees it.

A storage library believes the metadata it is given: a huge declared chunk aborts the process, a
lying one inflates. So every document is read here first, under a size limit, and only arrays within
these limits, with codecs on the allow-list, are opened. Sources: the zarr v2 and v3 specifications.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zapeval.errors import InvalidInput, NotFound
from zapeval.recordings.stores import Store

DOCUMENT_LIMIT = 1 << 20
"""Largest metadata document in bytes; a real one has a few thousand."""

ARRAY_LIMIT = 1 << 46
"""Largest array in bytes; the full-resolution zebrafish video has 6.2e12."""

CHUNK_LIMIT = 1 << 30
"""Largest decoded chunk in bytes: it is held in memory, once a worker."""

COUNT_LIMIT = 1 << 24
"""Largest number of chunks of an array, and of inner chunks of a shard."""

CODECS = ("blosc", "crc32c", "gzip", "zlib", "zstd")
"""Allowed bytes-to-bytes codecs; arrays-to-bytes are ``bytes`` and one level of shards."""

_DTYPES = {
    name: np.dtype(name)
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64"),
    )
}

_Size = Annotated[int, Field(ge=0, le=1 << 40)]
_ChunkSize = Annotated[int, Field(ge=1, le=1 << 40)]
_Rank = Field(min_length=1, max_length=8)


@dataclass(frozen=True, kw_only=True)
class ArrayMetadata:
    """What a checked zarr array declares.

    Attributes:
        zarr_format: 2 or 3.
        shape: Size of each axis.
        dtype: Little-endian NumPy dtype.
        shard: Shape of one stored object (a chunk file).
        chunk: Shape of the smallest piece that decodes alone; equals shard where not sharded.
        codecs: Names of the bytes-to-bytes codecs of a chunk, in encoding order.
        c_order: Whether a chunk's values lie in C order.
        index_at: Where the index of a shard lies, "start" or "end"; "" where not sharded.
        index_checked: Whether the index of a shard ends in its CRC32C.
        key_prefix: What chunk keys begin with ("c" in the default v3 encoding).
        separator: What stands between the numbers of a chunk key.
        document: The metadata as it was read.
    """

    zarr_format: Literal[2, 3]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    shard: tuple[int, ...]
    chunk: tuple[int, ...]
    codecs: tuple[str, ...]
    c_order: bool
    index_at: str
    index_checked: bool
    key_prefix: str
    separator: str
    document: dict[str, Any] = field(compare=False, repr=False)

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of stored objects along each axis."""
        return tuple(-(-n // s) for n, s in zip(self.shape, self.shard, strict=True))

    @property
    def chunk_bytes(self) -> int:
        """Size of a decoded chunk in bytes."""
        return math.prod(self.chunk) * self.dtype.itemsize

    @property
    def plain(self) -> bool:
        """Whether chunks can be read without a storage library: C order, blosc and CRC32C only."""
        return self.c_order and set(self.codecs) <= {"blosc", "crc32c"}

    def key(self, index: Sequence[int]) -> str:
        """Returns the key of the stored object at a grid index."""
        numbers = self.separator.join(str(i) for i in index)
        return f"{self.key_prefix}{self.separator}{numbers}" if self.key_prefix else numbers

    def stored_keys(self) -> Iterable[str]:
        """Yields the keys of all stored objects, in grid order."""
        return (self.key(index) for index in product(*(range(n) for n in self.grid)))


def read_array_metadata(store: Store) -> ArrayMetadata:
    """Reads and checks the metadata of a zarr array.

    Raises:
        NotFound: There is no array.
        InvalidInput: The document is no valid array within the limits of this module.
    """
    document = read_document(store, "zarr.json")
    if document is not None:
        if document.get("node_type") == "group":
            raise InvalidInput(f"{store}: is a zarr group, expected an array")
        return _checked(store, _v3(store, document))
    document = read_document(store, ".zarray")
    if document is not None:
        return _checked(store, _v2(store, document))
    if store.read(".zgroup", DOCUMENT_LIMIT) is not None:
        raise InvalidInput(f"{store}: is a zarr group, expected an array")
    raise NotFound(f"{store}: holds no zarr array (neither zarr.json nor .zarray)")


def read_attributes(store: Store) -> dict[str, Any]:
    """Returns the attributes of a group or array; empty where there are none.

    Raises:
        InvalidInput: The document is not valid JSON within the size limit.
    """
    document = read_document(store, "zarr.json")
    if document is None:
        return read_document(store, ".zattrs") or {}
    attributes = document.get("attributes", {})
    if not isinstance(attributes, dict):
        raise InvalidInput(f"{store}/zarr.json: attributes: expected an object")
    return attributes


def read_document(store: Store, key: str) -> dict[str, Any] | None:
    """Returns a JSON object, or None where the key does not exist.

    Raises:
        InvalidInput: It is too large, no valid JSON object, nested too deep, or repeats a name.
    """
    data = store.read(key, DOCUMENT_LIMIT)
    if data is None:
        return None
    try:
        document = json.loads(
            data.decode(), object_pairs_hook=_unique_names, parse_constant=_no_constant
        )
    except RecursionError as error:
        raise InvalidInput(f"{store}/{key}: is nested too deep") from error
    except ValueError as error:
        raise InvalidInput(f"{store}/{key}: is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidInput(f"{store}/{key}: expected a JSON object")
    return document


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return names


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON value")


class _Edge(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


_Model = TypeVar("_Model", bound=_Edge)


class _Named(_Edge):
    name: str
    configuration: dict[str, Any] = {}


class _GridConfiguration(_Edge):
    chunk_shape: Annotated[list[_ChunkSize], _Rank]


class _Grid(_Edge):
    name: Literal["regular"]
    configuration: _GridConfiguration


class _V3(_Edge):
    node_type: Literal["array"]
    zarr_format: Literal[3]
    shape: Annotated[list[_Size], _Rank]
    data_type: str
    chunk_grid: _Grid
    chunk_key_encoding: _Named
    codecs: Annotated[list[_Named], Field(min_length=1, max_length=8)]
    storage_transformers: Annotated[list[Any], Field(max_length=0)] = []


class _Sharding(_Edge):
    chunk_shape: Annotated[list[_ChunkSize], _Rank]
    codecs: Annotated[list[_Named], Field(min_length=1, max_length=8)]
    index_codecs: Annotated[list[_Named], Field(min_length=1, max_length=2)]
    index_location: Literal["start", "end"] = "end"


class _V2(_Edge):
    zarr_format: Literal[2]
    shape: Annotated[list[_Size], _Rank]
    chunks: Annotated[list[_ChunkSize], _Rank]
    dtype: str
    order: Literal["C", "F"] = "C"
    compressor: dict[str, Any] | None = None
    filters: Annotated[list[Any], Field(max_length=0)] | None = None
    dimension_separator: Literal[".", "/"] = "."


def _parse(model: type[_Model], value: object, where: str) -> _Model:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        got = repr(first["input"])[:60]
        raise InvalidInput(f"{where}: {place}: {first['msg']}, got {got}") from error


def _v3(store: Store, document: dict[str, Any]) -> ArrayMetadata:
    where = f"{store}/zarr.json"
    array = _parse(_V3, document, where)
    shard = chunk = tuple(array.chunk_grid.configuration.chunk_shape)
    codecs, index_at, index_checked = array.codecs, "", False
    if codecs[-1].name == "sharding_indexed" and len(codecs) == 1:
        sharding = _parse(_Sharding, codecs[0].configuration, f"{where}: sharding_indexed")
        chunk, codecs, index_at = (
            tuple(sharding.chunk_shape),
            sharding.codecs,
            (sharding.index_location),
        )
        index_names, c_order = _codec_names(sharding.index_codecs, where)
        if not set(index_names) <= {"crc32c"} or not c_order:
            raise InvalidInput(f"{where}: index_codecs: expected bytes, then crc32c at most")
        index_checked = bool(index_names)
    names, c_order = _codec_names(codecs, where)
    prefix, separator = _key_encoding(array.chunk_key_encoding, where)
    if array.data_type not in _DTYPES:
        raise InvalidInput(f"{where}: data_type {array.data_type!r} is not one of {list(_DTYPES)}")
    return ArrayMetadata(
        zarr_format=3,
        shape=tuple(array.shape),
        dtype=_DTYPES[array.data_type],
        shard=shard,
        chunk=chunk,
        codecs=names,
        c_order=c_order,
        index_at=index_at,
        index_checked=index_checked,
        key_prefix=prefix,
        separator=separator,
        document=document,
    )


def _codec_names(codecs: Sequence[_Named], where: str) -> tuple[tuple[str, ...], bool]:
    """Returns the bytes-to-bytes codecs and whether values lie in C order."""
    rest, c_order = list(codecs), True
    if rest[0].name == "transpose":
        order = rest.pop(0).configuration.get("order")
        if not isinstance(order, list) or set(order) != set(range(len(order))):
            raise InvalidInput(f"{where}: codecs: transpose: order is {order!r:.60}")
        c_order = order == list(range(len(order)))
    if not rest or rest[0].name != "bytes":
        name = rest[0].name if rest else "nothing"
        raise InvalidInput(f"{where}: codecs: expected the codec bytes, got {name!r:.60}")
    if rest[0].configuration.get("endian", "little") != "little":
        raise InvalidInput(f"{where}: codecs: bytes: is big-endian, expected little-endian")
    names = tuple(codec.name for codec in rest[1:])
    _allow(names, where)
    return names, c_order


def _key_encoding(encoding: _Named, where: str) -> tuple[str, str]:
    prefixes = {"default": ("c", "/"), "v2": ("", ".")}
    if encoding.name not in prefixes:
        raise InvalidInput(f"{where}: chunk_key_encoding {encoding.name!r:.60} is not known")
    prefix, separator = prefixes[encoding.name]
    separator = encoding.configuration.get("separator", separator)
    if separator not in (".", "/"):
        raise InvalidInput(f"{where}: chunk_key_encoding: separator is {separator!r:.20}")
    return prefix, separator


def _v2(store: Store, document: dict[str, Any]) -> ArrayMetadata:
    where = f"{store}/.zarray"
    array = _parse(_V2, document, where)
    names = () if array.compressor is None else (str(array.compressor.get("id")),)
    _allow(names, where)
    return ArrayMetadata(
        zarr_format=2,
        shape=tuple(array.shape),
        dtype=_v2_dtype(array.dtype, where),
        shard=tuple(array.chunks),
        chunk=tuple(array.chunks),
        codecs=names,
        c_order=array.order == "C",
        index_at="",
        index_checked=False,
        key_prefix="",
        separator=array.dimension_separator,
        document=document,
    )


def _v2_dtype(text: str, where: str) -> np.dtype[Any]:
    known = {dtype.str: dtype for dtype in _DTYPES.values()}
    if text.startswith(">"):
        raise InvalidInput(f"{where}: dtype {text!r:.20} is big-endian, expected little-endian")
    if text not in known:
        raise InvalidInput(f"{where}: dtype {text!r:.40} is not one of {list(known)}")
    return known[text]


def _allow(names: Sequence[str], where: str) -> None:
    for name in names:
        if name not in CODECS:
            raise InvalidInput(
                f"{where}: codec {name!r:.60} is not allowed; expected one of {', '.join(CODECS)}"
            )


def _checked(store: Store, array: ArrayMetadata) -> ArrayMetadata:
    ranks = {len(array.shape), len(array.shard), len(array.chunk)}
    if len(ranks) != 1:
        raise InvalidInput(
            f"{store}: shape {array.shape}, chunk shape {array.shard} and inner chunk shape "
            f"{array.chunk} differ in the number of axes"
        )
    if any(s % c for s, c in zip(array.shard, array.chunk, strict=True)):
        raise InvalidInput(f"{store}: shard {array.shard} is no multiple of chunk {array.chunk}")
    size = math.prod(array.shape) * array.dtype.itemsize
    _limit(store, "array size in bytes", size, ARRAY_LIMIT)
    _limit(store, "chunk size in bytes", array.chunk_bytes, CHUNK_LIMIT)
    _limit(store, "number of chunk files", math.prod(array.grid), COUNT_LIMIT)
    pieces = math.prod(s // c for s, c in zip(array.shard, array.chunk, strict=True))
    _limit(store, "number of chunks in a shard", pieces, COUNT_LIMIT >> 4)
    return array


def _limit(store: Store, what: str, got: int, limit: int) -> None:
    if got > limit:
        raise InvalidInput(f"{store}: {what}: declared {got:,}, expected at most {limit:,}")
