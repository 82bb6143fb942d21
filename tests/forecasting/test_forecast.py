from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import zarr
from builders import CONTEXT, Case, horizon_case, targets_of, worms_case

from baselines.naive import Mean, Persistence
from zapeval.errors import BrokenPlugin, InvalidInput, Refused, StorageError
from zapeval.forecasting import forecast as module
from zapeval.forecasting.forecast import forecast
from zapeval.forecasting.forecaster import Contexts, Forecaster
from zapeval.forecasting.manifest import read_manifest

WINDOWS = (40, 4, 70)  # two blocks, one, three


def fish(**options) -> Case:
    return horizon_case(windows=WINDOWS, neurons=5, **options)


def stored(path):
    """Returns the arrays of a store as zarr-python reads them."""
    group = zarr.open_group(str(path), mode="r")
    return {name: group[name][...] for name in group.array_keys()}


def run(case, tmp_path, forecaster, name="predictions.zarr", **options):
    """Forecasts a case; returns the arrays of the store."""
    recordings = case.recordings(tmp_path / "recordings")
    path = tmp_path / name
    forecast(forecaster, case.benchmark, recordings, path, context=CONTEXT, **options)
    return stored(path)


class Watching(Forecaster):
    """Repeats the last frame and keeps what it was handed."""

    name = "watching"

    def __init__(self):
        self.seen: list[Contexts] = []

    def forecast(self, contexts):
        self.seen.append(contexts)
        return np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1)

    @property
    def windows(self):
        return [(c.series, origin) for c in self.seen for origin in c.origins]


class Vandal(Watching):
    """Watches, then overwrites its contexts."""

    name = "vandal"

    def forecast(self, contexts):
        values = super().forecast(contexts)
        contexts.activity[...] = 1e6
        return values


class Interrupted(Watching):
    """Stops before it has forecast a window."""

    name = "watching"

    def __init__(self, series, origin, error=KeyboardInterrupt):
        super().__init__()
        self.at = series, origin
        self.error = error

    def forecast(self, contexts):
        if self.at[0] == contexts.series and self.at[1] in contexts.origins:
            raise self.error
        return super().forecast(contexts)


def test_persistence_repeats_the_frame_before_each_window(tmp_path):
    case = fish()
    found = run(case, tmp_path, Persistence())
    assert sorted(found) == [series.array for series in case.benchmark.series]
    for series in case.benchmark.series:
        values = found[series.array]
        assert values.dtype == np.float32
        assert values.shape == (series.windows, 5, 5)
        for window, origin in enumerate(series.origins):
            for step in range(5):
                expected = case.activity["fish"][origin - 1]
                np.testing.assert_array_equal(values[window, step], expected)


@pytest.mark.parametrize("window", [None, 1, 3])
def test_mean_repeats_the_mean_of_the_last_frames(tmp_path, window):
    case = fish()
    found = run(case, tmp_path, Mean(window))
    for series in case.benchmark.series:
        for index, origin in enumerate(series.origins):
            last = case.activity["fish"][origin - (window or CONTEXT) : origin]
            for neuron in range(5):
                mean = sum(float(value) for value in last[:, neuron]) / len(last)
                expected = np.full(5, mean)
                np.testing.assert_allclose(
                    found[series.array][index, :, neuron], expected, rtol=1e-6, atol=1e-9
                )


def test_contexts_hold_the_frames_before_the_origin_and_nothing_else(tmp_path):
    case = fish()
    watching = Watching()
    run(case, tmp_path, watching)
    expected = [(s.name, origin) for s in case.benchmark.series for origin in s.origins]
    assert watching.windows == expected
    for contexts in watching.seen:
        assert contexts.activity.dtype == np.float32
        assert contexts.horizon == 5
        for context, origin in zip(contexts.activity, contexts.origins, strict=True):
            np.testing.assert_array_equal(context, case.activity["fish"][origin - CONTEXT : origin])


@pytest.mark.parametrize("make", [fish, worms_case])
def test_contexts_lead_to_no_frame_that_is_not_in_them(tmp_path, make):
    watching = Watching()
    run(make(), tmp_path, watching)
    for contexts in watching.seen:
        behind = contexts.activity
        while behind is not None:
            assert isinstance(behind, np.ndarray)
            assert behind.size == contexts.activity.size
            behind = behind.base


@pytest.mark.parametrize("make", [fish, worms_case])
def test_a_forecaster_that_writes_into_its_contexts_is_refused(tmp_path, make):
    with pytest.raises(BrokenPlugin, match=r"vandal: .*windows \[0, .*changed its contexts"):
        run(make(), tmp_path, Vandal())


def test_context_may_be_shorter_than_the_boards(tmp_path):
    case = fish()
    watching = Watching()
    recordings = case.recordings(tmp_path)
    forecast(watching, case.benchmark, recordings, tmp_path / "out", context=2)
    assert {contexts.activity.shape[1] for contexts in watching.seen} == {2}
    group = zarr.open_group(str(tmp_path / "out"), mode="r")
    assert group.attrs["context"] == 2


@pytest.mark.parametrize("windows", [1, 3])
@pytest.mark.parametrize("make", [fish, worms_case])
def test_batches_stay_below_their_limit_and_change_nothing(tmp_path, monkeypatch, make, windows):
    case = make()
    whole = run(case, tmp_path, Watching(), "whole")
    neurons = max(activity.shape[1] for activity in case.activity.values())
    frames = CONTEXT if case.benchmark.protocol == "horizon" else case.benchmark.horizon
    limit = windows * frames * neurons * 4
    monkeypatch.setattr(module, "BATCH_BYTES", limit)
    watching = Watching()
    parts = run(case, tmp_path, watching, "parts")
    assert max(contexts.activity.nbytes for contexts in watching.seen) <= limit
    assert max(len(contexts.origins) for contexts in watching.seen) >= windows
    for name, values in whole.items():
        np.testing.assert_array_equal(parts[name], values)


def test_batch_has_a_window_even_where_one_exceeds_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH_BYTES", 1)
    watching = Watching()
    run(fish(), tmp_path, watching)
    assert {len(contexts.origins) for contexts in watching.seen} == {1}


# Resuming


def files(path):
    """Returns the bytes of a store by file, but for when it was created."""
    found = {}
    for file in sorted(path.rglob("*")):
        if file.is_file():
            found[str(file.relative_to(path))] = file.read_bytes()
    document = json.loads(found["zarr.json"])
    document["attributes"]["created"] = ""
    found["zarr.json"] = json.dumps(document)
    return found


# The 34th window of the third series: two of its blocks are missing then, one is whole.
STOP = "condition 2"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_repeating_goes_on_where_it_stopped(tmp_path, error, dtype):
    case = fish()
    series = case.benchmark.one(STOP)
    run(case, tmp_path, Watching(), "whole", dtype=dtype)
    raised = error if error is KeyboardInterrupt else BrokenPlugin
    with pytest.raises(raised):
        run(case, tmp_path, Interrupted(STOP, series.origins[33], error), "parts", dtype=dtype)
    assert not (tmp_path / "parts").exists()
    watching, told = Watching(), []
    run(case, tmp_path, watching, "parts", dtype=dtype, progress=told.append)
    assert watching.windows == [(STOP, origin) for origin in series.origins[32:]]
    assert sum(told) == case.benchmark.windows
    assert files(tmp_path / "parts") == files(tmp_path / "whole")
    assert not (tmp_path / ".parts.part").exists()


def test_repeating_another_day_goes_on_and_keeps_the_first_date(tmp_path):
    case = fish()
    interrupted(case, tmp_path, name="parts")
    document = tmp_path / ".parts.part" / "zarr.json"
    said = json.loads(document.read_text())
    said["attributes"]["created"] = "2020-01-01T00:00:00+00:00"
    document.write_text(json.dumps(said))
    watching = Watching()
    run(case, tmp_path, watching, "parts")
    assert len(watching.windows) == WINDOWS[2] - 32
    attributes = zarr.open_group(str(tmp_path / "parts"), mode="r").attrs
    assert attributes["created"] == "2020-01-01T00:00:00+00:00"


def test_interruption_at_any_block_leaves_the_same_bytes(tmp_path):
    case = fish()
    run(case, tmp_path, Watching(), "whole")
    stops = [(s.name, o) for s in case.benchmark.series for o in s.origins[:: s.windows // 2]]
    for number, stop in enumerate(stops):
        with pytest.raises(KeyboardInterrupt):
            run(case, tmp_path, Interrupted(*stop), f"parts-{number}")
        run(case, tmp_path, Watching(), f"parts-{number}")
        assert files(tmp_path / f"parts-{number}") == files(tmp_path / "whole")


def test_interruption_twice_loses_nothing(tmp_path):
    case = fish()
    origins = case.benchmark.one(STOP).origins
    run(case, tmp_path, Watching(), "whole")
    calls = []
    for stop in (origins[5], origins[40], origins[69]):
        interrupted = Interrupted(STOP, stop)
        with pytest.raises(KeyboardInterrupt):
            run(case, tmp_path, interrupted, "parts")
        calls += interrupted.windows
    watching = Watching()
    run(case, tmp_path, watching, "parts")
    assert sorted(calls + watching.windows) == sorted(
        (s.name, origin) for s in case.benchmark.series for origin in s.origins
    )
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_worms_go_on_where_they_stopped(tmp_path):
    case = worms_case(windows=40, positions=3)
    run(case, tmp_path, Watching(), "whole")
    with pytest.raises(KeyboardInterrupt):
        run(case, tmp_path, Interrupted("worm 1", case.benchmark.series[1].origins[35]), "parts")
    watching = Watching()
    run(case, tmp_path, watching, "parts")
    assert {series for series, _ in watching.windows} == {"worm 1", "worm 2"}
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


class Zeros(Forecaster):
    """Forecasts zeros, or another constant."""

    name = "zeros"

    def __init__(self, value=0.0, **parameters):
        self.value = value
        self._parameters = parameters

    @property
    def parameters(self):
        return self._parameters

    def forecast(self, contexts):
        windows, _, neurons = contexts.activity.shape
        return np.full((windows, contexts.horizon, neurons), self.value, np.float32)


class Renumbered(Zeros):
    version = "2"


@pytest.mark.parametrize(
    "other", [Zeros(), Zeros(window=3), Renumbered()], ids=["name", "parameters", "version"]
)
def test_unfinished_part_of_another_forecaster_is_begun_anew(tmp_path, other):
    case = fish()

    class Stopped(Zeros):
        name = "zeros" if other.version or other.parameters else "ones"

        def forecast(self, contexts):
            if contexts.series == STOP:
                raise KeyboardInterrupt
            return super().forecast(contexts)

    with pytest.raises(KeyboardInterrupt):
        run(case, tmp_path, Stopped(1.0))
    for values in run(case, tmp_path, other).values():
        assert (values == 0).all()


def interrupted(case, tmp_path, **options):
    """Leaves an unfinished part of the first series and a block of the third."""
    origin = case.benchmark.one(STOP).origins[33]
    with pytest.raises(KeyboardInterrupt):
        run(case, tmp_path, Interrupted(STOP, origin), **options)


@pytest.mark.parametrize(("first", "then"), [("float32", "float16"), ("float16", "float32")])
def test_unfinished_part_of_another_type_is_begun_anew(tmp_path, first, then):
    case = fish()
    run(case, tmp_path, Watching(), "whole", dtype=then)
    interrupted(case, tmp_path, name="parts", dtype=first)
    run(case, tmp_path, Watching(), "parts", dtype=then)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_unfinished_part_of_fewer_neurons_is_begun_anew(tmp_path):
    few = horizon_case(windows=WINDOWS, neurons=3)
    interrupted(few, tmp_path, name="parts")
    case = fish()
    run(case, tmp_path, Watching(), "whole")
    run(case, tmp_path, Watching(), "parts")
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_unfinished_part_of_another_context_or_benchmark_is_begun_anew(tmp_path):
    case = fish()
    interrupted(case, tmp_path, name="parts")
    watching = Watching()
    recordings = case.recordings(tmp_path)
    forecast(watching, case.benchmark, recordings, tmp_path / "parts", context=2)
    assert len(watching.windows) == case.benchmark.windows

    interrupted(case, tmp_path, name="other")
    changed = replace(case, benchmark=replace(case.benchmark, version=2))
    watching = Watching()
    run(changed, tmp_path, watching, "other")
    assert len(watching.windows) == case.benchmark.windows


def test_unfinished_part_that_cannot_be_read_is_begun_anew(tmp_path):
    case = fish()
    interrupted(case, tmp_path, name="parts")
    (tmp_path / ".parts.part" / "zarr.json").write_text('{"attributes": {')
    watching = Watching()
    run(case, tmp_path, watching, "parts")
    assert len(watching.windows) == case.benchmark.windows


def test_store_that_exists_is_left_alone(tmp_path):
    case = fish()
    run(case, tmp_path, Watching())
    before = files(tmp_path / "predictions.zarr")
    with pytest.raises(InvalidInput, match=r"predictions\.zarr: exists"):
        run(case, tmp_path, Watching())
    assert files(tmp_path / "predictions.zarr") == before


# What a run says, and what it refuses


def test_store_says_what_made_it(tmp_path):
    case = fish()
    run(case, tmp_path, Mean(3))
    attributes = dict(zarr.open_group(str(tmp_path / "predictions.zarr"), mode="r").attrs)
    said = read_manifest(attributes, "store")
    assert said is not None
    assert (said.benchmark.id, said.benchmark.version) == ("case", 1)
    assert said.benchmark.digest == case.benchmark.digest
    assert said.context == CONTEXT
    assert said.forecaster.name == "mean"
    assert said.forecaster.parameters == {"window": 3}
    assert {"zapeval", "python"} <= set(said.software)
    assert said.created


def test_float16_stores_the_rounded_values(tmp_path):
    case = fish()
    exact = run(case, tmp_path, Mean(), "exact")
    for name, values in run(case, tmp_path, Mean(), "half", dtype="float16").items():
        assert values.dtype == np.float16
        np.testing.assert_array_equal(values, exact[name].astype(np.float16))


def test_float16_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(InvalidInput, match=r"test_condition_0: .*does not fit float16"):
        run(fish(), tmp_path, Zeros(70000.0), dtype="float16")


def test_progress_is_told_every_window(tmp_path):
    case, told = fish(), []
    run(case, tmp_path, Watching(), progress=told.append)
    assert sum(told) == case.benchmark.windows == sum(WINDOWS)


def test_zeros_are_stored_like_any_other_value(tmp_path):
    case = fish()
    run(case, tmp_path, Zeros())
    shards = [p for p in (tmp_path / "predictions.zarr").rglob("c/*/0/0") if p.is_file()]
    assert len(shards) == 2 + 1 + 3


def test_store_holds_arrays_and_nothing_else(tmp_path):
    run(fish(), tmp_path, Watching())
    names = {p.name for p in (tmp_path / "predictions.zarr").rglob("*") if p.is_file()}
    assert names <= {"zarr.json", "0"}


def test_recording_of_other_frames_is_refused(tmp_path):
    case = fish()
    cut = replace(case, activity={"fish": case.activity["fish"][:-1]})
    with pytest.raises(InvalidInput, match=r"frames, expected \d+ \(case@1\)"):
        run(cut, tmp_path, Watching())
    assert not (tmp_path / ".predictions.zarr.part").exists()


class Broken(Forecaster):
    """Forecasts well until a window, where it returns something else."""

    name = "broken"

    def __init__(self, at, spoil):
        self.at = at
        self.spoil = spoil

    def forecast(self, contexts):
        values = np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1)
        return self.spoil(values) if self.at in contexts.origins else values


def put(value):
    def spoil(values):
        values = values.copy()
        values[3, 2, 4] = value
        return values

    return spoil


BROKEN = {
    "fewer windows": (lambda values: values[1:], r"shape \[31, 5, 5\].*= \[32, 5, 5\]"),
    "one step": (lambda values: values[:, :1], r"shape \[32, 1, 5\]"),
    "swapped axes": (lambda values: values[:, :, :4].swapaxes(1, 2), r"shape \[32, 4, 5\]"),
    "steps before windows": (lambda values: values.swapaxes(0, 1), r"shape \[5, 32, 5\]"),
    "no windows": (lambda values: values[0], r"shape \[5, 5\]"),
    "float64": (lambda values: values.astype(np.float64), "returned float64, expected a float32"),
    "integers": (lambda values: values.astype(np.int32), "returned int32"),
    "a list": (lambda values: values.tolist(), "returned list"),
    "nothing": (lambda values: None, "returned NoneType"),
    "an iterator": (iter, "returned iterator"),
    "NaN": (put(np.nan), "returned nan for window 3, step 3, neuron 4"),
    "infinity": (put(-np.inf), "returned -inf for window 3, step 3, neuron 4"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_forecast_names_plugin_series_and_windows(tmp_path, name):
    spoil, said = BROKEN[name]
    case = fish()
    at = case.benchmark.one(STOP).origins[0]
    with pytest.raises(BrokenPlugin, match=rf"broken: {STOP}, windows \[0, 32\): .*{said}"):
        run(case, tmp_path, Broken(at, spoil))


def test_broken_window_of_a_later_block_is_counted_from_the_first(tmp_path):
    case = fish()
    at = case.benchmark.one(STOP).origins[32]
    with pytest.raises(BrokenPlugin, match=r"windows \[32, 64\): .*window 35, step 3, neuron 4"):
        run(case, tmp_path, Broken(at, put(np.nan)))


def test_broken_window_of_a_later_batch_is_counted_from_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH_BYTES", 8 * CONTEXT * 5 * 4)
    case = fish()
    at = case.benchmark.one(STOP).origins[40]
    with pytest.raises(BrokenPlugin, match=r"windows \[40, 48\): .*window 43, step 3, neuron 4"):
        run(case, tmp_path, Broken(at, put(np.nan)))


@pytest.mark.parametrize("value", [np.float32(1), object(), float("nan")])
def test_parameters_that_no_manifest_holds_are_refused(tmp_path, value):
    with pytest.raises(BrokenPlugin, match=r"zeros: .*parameters"):
        run(fish(), tmp_path, Zeros(scale=value))


def test_forecaster_without_a_name_is_refused(tmp_path):
    class Nameless(Forecaster):
        def forecast(self, contexts):
            raise AssertionError

    with pytest.raises(BrokenPlugin, match=r"Nameless: .*name"):
        run(fish(), tmp_path, Nameless())


def test_any_view_of_float32_is_a_forecast(tmp_path):
    class Views(Forecaster):
        name = "views"
        seen: ClassVar[list] = []

        def forecast(self, contexts):
            last = contexts.activity[:, -1:]
            return np.broadcast_to(last, (len(last), contexts.horizon, last.shape[2]))

    case = fish()
    views = run(case, tmp_path, Views(), "views")
    for name, values in run(case, tmp_path, Persistence(), "own").items():
        np.testing.assert_array_equal(views[name], values)


# next-step


def test_next_step_contexts_grow_and_end_before_the_predicted_frame(tmp_path):
    case = worms_case()
    watching = Watching()
    run(case, tmp_path, watching)
    positions = case.benchmark.horizon
    expected = [
        (series.name, k, tuple(origin + k - 1 for origin in series.origins))
        for series in case.benchmark.series
        for k in range(1, positions + 1)
    ]
    found = [(c.series, c.activity.shape[1], c.origins) for c in watching.seen]
    assert found == expected
    for contexts in watching.seen:
        activity = case.activity[contexts.series.replace(" ", "-")]
        assert contexts.horizon == 1
        length = contexts.activity.shape[1]
        for context, origin in zip(contexts.activity, contexts.origins, strict=True):
            np.testing.assert_array_equal(context, activity[origin - length : origin])


def test_next_step_persistence_is_the_frame_before_each_position(tmp_path):
    case = worms_case()
    found = run(case, tmp_path, Persistence())
    for series in case.benchmark.series:
        activity = case.activity[series.recording]
        for window, origin in enumerate(series.origins):
            for k in range(1, case.benchmark.horizon + 1):
                values = found[series.array][window, k - 1]
                np.testing.assert_array_equal(values, activity[origin + k - 2])


def test_next_step_predictions_line_up_with_their_targets(tmp_path):
    # A forecaster that knows the activity: on a ramp the next frame is the last one plus one.
    class Ramp(Forecaster):
        name = "ramp"

        def forecast(self, contexts):
            return contexts.activity[:, -1:] + np.float32(1)

    case = worms_case()
    ramps = {
        key: np.arange(len(values), dtype=np.float32)[:, None].repeat(values.shape[1], axis=1)
        for key, values in case.activity.items()
    }
    case = replace(case, activity=ramps)
    found = run(case, tmp_path, Ramp())
    for series in case.benchmark.series:
        np.testing.assert_array_equal(found[series.array], targets_of(case, series))


def test_a_forecaster_that_raises_is_named_with_what_it_raised(tmp_path):
    case = fish()
    first = case.benchmark.series[0]
    with pytest.raises(BrokenPlugin, match=r"watching: .*windows \[0, .*raised ValueError"):
        run(case, tmp_path, Interrupted(first.name, first.origins[0], ValueError), "parts")


def test_two_runs_do_not_write_one_store(tmp_path):
    case = fish()
    with pytest.raises(Refused, match="another forecast is writing it"):
        run(case, tmp_path, Rival(case, tmp_path), "parts")


class Rival(Watching):
    """Starts a second run of the same store in the middle of the first."""

    def __init__(self, case, folder):
        super().__init__()
        self._case, self._folder = case, folder

    def forecast(self, contexts):
        run(self._case, self._folder, Watching(), "parts")
        return super().forecast(contexts)


# Verified resume


def flipped(where):
    def damage(file):
        data = bytearray(file.read_bytes())
        data[int(where * (len(data) - 1))] ^= 1
        file.write_bytes(data)

    return damage


def cut(share):
    def damage(file):
        data = file.read_bytes()
        file.write_bytes(data[: int(share * len(data))])

    return damage


DAMAGE = {
    "first bit": flipped(0),
    "a bit in the middle": flipped(0.5),
    "a bit of the index": flipped(0.97),
    "last bit": flipped(1),
    "emptied": cut(0),
    "cut to half": cut(0.5),
    "cut by a byte": cut(0.999),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "gone": lambda file: file.unlink(),
    "that of another block": lambda file: file.write_bytes(
        (file.parents[4] / "test_condition_2/c/0/0/0").read_bytes()
    ),
    "all zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
}


@pytest.mark.parametrize("compressed", [True, False], ids=["compressed", "raw"])
@pytest.mark.parametrize("block", [0, 1])
@pytest.mark.parametrize("name", DAMAGE)
def test_finished_block_that_was_damaged_is_written_anew(tmp_path, name, block, compressed):
    case = fish()
    run(case, tmp_path, Watching(), "whole", compressed=compressed)
    interrupted(case, tmp_path, name="parts", compressed=compressed)
    file = tmp_path / ".parts.part" / "test_condition_0" / "c" / str(block) / "0" / "0"
    before = file.read_bytes()
    DAMAGE[name](file)
    assert not file.exists() or file.read_bytes() != before
    watching, told = Watching(), []
    run(case, tmp_path, watching, "parts", compressed=compressed, progress=told.append)
    first, third = case.benchmark.series[0], case.benchmark.one(STOP)
    again = [(first.name, o) for o in first.origins[32 * block : 32 * (block + 1)]]
    assert watching.windows == again + [(STOP, o) for o in third.origins[32:]]
    assert sum(told) == case.benchmark.windows
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_every_block_that_was_damaged_is_written_anew_and_no_other(tmp_path):
    case = fish()
    run(case, tmp_path, Watching(), "whole")
    interrupted(case, tmp_path, name="parts")
    for place in ("test_condition_0/c/1", "test_condition_1/c/0"):
        flipped(0.5)(tmp_path / ".parts.part" / place / "0" / "0")
    watching = Watching()
    run(case, tmp_path, watching, "parts")
    expected = {"condition 0": 8, "condition 1": 4, STOP: 38}
    counts = [series for series, _ in watching.windows]
    assert {name: counts.count(name) for name in set(counts)} == expected
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_torn_line_of_the_journal_costs_one_block(tmp_path):
    case = fish()
    run(case, tmp_path, Watching(), "whole")
    for cut_off in (1, 2, 10, 40):
        interrupted(case, tmp_path, name="parts")
        journal = tmp_path / ".parts.part" / ".blocks.jsonl"
        journal.write_bytes(journal.read_bytes().rstrip()[:-cut_off])
        watching = Watching()
        run(case, tmp_path, watching, "parts")
        # The last line is of the first block of the third series.
        assert watching.windows == [(STOP, o) for o in case.benchmark.one(STOP).origins]
        assert files(tmp_path / "parts") == files(tmp_path / "whole")
        shutil.rmtree(tmp_path / "parts")


def test_blocks_without_a_journal_are_written_anew(tmp_path):
    case = fish()
    run(case, tmp_path, Watching(), "whole")
    interrupted(case, tmp_path, name="parts")
    (tmp_path / ".parts.part" / ".blocks.jsonl").unlink()
    watching = Watching()
    run(case, tmp_path, watching, "parts")
    assert len(watching.windows) == case.benchmark.windows
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_block_that_was_written_but_not_noted_is_written_anew(tmp_path):
    case = fish()
    run(case, tmp_path, Watching(), "whole")
    interrupted(case, tmp_path, name="parts")
    source = tmp_path / "whole" / "test_condition_2" / "c" / "1"
    place = tmp_path / ".parts.part" / "test_condition_2" / "c" / "1"
    shutil.copytree(source, place)
    flipped(0.5)(place / "0" / "0")
    watching = Watching()
    run(case, tmp_path, watching, "parts")
    assert watching.windows == [(STOP, o) for o in case.benchmark.one(STOP).origins[32:]]
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


@pytest.mark.parametrize("metadata", ["", "{", "{}", '{"zarr_format": 3, "node_type": "array"}'])
def test_array_whose_metadata_cannot_be_read_is_written_anew(tmp_path, metadata):
    case = fish()
    run(case, tmp_path, Watching(), "whole")
    interrupted(case, tmp_path, name="parts")
    (tmp_path / ".parts.part" / "test_condition_0" / "zarr.json").write_text(metadata)
    watching = Watching()
    run(case, tmp_path, watching, "parts")
    first, third = case.benchmark.series[0], case.benchmark.one(STOP)
    again = [(first.name, o) for o in first.origins]
    assert watching.windows == again + [(STOP, o) for o in third.origins[32:]]
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


OPTIONS = [
    {"dtype": "float32", "compressed": True},
    {"dtype": "float32", "compressed": False},
    {"dtype": "float16", "compressed": True},
    {"dtype": "float16", "compressed": False},
]


@pytest.mark.parametrize("first", OPTIONS)
@pytest.mark.parametrize("then", OPTIONS)
def test_types_and_layouts_are_not_mixed(tmp_path, first, then):
    case = fish()
    run(case, tmp_path, Watching(), "whole", **then)
    interrupted(case, tmp_path, name="parts", **first)
    watching = Watching()
    run(case, tmp_path, watching, "parts", **then)
    assert len(watching.windows) == (38 if first == then else case.benchmark.windows)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_other_type_in_between_leaves_no_block_behind(tmp_path):
    # Begun as float32, taken up as float16 and stopped at once, then float32 again.
    case = fish()
    run(case, tmp_path, Watching(), "whole")
    interrupted(case, tmp_path, name="parts")
    with pytest.raises(KeyboardInterrupt):
        stop = Interrupted("condition 1", case.benchmark.one("condition 1").origins[0])
        run(case, tmp_path, stop, "parts", dtype="float16")
    watching = Watching()
    run(case, tmp_path, watching, "parts")
    # The third series was not begun as float16: its block is still good.
    expected = [(s.name, o) for s in case.benchmark.series for o in s.origins]
    assert watching.windows == [w for w in expected if w[0] != STOP] + expected[-38:]
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


@pytest.mark.parametrize("neurons", [4, 6, 9000])
def test_recordings_of_other_neurons_are_not_mixed(tmp_path, neurons):
    case = fish()
    interrupted(horizon_case(windows=WINDOWS, neurons=neurons), tmp_path, name="parts")
    run(case, tmp_path, Watching(), "whole")
    watching = Watching()
    run(case, tmp_path, watching, "parts")
    assert len(watching.windows) == case.benchmark.windows
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_raw_store_reads_as_the_compressed_one_and_is_larger(tmp_path):
    case = horizon_case(windows=WINDOWS, neurons=300)
    case = replace(case, activity={"fish": np.round(case.activity["fish"], 1)})
    packed = run(case, tmp_path, Watching(), "packed")
    plain = run(case, tmp_path, Watching(), "plain", compressed=False)
    for name, values in packed.items():
        np.testing.assert_array_equal(plain[name], values)
    sizes = [sum(map(len, files(tmp_path / name).values())) for name in ("packed", "plain")]
    values = sum(array.nbytes for array in plain.values())
    assert sizes[0] < values <= sizes[1]


def test_store_that_came_to_be_meanwhile_is_not_replaced(tmp_path):
    case = fish()

    class Slowpoke(Watching):
        def forecast(self, contexts):
            (tmp_path / "parts" / "kept").mkdir(parents=True, exist_ok=True)
            return super().forecast(contexts)

    with pytest.raises(StorageError, match="parts: could not be written: Directory not empty"):
        run(case, tmp_path, Slowpoke(), "parts")
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["kept"]


def test_another_recording_of_the_same_shape_is_not_mixed_in(tmp_path):
    case = fish()
    other = replace(case, activity={key: -values for key, values in case.activity.items()})
    with pytest.raises(KeyboardInterrupt):
        run(case, tmp_path, Interrupted("condition 0", case.benchmark.series[0].origins[-1]))
    mixed = run(other, tmp_path, Watching())
    whole = run(other, tmp_path, Watching(), "whole")
    for name, values in whole.items():
        np.testing.assert_array_equal(mixed[name], values)


class Blind(Watching):
    """Gives NaN for its first neuron."""

    name = "blind"

    def forecast(self, contexts):
        values = super().forecast(contexts)
        values[..., 0] = np.nan
        return values


def test_what_is_not_scored_may_be_anything(tmp_path):
    case = fish()
    mask = (False, True, True, True, True)
    series = tuple(replace(one, mask=mask) for one in case.benchmark.series)
    masked = replace(case, benchmark=replace(case.benchmark, series=series))
    values = run(masked, tmp_path, Blind())
    assert all(np.isnan(array[..., 0]).all() for array in values.values())
    with pytest.raises(BrokenPlugin, match="returned nan for window 0"):
        run(case, tmp_path, Blind(), "other")
