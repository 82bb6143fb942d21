from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli.tiny import BLOSC2, RAW2, Layout, write_array

from zapeval.errors import InvalidInput, NotFound
from zapeval.recordings.recording import NeuronTable, Recording, Recordings, open_recording

TRACES = np.arange(6 * 3, dtype="f4").reshape(6, 3)
TABLE = NeuronTable(
    names=("a", "b, with a comma", "c"),
    regions=("", "midbrain", ""),
    positions=np.array([[1, 2, 3], [4.5, 5, 6], [7, 8, 9]], "f4"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A recording in the public layout, with every part."""
    path = tmp_path / "fish"
    write_array(path / "traces", TRACES, Layout(chunk=(4, 3)))
    write_array(path / "stimuli_features", np.ones((6, 2), "f4"), Layout(chunk=(6, 2)))
    write_array(path / "segmentation", np.zeros((2, 2, 2), "<u2"), Layout(chunk=(2, 2, 2)))
    write_array(path / "video", np.zeros((6, 2, 2, 2), "f4"), Layout(chunk=(1, 2, 2, 2)))
    (path / "neurons.csv").write_text(TABLE.to_csv())
    return path


def test_a_folder_holds_every_part(folder):
    recording = open_recording(str(folder))
    assert (recording.frames, recording.neurons) == (6, 3)
    assert (recording.uri, recording.activity_uri) == (str(folder), f"{folder}/traces")
    np.testing.assert_array_equal(recording.activity.read(), TRACES)
    assert recording.stimulus.shape == (6, 2)
    assert recording.segmentation.shape == (2, 2, 2)
    assert recording.video.shape == (6, 2, 2, 2)
    table = recording.table
    assert (table.names, table.regions) == (TABLE.names, TABLE.regions)
    np.testing.assert_array_equal(table.positions, TABLE.positions)
    assert table.positions.dtype == np.float32


def test_parts_that_are_not_there_are_none(tmp_path):
    write_array(tmp_path / "fish/traces", TRACES, Layout(chunk=(4, 3)))
    recording = open_recording(str(tmp_path / "fish"))
    found = (recording.stimulus, recording.segmentation, recording.video, recording.table)
    assert found == (None, None, None, None)


def test_a_part_that_is_broken_is_an_error_and_not_none(folder):
    (folder / "segmentation/.zarray").write_text("{")
    with pytest.raises(InvalidInput, match=r"segmentation/\.zarray: is not valid JSON"):
        _ = open_recording(str(folder)).segmentation


@pytest.mark.parametrize("layout", [RAW2, BLOSC2, Layout(zarr_format=3)])
@pytest.mark.parametrize("neurons_first", [False, True])
def test_an_array_alone_is_a_recording(tmp_path, layout, neurons_first):
    stored = TRACES.T if neurons_first else TRACES
    write_array(tmp_path / "a", stored, replace(layout, chunk=(2, 2)))
    recording = open_recording(str(tmp_path / "a"), neurons_first=neurons_first)
    assert (recording.frames, recording.neurons, recording.folder) == (6, 3, None)
    np.testing.assert_array_equal(recording.activity.read((1, 4)), TRACES[1:4])
    assert recording.segmentation is recording.table is None


def test_a_numpy_file_is_a_recording(tmp_path):
    np.save(tmp_path / "a.npy", TRACES)
    np.testing.assert_array_equal(open_recording(f"{tmp_path}/a.npy").activity.read(), TRACES)


def test_a_group_that_speaks_of_arrays_is_a_folder(tmp_path):
    write_array(tmp_path / "fish/traces", TRACES, Layout(chunk=(4, 3)))
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"holds": "array"}}
    (tmp_path / "fish/zarr.json").write_text(json.dumps(group))
    assert open_recording(str(tmp_path / "fish")).neurons == 3


def test_nothing_is_opened_before_it_is_asked_for(tmp_path):
    (tmp_path / "fish").mkdir()
    recording = open_recording(str(tmp_path / "fish"))
    with pytest.raises(NotFound, match="fish/traces: holds no zarr array"):
        _ = recording.activity


def test_a_place_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="nowhere: does not exist"):
        open_recording(str(tmp_path / "nowhere"))
    with pytest.raises(InvalidInput, match="scheme 'ftp'"):
        open_recording("ftp://place/x")


@pytest.mark.parametrize("shape", [(6,), (6, 3, 1), (0, 3), (6, 0)])
def test_activity_is_a_matrix_of_frames_and_neurons(tmp_path, shape):
    np.save(tmp_path / "a.npy", np.zeros(shape, "f4"))
    with pytest.raises(InvalidInput, match=r"a\.npy: (has shape|is empty: it has shape)"):
        _ = open_recording(f"{tmp_path}/a.npy").activity


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,region,x,y,z\na,,1,2,3\n", "has 1 rows, expected one for 3 neurons"),
        ("", "has 0 rows, expected one for 3 neurons"),
        ("name,x,y,z\n" + "a,1,2,3\n" * 3, "expected columns name, region, x, y, z: 'region'"),
        ("name,region,x,y,z\n" + "a,b,1,2\n" * 3, "expected columns name, region, x, y, z"),
        ("name,region,x,y,z\n" + "a,b,1,2,here\n" * 3, "could not convert string to float"),
        (b"name,region,x,y,z\n\xff", "expected columns name, region, x, y, z"),
    ],
)
def test_a_neuron_table_that_does_not_fit_is_refused(folder, text, says):
    data = text if isinstance(text, bytes) else text.encode()
    (folder / "neurons.csv").write_bytes(data)
    with pytest.raises(InvalidInput, match=r"neurons\.csv: ") as caught:
        _ = open_recording(str(folder)).table
    assert says in str(caught.value)


def test_recordings_are_opened_once_and_when_they_are_asked_for():
    opened = []

    def opener(key):
        def open_it() -> Recording:
            opened.append(key)
            return Recording(uri=key, activity_uri=key)

        return open_it

    recordings = Recordings({key: opener(key) for key in "ab"})
    assert (list(recordings), len(recordings), "b" in recordings, opened) == (
        ["a", "b"],
        2,
        True,
        ["b"],
    )
    assert recordings["a"] is recordings["a"]
    assert opened == ["b", "a"]
    with pytest.raises(KeyError):
        _ = recordings["c"]
