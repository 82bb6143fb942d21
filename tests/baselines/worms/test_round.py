"""The whole round: train, forecast, score."""

from __future__ import annotations

import json

import numpy as np
import pytest
from trainings import recordings_of

from baselines.worms.forecasters import WormCTRNN
from zapeval.benchmarks.celegans.preprocessing import z_score
from zapeval.benchmarks.celegans.synthetic import sines
from zapeval.benchmarks.celegans.tasks import GENERATION, NEXT_STEP, Entry, benchmark_over
from zapeval.forecasting.forecast import forecast
from zapeval.forecasting.predictions import open_predictions
from zapeval.forecasting.train import train
from zapeval.scoring.score import score

FRAMES = (760, 801)


def task(folder, kind):
    """Returns a benchmark over two worms, 3 and 20 neurons labelled, and its recordings."""
    entries, activity = [], {}
    for number, (frames, labelled) in enumerate(zip(FRAMES, (3, 20), strict=True)):
        mask = np.random.default_rng(number).permutation(302) < labelled
        values = np.zeros((frames, 302), np.float32)
        values[:, mask] = z_score(sines(frames, number)[:, mask])
        key = f"worm{number}"
        activity[key] = values
        said = {"key": key, "name": key, "source": "", "frames": frames}
        entries.append(Entry(**said, mask=tuple(mask.tolist())))
    return benchmark_over(kind, entries), recordings_of(folder, activity)


@pytest.mark.slow
def test_the_published_validation_loss_is_the_score_and_says_that_it_leaks(tmp_path):
    benchmark, recordings = task(tmp_path, NEXT_STEP)
    made = WormCTRNN(hidden=8, epochs=2, batch=24, published=True)
    found = train(made, benchmark, recordings, tmp_path / "out", context=180, seed=0)
    forecast(made, benchmark, recordings, tmp_path / "p.zarr", context=180, trained=found)
    predictions = open_predictions(str(tmp_path / "p.zarr"))
    card, _ = score(predictions, benchmark, recordings, context=180)
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["validation"] for line in lines]
    assert len(losses) == 2
    assert card.summary.value == pytest.approx(min(losses), rel=1e-5)
    said = predictions.manifest.forecaster
    assert said.leaks == "the validation half is the tested half, as published"
    assert said.cost.parameters == 302 * 8 + 8 + 16 + 2 * (64 + 8) + 8 + 8 * 302 + 302


@pytest.mark.slow
def test_a_generation_is_scored_and_hangs_on_no_tested_frame(tmp_path):
    benchmark, recordings = task(tmp_path, GENERATION)
    made = WormCTRNN(hidden=8, epochs=1)
    found = train(made, benchmark, recordings, tmp_path / "out", context=180, seed=0)
    forecast(made, benchmark, recordings, tmp_path / "p.zarr", context=180, trained=found)
    predictions = open_predictions(str(tmp_path / "p.zarr"))
    card, _ = score(predictions, benchmark, recordings, context=180)
    assert np.isfinite(card.summary.value)
    assert predictions.manifest.forecaster.leaks == ""
