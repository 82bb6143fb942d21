from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zapeval.benchmarks.benchmark import Benchmark, target_span
from zapeval.benchmarks.definition import Definition, RecordingTable, SeriesTable, Split, Table
from zapeval.benchmarks.own import read_own
from zapeval.benchmarks.recipe import Recipe, check_recordings
from zapeval.benchmarks.zebrafish import DEFINITION
from zapeval.errors import InvalidInput, NotFound
from zapeval.forecasting.predictions import open_predictions
from zapeval.recordings.recording import open_recording
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import Layout, create_array
from zapeval.scoring.score import score

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("*.toml"))
FRAMES, NEURONS = 100, 6

OWN = """\
id = "mine"
version = 3
title = "My worms"
citation = "Me"
context_lengths = [2, 8]
horizon = 5

[split]
train = [0.0, 0.7]
validation = [0.7, 0.8]
test = [0.8, 1.0]

[[recordings]]
keys = ["w1", "w2"]
activity = "{key}.npy"
exclude = [1, 4]
group = "lab"

[[series]]
name = "second worm"
recording = "w2"
array = "second"
frames = [0, 100]
"""


def activity(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(FRAMES, NEURONS)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two recordings, w1.npy and w2.npy, float32 [100 frames, 6 neurons]."""
    for seed, key in enumerate(("w1", "w2")):
        np.save(tmp_path / f"{key}.npy", activity(seed))
    return tmp_path


def resolve(folder: Path, text: str = OWN, *edits: tuple[str, str], data: str | None = None):
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "mine.toml").write_text(text)
    recipe = read_own(folder / "mine.toml")
    return recipe.resolve(recipe.recordings(data))


def test_a_file_becomes_a_benchmark(folder):
    (folder / "mine.toml").write_text(OWN)
    recipe = read_own(str(folder / "mine.toml"))
    assert isinstance(recipe, Recipe)
    assert (recipe.id, recipe.version, recipe.title) == ("mine", 3, "My worms")
    recordings = recipe.recordings()
    benchmark = recipe.resolve(recordings)
    assert (benchmark.primary, benchmark.frame_seconds) == ("mae", None)
    check_recordings(benchmark, recordings)
    assert (benchmark.label, benchmark.citation) == ("mine@3", "Me")
    assert (benchmark.context_lengths, benchmark.max_context) == ((2, 8), 8)
    assert benchmark.frames == (("w1", FRAMES), ("w2", FRAMES))
    assert benchmark.summary_steps == (1, 2, 4, 5)
    first, second = benchmark.series
    assert (first.name, first.array, first.recording) == ("w1", "w1", "w1")
    assert (second.name, second.array, second.recording) == ("second worm", "second", "w2")
    for series in benchmark.series:
        assert series.origins == tuple(range(80, 96))
        assert (series.train, series.validation) == (((0, 70),), ((70, 80),))
        assert series.mask == (True, False, True, True, False, True)
        assert series.group == "lab"


@pytest.mark.parametrize(
    ("horizon", "steps"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))]
)
def test_summary_steps_default_to_powers_of_two_and_the_horizon(folder, horizon, steps):
    assert resolve(folder, OWN, ("horizon = 5", f"horizon = {horizon}")).summary_steps == steps


def test_next_step_has_one_context_length_and_one_step(folder):
    edits = (("context_lengths = [2, 8]", 'protocol = "next-step"'),)
    benchmark = resolve(folder, OWN, *edits)
    assert (benchmark.protocol, benchmark.steps) == ("next-step", 1)
    assert (benchmark.context_lengths, benchmark.summary_steps) == ((5,), (1,))


@pytest.mark.parametrize(("written", "seconds"), [("0.5", 0.5), ("2", 2.0), ("1e-3", 0.001)])
def test_seconds_are_numbers_with_or_without_a_point(folder, written, seconds):
    edit = ("horizon = 5", f"horizon = 5\nframe_seconds = {written}")
    assert resolve(folder, OWN, edit).frame_seconds == seconds


@pytest.mark.parametrize(
    ("edits", "sampled"),
    [
        ((), "series"),
        ((("horizon = 5", 'horizon = 5\nsampled = "time"'),), "time"),
        ((('["w1", "w2"]', '["w2"]'),), "time"),
        ((('array = "second"', "held_out = true"),), "time"),
    ],
)
def test_chance_acts_on_series_where_several_recordings_are_averaged(folder, edits, sampled):
    assert resolve(folder, OWN, *edits).sampled == sampled


def test_a_series_finds_its_recording_by_its_own_name_or_where_there_is_one(folder):
    by_name = resolve(folder, OWN, ('"second worm"\nrecording = "w2"', '"w2"'))
    assert [series.recording for series in by_name.series] == ["w1", "w2"]
    only = resolve(folder, OWN, ('["w1", "w2"]', '["w1"]'), ('recording = "w2"\n', ""))
    assert [(series.name, series.recording) for series in only.series] == [("second worm", "w1")]


def test_a_name_becomes_a_safe_folder_name(folder):
    for name, array in [("open loop", "open_loop"), ("αβ+1", "1"), ("é", "series"), ("_x", "x")]:
        edits = (('name = "second worm"', f'name = "{name}"'), ('array = "second"\n', ""))
        assert resolve(folder, OWN, *edits).series[1].array == array


# Places


def test_places_are_relative_to_the_file_or_to_data_or_absolute(folder, tmp_path_factory):
    here = resolve(folder)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "recordings").mkdir()
    for key in ("w1", "w2"):
        shutil.move(folder / f"{key}.npy", elsewhere / "recordings" / f"{key}.npy")
    data = str(elsewhere / "recordings")
    assert resolve(folder, data=data).digest == here.digest
    assert resolve(folder, data=f"{data}/").digest == here.digest
    assert resolve(folder, data=f"file://{data}").digest == here.digest
    for place in (data, f"file://{data}"):
        edit = ('"{key}.npy"', f'"{place}/{{key}}.npy"')
        assert resolve(folder, OWN, edit, data=str(folder)).digest == here.digest


def test_data_that_is_no_folder_is_an_error(folder):
    with pytest.raises(NotFound, match="nowhere: is no folder; expected the one that holds the re"):
        resolve(folder, data=str(folder / "nowhere"))


def test_recordings_are_opened_when_they_are_asked_for(folder):
    (folder / "w2.npy").unlink()
    (folder / "mine.toml").write_text(OWN)
    recordings = read_own(folder / "mine.toml").recordings()
    assert list(recordings) == ["w1", "w2"]
    assert recordings["w1"].frames == FRAMES
    with pytest.raises(NotFound):
        _ = recordings["w2"].frames


def write_zarr(place: Path, values: np.ndarray) -> None:
    layout = Layout(chunk=(32, values.shape[1]))
    create_array(open_store(place), values.shape, "float32", layout).write((0, 0), values)


def test_hdf5_zarr_and_folders_are_the_same_benchmark_as_numpy(folder):
    digest = resolve(folder).digest
    for seed, key in enumerate(("w1", "w2")):
        with h5py.File(folder / f"{key}.h5", "w") as file:
            file["deep/traces"] = activity(seed)
            file["turned"] = activity(seed).T
        write_zarr(folder / f"{key}.zarr", activity(seed))
        write_zarr(folder / key / "traces", activity(seed))
        np.save(folder / f"{key}T.npy", activity(seed).T)
    turned = '"\naxes = ["neurons", "frames"]'
    for name in ("{key}.h5:/deep/traces", "{key}.zarr", "{key}", "./{key}/traces"):
        assert resolve(folder, OWN, ('"{key}.npy"', f'"{name}"')).digest == digest
    for name in ("{key}T.npy", "{key}.h5:/turned"):
        assert resolve(folder, OWN, ('{key}.npy"', name + turned)).digest == digest
    with pytest.raises(
        InvalidInput, match=r"axes: got neurons first, but .* is a folder, whose tr"
    ):
        resolve(folder, OWN, ('{key}.npy"', "{key}" + turned))


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """A web server over the folder."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_recordings_may_be_on_a_server(folder, address):
    digest = resolve(folder).digest
    for seed, key in enumerate(("w1", "w2")):
        write_zarr(folder / "below" / f"{key}.zarr", activity(seed))
        (folder / f"{key}.npy").unlink()
    edit = ('"{key}.npy"', '"{key}.zarr"')
    assert resolve(folder, OWN, edit, data=f"{address}/below").digest == digest
    absolute = ('"{key}.npy"', f'"{address}/below/{{key}}.zarr"')
    assert resolve(folder, OWN, absolute, data=str(folder)).digest == digest


@pytest.mark.parametrize(
    ("place", "error", "complaint"),
    [
        ("{key}.zarr", NotFound, "/w1.zarr: does not exist; put it there, or give the folder of"),
        ("x{key}.npy", NotFound, "/xw1.npy: does not exist; put it there, or give the folder of"),
        ("{key}.h5:/x", NotFound, "/w1.h5: does not exist; put it there"),
        ("{key}.h5", InvalidInput, "/w1.h5: names a file; say which dataset, as in "),
        ("gs://b/{key}.npy", InvalidInput, "gs://b/w1.npy: NumPy and HDF5 files are read from a"),
        ("s3://b/{key}.h5:/x", InvalidInput, "s3://b/w1.h5:/x: NumPy and HDF5 files are read fr"),
        ("ftp://b/{key}", InvalidInput, "ftp://b/w1: scheme 'ftp' is not one of file, gs, s3"),
        ("flat.npy?{key}", NotFound, "/flat.npy?w1: does not exist"),
    ],
)
def test_a_recording_that_cannot_be_opened_names_file_table_and_place(
    folder, place, error, complaint
):
    with pytest.raises(error) as caught:
        resolve(folder, OWN, ('"{key}.npy"', f'"{place}"'))
    assert str(caught.value).startswith(f"{folder}/mine.toml: [[recordings]] 'w1': activity: ")
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (np.zeros(8), r"has shape \[8\], expected \[frames, neurons\]"),
        (np.zeros((100, 6), complex), "holds complex128, expected real numbers"),
        (np.zeros((100, 6), "U3"), "holds <U3, expected real numbers"),
    ],
)
def test_a_recording_of_something_else_is_an_error(folder, values, complaint):
    np.save(folder / "w2.npy", values)
    with pytest.raises(InvalidInput, match=rf"\[\[recordings\]\] 'w2': activity: .*{complaint}"):
        resolve(folder)


def test_a_recording_that_is_not_given_is_an_error(folder):
    (folder / "mine.toml").write_text(OWN)
    recipe = read_own(folder / "mine.toml")
    given = {"w1": open_recording(str(folder / "w1.npy"))}
    with pytest.raises(InvalidInput, match="'w2': activity: the recording is not given"):
        recipe.resolve(given)


def test_an_overlap_names_the_file(folder):
    with pytest.raises(InvalidInput) as caught:
        resolve(folder, OWN, ("train = [0.0, 0.7]", "train = [0.0, 0.9]"))
    assert str(caught.value) == (
        f"{folder}/mine.toml: train of series 'w1', frames [0, 90), overlaps validation of series "
        "'w1', frames [70, 80): frames [70, 80) of recording 'w1' are for both; move one"
    )


# Masks


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_a_mask_file_is_the_same_as_an_exclusion_list(folder, dtype):
    (folder / "masks").mkdir()
    for key in ("w1", "w2"):
        np.save(folder / "masks" / f"{key}.npy", np.array([1, 0, 1, 1, 0, 1], dtype))
    masked = resolve(folder, OWN, ("exclude = [1, 4]", 'mask = "masks/{key}.npy"'))
    assert masked.digest == resolve(folder).digest
    assert masked.digest != resolve(folder, OWN, ("exclude = [1, 4]", "")).digest


def test_a_mask_lies_beside_the_definition_wherever_the_recordings_are(folder, tmp_path_factory):
    np.save(folder / "mask.npy", np.array([1, 0, 1, 1, 0, 1], bool))
    expected = resolve(folder).digest
    data = tmp_path_factory.mktemp("data")
    for key in ("w1", "w2"):
        shutil.move(folder / f"{key}.npy", data / f"{key}.npy")
    edit = ("exclude = [1, 4]", 'mask = "mask.npy"')
    assert resolve(folder, OWN, edit, data=str(data)).digest == expected


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        (np.ones(5, bool), "has shape [5], expected one flag for each of the recording's 6 neur"),
        (np.ones((6, 1), bool), "has shape [6, 1], expected one flag for each"),
        (np.zeros(6, bool), "leaves out all 6 neurons; keep one"),
        (np.array([0, 1, 2, 3, 4, 5]), "holds int64, expected true and false (or 1 and 0)"),
        (np.ones(6), "holds float64, expected true and false (or 1 and 0)"),
        (None, "does not exist"),
    ],
)
def test_a_wrong_mask_is_an_error(folder, values, complaint):
    if values is not None:
        np.save(folder / "m.npy", values)
    with pytest.raises((InvalidInput, NotFound)) as caught:
        resolve(folder, OWN, ("exclude = [1, 4]", 'mask = "m.npy"'))
    start = f"{folder}/mine.toml: [[recordings]] 'w1': mask: {folder}/m.npy: "
    assert str(caught.value).startswith(start + complaint)


@pytest.mark.parametrize(
    ("neurons", "complaint"),
    [
        ([1, 6], "exclude: got neuron 6, expected numbers below 6, counted from 0"),
        ([0, 1, 2, 3, 4, 5], "exclude: leaves out all 6 neurons; keep one"),
    ],
)
def test_a_wrong_exclusion_list_is_an_error(folder, neurons, complaint):
    with pytest.raises(InvalidInput, match=rf"mine\.toml: \[\[recordings\]\] 'w1': {complaint}"):
        resolve(folder, OWN, ("[1, 4]", str(neurons)))


# Digest

SAME = [
    ('title = "My worms"', 'title = "Ours"'),
    ('citation = "Me"', 'citation = "You"\nframe_seconds = 0.5'),
    ("validation = [0.7, 0.8]", "validation = [70, 80]"),
    ("test = [0.8, 1.0]", "test = [80, 100]\nstride = 1"),
    ("test = [0.8, 1.0]", "test = [80, 100]\nwindows = 16"),
    ("exclude = [1, 4]", "exclude = [4, 1]"),
    ('activity = "{key}.npy"', 'activity = "./{key}.npy"\naxes = ["frames", "neurons"]'),
    ("horizon = 5", 'horizon = 5\nprotocol = "horizon"\nsummary_steps = [1, 2, 4, 5]'),
    ("frames = [0, 100]", "frames = [0.0, 1.0]\nheld_out = false"),
    ('group = "lab"', 'group = "lab" # a comment'),
]


@pytest.mark.parametrize(("old", "new"), SAME)
def test_the_digest_stands_still_where_scores_do(folder, old, new):
    assert resolve(folder, OWN, (old, new)).digest == resolve(folder).digest


OTHER = [
    ('id = "mine"', 'id = "yours"'),
    ("version = 3", "version = 4"),
    ("[2, 8]", "[2, 9]"),
    ("[2, 8]", "[3, 8]"),
    ("horizon = 5", "horizon = 6"),
    ("horizon = 5", 'horizon = 5\nprimary = "mse"'),
    ("horizon = 5", "horizon = 5\nsummary_steps = [1]"),
    ("horizon = 5", 'horizon = 5\nsampled = "time"'),
    ("context_lengths = [2, 8]", 'protocol = "next-step"'),
    ("train = [0.0, 0.7]", "train = [0.0, 0.6]"),
    ("validation = [0.7, 0.8]", ""),
    ("test = [0.8, 1.0]", "test = [0.81, 1.0]"),
    ("test = [0.8, 1.0]", "test = [0.8, 0.99]"),
    ("test = [0.8, 1.0]", "test = [0.8, 1.0]\nstride = 2"),
    ("test = [0.8, 1.0]", "test = [0.8, 1.0]\nwindows = 3"),
    ("exclude = [1, 4]", "exclude = [1, 5]"),
    ("exclude = [1, 4]", ""),
    ('group = "lab"', ""),
    ('name = "second worm"', 'name = "another"'),
    ('array = "second"', 'array = "third"'),
    ('array = "second"', 'array = "second"\nheld_out = true'),
    ('array = "second"', 'array = "second"\ngroup = "field"'),
    ("frames = [0, 100]", "frames = [10, 100]"),
    ('recording = "w2"', 'recording = "w1"'),
]


def test_the_digest_moves_with_everything_that_scores_depend_on(folder):
    digests = [resolve(folder, OWN, edit).digest for edit in OTHER]
    digests.append(resolve(folder).digest)
    assert len(set(digests)) == len(OTHER) + 1


def test_the_digest_knows_keys_and_lengths_but_no_values(folder):
    digest = resolve(folder).digest
    np.save(folder / "w1.npy", activity(9))
    assert resolve(folder).digest == digest
    np.save(folder / "w1.npy", activity(9)[:-1])
    assert resolve(folder).digest != digest
    np.save(folder / "w1.npy", activity(0))
    (folder / "w2.npy").rename(folder / "w3.npy")
    edits = (('"w1", "w2"', '"w1", "w3"'), ('recording = "w2"', 'recording = "w3"'))
    assert resolve(folder, OWN, *edits).digest != digest


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.data())
def test_comments_and_the_order_of_keys_do_not_matter(folder, data):
    (folder / "mine.toml").write_text(OWN)
    expected = resolve(folder).digest
    lines = []
    for block in OWN.split("\n\n"):
        table, keys = re.fullmatch(r"(\[.*\]\n|)(.*)", block, re.DOTALL).groups()
        lines.append(table)
        for line in data.draw(st.permutations(keys.splitlines())):
            lines.append(data.draw(st.sampled_from(["", "\n", "# a comment\n"])))
            lines.append(line + data.draw(st.sampled_from(["", "  # why", "\t"])) + "\n")
    assert resolve(folder, "".join(lines)).digest == expected


# Through to the score


def write_predictions(place: Path, benchmark: Benchmark, values: dict[str, np.ndarray]) -> str:
    """Writes a perfect forecast, but for neuron 1."""
    for series in benchmark.series:
        forecast = np.stack(
            [values[series.recording][o : o + benchmark.horizon] for o in series.origins]
        )
        forecast[:, :, 1] += 1
        layout = Layout(chunk=(16, 1, forecast.shape[2]))
        store = open_store(place / series.array)
        create_array(store, forecast.shape, "float32", layout).write((0, 0, 0), forecast)
    return str(place)


@pytest.mark.parametrize(("excluded", "error"), [("[1, 4]", 0.0), ("[0, 4]", 0.25)])
def test_a_perfect_forecast_scores_zero_but_for_what_is_not_scored(folder, excluded, error):
    benchmark = resolve(folder, OWN, ("[1, 4]", excluded))
    values = {"w1": activity(0), "w2": activity(1)}
    uri = write_predictions(folder / "predictions", benchmark, values)
    recordings = read_own(folder / "mine.toml").recordings()
    card, _ = score(open_predictions(uri), benchmark, recordings, context=8)
    assert card.summary.value == pytest.approx(error, abs=1e-7)
    assert [line.scored for line in card.series] == [4, 4]


# Real recordings and the guide


def test_22_fish_have_the_windows_that_arithmetic_gives(recordings_folder):
    data = recordings_folder / "zebrafish_legare2025_regions"
    recipe = read_own(DEFINITION)
    recordings = recipe.recordings(str(data))
    benchmark = recipe.resolve(recordings)
    assert benchmark.frames == tuple((f"fish{i}", 892) for i in range(1, 23))
    # 0.7 * 892 = 624.4 and 0.8 * 892 = 713.6; 892 - 713 = 179 test frames; 179 - 32 + 1 = 148.
    assert benchmark.windows == 22 * 148 == 3256
    for series in benchmark.series:
        assert (series.train, series.validation) == (((0, 624),), ((624, 713),))
        assert series.origins == tuple(range(713, 861))
        assert target_span(benchmark, series) == (713, 892)
        assert series.mask is not None
        assert [n for n in range(70) if not series.mask[n]] == [10, 34, 44, 49, 69]
    stored = np.load(data / "timeseries_regions_fish7.npy")
    np.testing.assert_array_equal(
        recordings["fish7"].activity.read((713, 745)), stored[:, 713:745].T
    )
    assert benchmark.sampled == "series"
    excluded = np.load(data / "excluded_regions.npy")
    assert sorted(excluded.ravel().tolist()) == [10, 34, 44, 49, 69]


def blocks(language: str) -> list[str]:
    text = (DOCS / "own-recordings.md").read_text()
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for name, block in found if name == language]


def test_the_guide_shows_the_example_files_as_they_are():
    assert len(EXAMPLES) == 1
    shown = [path.read_text() for path in (*EXAMPLES, DEFINITION)]
    assert sorted(blocks("toml")[:2]) == sorted(shown)


def test_the_guide_runs_as_it_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make, show = blocks("python")
    exec(make, {})
    shutil.copy(DOCS / "examples" / "one-fish.toml", tmp_path)
    exec(show, {})
    printed = capsys.readouterr().out.splitlines()
    # [480, 600) holds origins 480, 482 .. 584; [1240, 1400) those to 1384; [1464, 2000) to 1984.
    assert [line.split(" (")[0] for line in printed[:2]] == ["gain 53", "open loop 73"]
    assert printed[2] == "taxis 261 () 1464"
    assert printed[3].startswith("one-fish@1 sha256:")


def test_the_guide_holds_one_fish_out_as_it_says(recordings_folder, tmp_path):
    held_out = blocks("toml")[2]
    (tmp_path / "own.toml").write_text(DEFINITION.read_text() + held_out)
    recipe = read_own(tmp_path / "own.toml")
    data = str(recordings_folder / "zebrafish_legare2025_regions")
    benchmark = recipe.resolve(recipe.recordings(data))
    assert [series.name for series in benchmark.series if series.held_out] == ["fish22"]
    assert benchmark.windows == 3256 and benchmark.series[-1].train == ()


def test_the_guide_names_a_video_as_it_says(tmp_path):
    np.save(tmp_path / "traces.npy", activity(0))
    np.save(tmp_path / "labels.npy", np.ones((3, 2, 1), np.uint16))
    for name, shape in (("film.zarr", (FRAMES, 3, 2, 1)), ("stimuli.zarr", (FRAMES, 4))):
        create_array(open_store(tmp_path / name), shape, "float32", Layout(chunk=shape))
    text = OWN.partition("[[recordings]]")[0] + blocks("toml")[3] + 'stimulus = "stimuli.zarr"\n'
    (tmp_path / "own.toml").write_text(text)
    recipe = read_own(tmp_path / "own.toml")
    recordings = recipe.recordings()
    assert recipe.resolve(recordings).windows > 0
    fish = recordings["fish"]
    parts = (fish.video, fish.segmentation, fish.stimulus)
    assert [part.shape for part in parts] == [(FRAMES, 3, 2, 1), (3, 2, 1), (FRAMES, 4)]


def test_a_part_that_is_not_there_is_named_when_it_is_asked_for(tmp_path):
    np.save(tmp_path / "w1.npy", activity(0))
    np.save(tmp_path / "w2.npy", activity(1))
    said = 'video = "film-{key}.npy"\n'
    text = OWN.replace("exclude", f"{said}exclude")
    (tmp_path / "own.toml").write_text(text)
    recipe = read_own(tmp_path / "own.toml")
    recordings = recipe.recordings()
    recipe.resolve(recordings)
    with pytest.raises(NotFound, match=r"w2\.npy: its video: .*film-w2\.npy: does not exist"):
        _ = recordings["w2"].video
    (tmp_path / "own.toml").write_text(text.replace("film-{key}", "film"))
    with pytest.raises(InvalidInput, match=r"video: got 'film.npy' for 2 keys"):
        read_own(tmp_path / "own.toml")


@pytest.mark.parametrize(
    ("heading", "table"),
    [
        ("Top of the file", Definition),
        ("`[split]`", Split),
        ("`[[recordings]]`", RecordingTable),
        ("`[[series]]`", SeriesTable),
    ],
)
def test_the_guide_lists_every_key_and_no_other(heading: str, table: type[Table]):
    text = (DOCS / "own-recordings.md").read_text()
    section = text.split(f"### {heading}\n")[1].split("\n#")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE)
    assert sorted(key for key, _ in rows) == sorted(table.model_fields)
    for key, default in rows:
        required = table.model_fields[key].is_required()
        assert not required or default.startswith("-"), key
