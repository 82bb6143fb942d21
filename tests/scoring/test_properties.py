"""What scores must do whatever the data: perfect forecasts, shifts, orders, missing values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import Case, horizon_case, targets_of, worms_case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twins import assert_scores, scores_by_loops

ERRORS = ("mae", "mse")
# Each example writes into a folder of its own below the shared one.
SHARED_FOLDER = settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def cases(draw):
    """Draws a case whose values are eighths: sums with whole numbers lose no digit."""
    seed = draw(st.integers(0, 10**6))
    case = (
        worms_case(seed=seed, masked=draw(st.booleans()))
        if draw(st.booleans())
        else horizon_case(seed=seed, neurons=draw(st.integers(1, 9)), spread=1)
    )
    return replace(
        case,
        activity={key: eighths(values) for key, values in case.activity.items()},
        values={key: eighths(values) for key, values in case.values.items()},
    )


def eighths(values):
    return (np.round(values * 8) / 8).astype(np.float32)


def values_of(card, metrics):
    """Returns the values of some metrics; None becomes NaN, which equals itself here."""
    values = [score.value for score in card.scores if score.metric in metrics]
    return np.array([np.nan if value is None else value for value in values])


def assert_same(card, other, metrics=("mae", "mse", "correlation"), tolerance=1e-12):
    np.testing.assert_allclose(
        values_of(other, metrics), values_of(card, metrics), rtol=tolerance, atol=tolerance
    )


@SHARED_FOLDER
@given(case=cases())
def test_perfect_forecast_has_no_error_and_correlation_one(tmp_path, case):
    values = {s.array: targets_of(case, s).astype(np.float32) for s in case.benchmark.series}
    card, _ = replace(case, values=values).score(tmp_path)
    assert (values_of(card, ERRORS) == 0).all()
    correlations = values_of(card, ("correlation",))
    np.testing.assert_allclose(correlations[~np.isnan(correlations)], 1, atol=1e-12)
    assert card.summary.value == 0


@SHARED_FOLDER
@given(case=cases(), seed=st.integers(0, 10**6))
def test_order_of_neurons_does_not_matter(tmp_path, case, seed):
    rng = np.random.default_rng(seed)
    orders = {key: rng.permutation(values.shape[1]) for key, values in case.activity.items()}
    series = tuple(
        replace(s, mask=None if s.mask is None else tuple(s.mask[n] for n in orders[s.recording]))
        for s in case.benchmark.series
    )
    permuted = Case(
        benchmark=replace(case.benchmark, series=series),
        activity={key: values[:, orders[key]] for key, values in case.activity.items()},
        values={s.array: case.values[s.array][:, :, orders[s.recording]] for s in series},
    )
    assert_same(case.score(tmp_path)[0], permuted.score(tmp_path)[0])


@SHARED_FOLDER
@given(case=cases(), shift=st.integers(-1000, 1000))
def test_shifting_activity_and_predictions_together_leaves_every_score(tmp_path, case, shift):
    shifted = replace(
        case,
        activity={key: values + np.float32(shift) for key, values in case.activity.items()},
        values={key: values + np.float32(shift) for key, values in case.values.items()},
    )
    assert_same(case.score(tmp_path)[0], shifted.score(tmp_path)[0])


@SHARED_FOLDER
@given(case=cases(), shift=st.integers(1, 1000))
def test_adding_a_constant_to_predictions_leaves_correlation_and_raises_error(
    tmp_path, case, shift
):
    shifted = replace(
        case, values={key: values + np.float32(shift) for key, values in case.values.items()}
    )
    before, after = case.score(tmp_path)[0], shifted.score(tmp_path)[0]
    assert_same(before, after, ("correlation",))
    assert (values_of(after, ERRORS) != values_of(before, ERRORS)).all()


@SHARED_FOLDER
@given(case=cases(), power=st.integers(-10, 10))
def test_scaling_scales_errors_and_leaves_correlation(tmp_path, case, power):
    factor = np.float32(2.0**power)
    scaled = replace(
        case,
        activity={key: values * factor for key, values in case.activity.items()},
        values={key: values * factor for key, values in case.values.items()},
    )
    before, after = case.score(tmp_path)[0], scaled.score(tmp_path)[0]
    assert_same(before, after, ("correlation",))
    for metric, expected in (("mae", factor), ("mse", factor**2)):
        np.testing.assert_allclose(
            values_of(after, (metric,)), values_of(before, (metric,)) * expected, rtol=1e-12
        )


@SHARED_FOLDER
@given(case=cases(), seed=st.integers(0, 10**6))
def test_random_cases_score_as_loops_do(tmp_path, case, seed):
    rng = np.random.default_rng(seed)
    values = dict(case.values)
    for array, predicted in values.items():
        constant = rng.random(predicted.shape[2]) < 0.3
        values[array] = np.where(constant, predicted[0, 0], predicted)
    case = replace(case, values=values)
    card, _ = case.score(tmp_path)
    assert_scores(card, scores_by_loops(case))


def test_swapped_signs_turn_the_correlation_around(tmp_path):
    case = horizon_case(mean=0)
    turned = replace(case, values={key: -values for key, values in case.values.items()})
    before, after = case.score(tmp_path)[0], turned.score(tmp_path)[0]
    np.testing.assert_allclose(
        values_of(after, ("correlation",)), -values_of(before, ("correlation",)), rtol=1e-12
    )


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e-30, 12345.678])
def test_constant_predictions_leave_the_correlation_undefined_and_counted(tmp_path, constant):
    case = horizon_case(held_out=())
    array = "test_condition_1"
    values = case.values[array].copy()
    values[:, :, :2] = constant
    card, _ = case.with_values(**{array: values}).score(tmp_path)
    for score in card.scores:
        if score.metric != "correlation":
            assert score.undefined == 0
        elif score.series in ("condition 1", "average", "pooled"):
            assert score.undefined == 2
            assert score.value is not None
        else:
            assert score.undefined == 0


def test_correlation_is_null_only_where_no_neuron_has_one_and_makes_means_null(tmp_path):
    case = horizon_case()
    values = np.full_like(case.values["test_condition_0"], 0.25)
    values[:, 1] = case.values["test_condition_0"][:, 1]
    card, _ = case.with_values(test_condition_0=values).score(tmp_path)
    for row in ("condition 0", "average", "pooled"):
        assert card.value(row, 1, "correlation") is None
        assert card.value(row, 2, "correlation") is not None
        assert card.value(row, 1, "mae") is not None
    assert card.value("condition 1", 1, "correlation") is not None


def test_null_held_out_series_leaves_the_average_alone(tmp_path):
    case = horizon_case(held_out=(2,))
    values = np.full_like(case.values["test_condition_2"], 0.25)
    card, _ = case.with_values(test_condition_2=values).score(tmp_path)
    assert card.value("condition 2", 1, "correlation") is None
    assert card.value("average", 1, "correlation") == pytest.approx(
        np.mean([card.value(f"condition {i}", 1, "correlation") for i in (0, 1)])
    )


def test_summary_is_null_where_a_step_of_the_average_is(tmp_path):
    case = horizon_case()
    case = replace(case, benchmark=replace(case.benchmark, primary="correlation"))
    assert case.score(tmp_path)[0].summary.value is not None
    values = case.values["test_condition_0"].copy()
    values[:, 0] = 0.5
    card, _ = case.with_values(test_condition_0=values).score(tmp_path)
    assert card.summary.value is None
    assert card.value("average", 5, "correlation") is not None


def test_average_is_unweighted_and_pooled_weights_by_windows(tmp_path):
    case = horizon_case(windows=(4, 16, 8), held_out=(1,))
    values = {}
    for error, series in zip((1, 5, 2), case.benchmark.series, strict=True):
        values[series.array] = targets_of(case, series) + np.float32(error)
    card, _ = replace(case, values=values).score(tmp_path)
    for step in range(1, 6):
        assert card.value("average", step, "mae") == pytest.approx((1 + 2) / 2, rel=1e-6)
        assert card.value("pooled", step, "mae") == pytest.approx((4 * 1 + 8 * 2) / 12, rel=1e-6)
        assert card.value("average", step, "mse") == pytest.approx((1 + 4) / 2, rel=1e-6)


def test_average_of_a_group_is_over_its_members(tmp_path):
    case = horizon_case(groups=("b", "b", "a"), held_out=())
    values = {}
    for error, series in zip((1, 5, 2), case.benchmark.series, strict=True):
        values[series.array] = targets_of(case, series) + np.float32(error)
    card, _ = replace(case, values=values).score(tmp_path)
    assert card.value("average:b", 1, "mae") == pytest.approx(3, rel=1e-6)
    assert card.value("average:a", 1, "mae") == pytest.approx(2, rel=1e-6)
    assert card.value("average", 1, "mae") == pytest.approx(8 / 3, rel=1e-6)


def test_summary_is_the_mean_of_the_average_over_the_summary_steps(tmp_path):
    case = horizon_case()
    case = replace(case, benchmark=replace(case.benchmark, summary_steps=(1, 3)))
    values = {}
    for series in case.benchmark.series:
        errors = np.array([1, 100, 2, 100, 100], np.float32)[None, :, None]
        values[series.array] = targets_of(case, series) + errors
    card, _ = replace(case, values=values).score(tmp_path)
    assert card.summary.metric == "mae"
    assert card.summary.value == pytest.approx(1.5, rel=1e-6)
