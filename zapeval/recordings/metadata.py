"""The metadata gate: what a zarr document declares, checked before any storage library sees it.

A storage library believes the metadata it is given: a huge declared chunk aborts the process, a
lying one inflates. So every document is read here first, under a size limit, and only arrays within
these limits, with codecs on the allow-list, are opened. Sources: the zarr v2 and v3 specifications.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from reprlib import repr as short
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zapeval.errors import InvalidInput, NotFound
from zapeval.recordings.documents import DOCUMENT_LIMIT, read_document
from zapeval.recordings.stores import Store

ARRAY_LIMIT = 1 << 46
"""Largest array in bytes; the full-resolution zebrafish video has 6.2e12."""

CHUNK_LIMIT = 1 << 30
"""Largest decoded chunk in bytes: it is held in memory, once a worker."""

COUNT_LIMIT = 1 << 24
"""Largest number of chunks of an array, and of inner chunks of a shard."""

COMPRESSORS = {2: ("blosc", "gzip", "zlib", "zstd"), 3: ("blosc", "gzip", "zstd")}
"""Allowed compressors by zarr format: at most one, behind it (format 3) at most one ``crc32c``.

Arrays become bytes through ``bytes``, optionally ``transpose`` before it, and one level of shards.
"""

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
        order: Axes of a chunk as its values lie, slowest first; ``(0, 1, ..)`` is C order.
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
    order: tuple[int, ...]
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
        """Whether chunks can be read without a storage library: blosc and CRC32C only."""
        return set(self.codecs) <= {"blosc", "crc32c"}

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


def read_group_attributes(store: Store) -> dict[str, Any]:
    """Returns the attributes of a group, or of a bare folder; empty where there are none.

    Raises:
        InvalidInput: It is an array, or the document is not valid JSON within the limits.
    """
    document = read_document(store, "zarr.json")
    lone = store.read(".zarray", DOCUMENT_LIMIT) if document is None else None
    if lone is not None or (document or {}).get("node_type") == "array":
        raise InvalidInput(f"{store}: is a zarr array, expected the group or folder that holds it")
    if document is None:
        return read_document(store, ".zattrs") or {}
    attributes = document.get("attributes", {})
    if not isinstance(attributes, dict):
        raise InvalidInput(f"{store}/zarr.json: attributes: expected an object")
    return attributes


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
        says = first["msg"]
        if first["type"] == "model_type":
            says = "expected an object"
        elif first.get("ctx", {}).get("max_length") == 0:
            says = "expected none"
        raise InvalidInput(f"{where}: {place}: {says}, got {short(first['input'])}") from error


def _v3(store: Store, document: dict[str, Any]) -> ArrayMetadata:
    where = f"{store}/zarr.json"
    array = _parse(_V3, document, where)
    shard = chunk = tuple(array.chunk_grid.configuration.chunk_shape)
    codecs, index_at, index_checked = array.codecs, "", False
    if codecs[-1].name == "sharding_indexed" and len(codecs) == 1:
        sharding = _parse(_Sharding, codecs[0].configuration, f"{where}: sharding_indexed")
        chunk, codecs = tuple(sharding.chunk_shape), sharding.codecs
        index_at = sharding.index_location
        index_checked = _index_checked(sharding.index_codecs, where)
    order, names = _codecs(codecs, len(chunk), where)
    prefix, separator = _key_encoding(array.chunk_key_encoding, where)
    if array.data_type not in _DTYPES:
        known = ", ".join(_DTYPES)
        raise InvalidInput(f"{where}: data_type {array.data_type!r:.60} is not one of {known}")
    return ArrayMetadata(
        zarr_format=3,
        shape=tuple(array.shape),
        dtype=_DTYPES[array.data_type],
        shard=shard,
        chunk=chunk,
        codecs=names,
        order=order,
        index_at=index_at,
        index_checked=index_checked,
        key_prefix=prefix,
        separator=separator,
        document=document,
    )


def _codecs(
    codecs: Sequence[_Named], rank: int, where: str
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Returns the order of a chunk's axes and its bytes-to-bytes codecs."""
    rest, order = list(codecs), list(range(rank))
    if rest[0].name == "transpose":
        order = rest.pop(0).configuration.get("order", "missing")
        whole = isinstance(order, list) and all(type(axis) is int for axis in order)
        if not whole or sorted(order) != list(range(rank)):
            raise InvalidInput(
                f"{where}: codecs: transpose: order is {short(order)}, expected the {rank} axes "
                "from 0, each once"
            )
    _check_bytes(rest, where)
    names = tuple(codec.name for codec in rest[1:])
    _check_chain(names, 3, where)
    return tuple(order), names


def _index_checked(codecs: Sequence[_Named], where: str) -> bool:
    """Returns whether the index of a shard, of plain numbers, ends in its CRC32C."""
    _check_bytes(codecs, f"{where}: index_codecs")
    names = [codec.name for codec in codecs[1:]]
    if names not in ([], ["crc32c"]):
        raise InvalidInput(
            f"{where}: index_codecs: got {names[0]!r:.60} after bytes, expected crc32c or nothing"
        )
    return bool(names)


def _check_bytes(codecs: Sequence[_Named], where: str) -> None:
    name = codecs[0].name if codecs else "nothing"
    if name == "sharding_indexed":
        raise InvalidInput(f"{where}: codecs: shards lie in shards; expected one level of them")
    if name != "bytes":
        raise InvalidInput(f"{where}: codecs: expected the codec bytes, got {name!r:.60}")
    if codecs[0].configuration.get("endian", "little") != "little":
        raise InvalidInput(f"{where}: codecs: bytes: is big-endian, expected little-endian")


def _check_chain(names: Sequence[str], zarr_format: Literal[2, 3], where: str) -> None:
    # A checksum of what is stored, and one compressor whose claims can be checked under it.
    known = (*COMPRESSORS[zarr_format], *(["crc32c"] if zarr_format == 3 else []))
    for name in names:
        if name not in known:
            raise InvalidInput(
                f"{where}: codec {name!r:.60} is not allowed; expected one of {', '.join(known)}"
            )
    if len(names) > 1 and (names[0] == "crc32c" or names[1:] != ("crc32c",)):
        raise InvalidInput(
            f"{where}: codecs {', '.join(names)} follow each other; expected one compressor at "
            "most, then crc32c at most"
        )


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
    names = () if array.compressor is None else (_compressor_id(array.compressor, where),)
    _check_chain(names, 2, where)
    axes = tuple(range(len(array.chunks)))
    return ArrayMetadata(
        zarr_format=2,
        shape=tuple(array.shape),
        dtype=_v2_dtype(array.dtype, where),
        shard=tuple(array.chunks),
        chunk=tuple(array.chunks),
        codecs=names,
        order=axes if array.order == "C" else axes[::-1],
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
        raise InvalidInput(f"{where}: dtype {text!r:.40} is not one of {', '.join(known)}")
    return known[text]


def _compressor_id(compressor: dict[str, Any], where: str) -> str:
    name = compressor.get("id")
    if not isinstance(name, str):
        raise InvalidInput(f"{where}: compressor: id is {short(name)}, expected a name")
    return name


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
