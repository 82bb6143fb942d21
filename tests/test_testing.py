"""The contract test fails for a forecaster that breaks any clause, and for the right clause."""

from __future__ import annotations

import numpy as np
import pytest

from zapeval.forecasting.forecaster import Forecaster
from zapeval.testing import ForecasterContract

NAME = "test_has_a_name"
SHAPE = "test_returns_float32_windows_by_horizon_by_neurons"
FINITE = "test_forecasts_finite_numbers"
TWICE = "test_forecasts_the_same_twice"
ALONE = "test_leaves_its_contexts_alone"
BATCH = "test_forecasts_a_window_alone_as_in_a_batch"
CLAUSES = {NAME, SHAPE, FINITE, TWICE, ALONE, BATCH}


def clauses(make):
    """Returns the names of the contract's tests that a forecaster fails."""

    class Trial(ForecasterContract):
        def make(self):
            return make()

    failed = set()
    for name in dir(Trial):
        if name.startswith("test_"):
            try:
                getattr(Trial(), name)()
            except Exception:
                failed.add(name)
    return failed


class Good(Forecaster):
    """Repeats the last frame; the broken ones below change one thing."""

    name = "good"

    def forecast(self, contexts):
        return np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1)


class Nameless(Good):
    name = ""


class Spaced(Good):
    name = " good"


class Path(Good):
    name = "mine/good"


class Double(Good):
    def forecast(self, contexts):
        return super().forecast(contexts).astype(np.float64)


class Transposed(Good):
    def forecast(self, contexts):
        return super().forecast(contexts).swapaxes(1, 2)


class Short(Good):
    def forecast(self, contexts):
        return super().forecast(contexts)[:, 1:]


class List(Good):
    def forecast(self, contexts):
        return super().forecast(contexts).tolist()


class WithNaN(Good):
    def forecast(self, contexts):
        values = super().forecast(contexts)
        values[0, -1, 0] = np.nan
        return values


class WithInfinity(Good):
    def forecast(self, contexts):
        values = super().forecast(contexts)
        values[:, 0, -1] = np.inf
        return values


class Random(Good):
    def forecast(self, contexts):
        noise = np.random.default_rng().normal(size=contexts.activity.shape[2])
        return super().forecast(contexts) + noise.astype(np.float32)


class Drifting(Good):
    """Forecasts otherwise at each call."""

    def __init__(self):
        self.calls = 0

    def forecast(self, contexts):
        self.calls += 1
        return super().forecast(contexts) * np.float32(self.calls)


class Overwriting(Good):
    def forecast(self, contexts):
        values = super().forecast(contexts)
        contexts.activity[:] = 0
        return values


class Normalising(Good):
    """Subtracts the mean over the batch, which holds the future of its windows."""

    def forecast(self, contexts):
        return super().forecast(contexts) - contexts.activity.mean(axis=0, keepdims=True)[:, -1:]


class Peeking(Good):
    """Forecasts the last frame of the batch's last window."""

    def forecast(self, contexts):
        values = super().forecast(contexts)
        return np.repeat(values[-1:], len(values), axis=0)


class Seeded(Good):
    """Draws the same noise at each call, so a window's noise hangs on its place in the batch."""

    def forecast(self, contexts):
        values = super().forecast(contexts)
        return values + np.random.default_rng(1).normal(size=values.shape).astype(np.float32)


@pytest.mark.parametrize(
    ("broken", "failed"),
    [
        (Nameless, {NAME}),
        (Spaced, {NAME}),
        (Path, {NAME}),
        (Double, {SHAPE}),
        (Transposed, {SHAPE}),
        (Short, {SHAPE}),
        (List, {SHAPE}),
        (WithNaN, {FINITE, BATCH}),
        (WithInfinity, {FINITE}),
        (Random, {TWICE, BATCH}),
        (Drifting, {TWICE}),
        (Overwriting, {ALONE}),
        (Normalising, {BATCH}),
        (Peeking, {BATCH}),
        (Seeded, {BATCH}),
    ],
)
def test_broken_forecaster_fails_its_clause_and_no_other(broken, failed):
    assert clauses(broken) == failed


def test_good_forecaster_fails_no_clause():
    assert clauses(Good) == set()


def test_every_clause_is_known_to_these_tests():
    assert {name for name in dir(ForecasterContract) if name.startswith("test_")} == CLAUSES


def test_forecaster_without_a_name_fails():
    class Anonymous(Forecaster):
        def forecast(self, contexts):
            return np.repeat(contexts.activity[:, -1:], contexts.horizon, axis=1)

    assert clauses(Anonymous) == {NAME}


def test_trial_is_as_large_as_it_says():
    class Trial(ForecasterContract):
        context, horizon, neurons, windows = 7, 2, 3, 4

        def make(self):
            return Good()

    contexts = Trial().contexts()
    assert contexts.activity.shape == (4, 7, 3)
    assert contexts.activity.dtype == np.float32
    assert (contexts.horizon, len(contexts.origins)) == (2, 4)
    assert len(np.unique(contexts.activity)) == contexts.activity.size
