from __future__ import annotations

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import h5py
import numpy as np
import pytest
import zarr
from cli.tiny import LAYOUTS, SHARDED, write_array
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, GzipCodec, TransposeCodec

from zapeval.errors import InvalidInput, NotFound, StorageError
from zapeval.recordings.arrays import Array, Transposed, ZarrArray, chunks_in, open_array

SHAPE = (17, 5, 7)
VALUES = np.random.default_rng(0).normal(size=SHAPE).astype("f4")


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    """The same values in every kind of storage, written by others than zapeval."""
    folder = tmp_path_factory.mktemp("arrays")
    for name, layout in LAYOUTS.items():
        write_array(folder / name, VALUES, layout)
    for name, order in (("swapped", (1, 2, 0)), ("reversed", (2, 1, 0))):
        for codec in (BloscCodec(), GzipCodec()):
            for shards in (None, (16, 4, 6)):
                array = zarr.create_array(
                    store=str(folder / f"{name} {type(codec).__name__} {shards}"),
                    shape=SHAPE,
                    chunks=(8, 2, 3),
                    shards=shards,
                    dtype="f4",
                    filters=[TransposeCodec(order=order)],
                    compressors=[codec],
                )
                array[:] = VALUES
    for compressors in (None, "auto"):
        array = zarr.create_array(
            store=str(folder / f"columns first {compressors}"),
            shape=SHAPE,
            chunks=(8, 2, 3),
            dtype="f4",
            zarr_format=2,
            order="F",
            compressors=compressors,
        )
        array[:] = VALUES
    np.save(folder / "c.npy", VALUES)
    np.save(folder / "f.npy", np.asfortranarray(VALUES))
    with h5py.File(folder / "x.h5", "w") as file:
        file["plain"] = VALUES
        file.create_dataset("below/chunked", data=VALUES, chunks=(4, 2, 3), compression="gzip")
    opened = {path.name: open_array(str(path)) for path in folder.iterdir() if path.suffix != ".h5"}
    for dataset in ("plain", "below/chunked"):
        opened[dataset] = open_array(f"{folder}/x.h5:/{dataset}")
    opened["transposed"] = Transposed(Transposed(opened["c.npy"]))
    return opened


def test_there_is_an_array_of_every_kind(arrays):
    assert len(arrays) == len(LAYOUTS) + 8 + 2 + 2 + 2 + 1
    plain = {name for name, a in arrays.items() if isinstance(a, ZarrArray) and a.metadata.plain}
    assert {"raw v2", "shards", "columns first None", "swapped BloscCodec (16, 4, 6)"} <= plain
    assert not {"gzip v3", "gzip shards", "reversed GzipCodec None"} & plain


def test_every_array_tells_its_shape_and_type(arrays):
    for name, array in arrays.items():
        assert array.shape == SHAPE, name
        assert array.dtype == np.float32, name
        assert len(array.chunk) == 3, name


def test_every_array_reads_the_values_that_were_written(arrays):
    for name, array in arrays.items():
        found = array.read()
        assert found.dtype == np.float32, name
        np.testing.assert_array_equal(found, VALUES, err_msg=name)


@st.composite
def spans(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    found = []
    for n in SHAPE[: draw(st.integers(0, 3))]:
        start, stop = sorted((draw(st.integers(0, n)), draw(st.integers(0, n))))
        found.append((start, stop))
    return tuple(found)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans())
def test_ranges_are_slices(arrays, wanted):
    expected = VALUES[tuple(slice(*span) for span in wanted)]
    for name, array in arrays.items():
        np.testing.assert_array_equal(array.read(*wanted), expected, err_msg=name)


@pytest.mark.parametrize("wanted", [((0, 18),), ((-1, 2),), ((3, 2),), ((0, 1), (0, 9))])
def test_a_range_outside_the_array_is_refused(arrays, wanted):
    for name in ("raw v2", "gzip v3", "c.npy", "plain"):
        with pytest.raises(InvalidInput, match=r"range \[-?\d+, \d+\) of axis \d of \d+"):
            arrays[name].read(*wanted)


def test_chunks_come_whole_or_cut_at_the_edge(arrays):
    for name, array in arrays.items():
        if not isinstance(array, ZarrArray):
            continue
        for index in product(*(range(-(-n // c)) for n, c in zip(SHAPE, array.chunk, strict=True))):
            start = [i * c for i, c in zip(index, array.chunk, strict=True)]
            expected = VALUES[
                tuple(slice(s, s + c) for s, c in zip(start, array.chunk, strict=True))
            ]
            found = array.read_chunk(index)
            assert found.flags.c_contiguous, name
            got = found[tuple(slice(n) for n in expected.shape)]
            np.testing.assert_array_equal(got, expected, err_msg=f"{name} {index}")


def test_values_go_where_they_are_asked_to_in_its_type(arrays):
    for name, array in arrays.items():
        room = np.full((11, 5, 9), np.nan)
        out = room[:, :, 1:8]
        assert array.read((3, 14), out=out) is out
        np.testing.assert_array_equal(out, VALUES[3:14].astype(np.float64), err_msg=name)
        assert np.isnan(room[:, :, [0, 8]]).all(), name


def test_an_array_can_go_to_another_process(arrays):
    for name in ("raw v2", "shards", "gzip v3"):
        again = pickle.loads(pickle.dumps(arrays[name]))
        np.testing.assert_array_equal(again.read(), VALUES)


def test_threads_do_not_share_a_buffer(arrays):
    index = list(product(range(3), range(5), range(3)))
    for name in ("raw v2", "blosc v2", "shards"):
        array = arrays[name]
        assert isinstance(array, ZarrArray)

        def corner(at: tuple[int, int, int], array: ZarrArray = array) -> float:
            return float(array.read_chunk(at)[0, 0, 0])

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(corner, index * 20))
        expected = [float(VALUES[8 * i, j, 3 * k]) for i, j, k in index] * 20
        assert found == expected


def test_a_chunk_that_vanishes_is_an_error_when_it_is_read(tmp_path):
    for name, layout in LAYOUTS.items():
        write_array(tmp_path / name, VALUES, layout)
        array = open_array(str(tmp_path / name))
        files = sorted(p for p in (tmp_path / name).rglob("*") if p.name[0].isdigit())
        for file in files:
            shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
        with pytest.raises(StorageError, match=r"missing|NOT_FOUND"):
            array.read()


def test_a_missing_array_is_not_found(tmp_path):
    for uri in ("nowhere", "nowhere.npy", "nowhere.h5:/x"):
        with pytest.raises(NotFound):
            open_array(f"{tmp_path}/{uri}")


def test_only_local_files_are_numpy_or_hdf5(tmp_path, web):
    web.root.mkdir()
    np.save(web.root / "x.npy", VALUES)
    with pytest.raises(NotFound, match="holds no zarr array"):
        open_array(f"{web.url}/x.npy")


def test_a_transposed_array_reads_the_transposed_values(arrays):
    array = Transposed(arrays["raw v2"])
    assert (array.shape, array.chunk) == (SHAPE[::-1], arrays["raw v2"].chunk[::-1])
    np.testing.assert_array_equal(array.read((2, 5), (1, 4)), VALUES.T[2:5, 1:4])
    assert array.read().flags.c_contiguous


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(1, 5)),
        min_size=1,
        max_size=3,
    )
)
def test_chunks_in_a_region_are_those_that_share_an_element(drawn):
    wanted = tuple((min(a, b), max(a, b)) for a, b, _ in drawn)
    chunk = tuple(c for _, _, c in drawn)
    touched = {
        tuple(i // c for i, c in zip(at, chunk, strict=True))
        for at in product(*(range(*span) for span in wanted))
    }
    found = list(chunks_in(wanted, chunk))
    assert sorted(touched) == found


def test_file_addresses_and_paths_lead_to_the_same_array(tmp_path):
    write_array(tmp_path / "a", VALUES, SHARDED)
    for uri in (tmp_path / "a", f"file://{tmp_path}/a"):
        np.testing.assert_array_equal(open_array(uri).read(), VALUES)
