from __future__ import annotations

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from learning import CONTEXT, HORIZON, training

from baselines.batches import Batches, WindowBatches
from baselines.curves import Curves
from baselines.training import Counters, Plan, RelativePlan, train
from zapeval.errors import InvalidInput, StorageError

SHORT = Plan(max_steps=40, validate_every=10, save_seconds=0, batch=4)


def begin():
    return {"kernel": jnp.full((CONTEXT, HORIZON), 1 / CONTEXT), "bias": jnp.zeros(HORIZON)}


def forecast(params, contexts):
    return jnp.einsum("wcn,ch->whn", contexts, params["kernel"]) + params["bias"][:, None]


def loss(params, batch):
    errors = jnp.abs(forecast(params, batch["activity"]) - batch["targets"]) * batch["weight"]
    return errors.sum(), batch["weight"].sum() * HORIZON


def run(folder, plan=SHORT, batches=None, **options):
    given = training(folder, **options)
    return train(loss, begin(), batches or WindowBatches(given, plan.batch), plan, given)


def same(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_steps_are_those_of_adamw_in_a_plain_loop(tmp_path):
    plan = Plan(max_steps=10, validate_every=10, weight_decay=0.1)
    fitted, counters = run(tmp_path, plan)
    batches = WindowBatches(training(tmp_path / "again"), plan.batch)
    params, optimizer = begin(), optax.adamw(1e-3, weight_decay=0.1)
    memory = optimizer.init(params)
    for step in range(10):
        gradient = jax.grad(lambda p, b: loss(p, b)[0] / loss(p, b)[1])(params, batches.train(step))
        updates, memory = optimizer.update(gradient, memory, params)
        params = optax.apply_updates(params, updates)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), fitted, params
    )
    total = sum(float(loss(params, batch)[0]) for batch in batches.validation())
    weight = sum(float(loss(params, batch)[1]) for batch in batches.validation())
    assert counters.best == pytest.approx(total / weight, rel=1e-5)


def test_it_learns(tmp_path):
    plan = Plan(max_steps=1000, validate_every=50, learning_rate=1e-2)
    _, counters = run(tmp_path, plan)
    batches = WindowBatches(training(tmp_path / "again"), 8)
    before = [
        float(loss(begin(), batch)[0] / loss(begin(), batch)[1]) for batch in batches.validation()
    ]
    assert counters.best < 0.4 * np.mean(before)


def test_an_interrupted_training_ends_at_the_same_bits(tmp_path):
    whole, counters = run(tmp_path / "whole")

    class Cut(Batches):
        def __init__(self, batches, at):
            self.batches, self.at = batches, at

        def train(self, step):
            if step == self.at:
                raise KeyboardInterrupt
            return self.batches.train(step)

        def validation(self):
            return self.batches.validation()

    notes = []
    folder = tmp_path / "cut"
    for at in (5, 13, 27):
        with pytest.raises(KeyboardInterrupt):
            run(folder, batches=Cut(WindowBatches(training(folder), 4), at), note=notes.append)
    again, counted = run(folder, note=notes.append)
    same(again, whole)
    assert counted == counters
    assert notes == [
        "goes on at step 10, from what was kept",
        "goes on at step 20, from what was kept",
    ]
    lines = Curves(folder / "record").read()
    assert [line["step"] for line in lines] == [10, 20, 30, 40]


def test_a_finished_training_is_not_done_again(tmp_path):
    fitted, counters = run(tmp_path)

    class Refusing(Batches):
        def train(self, step):
            raise AssertionError

        def validation(self):
            raise AssertionError

    again, counted = run(tmp_path, batches=Refusing())
    same(again, fitted)
    assert counted == counters


def test_the_best_parameters_are_given_not_the_last(tmp_path):
    class Worse(Batches):
        """Validates against targets that move away after the second validation."""

        def __init__(self, batches):
            self.batches, self.calls = batches, 0

        def train(self, step):
            return self.batches.train(step)

        def validation(self):
            self.calls += 1
            for batch in self.batches.validation():
                shift = 0.0 if self.calls <= 2 else 10.0
                yield batch | {"targets": batch["targets"] + shift}

    best, counters = run(tmp_path / "a", batches=Worse(WindowBatches(training(tmp_path / "b"), 4)))
    assert counters.best_step == 20
    to_there, _ = run(tmp_path / "c", Plan(max_steps=20, validate_every=10, batch=4))
    same(best, to_there)


def test_it_stops_after_its_patience(tmp_path):
    plan = Plan(max_steps=1000, validate_every=5, patience=3, learning_rate=1e-12)
    _, counters = run(tmp_path, plan)
    assert counters.step == 20
    assert counters.waited == 3


def test_a_loss_that_is_not_finite_ends_it_with_a_reason(tmp_path):
    with pytest.raises(InvalidInput, match=r"loss is (nan|inf).*at step \d+ \(seed 0\); lower"):
        run(tmp_path, Plan(max_steps=50, validate_every=10, learning_rate=1e30))


def test_gain_is_what_exceeds_min_delta():
    plan = Plan(min_delta=0.1, plateau_patience=2)
    counters = Counters().after(1, 1.0, plan)
    assert (counters.gained, counters.waited, counters.best) == (1.0, 0, 1.0)
    counters = counters.after(2, 0.95, plan)
    assert (counters.gained, counters.waited, counters.best, counters.best_step) == (
        1.0,
        1,
        0.95,
        2,
    )
    counters = counters.after(3, 0.89, plan)
    assert (counters.gained, counters.waited) == (0.89, 0)
    counters = counters.after(4, 2.0, plan).after(5, 2.0, plan)
    assert (counters.drops, counters.flat, counters.waited, counters.best_step) == (1, 0, 2, 3)


def test_a_relative_gain_is_a_share_of_the_loss_at_the_last_gain():
    plan = RelativePlan(min_delta=0.1, plateau_patience=2)
    counters = Counters()
    for step, (loss, waited) in enumerate([(1e-3, 0), (9.1e-4, 1), (8.9e-4, 0), (8.1e-4, 1)]):
        counters = counters.after(step, loss, plan)
        assert (counters.waited, counters.best) == (waited, loss)
    # The last gain, not the best loss, is what a next one is measured by.
    assert counters.gained == 8.9e-4
    assert Plan(min_delta=0.1).gains(9e-4, 1e-3) is False


def test_rates_follow_their_schedules():
    assert Plan().rate(12345, 0) == 1e-3
    cosine = Plan(schedule="cosine", max_steps=100)
    halves = [optax.cosine_decay_schedule(1e-3, 100)(step) for step in (0, 30, 50, 99)]
    np.testing.assert_allclose(
        [cosine.rate(step, 0) for step in (0, 30, 50, 99)], halves, rtol=1e-4
    )
    assert Plan(schedule="plateau").rate(7, 2) == pytest.approx(1e-5)
    assert [Plan(warmup=4).rate(step, 0) for step in (0, 1, 3, 9)] == [2.5e-4, 5e-4, 1e-3, 1e-3]


def test_metrics_are_lines_of_json_and_a_figure_shows_them(tmp_path):
    run(tmp_path)
    record = tmp_path / "record"
    lines = [json.loads(line) for line in (record / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30, 40]
    assert all(math.isfinite(line["train"]) for line in lines)
    assert "<svg" in (record / "learning-curve.svg").read_text()


def test_a_torn_line_of_metrics_is_passed_over(tmp_path):
    curves = Curves(tmp_path)
    curves.add(10, 1.0, 1.0, 1e-3, 1.0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 20, "tra')
    curves.cut(100)
    curves.add(20, 0.5, 0.5, 1e-3, 2.0)
    assert [line["step"] for line in curves.read()] == [10, 20]


def test_a_damaged_state_says_what_to_remove(tmp_path):
    run(tmp_path)
    (tmp_path / "unfinished" / "states" / "40" / "counters.json").write_text('{"step": 4')
    with pytest.raises(StorageError, match=r"states/40: the kept state .* remove .*unfinished to"):
        run(tmp_path)


def test_a_cosine_ends_at_its_floor():
    plan = Plan(schedule="cosine", learning_rate=1e-4, floor=1e-7, max_steps=100)
    schedule = optax.cosine_decay_schedule(1e-4, 100, alpha=1e-3)
    steps = (0, 30, 99, 100, 200)
    np.testing.assert_allclose(
        [plan.rate(step, 0) for step in steps], [schedule(s) for s in steps], rtol=1e-4
    )
    assert plan.rate(100, 0) == pytest.approx(1e-7)


def test_what_judges_may_differ_from_what_is_lowered(tmp_path):
    def judge(params, batch):
        errors = (forecast(params, batch["activity"]) - batch["targets"]) ** 2
        return errors.sum(), batch["weight"].sum() * HORIZON

    given = training(tmp_path)
    batches = WindowBatches(given, SHORT.batch)
    params, counters = train(loss, begin(), batches, SHORT, given, judge=judge)
    sums = [judge(params, batch) for batch in batches.validation()]
    found = sum(float(total) for total, _ in sums) / sum(float(weight) for _, weight in sums)
    assert counters.best == pytest.approx(found, rel=1e-5)


def test_parameters_lie_where_they_are_asked_to(tmp_path):
    where = jax.sharding.SingleDeviceSharding(jax.local_devices()[-1])
    given = training(tmp_path)
    batches = WindowBatches(given, SHORT.batch)
    params, _ = train(loss, begin(), batches, SHORT, given, where=where)
    assert {leaf.sharding for leaf in jax.tree.leaves(params)} == {where}
    again, _ = train(loss, begin(), batches, SHORT, given, where=where)
    assert {leaf.sharding for leaf in jax.tree.leaves(again)} == {where}, "taken up there too"
