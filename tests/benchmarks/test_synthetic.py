from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from baselines.naive import Mean, Persistence
from zapeval.benchmarks import synthetic
from zapeval.benchmarks.benchmark import windows_in
from zapeval.benchmarks.brain import QUANTUM
from zapeval.benchmarks.synthetic import Mini, Smoke, brain_folder, generate_brain
from zapeval.benchmarks.zapbench import CONDITIONS, FRAMES, ZAPBENCH
from zapeval.forecasting.forecast import forecast
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.predictions import open_predictions
from zapeval.scoring.score import score

HORIZON = 32


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The generated recording, made once as a user's first command makes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZAPEVAL_DATA", str(tmp_path_factory.mktemp("data")))
        assert Mini().recordings()["brain"].neurons == 256
        return brain_folder()


@pytest.fixture(scope="session")
def traces(folder):
    return Mini().recordings(str(folder))["brain"].activity.read()


# The recording


def test_recording_holds_the_generated_brain(folder, traces):
    brain, recording = generate_brain(), Mini().recordings(str(folder))["brain"]
    np.testing.assert_array_equal(traces, brain.traces)
    assert traces.shape == (FRAMES, 256)
    np.testing.assert_array_equal(recording.stimulus.read(), brain.stimulus)
    np.testing.assert_array_equal(recording.segmentation.read(), brain.segmentation)
    assert recording.table.regions == brain.regions
    assert len(set(recording.table.names)) == 256
    np.testing.assert_allclose(recording.table.positions, brain.positions, rtol=1e-6)
    assert recording.video.shape == (FRAMES, *brain.segmentation.shape)


@pytest.mark.parametrize("frame", [0, 511, 512, FRAMES - 1])
def test_video_means_over_the_segmentation_are_the_traces(folder, traces, frame):
    recording = Mini().recordings(str(folder))["brain"]
    volume = recording.video.read((frame, frame + 1))[0].astype(np.float64)
    labels = recording.segmentation.read()
    for neuron in range(0, 256, 17):
        mean = volume[labels == neuron + 1].mean()
        assert mean == pytest.approx(traces[frame, neuron], abs=1e-6)


def test_recording_is_generated_once(tmp_path, monkeypatch, folder):
    monkeypatch.setenv("ZAPEVAL_DATA", str(folder.parent))
    monkeypatch.setattr(synthetic, "generate_brain", lambda: pytest.fail("generated again"))
    for recipe in (Mini(), Smoke()):
        assert recipe.recordings()["brain"].uri == str(folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_interrupted_generation_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(brain, folder):
        (folder / "traces").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setenv("ZAPEVAL_DATA", str(tmp_path))
    monkeypatch.setattr(synthetic, "write_brain", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Mini().recordings()["brain"]
    assert list(tmp_path.iterdir()) == []


def test_other_seed_is_kept_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("ZAPEVAL_DATA", str(tmp_path))
    assert brain_folder(1) != brain_folder(2)
    assert brain_folder(1).parent == tmp_path


# The benchmarks


def resolved(recipe, folder):
    recordings = recipe.recordings(str(folder))
    return recipe.resolve(recordings), recordings


def test_mini_has_zapbenchs_windows(folder):
    mini, _ = resolved(Mini(), folder)
    assert mini.label == "zapbench-mini@1"
    assert mini.windows == 1557
    assert [series.name for series in mini.series] == list(CONDITIONS)
    for series, original in zip(mini.series, ZAPBENCH.series, strict=True):
        for field in ("array", "origins", "held_out", "train", "validation", "mask"):
            assert getattr(series, field) == getattr(original, field)
    for field in ("protocol", "context_lengths", "max_context", "horizon", "summary_steps"):
        assert getattr(mini, field) == getattr(ZAPBENCH, field)


def test_version_1_of_mini_is_what_it_was(folder, traces):
    mini, _ = resolved(Mini(), folder)
    digest = "4c88d9dcf308a8788e2057197a7311a007a13f884b777b983121cdde085ccea9"
    assert mini.digest == f"sha256:{digest}"
    quanta = np.rint(traces.astype(np.float64) / QUANTUM).astype(np.int64)
    # Whatever computes exp and tanh: a few values may round to the next quantum.
    assert abs(quanta.sum() - 2_435_191_675) < 100
    assert abs((quanta[::7] * np.arange(256)).sum() - 44_450_785_872) < 25_600


def test_smoke_has_at_most_64_windows_of_every_condition(folder):
    smoke, _ = resolved(Smoke(), folder)
    assert smoke.label == "zapbench-smoke@0"
    assert smoke.windows <= 64
    for series, original in zip(smoke.series, ZAPBENCH.series, strict=True):
        assert series.windows >= 1
        assert set(series.origins) <= set(original.origins)


def test_benchmarks_over_the_brain_never_share_a_board(folder):
    digests = {resolved(recipe, folder)[0].digest for recipe in (Mini(), Smoke())}
    assert len(digests | {ZAPBENCH.digest}) == 3


# The round: forecast, store, score


class LeastSquares(Forecaster):
    """Forecasts every step as one affine function of the context, shared by all neurons."""

    name = "least-squares"

    def __init__(self, traces, benchmark, context):
        size = context + 1
        products, sums = np.zeros((size, size)), np.zeros((size, HORIZON))
        for series in benchmark.series:
            for start, stop in series.train:
                # Each fourth window: neighbours repeat each other.
                for origin in windows_in((start + context, stop), HORIZON, 4):
                    inputs = np.ones((traces.shape[1], size))
                    inputs[:, :context] = traces[origin - context : origin].T
                    products += inputs.T @ inputs
                    sums += inputs.T @ traces[origin : origin + HORIZON].T
        self.weights = np.linalg.solve(products + 1e-3 * np.eye(size), sums)

    def forecast(self, contexts):
        activity = contexts.activity.astype(np.float64)
        values = np.einsum("wcn,ch->whn", activity, self.weights[:-1], optimize=True)
        return (values + self.weights[-1][:, None]).astype(np.float32)


def scored(forecaster, recipe, folder, place, context):
    benchmark, recordings = resolved(recipe, folder)
    path = place / f"{forecaster.name}-{context}.zarr"
    forecast(forecaster, benchmark, recordings, path, context=context)
    predictions = open_predictions(str(path))
    with ThreadPoolExecutor(2) as pool:
        return score(predictions, benchmark, recordings, context=context, run=pool.map)[0]


@pytest.mark.slow
@pytest.mark.parametrize("context", [4, 256])
def test_least_squares_beats_the_naive_by_three_percent(tmp_path, folder, traces, context):
    benchmark, _ = resolved(Mini(), folder)
    fitted = LeastSquares(traces, benchmark, context)
    cards = {
        forecaster.name: scored(forecaster, Mini(), folder, tmp_path, context)
        for forecaster in (Persistence(), Mean(), fitted)
    }
    summaries = {name: card.summary.value for name, card in cards.items()}
    best = summaries.pop("least-squares")
    for summary in summaries.values():
        assert best <= 0.97 * summary
    assert len({card.data["digest"] for card in cards.values()}) == 1
    assert len({card.predictions["digest"] for card in cards.values()}) == 3
    assert not any(card.partial for card in cards.values())


def test_persistence_scores_as_worked_out_from_the_traces(tmp_path, folder, traces):
    card = scored(Persistence(), Mini(), folder, tmp_path, 4)
    for step in (1, 32):
        errors = {}
        for series in ZAPBENCH.series:
            origins = np.array(series.origins)
            last, truth = traces[origins - 1], traces[origins + step - 1]
            difference = np.abs(last.astype(np.float64) - truth)
            errors[series.name] = difference.mean()
            value = card.value(series.name, step, "mae")
            assert value == pytest.approx(errors[series.name], rel=1e-9)
        del errors["taxis"]
        average = sum(errors.values()) / 8
        assert card.value("average", step, "mae") == pytest.approx(average, rel=1e-9)


def test_targets_do_not_depend_on_the_context_length(tmp_path, folder):
    # Persistence sees the same last frame from any context, so every score is equal too.
    short, long = (scored(Persistence(), Smoke(), folder, tmp_path, c) for c in (4, 256))
    assert short.data == long.data
    assert short.scores == long.scores
    assert short.benchmark["context"] != long.benchmark["context"]


def test_mean_of_a_context_depends_on_its_length(tmp_path, folder):
    short, long = (scored(Mean(), Smoke(), folder, tmp_path, c) for c in (4, 256))
    assert short.data == long.data
    assert short.summary.value != long.summary.value
