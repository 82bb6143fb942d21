from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from learning import CONTEXT, HORIZON, NEURONS, benchmark, opened, training

from baselines.timeseries.forecasters import Linear, TiDE, TSMixer
from zapeval.errors import InvalidInput, UsageError
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecast import forecast
from zapeval.forecasting.predictions import open_predictions
from zapeval.forecasting.train import train

TOML = """\
id = "oscillators"
version = 1
context_lengths = [8]
horizon = 4

[split]
train = [0.0, 0.6]
validation = [0.6, 0.8]
test = [0.8, 1.0]

[[recordings]]
key = "fish0"
activity = "fish0.npy"

[[series]]
name = "all"
"""


def contexts(windows: int = 5, seed: int = 0) -> Contexts:
    shape = (windows, CONTEXT, NEURONS)
    return Contexts(
        activity=np.random.default_rng(seed).normal(0, 0.2, shape).astype(np.float32),
        horizon=HORIZON,
        series="trial",
        origins=tuple(range(CONTEXT, CONTEXT + windows)),
    )


def test_what_is_saved_forecasts_the_same(tmp_path):
    made = TSMixer(steps=20)
    made.fit(training(tmp_path))
    (tmp_path / "model").mkdir()
    made.save(tmp_path / "model")
    loaded = TSMixer(steps=20)
    loaded.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.forecast(contexts()), made.forecast(contexts()))
    assert loaded.size == made.size


def test_a_seed_gives_the_same_and_another_seed_another(tmp_path):
    values = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        made = TSMixer(steps=10)
        made.fit(training(tmp_path / name, seed=seed))
        values.append(made.forecast(contexts()))
    np.testing.assert_array_equal(values[0], values[1])
    assert np.abs(values[0] - values[2]).max() > 1e-4


def test_a_window_is_forecast_alone_as_in_any_batch(tmp_path):
    made = TSMixer(steps=5, batch=3)
    made.fit(training(tmp_path))
    together = made.forecast(contexts(7))
    for window in range(7):
        whole = contexts(7)
        alone = replace(
            whole,
            activity=whole.activity[window : window + 1].copy(),
            origins=whole.origins[window : window + 1],
        )
        np.testing.assert_array_equal(made.forecast(alone)[0], together[window])


def test_masked_neurons_teach_nothing(tmp_path):
    mask = (True,) * (NEURONS - 1) + (False,)
    forecasts = []
    for name, factor in (("a", 1), ("b", 100)):
        given = training(tmp_path / name, mask=mask)
        path = tmp_path / name / "data" / "fish0.npy"
        activity = np.load(path)
        activity[:, -1] *= factor
        np.save(path, activity)
        made = Linear(steps=30)
        made.fit(given)
        forecasts.append(made.forecast(contexts()))
    np.testing.assert_array_equal(forecasts[0], forecasts[1])


def test_another_shape_than_it_was_trained_for_is_refused(tmp_path):
    made = Linear(steps=1)
    made.fit(training(tmp_path))
    with pytest.raises(InvalidInput, match=r"linear: was trained for 8 frames .* 6 neurons, asked"):
        made.forecast(replace(contexts(), horizon=5))


def test_what_is_not_trained_does_not_forecast():
    with pytest.raises(UsageError, match="linear: is not trained yet"):
        Linear().forecast(contexts())


def test_steps_batch_and_rate_change_the_plan():
    made = TiDE(stimulus=False, steps=7, batch=3, rate=0.5)
    assert (made.plan.max_steps, made.plan.batch, made.plan.learning_rate) == (7, 3, 0.5)
    assert made.parameters["learning_rate"] == 0.5


@pytest.mark.parametrize(
    "options", [{"steps": 0}, {"batch": "many"}, {"steps": 1.5}, {"rate": 0}, {"rate": "slow"}]
)
def test_a_plan_that_can_not_be_is_refused(options):
    with pytest.raises(UsageError, match="expected a number above 0"):
        Linear(**options)


def test_a_recording_without_stimulus_is_forecast_without(tmp_path):
    with pytest.raises(InvalidInput, match="has no stimulus, which the forecaster asks for"):
        train(
            TiDE(steps=1),
            benchmark(),
            opened(tmp_path / "data"),
            tmp_path / "out",
            context=CONTEXT,
            seed=0,
        )
    made = TiDE(stimulus=False, steps=1)
    made.fit(training(tmp_path))
    assert made.forecast(contexts()).shape == (5, HORIZON, NEURONS)


def test_a_checkpoint_knows_what_it_cost(tmp_path):
    made = Linear(steps=5)
    data = opened(tmp_path / "data")
    found = train(made, benchmark(), data, tmp_path / "out", context=CONTEXT, seed=0)
    assert found.cost.parameters == (CONTEXT + 1) * HORIZON
    assert found.cost.training_seconds > 0
    forecast(made, benchmark(), data, tmp_path / "p.zarr", context=CONTEXT, trained=found)
    said = open_predictions(str(tmp_path / "p.zarr")).manifest.forecaster
    assert (said.seed, said.cost, said.checkpoint) == (0, found.cost, found.model)


@pytest.mark.slow
def test_a_killed_training_goes_on_from_its_checkpoint_to_the_same_parameters(tmp_path):
    opened(tmp_path)
    (tmp_path / "oscillators.toml").write_text(TOML)

    def begin(out):
        program = "from zapeval.cli.app import main; main()"
        what = ["train", "linear", "-b", "oscillators.toml", "--out", out, "--set", "steps=3000"]
        return subprocess.Popen(
            [sys.executable, "-c", program, *what], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )

    whole = begin("whole")
    assert whole.wait(timeout=300) == 0, whole.stderr.read()
    whole.stderr.close()
    cut = begin("cut")
    states = tmp_path / "cut" / ".seed-0.part" / "unfinished" / "states"
    deadline = time.monotonic() + 120
    while not list(states.glob("*/counters.json")):
        assert cut.poll() is None, "it ended before it kept a state"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(cut.pid, signal.SIGKILL)
    cut.communicate()
    assert not (tmp_path / "cut" / "seed-0").exists()
    again = begin("cut")
    _, said = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert "linear, C=8, seed 0: goes on at step 250, from what was kept" in said
    forecasts = []
    for out in ("whole", "cut"):
        made = Linear(steps=3000)
        made.load(tmp_path / out / "seed-0" / "model")
        forecasts.append(made.forecast(contexts()))
    np.testing.assert_array_equal(forecasts[0], forecasts[1])


def test_equal_parameters_have_equal_digests_wherever_they_lie(tmp_path):
    found = [
        train(
            TSMixer(steps=3),
            benchmark(),
            opened(tmp_path / "data"),
            tmp_path / name / "out",
            context=CONTEXT,
            seed=0,
        )
        for name in ("a", "b")
    ]
    assert found[0].model == found[1].model


def test_nan_in_a_neuron_that_is_not_scored_harms_nothing(tmp_path):
    mask = (True,) * (NEURONS - 1) + (False,)
    made = TSMixer(steps=3)
    given = training(tmp_path, mask=mask)
    frames = np.load(tmp_path / "data" / "fish0.npy")
    frames[:, -1] = np.nan
    np.save(tmp_path / "data" / "fish0.npy", frames)
    made.fit(given)
    seen = contexts()
    seen.activity[..., -1] = np.nan
    values = made.forecast(replace(seen, mask=np.array(mask)))
    assert np.isfinite(values).all()
    assert np.isnan(seen.activity[..., -1]).all()


def test_nan_in_a_scored_neuron_is_named(tmp_path):
    given = training(tmp_path)
    frames = np.load(tmp_path / "data" / "fish0.npy")
    frames[30, 2] = np.nan
    np.save(tmp_path / "data" / "fish0.npy", frames)
    with pytest.raises(InvalidInput, match=r"early 0: .* not finite in neurons that are scored"):
        Linear(steps=50).fit(given)


def test_a_next_step_benchmark_is_refused(tmp_path):
    given = replace(training(tmp_path), protocol="next-step")
    with pytest.raises(InvalidInput, match=r"linear: forecasts a horizon .* 'next-step'"):
        Linear(steps=1).fit(given)
