from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from builders import Case, horizon_case, targets_of, worms_case
from cli.tiny import forecasts, write_predictions
from hypothesis import given
from hypothesis import strategies as st
from trainings import training

from baselines.autoregression import VectorAutoregression
from baselines.linear import LeastSquares
from baselines.naive import Mean, Persistence
from submissions.forensics import examine, noise_of
from submissions.sample import NEURONS, WINDOWS, places, steps_of
from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.errors import InvalidInput, StorageError
from zapeval.forecasting.contexts import contexts_of

FRAMES, CELLS, HORIZON, CONTEXT, SIGMA = 1400, 40, 12, 4, 0.02
TEST = {"a": 700, "b": 1100}


def activity(seed=0):
    """Slow signals of a few sources with their own response, and measurement noise on top."""
    rng = np.random.default_rng(seed)
    sources = np.zeros((FRAMES, 4))
    for now in range(1, FRAMES):
        sources[now] = 0.97 * sources[now - 1] + rng.normal(0, 0.25, 4)
    slow = np.zeros((FRAMES, 4))
    for now in range(1, FRAMES):
        slow[now] = 0.7 * slow[now - 1] + 0.3 * sources[now]
    clean = 0.08 * slow @ rng.normal(size=(4, CELLS))
    return (clean + rng.normal(0, SIGMA, clean.shape)).astype(np.float32)


BENCHMARK = Benchmark(
    id="slow",
    version=1,
    protocol="horizon",
    context_lengths=(CONTEXT,),
    max_context=8,
    horizon=HORIZON,
    series=tuple(
        Series(
            name=name,
            array=f"test_{name}",
            recording="fish",
            train=((10 + 350 * i, 340 + 350 * i),),
            validation=((345 + 350 * i, 355 + 350 * i),),
            origins=tuple(range(first, first + 120)),
        )
        for i, (name, first) in enumerate(TEST.items())
    ),
    frames=(("fish", FRAMES),),
    summary_steps=(1, HORIZON),
)


@pytest.fixture(scope="module")
def case():
    return Case(benchmark=BENCHMARK, activity={"fish": activity()}, values={})


@pytest.fixture(scope="module")
def honest(case, tmp_path_factory):
    """Forecasts of baselines that learned from the training frames, by name."""
    folder = tmp_path_factory.mktemp("honest")
    recordings = case.recordings(folder)
    made = {}
    for kind in (Mean, Persistence, LeastSquares, VectorAutoregression):
        forecaster = kind()
        if kind in (LeastSquares, VectorAutoregression):
            place = folder / kind.name
            place.mkdir()
            forecaster.fit(training(place, BENCHMARK, recordings, context=CONTEXT))
        made[kind.name] = {
            series.array: np.asarray(
                forecaster.forecast(
                    contexts_of(
                        BENCHMARK, series, recordings["fish"], series.origins, context=CONTEXT
                    )
                )
            )
            for series in BENCHMARK.series
        }
    return made


def store(case, folder, values):
    return replace(case, values=values).predictions(folder)


def signs(case, folder, values, *others, **options):
    recordings = case.recordings(folder / "recordings")
    opened = [store(case, folder / f"other-{i}", other) for i, other in enumerate(others)]
    predictions = store(case, folder / "predictions", values)
    return examine(predictions, case.benchmark, recordings, others=opened, **options)


def kinds(found):
    return {finding.kind for finding in found}


def copies(case, shift=0, noise=0.0, seed=0):
    """Targets moved by some frames, with noise."""
    rng = np.random.default_rng(seed)
    values = {}
    for series in case.benchmark.series:
        traces = case.activity[series.recording]
        rows = np.array(series.origins)[:, None] + np.arange(case.benchmark.horizon) + shift
        copy = traces[np.minimum(rows, len(traces) - 1)]
        values[series.array] = (copy + rng.normal(0, 1, copy.shape) * noise).astype(np.float32)
    return values


def noisy(values, noise, seed=1):
    rng = np.random.default_rng(seed)
    return {k: (v + rng.normal(0, noise, v.shape)).astype(np.float32) for k, v in values.items()}


def test_a_thin_blend_is_not_taken_for_a_shifted_one(case, honest, tmp_path):
    """Two frames before, its noise stands three times as strong."""
    copy = copies(case)
    blend = {k: (0.9 * v + 0.1 * copy[k]).astype(np.float32) for k, v in honest["var"].items()}
    (sign,) = (f for f in signs(case, tmp_path, blend) if f.kind == "noise of the targets")
    assert (sign.evidence["shift"], sign.severity) == (0, "medium")
    assert sign.evidence["share"] == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize("name", ["mean", "persistence", "least-squares", "var"])
def test_an_honest_forecast_has_no_sign(case, honest, tmp_path, name):
    others = [values for other, values in honest.items() if other != name]
    assert signs(case, tmp_path, honest[name], *others) == ()


@pytest.mark.parametrize("seed", range(4))
def test_an_honest_forecast_has_no_sign_wherever_the_sample_lies(case, honest, tmp_path, seed):
    assert signs(case, tmp_path, honest["var"], honest["least-squares"], seed=seed) == ()


def test_a_copy_of_the_targets_is_found(case, tmp_path):
    found = signs(case, tmp_path, copies(case))
    assert kinds(found) == {"copy", "noise of the targets", "error below the noise"}
    assert {finding.severity for finding in found} == {"high"}
    evidence = {finding.kind: finding.evidence for finding in found}
    assert evidence["copy"]["equal"] == evidence["copy"]["of"]
    assert evidence["noise of the targets"]["share"] == pytest.approx(1, abs=0.15)
    assert evidence["error below the noise"]["share"] == 0


@pytest.mark.parametrize("shift", [-2, -1, 1, 2])
def test_a_copy_shifted_by_a_step_is_found_with_its_shift(case, tmp_path, shift):
    found = {finding.kind: finding for finding in signs(case, tmp_path, copies(case, shift))}
    assert {"shifted copy", "noise of the targets"} <= set(found)
    assert found["shifted copy"].severity == "high"
    assert found["shifted copy"].evidence["shift"] == shift
    assert found["noise of the targets"].evidence["shift"] == shift


@pytest.mark.parametrize("noise", [1e-4, 0.2 * SIGMA, SIGMA, 3 * SIGMA])
@pytest.mark.parametrize("shift", [0, -1])
def test_a_copy_with_noise_is_found_however_much(case, tmp_path, noise, shift):
    found = {f.kind: f for f in signs(case, tmp_path, copies(case, shift, noise))}
    sign = found["noise of the targets"]
    assert (sign.severity, sign.evidence["shift"]) == ("high", shift)
    assert sign.evidence["share"] == pytest.approx(1, abs=0.15)
    assert ("error below the noise" in found) == (shift == 0 and noise < 0.5 * SIGMA)


def test_a_blend_of_forecast_and_copy_is_found_with_its_share(case, honest, tmp_path):
    copy = copies(case)
    blend = {k: (0.6 * v + 0.4 * copy[k]).astype(np.float32) for k, v in honest["var"].items()}
    (sign,) = (f for f in signs(case, tmp_path, blend) if f.kind == "noise of the targets")
    assert sign.severity == "medium"
    assert sign.evidence["share"] == pytest.approx(0.4, abs=0.1)


@pytest.mark.parametrize("name", ["mean", "persistence", "least-squares", "var"])
@pytest.mark.parametrize("noise", [0.0, 1e-6, 0.1 * SIGMA, 0.5 * SIGMA])
def test_another_entrys_predictions_are_found_through_noise(case, honest, tmp_path, name, noise):
    values = honest[name] if noise == 0 else noisy(honest[name], noise)
    (sign,) = signs(
        case, tmp_path, values, honest["mean" if name != "mean" else "var"], honest[name]
    )
    assert (sign.kind, sign.severity) == ("another entry's predictions", "high")
    assert sign.evidence["other"].endswith("other-1")


def test_a_copy_of_some_neurons_is_found(case, honest, tmp_path):
    copy = copies(case)
    some = {k: v.copy() for k, v in honest["var"].items()}
    for key, values in some.items():
        values[:, :, :4] = copy[key][:, :, :4]
    (sign,) = (f for f in signs(case, tmp_path, some) if f.kind == "copy")
    assert sign.evidence["equal"] / sign.evidence["of"] == pytest.approx(4 / CELLS, abs=0.02)


def test_next_step_forecasts_are_examined_by_what_they_could_see(tmp_path):
    worms = worms_case(neurons=(30, 30), positions=8, windows=30, masked=False)
    assert kinds(signs(worms, tmp_path / "copy", copies(worms))) >= {"copy"}
    persistence = copies(worms, shift=-1)
    assert signs(worms, tmp_path / "honest", persistence) == ()
    assert "shifted copy" in kinds(signs(worms, tmp_path / "ahead", copies(worms, shift=1)))


def test_missing_and_masked_neurons_are_left_out(tmp_path):
    mask = (True, False, True, True, True, True, True)
    small = horizon_case(mask=mask, windows=(40, 40, 40))
    values = copies(small)
    for array in values.values():
        array[:, :, 1] = np.nan
        array[:, :, 3] = np.nan
    (sign,) = (f for f in signs(small, tmp_path, values) if f.kind == "copy")
    assert sign.evidence["equal"] == sign.evidence["of"]


def test_a_value_that_is_not_finite_or_a_missing_chunk_is_an_error(case, honest, tmp_path):
    broken = {k: v.copy() for k, v in honest["mean"].items()}
    broken["test_a"][:, 0, :] = np.inf
    with pytest.raises(InvalidInput, match="not finite"):
        signs(case, tmp_path / "inf", broken)
    recordings = case.recordings(tmp_path / "recordings")
    opened = store(case, tmp_path / "p", honest["mean"])
    for chunk in (tmp_path / "p/test_a").glob("[0-9]*"):
        chunk.unlink()
    with pytest.raises(StorageError, match="missing"):
        examine(opened, BENCHMARK, recordings)
    with pytest.raises(InvalidInput, match="expected an array"):
        signs(case, tmp_path / "short", {k: v[1:] for k, v in honest["mean"].items()})


def test_the_same_seed_gives_the_same_findings(case, tmp_path):
    values = copies(case, noise=SIGMA)
    first = signs(case, tmp_path / "1", values, seed=7)
    assert first == signs(case, tmp_path / "2", values, seed=7)
    assert first != signs(case, tmp_path / "3", values, seed=8)


@given(sigma=st.floats(0.001, 1.0), seed=st.integers(0, 1000))
def test_noise_is_that_of_white_noise_on_slow_signals(sigma, seed):
    rng = np.random.default_rng(seed)
    slow = np.sin(np.arange(4000)[:, None] / rng.uniform(60, 200, 3))
    found = noise_of(slow + rng.normal(0, sigma, slow.shape))
    np.testing.assert_allclose(found, sigma, rtol=0.1)


def test_a_sample_is_bounded_whatever_the_recording(tmp_path):
    wide = np.zeros((300, 2 * NEURONS), np.float32)
    task = replace(
        BENCHMARK,
        series=tuple(
            replace(one, train=(), validation=(), origins=tuple(range(20, 270)))
            for one in BENCHMARK.series
        ),
        frames=(("fish", 300),),
    )
    found = places(
        task, Case(benchmark=task, activity={"fish": wide}, values={}).recordings(tmp_path), 0
    )
    assert len(found) == 4
    for place in found:
        assert place.windows[1] - place.windows[0] == WINDOWS
        assert place.neurons[1] - place.neurons[0] == NEURONS
        assert place.steps == (1, 2, 3, 6, 7, 12)
    assert steps_of(1) == (1,)
    assert steps_of(32) == (1, 2, 3, 16, 17, 32)


def test_the_command_prints_signs_and_numbers(run, tmp_path):
    from cli.tiny import ARRAYS, ORIGINS, activity, write_benchmark

    tiny = write_benchmark(tmp_path / "benchmark")
    traces = activity()
    copy = {name: np.stack([traces[o : o + 4] for o in ORIGINS[name]]) for name in ARRAYS}
    stolen = write_predictions(tmp_path / "copy", **copy)
    options = ("-b", tiny, "-c", 2, "--quiet")
    done = run("entries", "forensics", stolen, *options)
    assert (done.code, done.err) == (0, "")
    assert "high    copy: 100.0% of the sampled predictions equal the targets" in done.out
    assert "each is a sign, not a verdict" in done.out
    honest = write_predictions(tmp_path / "own", **{name: forecasts(name) for name in ARRAYS})
    done = run("entries", "forensics", honest, *options, "--against", stolen, "--json")
    assert done.code == 0
    assert "copy" not in [finding["kind"] for finding in json.loads(done.out)]
    again = run("entries", "forensics", honest, *options, "--against", honest, "--json")
    assert json.loads(again.out)[-1]["kind"] == "another entry's predictions"
    assert run("entries", "forensics", tmp_path / "none", *options).code == 4


def test_targets_are_those_of_the_index_convention(case):
    series = BENCHMARK.series[0]
    np.testing.assert_array_equal(copies(case)[series.array], targets_of(case, series))
