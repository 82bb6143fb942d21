from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from trainings import benchmark_of, fish, recordings_of, series, training, zapbench_alike

from baselines.columns import COLUMNS
from baselines.stimulus import TRIALS, Stimulus, StimulusTrain, averaged_frames, frames_of
from zapeval.benchmarks.zapbench import CONDITIONS, FRAMES, HORIZON, OFFSETS, conditions
from zapeval.errors import InvalidInput, UsageError
from zapeval.forecasting.contexts import contexts_of

NEURONS = 3

# Written down a second time, from the published trials: first frame, lengths, trials averaged.
GAIN = (0, (58, 66, 66, 65, 66, 66, 65, 66, 66, 65), 8)
TAXIS = (3078, (131, 132, 131, 131, 132), 4)
DOTS = (649, (591, 591, 591), 2)


@pytest.fixture(scope="module")
def activity():
    return fish(0, NEURONS)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fish")


@pytest.fixture(scope="module")
def recordings(place, activity):
    return recordings_of(place, {"fish": activity})


@pytest.fixture(scope="module")
def fitted(place, recordings):
    forecaster = Stimulus()
    forecaster.fit(training(place, zapbench_alike(), recordings, context=4, leaks=True))
    return forecaster


@pytest.fixture(scope="module")
def honest(place, recordings):
    forecaster = StimulusTrain()
    forecaster.fit(training(place, zapbench_alike(), recordings, context=4))
    return forecaster


def contexts_in(recordings, name, context=4):
    benchmark = zapbench_alike()
    one = benchmark.one(name)
    return contexts_of(benchmark, one, recordings["fish"], one.origins, context=context)


def evoked(activity, condition, seen):
    """The average response under each frame of a condition, by loops over trials and frames.

    ``seen`` tells of a frame whether it is averaged.
    """
    first, lengths, _ = condition
    starts = [first + sum(lengths[:trial]) for trial in range(len(lengths))]
    ends = [start + length for start, length in zip(starts, lengths, strict=True)]
    found = {}
    for start, end in zip(starts, ends, strict=True):
        for frame in range(start, end):
            alike = [
                other - (end - frame)
                for begin, other in zip(starts, ends, strict=True)
                if other - (end - frame) >= begin and seen(other - (end - frame))
            ]
            found[frame] = activity[alike].astype(np.float64).mean(axis=0)
    return found


@pytest.mark.parametrize("condition", TRIALS)
def test_trials_fill_their_condition(condition):
    start, stop = frames_of(condition)
    assert sum(TRIALS[condition].lengths) == stop - start


@pytest.mark.parametrize(("name", "condition"), [("gain", GAIN), ("taxis", TAXIS), ("dots", DOTS)])
def test_stimulus_is_the_mean_over_all_but_the_last_trials(
    fitted, recordings, activity, name, condition
):
    first, lengths, trials = condition
    limit = first + sum(lengths[:trials])
    expected = evoked(activity, condition, lambda frame: frame < limit)
    values = fitted.forecast(contexts_in(recordings, name))
    assert values.dtype == np.float32
    for window, origin in enumerate(zapbench_alike().one(name).origins):
        for step in range(HORIZON):
            np.testing.assert_allclose(values[window, step], expected[origin + step], rtol=1e-6)


@pytest.mark.parametrize("name", ["open loop", "dark"])
def test_stimulus_without_trials_is_the_mean_of_the_condition(fitted, recordings, activity, name):
    index = CONDITIONS.index(name)
    whole = activity[OFFSETS[index] : OFFSETS[index + 1]].astype(np.float64).mean(axis=0)
    values = fitted.forecast(contexts_in(recordings, name))
    np.testing.assert_allclose(values, np.broadcast_to(whole, values.shape), rtol=1e-6)


def test_stimulus_says_which_test_frames_it_averages():
    said = {}
    for condition in conditions():
        start, stop = averaged_frames(condition.name)
        test = set(range(*condition.test))
        seen = len(test & set(range(start, stop)))
        if seen:
            said[condition.name] = (seen, len(test))
    assert {name for name, (seen, of) in said.items() if seen == of} == {"open loop", "dark"}
    for name, (seen, of) in said.items():
        text = f"all {seen} of {name}" if seen == of else f"{seen} of {of} of {name}"
        assert text in Stimulus.leaks
    # Every number in the text is one of these.
    numbers = sorted(int(n) for n in re.findall(r"\d+", Stimulus.leaks))
    assert numbers == sorted(
        n for seen, of in said.values() for n in ((seen,) if seen == of else (seen, of))
    )


def test_stimulus_hangs_on_the_test_frames_that_it_names_and_on_no_other(
    tmp_path, fitted, activity
):
    for condition in conditions():
        start, stop = condition.test
        changed = activity.copy()
        changed[start:stop] += 1
        recordings = recordings_of(tmp_path, {"fish": changed})
        other = Stimulus()
        other.fit(training(tmp_path, zapbench_alike(), recordings, context=4, leaks=True))
        contexts = contexts_in(recordings, condition.name)
        moved = np.abs(other.forecast(contexts) - fitted.forecast(contexts)).max()
        named = condition.name in ("open loop", "dark", "taxis", "turning")
        assert (moved > 0) == named, condition.name


def test_train_twin_is_the_mean_over_training_frames(honest, recordings, activity):
    train = range(*conditions()[0].train)
    expected = evoked(activity, GAIN, lambda frame: frame in train)
    values = honest.forecast(contexts_in(recordings, "gain"))
    for window, origin in enumerate(zapbench_alike().one("gain").origins):
        for step in range(HORIZON):
            np.testing.assert_allclose(values[window, step], expected[origin + step], rtol=1e-6)


def test_train_twin_hangs_on_no_frame_but_training_frames(tmp_path, honest, recordings, activity):
    kept = np.zeros(FRAMES, bool)
    for condition in conditions():
        if condition.train is not None:
            kept[slice(*condition.train)] = True
    changed = np.where(kept[:, None], activity, np.float32(np.nan))
    other = StimulusTrain()
    elsewhere = recordings_of(tmp_path, {"fish": changed})
    other.fit(training(tmp_path, zapbench_alike(), elsewhere, context=4))
    assert StimulusTrain.leaks == ""
    for name in CONDITIONS:
        contexts = contexts_in(recordings, name)
        np.testing.assert_array_equal(other.forecast(contexts), honest.forecast(contexts))


@pytest.mark.parametrize("name", ["open loop", "dark"])
def test_train_twin_without_trials_is_the_mean_of_its_training_frames(
    honest, recordings, activity, name
):
    train = conditions()[CONDITIONS.index(name)].train
    mean = activity[slice(*train)].astype(np.float64).mean(axis=0)
    values = honest.forecast(contexts_in(recordings, name))
    np.testing.assert_allclose(values, np.broadcast_to(mean, values.shape), rtol=1e-6)


def test_train_twin_repeats_the_mean_of_the_context_where_it_may_learn_nothing(honest, recordings):
    contexts = contexts_in(recordings, "taxis")
    mean = contexts.activity.astype(np.float64).mean(axis=1, keepdims=True)
    values = honest.forecast(contexts)
    np.testing.assert_allclose(values, np.broadcast_to(mean, values.shape), rtol=1e-6)


@pytest.mark.parametrize("kind", [Stimulus, StimulusTrain])
def test_what_was_saved_forecasts_the_same(tmp_path, request, recordings, kind):
    forecaster = request.getfixturevalue("fitted" if kind is Stimulus else "honest")
    forecaster.save(tmp_path)
    again = kind()
    again.load(tmp_path)
    assert again.size == forecaster.size
    for name in CONDITIONS:
        contexts = contexts_in(recordings, name)
        np.testing.assert_array_equal(again.forecast(contexts), forecaster.forecast(contexts))


def test_size_counts_the_averaged_values(fitted):
    # The longest trial of each condition, or one mean.
    assert fitted.size == (66 + 591 + 66 + 132 + 263 + 197 + 1 + 66 + 1) * NEURONS
    assert Stimulus().size is None


def test_neurons_read_in_blocks_make_no_difference(tmp_path, monkeypatch):
    activity = np.tile(fish(0, NEURONS), 3)
    forecasts = []
    for columns in (2, COLUMNS):
        monkeypatch.setattr("baselines.columns.COLUMNS", columns)
        recordings = recordings_of(tmp_path, {"fish": activity})
        forecaster = Stimulus()
        forecaster.fit(training(tmp_path, zapbench_alike(), recordings, context=4, leaks=True))
        forecasts.append(forecaster.forecast(contexts_in(recordings, "flash")))
    np.testing.assert_array_equal(*forecasts)


@pytest.mark.parametrize("kind", [Stimulus, StimulusTrain])
def test_series_that_is_no_condition_is_refused(tmp_path, kind):
    worm = series("worm", 40, train=((0, 40),))
    benchmark = benchmark_of((worm,), {"fish": 60}, 4)
    recordings = recordings_of(tmp_path, {"fish": np.zeros((60, 2), np.float32)})
    given = training(tmp_path, benchmark, recordings, context=2, leaks=bool(kind.leaks))
    with pytest.raises(InvalidInput, match=f"{kind.name}: series 'worm' is no condition of ZAPB"):
        kind().fit(given)


@pytest.mark.parametrize("kind", [Stimulus, StimulusTrain])
def test_condition_in_other_frames_is_refused(tmp_path, kind):
    gain = series("gain", 700, train=((600, 700),))
    benchmark = benchmark_of((gain,), {"fish": 760}, 4)
    recordings = recordings_of(tmp_path, {"fish": np.zeros((760, 2), np.float32)})
    given = training(tmp_path, benchmark, recordings, context=2, leaks=bool(kind.leaks))
    with pytest.raises(InvalidInput, match=r"gain is trained on frames \[600, 700\), expected"):
        kind().fit(given)


def test_target_frames_outside_the_condition_are_refused(fitted, recordings):
    contexts = contexts_in(recordings, "gain")
    far = replace(contexts, origins=tuple(origin + 9 for origin in contexts.origins))
    with pytest.raises(
        InvalidInput, match=r"gain: target frames 528 to 656, expected .*\[0, 649\)"
    ):
        fitted.forecast(far)


def test_stimulus_that_was_not_fitted_says_so(recordings):
    with pytest.raises(UsageError, match="gain: was not fitted; call fit or load first"):
        Stimulus().forecast(contexts_in(recordings, "gain"))
