from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from fewworms import training_on, write_few

from baselines.curves import Curves
from baselines.training import train
from baselines.worms import together
from baselines.worms.forecasters import WormLinear, WormLSTM
from baselines.worms.together import train_together
from zapeval.errors import UsageError

SEEDS = (0, 1, 2)
DRAWN = {0: (0, 1, 4), 1: (2, 3, 5), 2: (0, 2, 4)}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("few") / "worms"
    write_few(folder)
    return folder


def made(kind=WormLSTM, **options):
    width = {"hidden": 6} if kind is WormLSTM else {}
    given = {"batch": 4, "steps": 9, "every": 3, "windows": 2, "rate": 0.01, "published": True}
    return kind(**(given | width | options))


def starts_of(store, folder, forecaster, seeds=SEEDS):
    batches = forecaster.batches(training_on(store, folder))
    return [forecaster.start(batches.part(DRAWN[seed], seed), seed) for seed in seeds]


def trainings_of(store, folder, seeds=SEEDS):
    found = []
    for seed in seeds:
        (folder / str(seed)).mkdir(parents=True, exist_ok=True)
        found.append(training_on(store, folder / str(seed), seed))
    return found


def close(first, second):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), first, second)


@pytest.mark.parametrize("kind", [WormLSTM, WormLinear])
def test_trained_together_each_comes_to_what_it_comes_to_alone(store, tmp_path, kind):
    forecaster = made(kind)
    starts = starts_of(store, tmp_path, forecaster)
    trainings = trainings_of(store, tmp_path / "all")
    found = train_together(starts, trainings, tmp_path / "kept")
    alone = trainings_of(store, tmp_path / "alone")
    for start, training, one, (params, counters) in zip(
        starts, trainings, alone, found, strict=True
    ):
        expected, counted = train(start.loss, start.params, start.batches, start.plan, one)
        close(params, expected)
        assert counters.best == pytest.approx(counted.best, rel=1e-5)
        assert (counters.step, counters.best_step) == (counted.step, counted.best_step)
        lines = [Curves(folder.record).read() for folder in (training, one)]
        for name in ("step", "train", "validation", "learning_rate"):
            got, wanted = ([line[name] for line in part] for part in lines)
            np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_one_that_stops_early_stays_as_it_was_while_others_go_on(store, tmp_path, monkeypatch):
    def judged(judge, params, start):
        losses = validate(judge, params, start)
        judged.calls += 1
        # The first gets worse after its first validation; the second goes on gaining.
        return losses * np.array([10.0**judged.calls, 0.1**judged.calls])

    judged.calls = 0
    validate = together._validate
    monkeypatch.setattr(together, "_validate", judged)
    monkeypatch.setattr(
        WormLinear, "planned", lambda self, b: planned(self, b, patience=2, max_steps=12)
    )
    forecaster = made(WormLinear)
    starts = starts_of(store, tmp_path, forecaster, SEEDS[:2])
    found = train_together(
        starts, trainings_of(store, tmp_path / "all", SEEDS[:2]), tmp_path / "kept"
    )
    (early, ended), (_, other) = found
    assert (ended.step, ended.best_step, ended.waited) == (9, 3, 2)
    assert (other.step, other.best_step) == (12, 12)
    monkeypatch.setattr(WormLinear, "planned", lambda self, b: planned(self, b, max_steps=3))
    start = starts_of(store, tmp_path, forecaster, SEEDS[:1])[0]
    (training,) = trainings_of(store, tmp_path / "short", SEEDS[:1])
    to_there, _ = train(start.loss, start.params, start.batches, start.plan, training)
    close(early, to_there)


def planned(forecaster, batches, **changed):
    return replace(forecaster.plan, validate_every=3, **changed)


def test_an_interrupted_training_goes_on_to_the_same_bits(store, tmp_path, monkeypatch):
    forecaster = made(WormLinear)
    starts = starts_of(store, tmp_path, forecaster)
    whole = train_together(starts, trainings_of(store, tmp_path / "a"), tmp_path / "kept-a")
    stack = together._batch

    def cut(given, step):
        if step == 7:
            raise KeyboardInterrupt
        return stack(given, step)

    monkeypatch.setattr(together, "_batch", cut)
    monkeypatch.setattr("baselines.training.Plan.save_seconds", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train_together(starts, trainings_of(store, tmp_path / "b"), tmp_path / "kept-b")
    asked = []
    monkeypatch.setattr(together, "_batch", lambda g, step: asked.append(step) or stack(g, step))
    again = train_together(starts, trainings_of(store, tmp_path / "b"), tmp_path / "kept-b")
    assert min(asked) > 0
    for (params, counters), (expected, counted) in zip(again, whole, strict=True):
        jax.tree.map(np.testing.assert_array_equal, params, expected)
        assert counters == counted
    lines = Curves(tmp_path / "b" / "1").read()
    assert [line["step"] for line in lines] == [3, 6, 9]


def test_what_differs_in_shape_or_in_what_it_is_chosen_by_is_refused(store, tmp_path):
    (one, other), (wide,) = (
        starts_of(store, tmp_path, made(), SEEDS[:2]),
        starts_of(store, tmp_path, made(steps=10), SEEDS[:1]),
    )
    with pytest.raises(UsageError, match="differ in shape or plan"):
        train_together([one, wide], [], tmp_path)
    (foreign,) = starts_of(store, tmp_path, made(), SEEDS[:1])
    with pytest.raises(UsageError, match="chosen by different windows"):
        train_together([other, foreign], [], tmp_path)
