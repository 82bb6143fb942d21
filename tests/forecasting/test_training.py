from __future__ import annotations

import string
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapeval.benchmarks.benchmark import Benchmark, Series, windows_in
from zapeval.benchmarks.synthetic import Mini
from zapeval.errors import BrokenPlugin, InvalidInput
from zapeval.forecasting.training import training_of
from zapeval.recordings.arrays import Array
from zapeval.recordings.recording import Recordings, open_recording

NEURONS = 3


class Numbered(Array):
    """Activity that tells its frame and neuron: frame + neuron / 8, exact in float32."""

    def __init__(self, frames, neurons=NEURONS):
        self.uri, self.shape = "numbered", (frames, neurons)
        self.dtype, self.chunk = np.dtype("float32"), (frames, neurons)

    def _read(self, spans, out):
        frames, neurons = (np.arange(*span, dtype=np.float32) for span in spans)
        out[...] = frames[:, None] + neurons / 8


class Bare:
    """A recording of activity alone."""

    table = stimulus = video = segmentation = None

    def __init__(self, frames, neurons=NEURONS):
        self.uri, self.activity = "bare", Numbered(frames, neurons)
        self.frames, self.neurons = frames, neurons


def opened(benchmark, neurons=NEURONS):
    return Recordings(
        {key: lambda frames=frames: Bare(frames, neurons) for key, frames in benchmark.frames}
    )


def training(benchmark, context=4, *, recordings=None, **options):
    options = {"seed": 0, "folder": Path("unfinished"), "record": Path("record")} | options
    return training_of(benchmark, recordings or opened(benchmark), context=context, **options)


def one_fish(*, horizon=3, frames=100, protocol="horizon", **series):
    """Returns a series of training, validation and test frames, one after the other."""
    said = {
        "train": ((0, 50),),
        "validation": ((50, 70),),
        "origins": tuple(range(70, frames - horizon + 1)),
    } | series
    return Benchmark(
        id="one",
        version=1,
        protocol=protocol,
        context_lengths=(4,),
        max_context=4,
        horizon=horizon,
        series=(Series(name="all", array="all", recording="fish", **said),),
        frames=(("fish", frames),),
        summary_steps=(1,),
    )


# Windows


TABLE = {  # windows of ZAPBench's public code: training at C = 4, at C = 256, validation
    "gain": (419, 167, 33),
    "dots": (1205, 953, 146),
    "flash": (424, 172, 34),
    "turning": (882, 630, 100),
    "position": (379, 127, 27),
    "open loop": (654, 402, 67),
    "rotation": (424, 172, 34),
    "dark": (385, 133, 28),
}
FIRST_TARGETS = {"gain": 519, "dots": 2067, "dark": 7759}


@pytest.mark.parametrize(("context", "column"), [(4, 0), (256, 1)])
def test_windows_of_the_brain_are_those_of_the_public_code(context, column):
    benchmark = Mini().resolve(Recordings({}))
    found = training(benchmark, context)
    counts = {s.name: (len(s.train_origins), len(s.validation_origins)) for s in found.series}
    assert counts == {name: (row[column], row[2]) for name, row in TABLE.items()}
    assert sum(train for train, _ in counts.values()) == (4772, 2756)[column]
    assert sum(validation for _, validation in counts.values()) == 469
    assert [s.name for s in found.held_out] == ["taxis"]
    (taxis,) = found.held_out
    assert taxis.train_origins == taxis.validation_origins == taxis.train == taxis.validation == ()
    for name, first in FIRST_TARGETS.items():
        (one,) = (s for s in found.series if s.name == name)
        # Targets end with the frame before the first test target, and one more window would not.
        assert one.validation_origins[-1] + benchmark.horizon == first
        (start, stop), ((begin, _),) = one.validation[0], one.train
        assert stop == first
        assert one.validation_origins == tuple(range(start, stop - 32 + 1))
        assert one.train_origins[0] == begin + context
        assert one.train_origins[-1] + 32 == start


def twin_origins(benchmark, series, context):
    """Returns training and validation origins, frame by frame."""
    horizon, next_step = benchmark.horizon, benchmark.protocol == "next-step"
    tested = targets(benchmark, series.recording)

    def frames(origin):
        first = origin - 1 if next_step else origin - context
        return list(range(first, origin + horizon))

    train, validation = [], []
    for start, stop in series.train:
        for origin in range(start, stop + 1):
            used = frames(origin)
            inside = all(start <= frame < stop for frame in used)
            if inside and not tested.intersection(used):
                train.append(origin)
    for start, stop in series.validation:
        for origin in range(start, stop + 1):
            used = frames(origin)
            inside = all(start <= frame < stop for frame in used[-horizon:])
            if inside and used[0] >= 0 and not tested.intersection(used):
                validation.append(origin)
    return tuple(train), tuple(validation)


def targets(benchmark, recording):
    return {
        frame
        for series in benchmark.series
        if series.recording == recording
        for origin in series.origins
        for frame in range(origin, origin + benchmark.horizon)
    }


@st.composite
def benchmarks(draw):
    """Draws series with several ranges each, in any order, some of them overlapping."""
    horizon, context = draw(st.integers(1, 6)), draw(st.integers(1, 8))
    protocol = draw(st.sampled_from(["horizon", "next-step"]))
    frames = draw(st.integers(40, 90))
    earliest = context if protocol == "horizon" else 1
    ranges = st.lists(
        st.tuples(st.integers(0, frames - 1), st.integers(1, 50)).map(
            lambda pair: (pair[0], min(frames, sum(pair)))
        ),
        max_size=3,
    ).map(tuple)
    series = []
    for name in string.ascii_lowercase[: draw(st.integers(1, 3))]:
        tests = draw(
            st.lists(st.tuples(st.integers(earliest, frames), st.integers(1, 40)), max_size=3)
        )
        origins = {o for a, n in tests for o in windows_in((a, min(frames, a + n)), horizon)}
        held_out = draw(st.booleans()) and name != "a"
        series.append(
            Series(
                name=name,
                array=name,
                recording=draw(st.sampled_from(["fish", "other"])),
                origins=tuple(sorted(origins)) or (earliest,),
                held_out=held_out,
                train=() if held_out else draw(ranges),
                validation=() if held_out else draw(ranges),
            )
        )
    return Benchmark(
        id="drawn",
        version=1,
        protocol=protocol,
        context_lengths=(context,),
        max_context=context,
        horizon=horizon,
        series=tuple(series),
        frames=(("fish", frames), ("other", frames)),
        summary_steps=(1,),
    )


def handed_out(series, origins):
    """Returns the frames that contexts and targets of each window show."""
    if not origins:
        return set()
    shown = [series.contexts([origin]).activity for origin in origins]
    shown += [series.targets([origin]) for origin in origins]
    return {int(value) for values in shown for value in values[..., 0].ravel()}


@given(benchmark=benchmarks())
def test_no_test_target_is_in_reach_of_what_learns(benchmark):
    context = benchmark.max_context
    try:
        found = training(benchmark, context)
    except InvalidInput:
        assert not any(twin_origins(benchmark, s, context)[0] for s in benchmark.series)
        return
    assert {s.name for s in found.series + found.held_out} == {s.name for s in benchmark.series}
    for series in found.series + found.held_out:
        tested = targets(benchmark, series.recording)
        twins = twin_origins(benchmark, benchmark.one(series.name), context)
        assert (series.train_origins, series.validation_origins) == twins
        assert handed_out(series, twins[0] + twins[1]).isdisjoint(tested)
        frames = dict(benchmark.frames)[series.recording]
        for frame in range(frames):
            try:
                (value,) = series.activity((frame, frame + 1))[:, 0]
            except InvalidInput:
                continue
            assert frame not in tested
            assert value == frame
        for origin in set(range(frames)) - set(twins[0] + twins[1]):
            with pytest.raises(InvalidInput, match=f"origin {origin} "):
                series.contexts([origin])
            with pytest.raises(InvalidInput, match=f"origin {origin} "):
                series.targets([origin])
        with pytest.raises(BrokenPlugin):
            series.every_frame()


def test_validation_after_the_test_range_keeps_a_context_away_from_it():
    benchmark = one_fish(
        train=((0, 40),), origins=tuple(range(40, 58)), validation=((60, 80), (90, 100))
    )
    (series,) = training(benchmark).series
    # The last target is frame 59; a context of 4 frames fits behind it from origin 64 on.
    assert series.validation_origins == tuple(range(64, 78)) + tuple(range(90, 98))


def test_validation_context_keeps_away_from_the_test_frames_of_the_series_before():
    first = Series(
        name="first",
        array="first",
        recording="fish",
        origins=tuple(range(40, 48)),
        train=((0, 40),),
    )
    second = Series(
        name="second",
        array="second",
        recording="fish",
        origins=tuple(range(90, 98)),
        train=((60, 90),),
        validation=((50, 60),),
    )
    benchmark = replace(one_fish(), series=(first, second))
    found = training(benchmark).series[1]
    assert found.validation_origins == tuple(range(54, 58))


def test_frames_of_a_range_that_are_tested_on_are_refused_and_named():
    (series,) = training(one_fish(train=((0, 80),))).series
    assert series.train_origins[-1] + 3 == 70
    series.activity((0, 70))
    with pytest.raises(InvalidInput, match=r"all: frames \[0, 80\) hold frame 70, which .*tested"):
        series.activity((0, 80))


def test_a_benchmark_that_nothing_can_be_learned_from_is_refused():
    with pytest.raises(InvalidInput, match=r"one@1: no training range holds .*4 \+ 3 frames"):
        training(one_fish(train=((0, 6),)))
    assert training(one_fish(train=((0, 7),))).series[0].train_origins == (4,)
    assert training(one_fish(train=()), leaks=True).series == ()


# What is handed out


def sliced(spans):
    values = Numbered(100).read()
    return np.stack([values[start:stop] for start, stop in spans])


@pytest.mark.parametrize("context", [1, 2, 4])
def test_contexts_and_targets_equal_plain_slices(context):
    (series,) = training(one_fish(), context).series
    for origins in (series.train_origins, series.validation_origins, (9, 9, 10, 30, 51, 51)):
        contexts = series.contexts(origins)
        assert (contexts.horizon, contexts.series, contexts.recording) == (3, "all", "fish")
        assert contexts.origins == tuple(origins)
        assert contexts.activity.dtype == np.float32
        np.testing.assert_array_equal(
            contexts.activity, sliced([(o - context, o) for o in origins])
        )
        values = series.targets(origins)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, sliced([(o, o + 3) for o in origins]))


def test_next_step_contexts_lie_a_frame_before_their_targets():
    benchmark = one_fish(protocol="next-step", horizon=5)
    (series,) = training(benchmark).series
    assert series.train_origins == tuple(range(1, 46))
    # The frame before the validation range is seen, as the frame before a test window is.
    assert series.validation_origins == tuple(range(50, 66))
    for origins in (series.train_origins, series.validation_origins):
        contexts = series.contexts(origins).activity
        np.testing.assert_array_equal(contexts, sliced([(o - 1, o + 4) for o in origins]))
        np.testing.assert_array_equal(series.targets(origins)[:, :-1], contexts[:, 1:])


def test_what_is_handed_out_can_be_overwritten():
    (series,) = training(one_fish()).series
    for _ in range(2):
        contexts, values = series.contexts((9, 10)), series.targets((9, 10))
        np.testing.assert_array_equal(contexts.activity, sliced([(5, 9), (6, 10)]))
        np.testing.assert_array_equal(values, sliced([(9, 12), (10, 13)]))
        contexts.activity[:] = values[:] = 0


def test_activity_of_a_range_and_of_some_neurons():
    (series,) = training(one_fish()).series
    np.testing.assert_array_equal(series.activity((3, 50)), Numbered(100).read((3, 50)))
    np.testing.assert_array_equal(series.activity((50, 51), (1, 3)), [[50.125, 50.25]])
    assert series.activity((3, 50)).dtype == np.float32


@pytest.mark.parametrize("span", [(49, 51), (69, 71), (70, 72), (-1, 3), (0, 101)])
def test_other_frames_are_refused_and_named(span):
    (series,) = training(one_fish()).series
    with pytest.raises(InvalidInput, match=rf"all: frames \[{span[0]}, {span[1]}\) are not train"):
        series.activity(span)


@pytest.mark.parametrize("origin", [3, 48, 49, 68, 70, 97, -1, 1000])
def test_other_origins_are_refused_and_named(origin):
    (series,) = training(one_fish()).series
    for method in (series.contexts, series.targets):
        with pytest.raises(InvalidInput, match=f"all: window at origin {origin} is no training"):
            method([10, origin])


@pytest.mark.parametrize(
    ("origins", "says"),
    [((10, 9), "all: origin 9 stands behind 10; sort"), ((), "all: no window is asked for")],
)
def test_origins_that_cannot_be_read_in_order_are_refused(origins, says):
    (series,) = training(one_fish()).series
    for method in (series.contexts, series.targets):
        with pytest.raises(InvalidInput, match=says):
            method(origins)


def test_origins_may_be_a_numpy_array():
    (series,) = training(one_fish()).series
    np.testing.assert_array_equal(
        series.contexts(np.array([9, 10])).activity, series.contexts([9, 10]).activity
    )


def test_every_frame_is_for_those_that_say_they_leak():
    (series,) = training(one_fish()).series
    with pytest.raises(BrokenPlugin, match=r"all: .*says so in its attribute leaks"):
        series.every_frame()
    benchmark = replace(
        one_fish(),
        series=(
            *one_fish().series,
            replace(one_fish().series[0], name="held", array="held", train=(), validation=()),
        ),
    )
    leaking = training(benchmark, leaks=True)
    for one in (*leaking.series, *leaking.held_out):
        np.testing.assert_array_equal(one.every_frame().read(), Numbered(100).read())
    assert [one.name for one in leaking.held_out] == ["held"]


def test_validation_windows_that_are_tested_are_for_those_that_say_they_leak():
    halves = one_fish(validation=((50, 100),), origins=(60, 97), train=((0, 50),))
    (honest,), (leaking,) = (training(halves, leaks=leaks).series for leaks in (False, True))
    # Contexts of 4 frames before, 3 targets: clear of [60, 63) and of [97, 100).
    clear = (*range(50, 58), *range(67, 95))
    assert honest.validation_origins == clear
    assert leaking.validation_origins == tuple(range(50, 98))
    assert leaking.train_origins == honest.train_origins
    np.testing.assert_array_equal(leaking.targets((60,))[0, :, 0], [60, 61, 62])
    sealed = leaking.sealed()
    assert sealed.validation_origins == clear
    with pytest.raises(InvalidInput, match="window at origin 60 is no training or validation"):
        sealed.targets((60,))


def test_training_windows_are_never_tested_whoever_asks():
    (series,) = training(one_fish(train=((0, 80),)), leaks=True).series
    assert max(series.train_origins) + 3 <= 70


def test_masks_and_neuron_tables_are_those_of_the_recording(tmp_path):
    import zarr

    values = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    zarr.create_array(store=str(tmp_path / "traces"), data=values, chunks=(64, 2))
    rows = ["name,region,x,y,z", "AVAL,head,1,2,3", "AVAR,head,4,5,6", "DB1,tail,7,8,9"]
    (tmp_path / "neurons.csv").write_text("\n".join(rows) + "\n")
    recordings = Recordings({"fish": lambda: open_recording(str(tmp_path))})
    (series,) = training(one_fish(mask=(True, False, True)), recordings=recordings).series
    contexts = series.contexts((9,))
    for mask in (series.mask, contexts.mask):
        np.testing.assert_array_equal(mask, [True, False, True])
    for table in (series.table, contexts.neurons):
        assert table.names == ("AVAL", "AVAR", "DB1")
        assert table.regions == ("head", "head", "tail")
        np.testing.assert_array_equal(table.positions, np.arange(1, 10).reshape(3, 3))
    np.testing.assert_array_equal(contexts.activity[0], values[5:9])
    (bare,) = training(one_fish()).series
    assert bare.mask is None
    assert bare.table is None


def test_each_recording_gives_its_own_frames(tmp_path):
    first = one_fish().series[0]
    benchmark = replace(
        one_fish(),
        series=(first, replace(first, name="small", array="small", recording="worm")),
        frames=(("fish", 100), ("worm", 100)),
    )
    shift = np.float32(1000)
    for key, values in (("fish", Numbered(100).read()), ("worm", Numbered(100, 5).read() + shift)):
        np.save(tmp_path / f"{key}.npy", values)
    openers = {
        key: lambda uri=str(tmp_path / f"{key}.npy"): open_recording(uri)
        for key in ("fish", "worm")
    }
    found = training(benchmark, recordings=Recordings(openers)).series
    assert [(s.recording, s.neurons) for s in found] == [("fish", 3), ("worm", 5)]
    np.testing.assert_array_equal(found[0].targets((9,))[0, :, 0], [9, 10, 11])
    np.testing.assert_array_equal(found[1].targets((9,))[0, :, 0], [1009, 1010, 1011])


# Shorter horizons and other scales


@pytest.mark.parametrize("protocol", ["horizon", "next-step"])
def test_shortened_windows_stay_where_they_are(protocol):
    benchmark = one_fish(protocol=protocol)
    whole = training(benchmark)
    short = whole.shortened(2)
    assert (short.horizon, short.series[0].targets((9,)).shape) == (2, (1, 2, 3))
    assert short.series[0].train_origins == whole.series[0].train_origins
    assert short.series[0].contexts((9,)).horizon == 2
    np.testing.assert_array_equal(
        short.series[0].targets((9, 20)), whole.series[0].targets((9, 20))[:, :2]
    )


@pytest.mark.parametrize("horizon", [0, 4])
def test_no_horizon_is_longer_than_the_benchmarks(horizon):
    with pytest.raises(InvalidInput, match=rf"horizon {horizon}: expected 1 to 3"):
        training(one_fish()).shortened(horizon)


def test_scaled_series_puts_contexts_and_targets_on_the_scale_of_the_contexts():
    (series,) = training(one_fish()).series
    scaled = series.scaled(lambda contexts, values: values - contexts[:, -1:])
    origins = (9, 10, 51)
    last = sliced([(o - 1, o) for o in origins])
    np.testing.assert_array_equal(
        scaled.contexts(origins).activity, series.contexts(origins).activity - last
    )
    np.testing.assert_array_equal(scaled.targets(origins), series.targets(origins) - last)
    with pytest.raises(InvalidInput, match="all: is scaled window by window"):
        scaled.activity((0, 10))
