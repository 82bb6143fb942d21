from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr
from builders import CONTEXT, horizon_case, worms_case
from hypothesis import given
from hypothesis import strategies as st

from zapeval.errors import BrokenPlugin, InvalidInput
from zapeval.forecasting.contexts import contexts_of, targets_of
from zapeval.forecasting.forecast import forecast_windows
from zapeval.forecasting.forecaster import NextStepForecaster, VideoForecaster
from zapeval.recordings.grid import Grid
from zapeval.recordings.recording import open_recording

SIZE = (4, 3, 2)
LABELS = np.zeros(SIZE, np.uint16)
LABELS[:2, 0, 0] = 1
LABELS[2, :, 1] = 2
LABELS[3, 2, 0] = 4  # no voxel is labelled 3
FRAMES = 60


def case():
    """Returns one recording of four neurons with two series."""
    made = horizon_case(neurons=4, windows=(9, 4), held_out=(), groups=("", ""))
    benchmark = replace(made.benchmark, frames=(("fish", FRAMES),))
    activity = np.random.default_rng(3).normal(size=(FRAMES, 4)).astype(np.float32)
    return replace(made, benchmark=benchmark, activity={"fish": activity})


def parts(folder, *names, chunk=8, video="float32"):
    """Writes a recording in the public layout with the parts that are named; returns its arrays."""
    rng = np.random.default_rng(4)
    made = {
        "traces": case().activity["fish"],
        "stimuli_features": rng.normal(size=(FRAMES, 5)).astype(np.float32),
        "segmentation": LABELS,
        "video": (rng.normal(size=(FRAMES, *SIZE)) * 9).astype(video),
    }
    for name in ("traces", *names):
        values = made[name]
        chunks = (min(chunk, len(values)), *values.shape[1:])
        zarr.create_array(store=str(folder / name), data=values, chunks=chunks)
    return made


def handed(folder, *covariates, benchmark=None, origins=(4, 5, 12), **options):
    """Returns the contexts of some windows of the first series."""
    benchmark = benchmark or case().benchmark
    return contexts_of(
        benchmark,
        benchmark.series[0],
        open_recording(str(folder)),
        origins,
        context=CONTEXT,
        covariates=covariates,
        **options,
    )


# Activity


@given(
    origins=st.lists(st.integers(CONTEXT, 55), min_size=1, max_size=30).map(sorted),
    context=st.integers(1, CONTEXT),
)
def test_any_windows_equal_plain_slices_from_few_reads(origins, context):
    values = np.arange(FRAMES * 4, dtype=np.float32).reshape(FRAMES, 4)
    benchmark, asked = case().benchmark, []

    def read(span):
        asked.append(span)
        return values[span[0] : span[1]]

    recording = type("Bare", (), {"neurons": 4, "table": None})()
    found = contexts_of(
        benchmark, benchmark.series[0], recording, origins, context=context, read=read
    )
    expected = np.stack([values[o - context : o] for o in origins])
    np.testing.assert_array_equal(found.activity, expected)
    # Each frame that is needed is read once, and no other.
    read_ = [frame for span in asked for frame in range(*span)]
    assert read_ == sorted({frame for o in origins for frame in range(o - context, o)})
    targets = targets_of(benchmark, origins, lambda span: values[span[0] : span[1]])
    np.testing.assert_array_equal(targets, np.stack([values[o : o + 5] for o in origins]))


def test_nothing_that_was_not_asked_for_is_there(tmp_path):
    parts(tmp_path, "stimuli_features", "segmentation", "video")
    contexts = handed(tmp_path)
    assert contexts.stimulus is contexts.future_stimulus is contexts.video is None
    assert len(contexts) == 3


# Covariates


def test_stimulus_is_that_of_the_context_and_of_the_horizon(tmp_path):
    stimulus = parts(tmp_path, "stimuli_features")["stimuli_features"]
    origins = (4, 5, 12)
    contexts = handed(tmp_path, "stimulus", "future_stimulus", origins=origins)
    assert contexts.stimulus.dtype == contexts.future_stimulus.dtype == np.float32
    np.testing.assert_array_equal(contexts.stimulus, [stimulus[o - 4 : o] for o in origins])
    np.testing.assert_array_equal(contexts.future_stimulus, [stimulus[o : o + 5] for o in origins])
    alone = handed(tmp_path, "future_stimulus", origins=origins)
    assert alone.stimulus is None
    np.testing.assert_array_equal(alone.future_stimulus, contexts.future_stimulus)


def test_stimulus_can_be_overwritten(tmp_path):
    parts(tmp_path, "stimuli_features")
    first = handed(tmp_path, "stimulus", "future_stimulus")
    kept = first.stimulus.copy()
    first.stimulus[:] = first.future_stimulus[:] = 0
    np.testing.assert_array_equal(handed(tmp_path, "stimulus").stimulus, kept)


def test_next_step_stimulus_is_a_frame_before_the_horizons(tmp_path):
    stimulus = parts(tmp_path, "stimuli_features")["stimuli_features"]
    benchmark = replace(case().benchmark, protocol="next-step", summary_steps=(1,))
    contexts = handed(tmp_path, "stimulus", "future_stimulus", benchmark=benchmark, origins=(4, 12))
    np.testing.assert_array_equal(contexts.stimulus, [stimulus[3:8], stimulus[11:16]])
    np.testing.assert_array_equal(contexts.future_stimulus, [stimulus[4:9], stimulus[12:17]])


@pytest.mark.parametrize(
    ("covariate", "there", "missing"),
    [
        ("stimulus", (), "stimulus"),
        ("future_stimulus", (), "stimulus"),
        ("video", (), "segmentation"),
        ("video", ("segmentation",), "video"),
        ("video", ("video",), "segmentation"),
    ],
)
def test_recording_without_a_covariate_is_named(tmp_path, covariate, there, missing):
    parts(tmp_path, *there)
    with pytest.raises(InvalidInput) as caught:
        handed(tmp_path, covariate)
    assert caught.value.exit_code == 3
    assert str(caught.value).startswith(f"{tmp_path}: has no {missing}, which the forecaster asks")


def test_recording_that_is_one_array_has_no_covariates(tmp_path):
    recordings = case().recordings(tmp_path)
    benchmark = case().benchmark
    with pytest.raises(InvalidInput, match=r"fish\.npy: has no stimulus"):
        contexts_of(
            benchmark,
            benchmark.series[0],
            recordings["fish"],
            (4,),
            context=CONTEXT,
            covariates=("stimulus",),
        )


@pytest.mark.parametrize(
    ("part", "shape", "expected"),
    [
        ("stimuli_features", (FRAMES,), "60 frames, features"),
        ("stimuli_features", (5, FRAMES), "60 frames, features"),
        ("stimuli_features", (FRAMES + 1, 5), "60 frames, features"),
        ("video", (*SIZE, FRAMES), "60 frames, x, y, z"),
        ("video", (FRAMES, 4, 6), "60 frames, x, y, z"),
    ],
)
def test_covariate_of_other_frames_is_refused(tmp_path, part, shape, expected):
    parts(tmp_path, "segmentation")
    zarr.create_array(store=str(tmp_path / part), data=np.zeros(shape, np.float32))
    asks = ("video",) if part == "video" else ("stimulus",)
    with pytest.raises(InvalidInput) as caught:
        handed(tmp_path, *asks)
    assert str(caught.value).endswith(f"{part}: has shape {list(shape)}, expected [{expected}]")


# Video


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_video_of_a_window_ends_before_its_origin(tmp_path, kind):
    video = parts(tmp_path, "segmentation", "video", video=kind)["video"]
    contexts = handed(tmp_path, "video", origins=(4, 5, 12))
    assert (len(contexts.video), contexts.video.shape) == (3, SIZE)
    np.testing.assert_array_equal(contexts.video.labels.read(), LABELS)
    for window, origin in enumerate((4, 5, 12)):
        assert contexts.video[window].dtype == np.float32
        np.testing.assert_array_equal(contexts.video[window], video[origin - CONTEXT : origin])


def test_video_is_read_when_a_window_is_asked_for_and_no_frame_behind_it(tmp_path):
    video = parts(tmp_path, "segmentation", "video", chunk=1)["video"]
    # Only the frames of the second window are left on disk.
    for frame in range(FRAMES):
        if frame not in range(8, 12):
            (tmp_path / "video" / "c" / str(frame) / "0" / "0" / "0").unlink()
    contexts = handed(tmp_path, "video", origins=(4, 12, 12))
    np.testing.assert_array_equal(contexts.video[1], video[8:12])
    with pytest.raises(InvalidInput, match="video"):
        contexts.video[0]


@pytest.mark.parametrize("frames", [1, 3, 5])
def test_head_shows_what_was_seen_until_then(tmp_path, frames):
    made = parts(tmp_path, "stimuli_features", "segmentation", "video")
    benchmark = replace(case().benchmark, protocol="next-step", summary_steps=(1,))
    asked = ("stimulus", "future_stimulus", "video")
    whole = handed(tmp_path, *asked, benchmark=benchmark, origins=(4, 12))
    head = whole.head(frames)
    assert (head.horizon, head.origins) == (1, (3 + frames, 11 + frames))
    for window, first in enumerate((3, 11)):
        seen, after = slice(first, first + frames), slice(first + frames, first + frames + 1)
        np.testing.assert_array_equal(head.activity[window], made["traces"][seen])
        np.testing.assert_array_equal(head.stimulus[window], made["stimuli_features"][seen])
        np.testing.assert_array_equal(head.future_stimulus[window], made["stimuli_features"][after])
        np.testing.assert_array_equal(head.video[window], made["video"][seen])
    for part in (head.activity, head.stimulus, head.future_stimulus):
        assert part.base is None


class LastFrame(VideoForecaster):
    """Repeats the last frame; gives the frames of some windows and steps otherwise."""

    name = "last-frame"

    def __init__(self, change=None):
        self.change = change

    def frames(self, contexts):
        given = [(w, h) for w in range(len(contexts)) for h in range(1, contexts.horizon + 1)]
        for window, step in given[::-1] if self.change is None else self.change(given):
            last = contexts.video[min(max(window, 0), len(contexts) - 1)][-1]
            yield window, step, last


def asked(folder, forecaster, benchmark=None):
    benchmark = benchmark or case().benchmark
    series = benchmark.series[0]
    return forecast_windows(
        forecaster, benchmark, series, open_recording(str(folder)), (0, 9), context=CONTEXT
    )


def means(frame):
    """Returns the mean over each neuron's voxels; NaN for the one that has none."""
    values = [frame[label == LABELS] for label in range(1, 5)]
    return [v.astype(np.float64).mean() if v.size else np.nan for v in values]


def test_frames_become_the_mean_over_each_neurons_voxels(tmp_path):
    video = parts(tmp_path, "segmentation", "video")["video"]
    found = asked(tmp_path, LastFrame())
    origins = case().benchmark.series[0].origins
    expected = np.array([[means(video[o - 1])] * 5 for o in origins])
    assert np.isnan(found[:, :, 2]).all()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_next_step_frames_are_forecast_from_those_before_each_position(tmp_path):
    video = parts(tmp_path, "segmentation", "video")["video"]
    benchmark = replace(case().benchmark, protocol="next-step", summary_steps=(1,))
    found = asked(tmp_path, LastFrame(), benchmark)
    for window, origin in enumerate(benchmark.series[0].origins):
        expected = np.array([means(video[origin + k - 2]) for k in range(1, 6)])
        np.testing.assert_allclose(found[window], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda given: given[:-1], "gave no frame for window 8, step 5; expected one for each"),
        (lambda given: [], "gave no frame for window 0, step 1"),
        (
            lambda given: [*given, (3, 2)],
            "gave a frame for window 3, step 2; expected each of 9 windows and steps 1 to 5 once",
        ),
        (lambda given: [(0, 0)], "gave a frame for window 0, step 0; expected"),
        (lambda given: [(0, 6)], "gave a frame for window 0, step 6; expected"),
        (lambda given: [(-1, 1)], "gave a frame for window -1, step 1; expected"),
        (lambda given: [(9, 1)], "gave a frame for window 9, step 1; expected"),
    ],
    ids=["missing", "none", "twice", "step 0", "step 6", "window -1", "window 9"],
)
def test_each_frame_is_given_once(tmp_path, change, says):
    parts(tmp_path, "segmentation", "video")
    with pytest.raises(BrokenPlugin) as caught:
        asked(tmp_path, LastFrame(change))
    assert str(caught.value).startswith(f"last-frame: condition 0: {says}")


class Odd(VideoForecaster):
    name = "odd"

    def __init__(self, frame, grid=None):
        self.frame = frame
        self.grid = grid or Grid()

    def frames(self, contexts):
        for window in range(len(contexts)):
            for step in range(contexts.horizon):
                yield window, step + 1, self.frame


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (np.zeros(SIZE), "odd: a frame is float64"),
        (np.zeros(SIZE[:2], np.float32), r"odd: a frame is float32 \(4, 3\), expected float32"),
        (None, "odd: a frame is <class 'NoneType'>, expected float32"),
        (np.zeros((5, 3, 2), np.float32), "needs voxel 4 of axis 0, which has 4"),
    ],
    ids=["float64", "flat", "nothing", "too large"],
)
def test_frame_that_is_none_is_named(tmp_path, frame, says):
    parts(tmp_path, "segmentation", "video")
    with pytest.raises((BrokenPlugin, InvalidInput), match=says):
        asked(tmp_path, Odd(frame))


def test_one_voxel_of_nan_is_named_as_the_neuron_it_belongs_to(tmp_path):
    class Holed(LastFrame):
        name = "holed"

        def frames(self, contexts):
            for window, step, frame in super().frames(contexts):
                if (window, step) == (3, 2):
                    frame[2, 1, 1] = np.nan
                yield window, step, frame

    parts(tmp_path, "segmentation", "video")
    with pytest.raises(BrokenPlugin, match="returned nan for window 3, step 2, neuron 1; expected"):
        asked(tmp_path, Holed())


def test_grid_says_where_the_voxels_lie(tmp_path):
    video = parts(tmp_path, "segmentation", "video")["video"]
    frame = np.ascontiguousarray(video[20, 1::2, :, 1:])
    found = asked(tmp_path, Odd(frame, Grid(offset=(1, 0, 1), stride=(2, 1, 1))))
    labels = LABELS[1::2, :, 1:]
    for label in range(1, 5):
        values = frame[labels == label]
        expected = values.astype(np.float64).mean() if values.size else np.nan
        np.testing.assert_allclose(found[0, 0, label - 1], expected, rtol=1e-6)


# Next-step forecasters


class Leaky(NextStepForecaster):
    """A causal forecaster with a memory: a decaying sum of the frames so far."""

    name = "leaky"

    def next_steps(self, contexts):
        assert contexts.origins
        state = np.zeros_like(contexts.activity[:, 0])
        answers = []
        for frame in contexts.activity.swapaxes(0, 1):
            state = np.float32(0.5) * state + np.tanh(frame)
            answers.append(state + np.float32(0.1))
        return np.stack(answers, axis=1)


def test_roll_out_equals_a_loop_that_feeds_back(tmp_path):
    made = case()
    recordings = made.recordings(tmp_path)
    series = made.benchmark.series[0]
    found = forecast_windows(
        Leaky(), made.benchmark, series, recordings["fish"], (0, 9), context=CONTEXT
    )
    for window, origin in enumerate(series.origins):
        frames = list(made.activity["fish"][origin - CONTEXT : origin])
        for step in range(5):
            state = np.zeros(4, np.float32)
            for frame in frames:
                state = np.float32(0.5) * state + np.tanh(frame)
            frames.append(state + np.float32(0.1))
            np.testing.assert_allclose(found[window, step], frames[-1], rtol=1e-6)


def test_roll_out_tells_the_origin_of_each_step(tmp_path):
    class Watching(Leaky):
        seen: tuple = ()

        def next_steps(self, contexts):
            self.seen += ((contexts.origins, contexts.activity.shape[1], contexts.horizon),)
            return super().next_steps(contexts)

    made, watching = case(), Watching()
    recording = made.recordings(tmp_path)["fish"]
    series = made.benchmark.series[0]
    forecast_windows(watching, made.benchmark, series, recording, (0, 2), context=CONTEXT)
    assert watching.seen == tuple(((4 + s, 5 + s), 4 + s, 1) for s in range(5))


class Driven(NextStepForecaster):
    """Adds up what is shown now and what will be, position by position."""

    name = "driven"

    def __init__(self, *covariates):
        self.covariates = covariates

    def next_steps(self, contexts):
        assert contexts.stimulus.shape[1] == contexts.activity.shape[1]
        now = contexts.stimulus[..., :4]
        ahead = contexts.future_stimulus[..., :4]
        assert ahead.shape == now.shape
        return contexts.activity + now - np.float32(0.5) * ahead


def test_roll_out_is_told_the_stimulus_of_every_frame(tmp_path):
    made = parts(tmp_path, "stimuli_features")
    found = asked(tmp_path, Driven("stimulus", "future_stimulus"))
    shown = made["stimuli_features"][:, :4]
    for window, origin in enumerate(case().benchmark.series[0].origins):
        frame = made["traces"][origin - 1]
        for step in range(5):
            frame = frame + shown[origin + step - 1] - 0.5 * shown[origin + step]
            np.testing.assert_allclose(found[window, step], frame, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("covariate", ["stimulus", "future_stimulus"])
def test_roll_out_needs_the_stimulus_of_context_and_horizon_or_neither(tmp_path, covariate):
    parts(tmp_path, "stimuli_features")
    with pytest.raises(BrokenPlugin, match=rf"driven: asks for {covariate}; .*need both stimulus"):
        asked(tmp_path, Driven(covariate))


def test_next_steps_equal_growing_contexts(tmp_path):
    made = worms_case()
    recordings = made.recordings(tmp_path)
    for series in made.benchmark.series:
        recording = recordings[series.recording]
        contexts = contexts_of(made.benchmark, series, recording, series.origins, context=CONTEXT)
        found = forecast_windows(
            Leaky(), made.benchmark, series, recording, (0, series.windows), context=CONTEXT
        )
        for k in range(1, made.benchmark.horizon + 1):
            one = Leaky().forecast(contexts.head(k))
            np.testing.assert_allclose(found[:, k - 1], one[:, 0], rtol=1e-6)
