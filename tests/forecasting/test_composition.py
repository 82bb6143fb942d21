"""Forecasters made of forecasters do what their parts do, each with what is its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from zapeval.errors import BrokenPlugin, InvalidInput, UsageError
from zapeval.forecasting.composition import Autoregressive, Ensembled, Normalised
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.manifest import said_of
from zapeval.forecasting.train import train
from zapeval.forecasting.training import training_of
from zapeval.forecasting.trial import Trial
from zapeval.testing import ForecasterContract

TRIAL = Trial(context=4, horizon=6, neurons=3, windows=2)


class Line(Forecaster):
    """Goes on along the last two frames."""

    name = "line"
    version = "2"

    def forecast(self, contexts):
        last = contexts.activity[:, -1:]
        slope = last - contexts.activity[:, -2:-1]
        steps = np.arange(1, contexts.horizon + 1, dtype=np.float32)[:, None]
        return last + slope * steps


class Constant(Forecaster):
    """Forecasts one value everywhere."""

    name = "constant"

    def __init__(self, value):
        self.value = value

    @property
    def parameters(self):
        return {"value": self.value}

    @property
    def size(self):
        return 1

    def forecast(self, contexts):
        windows, _, neurons = contexts.activity.shape
        return np.full((windows, contexts.horizon, neurons), self.value, np.float32)


class Learned(Forecaster):
    """Keeps what it was handed, and forecasts its seed."""

    name = "learned"

    def fit(self, training):
        self.training = training
        self.seed = training.seed
        (training.folder / "begun").touch(exist_ok=False)
        (training.record / "curve").touch(exist_ok=False)

    def save(self, folder):
        (folder / "seed").write_text(str(self.seed))

    def load(self, folder):
        self.seed = int((folder / "seed").read_text())

    def forecast(self, contexts):
        windows, _, neurons = contexts.activity.shape
        return np.full((windows, contexts.horizon, neurons), self.seed % 1000, np.float32)


class TestEnsembleContract(ForecasterContract):
    def make(self):
        return Ensembled([Line(), Constant(0.25)])


class TestAutoregressiveContract(ForecasterContract):
    def make(self):
        return Autoregressive(Line(), steps=3)


class TestNormalisedContract(ForecasterContract):
    def make(self):
        return Normalised(Line())


class TestLearnedEnsembleContract(ForecasterContract):
    def make(self):
        return Ensembled([Learned(), Line(), Learned()])


def contexts():
    return TRIAL.contexts(TRIAL.recordings())


def training(tmp_path, seed=3):
    for name in ("folder", "record"):
        (tmp_path / name).mkdir()
    return training_of(
        TRIAL.benchmark,
        TRIAL.recordings(),
        context=4,
        seed=seed,
        folder=tmp_path / "folder",
        record=tmp_path / "record",
    )


# Ensembled


def test_an_ensemble_forecasts_the_mean():
    seen = contexts()
    values = Ensembled([Line(), Constant(0.25), Constant(1.0)]).forecast(seen)
    assert values.dtype == np.float32
    expected = (Line().forecast(seen).astype("f8") + 0.25 + 1.0) / 3
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_an_ensemble_asks_for_all_that_its_parts_ask_for():
    hears, sees, spies = Constant(1), Constant(2), Constant(3)
    hears.covariates, sees.covariates = ("stimulus", "future_stimulus"), ("video", "stimulus")
    spies.leaks = "the test frames"
    made = Ensembled([hears, sees, spies])
    assert made.covariates == ("future_stimulus", "stimulus", "video")
    assert made.leaks == "the test frames"


def test_a_composition_says_what_it_is_made_of():
    said = said_of(Ensembled([Line(), Constant(2)]))
    assert said.parameters == {
        "of": [
            {"name": "line", "version": "2", "parameters": {}},
            {"name": "constant", "version": "", "parameters": {"value": 2}},
        ]
    }


def test_the_size_of_a_composition_is_that_of_its_parts():
    assert Ensembled([Constant(1), Constant(2)]).size == 2
    assert Ensembled([Constant(1), Line()]).size is None


def test_a_part_may_not_be_stretched_to_fit():
    class Short(Line):
        name = "short"

        def forecast(self, contexts):
            return super().forecast(contexts)[:, :1]

    class Narrow(Short):
        def forecast(self, contexts):
            return Line.forecast(self, contexts)[:, :, :1]

    for part in (Short(), Narrow()):
        for made in (Ensembled([Line(), part]), Normalised(part), Autoregressive(part, steps=2)):
            with pytest.raises(BrokenPlugin, match=r"short: trial: returned shape .* expected"):
                made.forecast(contexts())


def test_a_part_that_overwrites_its_contexts_harms_no_other():
    class Overwriting(Line):
        def forecast(self, contexts):
            values = super().forecast(contexts)
            contexts.activity[:] = 0
            return values

    seen = contexts()
    values = Ensembled([Overwriting(), Line()]).forecast(seen)
    np.testing.assert_allclose(values, Line().forecast(seen), rtol=1e-6)


def test_parts_that_learn_differ_in_their_seeds(tmp_path):
    parts = [Learned(), Line(), Learned(), Learned()]
    made = Ensembled(parts)
    assert made.learns
    made.fit(training(tmp_path))
    seeds = [part.seed for part in parts if part.learns]
    assert seeds[0] == 3
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_parts_keep_what_they_keep_apart(tmp_path):
    made = Ensembled([Learned(), Learned()])
    made.fit(training(tmp_path))
    assert sorted(p.name for p in (tmp_path / "folder").iterdir()) == ["0", "1"]
    assert sorted(p.name for p in (tmp_path / "record").iterdir()) == ["part-0", "part-1"]


def test_what_parts_have_learned_is_saved_and_loaded(tmp_path):
    made = Ensembled([Learned(), Constant(1), Learned()])
    folder = tmp_path / "seed-7"
    train(made, TRIAL.benchmark, TRIAL.recordings(), folder, context=4, seed=7)
    assert sorted(p.parent.name for p in (folder / "model").rglob("seed")) == ["0", "2"]
    loaded = Ensembled([Learned(), Constant(1), Learned()])
    loaded.load(folder / "model")
    assert [p.seed for p in loaded.parts if p.learns] == [p.seed for p in made.parts if p.learns]


def test_a_composition_of_what_learns_nothing_learns_nothing(tmp_path):
    made = Ensembled([Line(), Constant(1)])
    assert not made.learns
    with pytest.raises(UsageError, match="ensembled: learns nothing"):
        train(made, TRIAL.benchmark, TRIAL.recordings(), tmp_path / "a", context=4, seed=0)


def test_a_composition_of_nothing_is_refused():
    with pytest.raises(UsageError, match="Ensembled: made of nothing"):
        Ensembled([])


# Autoregressive


@pytest.mark.parametrize("steps", [1, 2, 4, 6, 9])
def test_a_line_that_is_fed_back_is_the_line(steps):
    seen = contexts()
    values = Autoregressive(Line(), steps=steps).forecast(seen)
    assert (values.dtype, values.shape) == (np.float32, (2, 6, 3))
    np.testing.assert_allclose(values, Line().forecast(seen), rtol=1e-4, atol=1e-5)


def test_feeding_back_keeps_the_context_length_and_moves_the_origins():
    calls = []

    class Watching(Line):
        def forecast(self, contexts):
            calls.append((contexts.activity.shape[1], contexts.horizon, contexts.origins))
            return super().forecast(contexts)

    seen = contexts()
    Autoregressive(Watching(), steps=4).forecast(seen)
    later = tuple(origin + 4 for origin in seen.origins)
    assert calls == [(4, 4, seen.origins), (4, 4, later)]


def test_a_part_that_is_fed_back_learns_the_steps_that_it_is_asked_for(tmp_path):
    part = Learned()
    Autoregressive(part, steps=2).fit(training(tmp_path))
    assert part.training.horizon == 2
    series = part.training.series[0]
    origins = series.train_origins[:3]
    assert series.contexts(origins).horizon == 2
    targets = series.targets(origins)
    for window, origin in enumerate(origins):
        np.testing.assert_array_equal(targets[window], TRIAL.activity[origin : origin + 2])


def test_more_steps_than_a_benchmark_has_can_not_be_learned(tmp_path):
    with pytest.raises(InvalidInput, match="horizon 9: expected 1 to 6"):
        Autoregressive(Learned(), steps=9).fit(training(tmp_path))


def test_what_asks_for_more_than_activity_is_not_fed_back():
    part = Constant(1)
    part.covariates = ("stimulus",)
    with pytest.raises(UsageError, match="constant asks for stimulus, which are not fed back"):
        Autoregressive(part)


def test_no_steps_are_refused():
    with pytest.raises(UsageError, match="0 steps at a time"):
        Autoregressive(Line(), steps=0)


# Normalised


@pytest.mark.parametrize("by", ["instance", "last"])
def test_a_line_does_not_care_for_scales(by):
    seen = contexts()
    values = Normalised(Line(), by=by).forecast(seen)
    np.testing.assert_allclose(values, Line().forecast(seen), rtol=1e-4, atol=1e-5)


def test_a_constant_becomes_what_is_usual_or_last():
    seen = contexts()
    usual = Normalised(Constant(0.0), by="instance").forecast(seen)
    last = Normalised(Constant(0.0), by="last").forecast(seen)
    for step in range(6):
        np.testing.assert_allclose(usual[:, step], seen.activity.mean(axis=1), rtol=1e-5)
        np.testing.assert_array_equal(last[:, step], seen.activity[:, -1])
    beyond = Normalised(Constant(1.0), by="instance").forecast(seen)
    deviation = seen.activity.mean(axis=1) + seen.activity.std(axis=1)
    np.testing.assert_allclose(beyond[:, 0], deviation, rtol=1e-3)


def test_a_neuron_that_is_still_stays_finite():
    seen = contexts()
    still = replace(seen, activity=np.full_like(seen.activity, 0.3))
    values = Normalised(Line()).forecast(still)
    np.testing.assert_allclose(values, 0.3, atol=1e-3)


def test_a_part_learns_on_the_scale_on_which_it_forecasts(tmp_path):
    part = Learned()
    Normalised(part, by="last").fit(training(tmp_path))
    series = part.training.series[0]
    origins = series.train_origins[::9]
    activity, targets = series.contexts(origins).activity, series.targets(origins)
    for window, origin in enumerate(origins):
        last = TRIAL.activity[origin - 1]
        np.testing.assert_array_equal(activity[window], TRIAL.activity[origin - 4 : origin] - last)
        np.testing.assert_array_equal(targets[window], TRIAL.activity[origin : origin + 6] - last)
    with pytest.raises(InvalidInput, match="scaled window by window"):
        series.activity(series.train[0])


def test_an_unknown_scale_is_refused():
    with pytest.raises(UsageError, match="by 'median', expected 'instance' or 'last'"):
        Normalised(Line(), by="median")


class Watching(Forecaster):
    """Keeps the windows it is trained on."""

    name = "watching"

    def fit(self, training):
        series = training.series[0]
        origins = series.train_origins[:3]
        self.seen = series.contexts(origins).activity, series.targets(origins)

    def save(self, folder):
        pass

    def forecast(self, contexts):
        return np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1)


def test_scales_within_scales_are_applied_one_after_the_other(tmp_path):
    watching = Watching()
    whole = Normalised(Normalised(watching, by="last"), by="instance")
    recordings = TRIAL.recordings()
    train(whole, TRIAL.benchmark, recordings, tmp_path / "out", context=4, seed=0)
    given = training_of(
        TRIAL.benchmark, recordings, context=4, seed=0, folder=tmp_path, record=tmp_path
    )
    series = given.series[0]
    origins = series.train_origins[:3]
    frames = series.contexts(origins).activity.astype(np.float64)
    mean, deviation = frames.mean(axis=1, keepdims=True), frames.std(axis=1, keepdims=True) + 1e-5
    last = (frames[:, -1:] - mean) / deviation
    for got, values in zip(watching.seen, (frames, series.targets(origins)), strict=True):
        np.testing.assert_allclose(got, (values - mean) / deviation - last, atol=1e-4)


class Peeking(Watching):
    """Reads every frame."""

    name = "peeking"

    def fit(self, training):
        self.frames = training.series[0].every_frame()


class Leaking(Peeking):
    """Reads every frame and says so."""

    name = "leaking"
    leaks = "everything"


def test_a_part_that_does_not_say_that_it_leaks_reads_no_test_frame(tmp_path):
    recordings = TRIAL.recordings()
    both = Ensembled([Leaking(), Peeking()])
    assert both.leaks == "everything"
    with pytest.raises(BrokenPlugin, match="says so in its attribute leaks"):
        train(both, TRIAL.benchmark, recordings, tmp_path / "out", context=4, seed=0)
    alone = Ensembled([Leaking()])
    train(alone, TRIAL.benchmark, recordings, tmp_path / "alone", context=4, seed=0)
