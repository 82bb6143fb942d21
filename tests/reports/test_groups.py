from __future__ import annotations

from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
from builders import StoreLayout, horizon_case, worms_case, write_zarr
from hypothesis import given
from hypothesis import strategies as st

from zapeval.errors import InvalidInput, NotFound, UsageError
from zapeval.recordings.arrays import open_array
from zapeval.recordings.recording import NEURONS, NeuronTable, Recordings, open_recording
from zapeval.reports import groups
from zapeval.reports.groups import deviations, group, neuron_finder

REGIONS = ("tectum", "", "pallium", "tectum", "pallium", "", "tectum")


def table(regions=REGIONS, names=None):
    """Returns a neuron table, n0 first."""
    names = names or tuple(f"n{index}" for index in range(len(regions)))
    positions = np.arange(3 * len(regions), dtype=np.float32).reshape(-1, 3)
    return NeuronTable(names=names, regions=regions, positions=positions)


def with_tables(case, folder, tables):
    """Writes the recordings as folders with neuron tables, and opens them."""
    openers = {}
    for key, activity in case.activity.items():
        write_zarr(folder / key / "traces", activity, StoreLayout(chunk=(8, 4)))
        if key in tables:
            (folder / key / NEURONS).write_text(tables[key].to_csv())
        openers[key] = lambda uri=str(folder / key): open_recording(uri)
    return Recordings(openers)


def trained(case, *spans):
    """Returns the case with training frames in its first series."""
    first, *others = case.benchmark.series
    series = (replace(first, train=spans), *others)
    return replace(case, benchmark=replace(case.benchmark, series=series))


def members(grouping, key="fish"):
    """Returns the groups of a recording as lists by name."""
    return {
        name: of.tolist() for name, of in zip(grouping.names, grouping.members[key], strict=True)
    }


def test_regions_are_groups_and_a_neuron_without_one_is_in_none(tmp_path):
    case = horizon_case()
    made = group("region", case.benchmark, with_tables(case, tmp_path, {"fish": table()}))
    assert made.by == "region"
    assert members(made) == {"pallium": [2, 4], "tectum": [0, 3, 6]}
    assert [made.count(index) for index in range(2)] == [2, 3]


def test_regions_of_several_recordings_share_their_names(tmp_path):
    case = worms_case(neurons=(3, 2, 4))
    tables = {
        f"worm-{index}": table(("head", "tail", "mid", "tail")[:count])
        for index, count in enumerate((3, 2, 4))
    }
    made = group("region", case.benchmark, with_tables(case, tmp_path, tables))
    assert made.names == ("head", "mid", "tail")
    assert members(made, "worm-1") == {"head": [0], "mid": [], "tail": [1]}
    assert made.count(2) == 4


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({}, r"has no neuron table"),
        ({"fish": table(("",) * 7)}, "name no region"),
        ({"fish": table(("all",) * 7)}, "that of every neuron"),
    ],
)
def test_regions_that_are_not_there_are_said(tmp_path, tables, said):
    case = horizon_case()
    with pytest.raises(InvalidInput, match=said):
        group("region", case.benchmark, with_tables(case, tmp_path, tables))


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_activity_makes_equal_parts_in_order_of_the_deviation(tmp_path, parts):
    case = trained(horizon_case(), (0, 9), (5, 20), (22, 31))
    made = group(f"activity:{parts}", case.benchmark, case.recordings(tmp_path))
    frames = np.r_[0:20, 22:31]  # frames that two ranges share count once
    spread = np.std(case.activity["fish"][frames].astype(np.float64), axis=0)
    found = list(members(made).values())
    assert sorted(chain(*found)) == list(range(7))
    assert max(map(len, found)) - min(map(len, found)) <= 1
    for quiet, loud in pairwise(found):
        assert max(spread[quiet]) < min(spread[loud])
    assert made.ranked


def test_equal_deviations_are_parted_by_index(tmp_path):
    case = trained(horizon_case(), (0, 20))
    case.activity["fish"][:] = case.activity["fish"][:, :1]
    made = group("activity:2", case.benchmark, case.recordings(tmp_path))
    assert list(members(made).values()) == [[0, 1, 2, 3], [4, 5, 6]]


def test_neurons_that_are_not_scored_or_not_finite_are_in_no_part(tmp_path):
    case = trained(horizon_case(mask=(True, False, True, True, True, True, True)), (0, 20))
    case.activity["fish"][3, 4] = np.nan
    case.activity["fish"][25, 5] = np.nan  # not a training frame
    made = group("activity:2", case.benchmark, case.recordings(tmp_path))
    assert sorted(chain(*members(made).values())) == [0, 2, 3, 5, 6]


@pytest.mark.parametrize("parts", [0, 8])
def test_as_many_parts_as_neurons_at_most(tmp_path, parts):
    case = trained(horizon_case(), (0, 20))
    with pytest.raises(UsageError, match="expected 1 to 7 parts"):
        group(f"activity:{parts}", case.benchmark, case.recordings(tmp_path))


def test_activity_needs_training_frames(tmp_path):
    case = horizon_case()
    with pytest.raises(InvalidInput, match="'fish' has no frames to train on"):
        group("activity:2", case.benchmark, case.recordings(tmp_path))


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 30)),
    chunk=st.tuples(st.integers(1, 40), st.integers(1, 30)),
    tile=st.integers(1, 20_000),
    offset=st.sampled_from([0.0, 1e4]),
    data=st.data(),
)
def test_deviations_are_those_of_the_whole_array(
    tmp_path_factory, shape, chunk, tile, offset, data
):
    values = np.random.default_rng(3).normal(offset, 1, shape).astype(np.float32)
    cuts = sorted(data.draw(st.sets(st.integers(0, shape[0]), min_size=2, max_size=4)))
    spans = list(zip(cuts[::2], cuts[1::2], strict=False))
    path = tmp_path_factory.mktemp("traces") / "a"
    chunk = tuple(map(min, chunk, shape))
    write_zarr(path, values, StoreLayout(chunk=chunk))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "TILE_BYTES", tile)
        patch.setattr(groups, "_NARROW", 8)
        found = deviations(open_array(str(path)), spans)
    frames = np.concatenate([np.arange(*span) for span in spans])
    np.testing.assert_allclose(found, values[frames].astype(np.float64).std(axis=0), atol=1e-9)


class Counted:
    """An array that remembers the largest block that was read of it."""

    def __init__(self, array):
        self._array, self.largest, self.read_values = array, 0, 0
        self.shape, self.chunk = array.shape, array.chunk

    def read(self, *spans):
        values = self._array.read(*spans)
        self.largest = max(self.largest, values.nbytes)
        self.read_values += values.size
        return values


@pytest.mark.parametrize("chunk", [(16, 8), (1, 64), (200, 1), (200, 64)])
def test_a_recording_is_read_once_in_tiles(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(groups, "TILE_BYTES", 20 * 1024)
    monkeypatch.setattr(groups, "_NARROW", 16)
    values = np.random.default_rng(0).normal(size=(200, 64)).astype(np.float32)
    write_zarr(tmp_path / "a", values, StoreLayout(chunk=chunk))
    array = Counted(open_array(str(tmp_path / "a")))
    np.testing.assert_allclose(
        deviations(array, [(0, 200)]), values.astype(np.float64).std(axis=0), rtol=1e-12
    )
    assert array.read_values == values.size
    assert array.largest <= 4 * 1024


def write(folder: Path, text: str, encoding="utf-8") -> str:
    path = folder / "mine.csv"
    path.write_bytes(text.encode(encoding))
    return str(path)


@pytest.mark.parametrize(
    "text",
    [
        "neuron,group\nn4,loud\n2,quiet\nn0,quiet\n",
        "\ufeffneuron,group\r\nn4,loud\r\n\r\n2,quiet\r\nn0,quiet\r\n",
        'group , neuron\nloud, 4\nquiet,2\n"quiet",0\n',
    ],
)
def test_a_file_names_neurons_by_name_or_index(tmp_path, text):
    case = horizon_case()
    recordings = with_tables(case, tmp_path, {"fish": table()})
    made = group(write(tmp_path, text), case.benchmark, recordings)
    assert members(made) == {"loud": [4], "quiet": [0, 2]}
    assert made.by == "mine.csv"


def test_a_name_goes_before_an_index(tmp_path):
    case = horizon_case()
    names = tuple(str(6 - index) for index in range(7))
    recordings = with_tables(case, tmp_path, {"fish": table(names=names)})
    made = group(write(tmp_path, "neuron,group\n1,a\n"), case.benchmark, recordings)
    assert members(made) == {"a": [5]}


def test_a_file_serves_several_recordings_where_they_have_the_neuron(tmp_path):
    case = worms_case(neurons=(3, 2, 4))
    made = group(
        write(tmp_path, "neuron,group\n2,a\n0,b\n"), case.benchmark, case.recordings(tmp_path)
    )
    assert members(made, "worm-0") == {"a": [2], "b": [0]}
    assert members(made, "worm-1") == {"a": [], "b": [0]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: columns are , expected neuron,group"),
        ("a,b\n", "line 1: columns are a, b, expected neuron,group"),
        ("neuron,group,more\n", "line 1: columns are neuron, group, more"),
        ("neuron,group\n", "names no neuron"),
        ("neuron,group\n0,a\n1\n", "line 3: has 1 cells, expected 2"),
        ("neuron,group\n0,a,b\n", "line 2: has 3 cells, expected 2"),
        ("neuron,group\n0,a\n1, \n", "line 3: group is '', expected a name"),
        ("neuron,group\n0,all\n", "line 2: group is 'all'"),
        ("neuron,group\n0,a\n\n7,a\n", "line 4: neuron '7': not in .*expected .* 0 to 6"),
        ("neuron,group\n-1,a\n", "line 2: neuron '-1': not in"),
        ("neuron,group\n1.0,a\n", "line 2: neuron '1.0': not in"),
        ("neuron,group\nn9,a\n", "line 2: neuron 'n9': not in"),
        ("neuron,group\n0,a\nn0,b\n", "line 3: neuron 'n0' stands in line 2 already"),
        ("neuron,group\n0,a\n0,a\n", "line 3: neuron '0' stands in line 2 already"),
        ("neuron,group\ntwin,a\n", "line 2: neuron 'twin': 2 neurons .* such as 5"),
        ('neuron,group\n0,a\n"1,a\n', "line 3: is no CSV"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, text, said):
    case = horizon_case()
    names = ("n0", "n1", "n2", "n3", "n4", "twin", "twin")
    recordings = with_tables(case, tmp_path, {"fish": table(names=names)})
    with pytest.raises(InvalidInput, match=said):
        group(write(tmp_path, text), case.benchmark, recordings)


def test_a_file_that_is_not_there_or_no_text_is_said(tmp_path):
    case = horizon_case()
    recordings = case.recordings(tmp_path)
    with pytest.raises(NotFound, match="does not exist"):
        group(str(tmp_path / "none.csv"), case.benchmark, recordings)
    with pytest.raises(InvalidInput, match="as text in UTF-8"):
        group(write(tmp_path, "neuron,group\n0,é\n", "latin-1"), case.benchmark, recordings)


@pytest.mark.parametrize("by", ["", "regions", "activity", "activity:", "activity:-1", "mine.txt"])
def test_another_way_to_group_lists_those_that_are(tmp_path, by):
    case = horizon_case()
    with pytest.raises(UsageError, match=r"expected region, activity:N .* or FILE\.csv"):
        group(by, case.benchmark, case.recordings(tmp_path))


def test_a_finder_without_a_table_takes_indices_alone(tmp_path):
    case = horizon_case()
    find = neuron_finder(case.recordings(tmp_path)["fish"])
    assert [find("0"), find("6")] == [0, 6]
    with pytest.raises(NotFound, match="expected 0 to 6"):
        find("7")
