from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from cli.tiny import (
    BLOSC,
    BLOSC2,
    CHECKED,
    CRC32C,
    GZIP_SHARDED,
    LITTLE,
    RAW2,
    RAW3,
    SHARDED,
    ZSTD,
    document_v2,
    document_v3,
    write_array,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zapeval.errors import InvalidInput, NotFound, ZapevalError
from zapeval.recordings.documents import DOCUMENT_LIMIT, NESTING_LIMIT, read_document
from zapeval.recordings.metadata import read_array_metadata, read_group_attributes
from zapeval.recordings.stores import Store, open_store

VALUES = np.arange(17 * 4 * 5, dtype="f4").reshape(17, 4, 5)
DOCUMENTS: list[tuple[str, dict[str, Any]]] = [
    (".zarray", document_v2(VALUES, RAW2)),
    (".zarray", document_v2(VALUES, BLOSC2) | {"order": "F", "dimension_separator": "/"}),
    ("zarr.json", document_v3(VALUES, RAW3)),
    ("zarr.json", document_v3(VALUES, CHECKED)),
    ("zarr.json", document_v3(VALUES, SHARDED)),
    ("zarr.json", document_v3(VALUES, GZIP_SHARDED)),
]
TRANSPOSE = {"name": "transpose", "configuration": {"order": [2, 0, 1]}}
DOCUMENTS.append(("zarr.json", DOCUMENTS[2][1] | {"codecs": [TRANSPOSE, LITTLE, ZSTD]}))


def written(folder: Path, name: str, document: object) -> Store:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(document if isinstance(document, str) else json.dumps(document))
    return open_store(folder)


# What is declared


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "u2", "i4", "u8", "?"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_metadata_says_what_zarr_python_wrote(tmp_path, zarr_format, dtype):
    array = zarr.create_array(
        store=str(tmp_path / "a"),
        shape=(10, 7),
        chunks=(4, 7),
        dtype=dtype,
        zarr_format=zarr_format,
    )
    found = read_array_metadata(open_store(tmp_path / "a"))
    assert (found.zarr_format, found.shape, found.dtype) == (zarr_format, (10, 7), array.dtype)
    assert (found.shard, found.chunk, found.grid) == ((4, 7), (4, 7), (3, 1))
    assert found.codecs == ("zstd",)
    assert found.chunk_bytes == 28 * array.dtype.itemsize
    assert not found.plain


@pytest.mark.parametrize(
    "options",
    [
        {"zarr_format": 2},
        {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
        {"zarr_format": 3},
        {"zarr_format": 3, "chunk_key_encoding": {"name": "default", "separator": "."}},
        {"zarr_format": 3, "chunk_key_encoding": {"name": "v2", "separator": "."}},
        {"zarr_format": 3, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
        {"zarr_format": 3, "shards": (8, 6)},
    ],
)
def test_keys_are_those_of_the_files(tmp_path, options):
    path = tmp_path / "a"
    array = zarr.create_array(
        store=str(path), shape=(10, 7), chunks=(4, 3), dtype="f4", compressors=None, **options
    )
    array[:] = np.ones((10, 7), "f4")
    found = read_array_metadata(open_store(path))
    files = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    expected = {name for name in files if not name.endswith(("zarr.json", ".zarray", ".zattrs"))}
    assert set(found.stored_keys()) == expected
    assert len(list(found.stored_keys())) == math.prod(found.grid)
    assert (found.index_at, found.index_checked) == (
        ("end", True) if "shards" in options else ("", False)
    )


@pytest.mark.parametrize(
    ("codecs", "names", "order", "plain"),
    [
        ([LITTLE], (), (0, 1, 2), True),
        ([{"name": "bytes"}], (), (0, 1, 2), True),
        ([LITTLE, BLOSC, CRC32C], ("blosc", "crc32c"), (0, 1, 2), True),
        ([TRANSPOSE, LITTLE, BLOSC], ("blosc",), (2, 0, 1), True),
        ([LITTLE, ZSTD], ("zstd",), (0, 1, 2), False),
        ([LITTLE, ZSTD, CRC32C], ("zstd", "crc32c"), (0, 1, 2), False),
    ],
)
def test_codecs_are_told_in_their_order(tmp_path, codecs, names, order, plain):
    document = document_v3(VALUES) | {"codecs": codecs}
    found = read_array_metadata(written(tmp_path, "zarr.json", document))
    assert (found.codecs, found.order, found.plain) == (names, order, plain)


def test_a_column_order_of_version_2_is_the_reverse(tmp_path):
    document = document_v2(VALUES) | {"order": "F"}
    assert read_array_metadata(written(tmp_path, ".zarray", document)).order == (2, 1, 0)


def test_version_3_goes_before_version_2(tmp_path):
    written(tmp_path, ".zarray", document_v2(VALUES))
    store = written(tmp_path, "zarr.json", document_v3(VALUES))
    assert read_array_metadata(store).zarr_format == 3


# Groups and nothing


def test_a_group_or_nothing_is_no_array(tmp_path):
    with pytest.raises(NotFound, match="holds no zarr array"):
        read_array_metadata(open_store(tmp_path))
    written(tmp_path / "v2", ".zgroup", {"zarr_format": 2})
    written(tmp_path / "v3", "zarr.json", {"zarr_format": 3, "node_type": "group"})
    for name in ("v2", "v3"):
        with pytest.raises(InvalidInput, match=f"{name}: is a zarr group, expected an array"):
            read_array_metadata(open_store(tmp_path / name))


def test_attributes_of_a_group_are_read_in_both_versions(tmp_path):
    said = {"schema": "x", "n": 1}
    group = {"zarr_format": 3, "node_type": "group", "attributes": said}
    assert read_group_attributes(written(tmp_path / "3", "zarr.json", group)) == said
    assert read_group_attributes(written(tmp_path / "2", ".zattrs", said)) == said
    bare = tmp_path / "bare"
    bare.mkdir()
    assert read_group_attributes(open_store(bare)) == {}
    del group["attributes"]
    assert read_group_attributes(written(tmp_path / "none", "zarr.json", group)) == {}
    with pytest.raises(InvalidInput, match="attributes: expected an object"):
        read_group_attributes(written(tmp_path / "4", "zarr.json", group | {"attributes": [1]}))


@pytest.mark.parametrize("index", [0, 2])
def test_an_array_has_no_group_attributes(tmp_path, index):
    with pytest.raises(InvalidInput, match="is a zarr array, expected the group"):
        read_group_attributes(written(tmp_path, *DOCUMENTS[index]))


# Documents


def test_a_document_of_the_largest_size_is_read(tmp_path):
    text = '{"a": 1}'.ljust(DOCUMENT_LIMIT)
    assert read_document(written(tmp_path, "zarr.json", text), "zarr.json") == {"a": 1}
    with pytest.raises(InvalidInput, match="is 1,048,577 bytes, expected at most 1,048,576"):
        read_document(written(tmp_path, "zarr.json", text + " "), "zarr.json")
    assert read_document(open_store(tmp_path), "other.json") is None


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_a_document_is_nested_as_deep_as_is_allowed(tmp_path, opening):
    closing = {"[": "]"}.get(opening, "}")

    def document(levels: int) -> str:
        inner = levels - 1  # the document itself is one
        innermost = opening * inner + ("" if opening == "[" else "1") + closing * inner
        return f'{{"a": {innermost}}}'

    store = written(tmp_path, "zarr.json", document(NESTING_LIMIT - 1))
    assert read_document(store, "zarr.json")
    with pytest.raises(InvalidInput, match="nested deeper"):
        read_document(written(tmp_path, "zarr.json", document(NESTING_LIMIT + 2)), "zarr.json")


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "null", "3", '"a"', "[]", "{", '{"a": 1,}', '{"a": NaN}', '{"a": -Infinity}'),
        *(
            '{"a": 1e400}',
            '{"a": 1, "a": 1}',
            '{"b": {"a": 1, "a": 2}}',
            "{'a': 1}",
            '\ufeff{"a": 1}',
        ),
        '{"a": ' + "1" * 200 + "}",
    ],
)
def test_a_document_that_is_no_plain_object_is_refused(tmp_path, text):
    with pytest.raises(InvalidInput, match=r"zarr\.json: "):
        read_document(written(tmp_path, "zarr.json", text), "zarr.json")


# Anything at all


def places(node: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Returns the paths of every value of a document."""
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, list)
        else ()
    )
    return [path, *(found for key, value in items for found in places(value, (*path, key)))]


def mutated(document: Any, path: tuple[Any, ...], value: object, *, delete: bool) -> Any:
    if not path:
        return document if delete else value
    document = deepcopy(document)
    node = document
    for part in path[:-1]:
        node = node[part]
    if delete:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return document


WORDS = [
    *("array", "group", "regular", "bytes", "blosc", "gzip", "zstd", "crc32c", "transpose"),
    *("sharding_indexed", "default", "v2", "C", "F", "little", "big", "start", "end", "/", "."),
    *("<f4", ">f4", "|O", "<c8", "float32", "complex64", "NaN", "order", "configuration", "name"),
]
NUMBERS = [0, -1, 1, 2, 3, 7, 1 << 20, 1 << 31, 1 << 32, 1 << 40, 1 << 63, 1 << 64, 1 << 70]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from(NUMBERS)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def broken(draw: st.DrawFn) -> tuple[str, Any]:
    """Draws a valid document in which up to three values are replaced or deleted."""
    name, document = draw(st.sampled_from(DOCUMENTS))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(document)))
        document = mutated(document, path, draw(JSON), delete=draw(st.booleans()))
    return name, document


@settings(max_examples=400)
@given(broken())
@example(
    (
        "zarr.json",
        DOCUMENTS[2][1] | {"codecs": [TRANSPOSE | {"configuration": {"order": [[]]}}, LITTLE]},
    )
)
def test_any_document_is_an_array_within_the_limits_or_an_error_of_ours(case):
    name, document = case
    with tempfile.TemporaryDirectory() as folder:
        store = written(Path(folder), name, document)
        try:
            found = read_array_metadata(store)
        except ZapevalError as error:
            assert len(str(error)) < 1000
            return
    assert len(found.shape) == len(found.shard) == len(found.chunk) == len(found.order)
    assert all(size >= 0 for size in found.shape)
    assert all(size >= 1 for size in (*found.shard, *found.chunk))
    assert math.prod(found.shape) * found.dtype.itemsize <= 1 << 46
    assert found.chunk_bytes <= 1 << 30
    assert math.prod(found.grid) <= 1 << 24


OPEN = """
import pathlib, sys
from zapeval.errors import ZapevalError
from zapeval.recordings.arrays import open_array
outcomes = []
for folder in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    print(folder.name, file=sys.stderr, flush=True)
    try:
        array = open_array(str(folder))
        array.read(*((0, min(n, 2)) for n in array.shape))
        outcomes.append("read")
    except ZapevalError as error:
        outcomes.append(type(error).__name__)
print(*outcomes)
"""


def test_opening_and_reading_them_never_ends_the_process(tmp_path):
    rng = np.random.default_rng(11)
    layouts = [RAW2, BLOSC2, RAW3, CHECKED, SHARDED, GZIP_SHARDED]
    values: list[Any] = [*NUMBERS, *WORDS, None, True, 1.5, [], {}, [1, 1, 1], [17, 4, 5]]
    for case in range(240):
        folder = tmp_path / f"{case:03d}"
        layout = layouts[case % len(layouts)]
        write_array(folder, VALUES, layout)
        file = folder / (".zarray" if layout.zarr_format == 2 else "zarr.json")
        document = json.loads(file.read_text())
        for _ in range(rng.integers(1, 3)):
            found = places(document)[1:]
            path = found[rng.integers(len(found))]
            value = values[rng.integers(len(values))]
            document = mutated(document, path, value, delete=bool(rng.random() < 0.2))
        file.write_text(json.dumps(document))
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = done.stdout.split()
    assert len(outcomes) == 240
    assert set(outcomes) <= {"read", "InvalidInput", "StorageError", "NotFound"}
    # The sample has some of each, or it would show nothing.
    for outcome in ("read", "InvalidInput", "StorageError"):
        assert outcomes.count(outcome) >= 3
