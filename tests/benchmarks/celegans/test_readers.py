"""Readers: each format gives back the worm that was written."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from benchmarks.celegans import samples
from benchmarks.celegans.samples import NAMES, sample

from zapeval.benchmarks.celegans.discovery import discover
from zapeval.benchmarks.celegans.names import NAMES as SLOT_NAMES
from zapeval.benchmarks.celegans.names import SHORTER
from zapeval.benchmarks.celegans.raw import RawWorm, Unread
from zapeval.errors import InvalidInput, NotFound, UsageError

STRUCTS = {
    "WT_Stim": ("Kato2015", ("IDs", "traces", "timeVectorSeconds")),
    "WT_NoStim": ("Kato2015", ("NeuronNames", "deltaFOverF_bc", "tv")),
    "n2_let": ("Nichols2017", ("IDs", "traces", "timeVectorSeconds")),
    "n2_prelet": ("Nichols2017", ("IDs", "traces", "timeVectorSeconds")),
    "npr1_let": ("Nichols2017", ("IDs", "traces", "timeVectorSeconds")),
    "npr1_prelet": ("Nichols2017", ("IDs", "traces", "timeVectorSeconds")),
    "WT_fasted": ("Skora2018", ("IDs", "traces", "timeVectorSeconds")),
    "WT_starved": ("Skora2018", ("IDs", "traces", "timeVectorSeconds")),
    "Neuron2019_Data_MNhisCl_RIShisCl": (
        "Kaplan2020",
        ("neuron_ID", "traces_bleach_corrected", "time_vector"),
    ),
    "Neuron2019_Data_RIShisCl": (
        "Kaplan2020",
        ("neuron_ID", "traces_bleach_corrected", "time_vector"),
    ),
    "Neuron2019_Data_SMDhisCl_RIShisCl": (
        "Kaplan2020",
        ("neuron_ID", "traces_bleach_corrected", "time_vector"),
    ),
    "Uzel_WT": ("Uzel2022", ("IDs", "traces", "tv")),
}


def read(folder):
    """Returns every worm of a folder by (source, name), as discovery and its readers find them."""
    return {(job.source.name, raw.name): raw for job in discover(folder).jobs for raw in job.read()}


def same(raw, worm, labels=NAMES, rtol=1e-12):
    assert isinstance(raw, RawWorm)
    np.testing.assert_allclose(raw.traces, worm.traces, rtol=rtol)
    np.testing.assert_allclose(raw.seconds, worm.seconds, rtol=rtol)
    assert raw.labels == tuple(labels)


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("stem", STRUCTS)
def test_every_struct_file_is_read_in_both_versions(tmp_path, stem, version):
    source, fields = STRUCTS[stem]
    worms = [sample(0, 40), sample(1, 50)]
    samples.write_struct(tmp_path / f"{stem}.mat", worms, key=stem, fields=fields, version=version)
    found = read(tmp_path)
    assert list(found) == [(source, f"{stem}-0"), (source, f"{stem}-1")]
    for raw, worm in zip(found.values(), worms, strict=True):
        same(raw, worm)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_a_struct_of_one_worm_without_lists_is_read(tmp_path, version):
    worm = sample(0, 40)
    struct = {"IDs": list(worm.labels), "traces": worm.traces, "tv": worm.seconds[:, None]}
    samples.WRITERS[version](tmp_path / "Uzel_WT.mat", {"Uzel_WT": struct})
    ((_, raw),) = read(tmp_path).items()
    same(raw, worm)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_of_alternative_labels_the_first_that_is_there_counts(tmp_path, version):
    labels = ["AVAL", ["RIML", "RIMR"], [None, "RIH"], None, [None, None]]
    samples.write_struct(
        tmp_path / "n2_let.mat", [sample(0, 40, labels)], key="n2_let", version=version
    )
    (raw,) = read(tmp_path).values()
    assert raw.labels == ("AVAL", "RIML", "RIH", None, None)


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_a_worm_without_trace_is_named_and_the_others_go_on(tmp_path, version):
    struct = {
        "IDs": [list(NAMES), list(NAMES)],
        "traces": [None, sample(1, 40).traces],
        "timeVectorSeconds": [sample(0, 40).seconds[:, None], sample(1, 40).seconds[:, None]],
    }
    samples.WRITERS[version](tmp_path / "n2_let.mat", {"n2_let": struct})
    first, second = read(tmp_path).values()
    assert first == Unread(name="n2_let-0", reason="has no trace")
    same(second, sample(1, 40))


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("stem", ["Head_Activity_OH15500", "Tail_Activity_OH16230"])
def test_yemini_tells_left_from_right(tmp_path, stem, version):
    worms = [sample(0, 40), sample(1, 30)]
    samples.write_yemini(tmp_path / f"{stem}.mat", worms, version)
    found = read(tmp_path)
    assert list(found) == [("Yemini2021", f"{stem}-0"), ("Yemini2021", f"{stem}-1")]
    for raw, worm in zip(found.values(), worms, strict=True):
        assert raw.labels == ("AVAL", "AVAR", "RIML", "DA01", "VB10")
        np.testing.assert_array_equal(raw.traces, worm.traces)
        np.testing.assert_allclose(raw.seconds, np.arange(len(worm.seconds)) * 0.5)


def test_flavell_is_read_as_json_as_hdf5_and_as_a_pair(tmp_path):
    worm = sample(0, 40)
    samples.write_flavell_json(tmp_path / "a.json", worm)
    samples.write_flavell_h5(tmp_path / "b.h5", worm)
    samples.write_pair(tmp_path / "2022-08-02-01", worm)
    found = read(tmp_path)
    assert {name for _, name in found} == {"a", "b", "2022-08-02-01"}
    assert {source for source, _ in found} == {"Flavell2023"}
    for raw in found.values():
        same(raw, worm)


def test_unlabelled_neurons_of_flavell_have_no_label(tmp_path):
    samples.write_flavell_json(tmp_path / "a.json", sample(0, 40, ["AVAL", None, "AVA?"]))
    (raw,) = read(tmp_path).values()
    assert raw.labels == ("AVAL", None, "AVA?")


def test_leifer_is_read_from_three_files(tmp_path):
    worms = [sample(0, 40), sample(1, 50)]
    for number, worm in enumerate(worms):
        samples.write_leifer(tmp_path, number, worm)
    found = read(tmp_path)
    assert list(found) == [("Leifer2023", "0"), ("Leifer2023", "1")]
    for raw, worm in zip(found.values(), worms, strict=True):
        same(raw, worm)
        assert raw.fewest_frames == 700


@pytest.mark.parametrize(
    ("slots", "rows"), [(SLOT_NAMES, 4), (SHORTER, 4), (SHORTER, 1), (SLOT_NAMES, 100)]
)
def test_the_export_is_read_in_302_and_in_300_slots(tmp_path, slots, rows):
    labels = ("AVAL", "RIML", "VB10", "CEPDL")
    worms = {
        ("Kato2015", "worm0"): sample(0, 40, labels),
        ("Lin2023", "worm0"): sample(1, 50, labels),
    }
    samples.write_export(tmp_path / "a.parquet", worms, slots=slots, rows_a_group=rows)
    found = read(tmp_path)
    assert list(found) == list(worms)
    for raw, worm in zip(found.values(), worms.values(), strict=True):
        np.testing.assert_allclose(raw.traces, worm.traces)
        np.testing.assert_allclose(raw.seconds, worm.seconds - worm.seconds[0])
        assert (raw.labels, raw.notes) == (labels, ())


def test_a_worm_that_two_parquet_files_share_is_put_together(tmp_path):
    import pyarrow.parquet as pq

    worm = sample(0, 40, ("AVAL", "RIML"))
    whole = samples.write_export(tmp_path / "w.parquet", {("A", "w"): worm}, slots=SLOT_NAMES)
    table = pq.read_table(whole)
    pq.write_table(table.slice(0, 1), tmp_path / "1.parquet")
    pq.write_table(table.slice(1), tmp_path / "2.parquet")
    whole.unlink()
    ((key, raw),) = read(tmp_path).items()
    assert key == ("A", "w")
    np.testing.assert_allclose(raw.traces, worm.traces)


def test_times_that_half_precision_froze_are_summed_from_their_steps(tmp_path):
    worm = sample(0, 3000, ("AVAL", "RIML"))
    samples.write_export(tmp_path / "a.parquet", {("A", "w"): worm}, slots=SLOT_NAMES, half=True)
    (raw,) = read(tmp_path).values()
    assert (np.diff(raw.seconds) > 0).all()
    np.testing.assert_allclose(raw.seconds, worm.seconds - worm.seconds[0], atol=0.2)
    assert raw.notes == (
        "original_time_in_seconds does not increase; times are the sums of original_dt",
    )


def test_slots_of_neither_kind_are_a_note_and_names_decide(tmp_path):
    samples.write_export(
        tmp_path / "a.parquet",
        {("A", "w"): sample(0, 40, ("AVAL", "RIML"))},
        slots=list(reversed(SLOT_NAMES)),
    )
    (raw,) = read(tmp_path).values()
    assert raw.labels == ("AVAL", "RIML")
    assert raw.notes == ("slots are neither those of 302 nor of 300 neurons; names decide",)


def test_nwb_is_read_by_its_signal_and_the_table_of_neurons(tmp_path):
    worm = sample(0, 40)
    samples.write_nwb(tmp_path / "Sprague2024" / "sub-1.nwb", worm)
    ((key, raw),) = read(tmp_path).items()
    assert key == ("Sprague2024", "sub-1")
    order = [list(raw.labels).index(label) for label in NAMES]
    np.testing.assert_allclose(raw.traces[:, order], worm.traces)
    np.testing.assert_allclose(raw.seconds, worm.seconds)


def test_nwb_with_a_rate_has_even_times(tmp_path):
    samples.write_nwb(tmp_path / "a.nwb", sample(0, 40), rate=4.0)
    (raw,) = read(tmp_path).values()
    np.testing.assert_allclose(raw.seconds, np.arange(40) / 4)


def test_nwb_without_names_says_what_columns_there_are(tmp_path):
    samples.write_nwb(tmp_path / "a.nwb", sample(0, 40), column=None)
    with pytest.raises(InvalidInput, match=r"names no neuron: .* expected one of ID_labels"):
        read(tmp_path)


def test_tables_are_read_with_the_folder_as_source(tmp_path):
    worm = sample(0, 40)
    samples.write_csv(tmp_path / "Mine" / "one.csv", worm)
    samples.write_npz(tmp_path / "Mine" / "two.npz", worm)
    samples.write_csv(tmp_path / "three.csv", worm)
    found = read(tmp_path)
    assert set(found) == {("Mine", "one"), ("Mine", "two"), (tmp_path.name, "three")}
    for raw in found.values():
        same(raw, worm)


BROKEN = {
    "WT_Stim.mat": (b"MATLAB 5.0 MAT-file" + bytes(300), "is no whole MATLAB file"),
    "n2_let.mat": (b"\x89HDF\r\n\x1a\n" + bytes(40), "is no whole MATLAB 7.3 file"),
    "Head_Activity_OH15500.mat": (b"", "is no whole MATLAB file"),
    "a.json": (b"{", "is not valid JSON"),
    "b.json": (b"[]", "is a JSON list, expected an object"),
    "c.json": (b"{}", "lacks timestamp_confocal, trace_array, labeled"),
    "d.json": (
        b'{"timestamp_confocal": [0], "trace_array": [[1], [1, 2]], "labeled": {}}',
        "trace_array: expected numbers in equal rows",
    ),
    "e.json": (
        b'{"timestamp_confocal": [0], "trace_array": [[1]], "labeled": {"2": {}}}',
        "labeled '2': expected a neuron from 1 to 1",
    ),
    "a.h5": (b"no", "is no whole HDF5 file"),
    "0_gcamp.txt": (b"1 2\n3\n", "has no 0_labels.txt beside it"),
    "a.parquet": (b"PAR1", "is no whole parquet file"),
    "a.nwb": (b"no", "could not be read as NWB"),
    "a.csv": (b"AVAL,AVAR\n1,2\n", "expected a first row of seconds or time or t"),
    "b.csv": (b"time,AVAL\n1,2\n3\n", "line 3 has 1 cells, expected 2"),
    "c.csv": (b"time,AVAL\n1,x\n", "line 2: could not convert string to float"),
    "a.npz": (b"PK\x03\x04", "is no archive of plain NumPy arrays"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_says_what_is_wrong_with_it(tmp_path, name):
    content, said = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=said):
        read(tmp_path)


def test_a_matlab_file_without_the_fields_says_what_it_holds(tmp_path):
    samples.write_struct(tmp_path / "Uzel_WT.mat", [sample(0, 40)], key="x", fields=("a", "b", "c"))
    with pytest.raises(InvalidInput, match=r"holds x \(a, b, c\); expected a struct with IDs"):
        read(tmp_path)


def test_lists_of_different_length_are_refused(tmp_path):
    struct = {
        "IDs": [list(NAMES)],
        "traces": [sample(0, 40).traces] * 2,
        "timeVectorSeconds": [sample(0, 40).seconds[:, None]] * 2,
    }
    samples.write_mat5(tmp_path / "n2_let.mat", {"n2_let": struct})
    with pytest.raises(InvalidInput, match="labels of 1 worms, traces of 2 and times of 2"):
        read(tmp_path)


def test_yemini_flags_and_traces_must_agree(tmp_path):
    samples.write_mat5(
        tmp_path / "Head_Activity_OH15500.mat",
        {
            "neurons": ["AVA"],
            "files": ["a", "b"],
            "is_L": [np.array([[1.0]])],
            "norm_traces": [[np.ones((5, 1))] * 2],
            "fps": 4.0,
        },
    )
    with pytest.raises(InvalidInput, match="neuron 'AVA' has 1 flags of side and 2 traces"):
        read(tmp_path)


def test_text_that_is_no_number_names_its_line(tmp_path):
    samples.write_leifer(tmp_path, 0, sample(0, 4))
    (tmp_path / "0_t.txt").write_text("0\n1\nx\n3\n")
    with pytest.raises(InvalidInput, match=r"0_t.txt: line 3: could not convert"):
        read(tmp_path)


def test_a_folder_without_recordings_says_what_is_known(tmp_path):
    (tmp_path / "README.md").write_text("hello")
    with pytest.raises(NotFound, match=r"holds no recording of a known kind; known: MATLAB files"):
        discover(tmp_path)
    with pytest.raises(NotFound, match="is no folder"):
        discover(tmp_path / "nowhere")


def test_files_that_nobody_knows_are_listed_and_hidden_ones_are_not(tmp_path):
    samples.write_csv(tmp_path / "a.csv", sample(0, 10))
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "other.mat").write_text("x")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "b.csv").write_text("x")
    assert discover(tmp_path).unknown == ("notes.txt", "other.mat")


@pytest.mark.parametrize(
    ("module", "file"), [("scipy.io", "Uzel_WT.mat"), ("pynwb", "a.nwb"), ("pyarrow", "a.parquet")]
)
def test_a_library_that_is_missing_is_named_with_the_remedy(tmp_path, monkeypatch, module, file):
    (tmp_path / file).write_bytes(bytes(200))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=r'pip install "zapeval\[worms\]"'):
        read(tmp_path)


def test_the_real_worm_is_read(recordings_folder):
    folder = recordings_folder / "celegans_atanas2023_2022-08-02-01"
    ((key, raw),) = read(folder).items()
    assert key == ("Flavell2023", "celegans_atanas2023_2022-08-02-01")
    assert raw.traces.shape == (1600, 98)
    names = json.loads((folder / "neurons.json").read_text())
    assert list(raw.labels) == names[:98]
    assert np.median(np.diff(raw.seconds)) == pytest.approx(0.6, rel=1e-3)
