"""What the models learn of synthetic worms of a few neurons, where the best loss is known."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from trainings import recordings_of

from baselines.worms.cores import CORES, Core
from baselines.worms.forecasters import WormForecaster
from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.benchmarks.celegans.preprocessing import z_score
from zapeval.benchmarks.celegans.synthetic import sines, walk
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.train import train
from zapeval.registry import FORECASTERS, find

WORMS, FRAMES, NEURONS, LENGTH = 8, 400, 6, 40
LONGER = {"epochs": 40, "rate": 1e-2}
NAMES = [f"worm-{core}" for core in CORES]


def traces(kind):
    return [z_score(kind(FRAMES, n)[:, :NEURONS]).astype(np.float32) for n in range(WORMS)]


def benchmark():
    """Returns next steps of each worm: half to train on, a quarter to choose by, one to test."""
    series = [
        Series(
            name=f"worm {number}",
            array=f"worm_{number}",
            recording=f"worm{number}",
            train=((0, 200),),
            validation=((200, 300),),
            origins=(301, 360),
        )
        for number in range(WORMS)
    ]
    return Benchmark(
        id="few",
        version=1,
        protocol="next-step",
        context_lengths=(LENGTH,),
        max_context=LENGTH,
        horizon=LENGTH,
        series=tuple(series),
        frames=tuple((one.recording, FRAMES) for one in series),
        summary_steps=(1,),
    )


def ratio(folder, made, kind):
    """Returns the squared error of a trained model on the last quarter, by the naive one."""
    worms = traces(kind)
    recordings = recordings_of(folder, {f"worm{n}": values for n, values in enumerate(worms)})
    train(made, benchmark(), recordings, folder / "out", context=LENGTH, seed=0)
    seen = np.stack([values[300:-1] for values in worms])
    contexts = Contexts(activity=seen, horizon=1, series="", origins=(301,) * WORMS)
    following = np.stack([values[301:] for values in worms])
    # Not the first frames, in which a model has no memory yet.
    errors = np.square(made.next_steps(contexts) - following)[:, 10:]
    return errors.mean() / np.square(seen - following)[:, 10:].mean()


def small(name, *, epochs=25, rate=3e-3):
    width = {} if name == "worm-linear" else {"hidden": 48}
    return find(FORECASTERS, name)(epochs=epochs, batch=32, rate=rate, **width)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["worm-ctrnn", "worm-lstm", "worm-transformer"])
def test_on_sines_a_model_with_memory_beats_the_naive_one(tmp_path, name):
    assert ratio(tmp_path, small(name), sines) < 0.8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["worm-linear", "worm-feedforward"])
def test_on_sines_a_model_without_memory_stays_above_the_memoryless_optimum(tmp_path, name):
    assert 0.9 < ratio(tmp_path, small(name), sines) < 1.1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_on_a_random_walk_no_model_beats_the_naive_one(tmp_path, name):
    assert ratio(tmp_path, small(name, **LONGER), walk) >= 0.99


class Peeking(Core):
    """Hands on the frame that is to be forecast."""

    def __call__(self, sequence, key=None):
        return jnp.concatenate([sequence[:, 1:], sequence[:, -1:]], axis=1)


class Peeker(WormForecaster):
    name = "peeker"
    core = "peeking"
    width = 48


@pytest.mark.slow
def test_the_random_walk_gives_away_a_model_that_looks_ahead(tmp_path, monkeypatch):
    monkeypatch.setitem(CORES, "peeking", Peeking)
    assert ratio(tmp_path, Peeker(batch=32, **LONGER), walk) < 0.9
