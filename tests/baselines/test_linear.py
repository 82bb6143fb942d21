from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import worms_case
from hypothesis import given
from hypothesis import strategies as st
from trainings import benchmark_of, recordings_of, series, training

from baselines.gram import lag_gram
from baselines.linear import LeastSquares, LeastSquaresLast
from zapeval.errors import InvalidInput, UsageError
from zapeval.forecasting.composition import Autoregressive
from zapeval.forecasting.contexts import Contexts, contexts_of

BOTH = pytest.mark.parametrize("kind", [LeastSquares, LeastSquaresLast])
MASK = (True, False, True, True, True)
CONTEXT, HORIZON = 3, 4

# Two series of one recording, one of them in two ranges, one masked, and a second recording.
SERIES = (
    series("a", 90, train=((0, 30), (40, 47)), validation=((60, 70),)),
    series("b", 90, train=((70, 88),), mask=MASK),
    series("c", 30, train=((1, 25),), recording="other"),
    series("held out", 100),
)
BENCHMARK = benchmark_of(SERIES, {"fish": 110, "other": 40}, HORIZON)


def walks(seed=0, offset=0.3):
    rng = np.random.default_rng(seed)
    return {
        "fish": (offset + rng.normal(size=(110, 5)).cumsum(axis=0)).astype(np.float32),
        "other": (offset + rng.normal(size=(40, 2)).cumsum(axis=0)).astype(np.float32),
    }


def rows_of(activity, context=CONTEXT, horizon=HORIZON):
    """The design matrix, window by window and neuron by neuron: inputs and outputs."""
    inputs, outputs = [], []
    for one in SERIES:
        values = activity[one.recording]
        for start, stop in one.train:
            for origin in range(start + context, stop - horizon + 1):
                for neuron in range(values.shape[1]):
                    if one.mask is None or one.mask[neuron]:
                        trace = values[:, neuron].astype(np.float64)
                        inputs.append(trace[origin - context : origin])
                        outputs.append(trace[origin : origin + horizon])
    return np.array(inputs), np.array(outputs)


def fitted(forecaster, folder, activity, context=CONTEXT):
    recordings = recordings_of(folder, activity)
    forecaster.fit(training(folder, BENCHMARK, recordings, context=context))
    return forecaster


def contexts(activity):
    windows = tuple(range(len(activity)))
    return Contexts(
        activity=activity.astype(np.float32), horizon=HORIZON, series="a", origins=windows
    )


def affine(forecaster, context=CONTEXT):
    """The map that a forecaster applies, found by asking: kernel and bias."""
    asked = np.concatenate([np.zeros((1, context)), np.eye(context)])[:, :, None]
    answers = forecaster.forecast(contexts(asked))[:, :, 0].astype(np.float64)
    return (answers[1:] - answers[0]).T, answers[0]


def test_least_squares_is_that_of_the_design_matrix(tmp_path):
    activity = walks()
    inputs, outputs = rows_of(activity)
    design = np.column_stack([inputs, np.ones(len(inputs))])
    expected = np.linalg.lstsq(design, outputs)[0].T
    forecaster = fitted(LeastSquares(), tmp_path, activity)
    found = np.column_stack([forecaster._map.kernel, forecaster._map.bias])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


def test_least_squares_of_the_last_value_is_that_of_the_relative_design_matrix(tmp_path):
    activity = walks()
    inputs, outputs = rows_of(activity)
    last = inputs[:, -1:]
    design = np.column_stack([inputs[:, :-1] - last, np.ones(len(inputs))])
    solution = np.linalg.lstsq(design, outputs - last)[0].T
    weights, bias = solution[:, :-1], solution[:, -1]
    forecaster = fitted(LeastSquaresLast(), tmp_path, activity)
    asked = np.random.default_rng(1).normal(size=(6, CONTEXT, 2)).astype(np.float32)
    newest = asked[:, -1:].astype(np.float64)
    relative = asked[:, :-1] - newest
    expected = newest + np.einsum("hc,wcn->whn", weights, relative) + bias[:, None]
    np.testing.assert_allclose(forecaster.forecast(contexts(asked)), expected, rtol=1e-5, atol=1e-5)
    kernel, offset = forecaster._map.kernel, forecaster._map.bias
    np.testing.assert_allclose(kernel[:, :-1], weights, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(kernel.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(offset, bias, rtol=1e-9, atol=1e-9)


def test_ridge_penalises_weights_and_spares_the_bias(tmp_path):
    activity, ridge = walks(), 0.2
    inputs, outputs = rows_of(activity)
    centred = inputs - inputs.mean(axis=0)
    penalty = ridge * np.square(centred).sum() / CONTEXT
    # Rows of sqrt(penalty) below the design are the penalty, by definition of the squared error.
    design = np.vstack([centred, np.sqrt(penalty) * np.eye(CONTEXT)])
    wanted = np.vstack([outputs - outputs.mean(axis=0), np.zeros((CONTEXT, HORIZON))])
    expected = np.linalg.lstsq(design, wanted)[0].T
    forecaster = fitted(LeastSquares(ridge=ridge), tmp_path, activity)
    np.testing.assert_allclose(forecaster._map.kernel, expected, rtol=1e-9, atol=1e-10)
    at_means = forecaster._map.kernel @ inputs.mean(axis=0) + forecaster._map.bias
    np.testing.assert_allclose(at_means, outputs.mean(axis=0), rtol=1e-9)
    assert dict(forecaster.parameters) == {"ridge": ridge}
    assert dict(LeastSquares().parameters) == {}


def test_forecast_applies_kernel_and_bias(tmp_path):
    forecaster = fitted(LeastSquares(), tmp_path, walks())
    asked = np.random.default_rng(1).normal(size=(6, CONTEXT, 5)).astype(np.float32)
    values = forecaster.forecast(contexts(asked))
    assert (values.dtype, values.shape) == (np.float32, (6, HORIZON, 5))
    kernel, bias = forecaster._map.kernel, forecaster._map.bias
    for window, step, neuron in np.ndindex(values.shape):
        expected = kernel[step] @ asked[window, :, neuron].astype(np.float64) + bias[step]
        assert values[window, step, neuron] == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_windows_that_follow_a_linear_law_are_forecast_exactly(tmp_path):
    # x(t) = 1.6 x(t - 1) - 0.8 x(t - 2) + 0.2: two frames tell all that comes.
    frames = np.zeros((110, 5))
    frames[:2] = np.random.default_rng(0).normal(size=(2, 5))
    for now in range(2, 110):
        frames[now] = 1.6 * frames[now - 1] - 0.8 * frames[now - 2] + 0.2
    activity = {"fish": frames.astype(np.float32), "other": frames[:40, :2].astype(np.float32)}
    forecaster = fitted(LeastSquares(), tmp_path, activity, context=2)
    kernel, bias = affine(forecaster, context=2)
    np.testing.assert_allclose(kernel[0], [-0.8, 1.6], atol=1e-4)
    np.testing.assert_allclose(bias[0], 0.2, atol=1e-4)


@BOTH
def test_contexts_that_never_vary_take_no_weight(tmp_path, kind):
    still = {"fish": np.full((110, 5), 0.25, np.float32), "other": np.full((40, 2), 0.25, "f4")}
    kernel, bias = affine(fitted(kind(), tmp_path, still))
    expected = np.zeros((HORIZON, CONTEXT))
    expected[:, -1] = kind is LeastSquaresLast  # which stands on the last value by definition
    np.testing.assert_array_equal(kernel, expected)
    np.testing.assert_allclose(bias, 0 if kind is LeastSquaresLast else 0.25, atol=1e-9)


def test_singular_contexts_have_the_solution_of_least_norm(tmp_path):
    # Every frame is shown twice, so that the windows of a range tell fewer directions than lags.
    rng = np.random.default_rng(0)
    alternating = np.where(np.arange(110)[:, None] % 2 == 0, 1.0, -1.0) * rng.normal(size=(1, 5))
    activity = {"fish": alternating.astype("f4"), "other": alternating[:40, :2].astype("f4")}
    inputs, outputs = rows_of(activity)
    centred = inputs - inputs.mean(axis=0)
    expected = (np.linalg.pinv(centred, rcond=1e-6) @ (outputs - outputs.mean(axis=0))).T
    assert np.linalg.matrix_rank(centred, tol=1e-6) == 1
    forecaster = fitted(LeastSquares(), tmp_path, activity)
    np.testing.assert_allclose(forecaster._map.kernel, expected, atol=1e-9)


@given(
    context=st.integers(1, 5),
    horizon=st.integers(1, 6),
    tile=st.integers(1, 9),
    columns=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_lag_gram_is_the_gram_of_all_windows_in_any_tiles(
    tmp_path_factory, context, horizon, tile, columns, seed
):
    activity = walks(seed)
    inputs, outputs = rows_of(activity, context, horizon)
    windows = np.hstack([inputs, outputs])
    folder = tmp_path_factory.mktemp("tiles")
    benchmark = replace(BENCHMARK, horizon=horizon, summary_steps=(1,))
    given_ = training(folder, benchmark, recordings_of(folder, activity), context=context)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("baselines.gram._TILE", tile)
        patch.setattr("baselines.gram._TILE_OVERLAPS", 0)
        patch.setattr("baselines.columns.COLUMNS", columns)
        gram = lag_gram(given_)
    assert gram.count == len(windows)
    np.testing.assert_allclose(gram.sums, windows.sum(axis=0), rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(gram.products, windows.T @ windows, rtol=1e-9, atol=1e-8)


def test_fewer_steps_are_fitted_to_the_same_windows(tmp_path):
    activity = walks()
    recordings = recordings_of(tmp_path, activity)
    given_ = training(tmp_path, BENCHMARK, recordings, context=CONTEXT)
    whole, fed_back = LeastSquares(), Autoregressive(LeastSquares())
    whole.fit(given_)
    fed_back.fit(given_)
    one = fed_back.parts[0]._map
    np.testing.assert_allclose(one.kernel, whole._map.kernel[:1], rtol=1e-9)
    np.testing.assert_allclose(one.bias, whole._map.bias[:1], rtol=1e-9)


def test_frames_outside_the_training_ranges_make_no_difference(tmp_path):
    activity = walks()
    other = {key: values.copy() for key, values in activity.items()}
    for key, values in other.items():
        kept = np.zeros(len(values), bool)
        for one in SERIES:
            for start, stop in one.train if one.recording == key else ():
                kept[start:stop] = True
        values[~kept] = np.nan
    other["fish"][70:88, 1] = np.nan  # masked there
    first, second = (fitted(LeastSquares(), tmp_path, one) for one in (activity, other))
    np.testing.assert_array_equal(first._map.kernel, second._map.kernel)
    np.testing.assert_array_equal(first._map.bias, second._map.bias)


@BOTH
def test_what_was_saved_forecasts_the_same(tmp_path, kind):
    forecaster = fitted(kind(), tmp_path, walks())
    forecaster.save(tmp_path)
    again = kind()
    again.load(tmp_path)
    asked = np.random.default_rng(1).normal(size=(6, CONTEXT, 5))
    np.testing.assert_array_equal(
        again.forecast(contexts(asked)), forecaster.forecast(contexts(asked))
    )


@pytest.mark.parametrize(("context", "size"), [(4, 160), (256, 8224)])
def test_size_is_that_of_the_dense_layer(tmp_path, context, size):
    one = series("a", 400, train=((0, 320),))
    benchmark = replace(benchmark_of((one,), {"fish": 500}, 32), max_context=256)
    rng = np.random.default_rng(0)
    recordings = recordings_of(tmp_path, {"fish": rng.normal(size=(500, 40)).astype("f4")})
    forecaster = LeastSquares()
    assert forecaster.size is None
    forecaster.fit(training(tmp_path, benchmark, recordings, context=context))
    assert forecaster.size == size


def test_window_alone_is_forecast_to_the_same_bits(tmp_path):
    forecaster = fitted(LeastSquares(), tmp_path, walks())
    asked = np.random.default_rng(1).normal(size=(6, CONTEXT, 5))
    together = forecaster.forecast(contexts(asked))
    for window in range(6):
        alone = forecaster.forecast(contexts(asked[window : window + 1]))
        np.testing.assert_array_equal(alone[0], together[window])


def test_value_that_is_not_finite_is_an_error_with_its_frame(tmp_path):
    activity = walks()
    activity["fish"][44, 2] = np.inf
    with pytest.raises(InvalidInput, match="a: frame 44 holds values that are not finite"):
        fitted(LeastSquares(), tmp_path, activity)


def test_context_of_another_length_is_refused(tmp_path):
    forecaster = fitted(LeastSquares(), tmp_path, walks())
    with pytest.raises(UsageError, match="a: was fitted to contexts of 3 frames, got 2"):
        forecaster.forecast(contexts(np.zeros((1, 2, 5))))


@BOTH
def test_forecast_before_fit_is_refused(kind):
    with pytest.raises(UsageError, match=f"{kind.name}: has not been fitted"):
        kind().forecast(contexts(np.zeros((1, 2, 5))))


@BOTH
@pytest.mark.parametrize("ridge", [-1.0, float("nan")])
def test_ridge_below_zero_is_refused(kind, ridge):
    with pytest.raises(UsageError, match=f"ridge of {ridge}, expected 0 or more"):
        kind(ridge=ridge)


def test_next_steps_are_refused_since_their_contexts_grow(tmp_path):
    case = worms_case(masked=False)
    benchmark = replace(
        case.benchmark,
        series=tuple(
            replace(one, train=((0, 30),), origins=one.origins[-1:])
            for one in case.benchmark.series
        ),
    )
    recordings = case.recordings(tmp_path / "worms")
    given_ = training(tmp_path, benchmark, recordings, context=CONTEXT)
    with pytest.raises(InvalidInput, match="takes benchmarks of the protocol 'horizon'"):
        LeastSquares().fit(given_)


def test_contexts_of_a_benchmark_are_what_it_forecasts_from(tmp_path):
    activity = walks()
    recordings = recordings_of(tmp_path, activity)
    forecaster = fitted(LeastSquares(), tmp_path, activity)
    one = BENCHMARK.one("c")
    seen = contexts_of(BENCHMARK, one, recordings["other"], one.origins, context=CONTEXT)
    expected = forecaster._map.kernel @ activity["other"][27:30] + forecaster._map.bias[:, None]
    np.testing.assert_allclose(forecaster.forecast(seen)[0], expected, rtol=1e-5)
