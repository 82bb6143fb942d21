from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zapeval.scoring import kernel

ERRORS = [kernel.ABSOLUTE, kernel.SQUARED]
MOMENTS = [
    *(kernel.PREDICTION, kernel.TARGET),
    *(kernel.PREDICTION2, kernel.TARGET2, kernel.PRODUCT),
]
BOTH = pytest.mark.parametrize("per_neuron", [False, True])


def kernel_of(per_neuron):
    return kernel.accumulate_per_neuron if per_neuron else kernel.accumulate


def sums_by_loops(values, targets, shifts):
    """Returns the sums ``[9, columns]`` and the errors ``[2, rows]``, value by value."""
    sums, errors = np.zeros((kernel.ROWS, values.shape[1])), np.zeros((2, len(values)))
    for row, column in np.ndindex(values.shape):
        p, t = float(values[row, column]), float(targets[row, column])
        a, b = p - shifts[0, column], t - shifts[1, column]
        errors[:, row] += abs(p - t), (p - t) ** 2
        sums[ERRORS, column] += abs(p - t), (p - t) ** 2
        sums[MOMENTS, column] += a, b, a * a, b * b, a * b
    return sums, errors


@BOTH
@settings(max_examples=60)
@given(
    rows=st.integers(0, 19),
    columns=st.integers(1, 5),
    first=st.integers(0, 3),
    padding=st.tuples(*[st.integers(0, 2)] * 3),
    seed=st.integers(0, 1000),
)
def test_sums_equal_loops_and_nothing_else_is_touched(
    rows, columns, first, padding, seed, per_neuron
):
    rng = np.random.default_rng(seed)
    steps = 1 + padding[1]
    step = int(rng.integers(steps))
    # What lies beyond the rows and columns that count is padding of a chunk: anything at all.
    block = np.full((rows + padding[0], steps, columns + padding[2]), np.nan, np.float32)
    block[:rows, step, :columns] = rng.normal(1, 1, (rows, columns))
    targets = rng.normal(1, 1, (12, first + columns + 2)).astype(np.float32)
    at = rng.integers(0, 12, rows)
    sums = rng.normal(0, 1, (kernel.ROWS, columns + 2))
    errors = rng.normal(0, 1, (2, rows))
    added, own_errors = sums_by_loops(
        block[:rows, step, :columns],
        targets[at, first : first + columns],
        sums[[kernel.PREDICTION_SHIFT, kernel.TARGET_SHIFT]],
    )
    if not per_neuron:
        added[ERRORS] = 0
    expected, expected_errors = sums.copy(), errors + own_errors
    expected[:, :columns] += added
    add = kernel_of(per_neuron)
    add(block, step, rows, columns, targets, at, first, sums, errors)
    np.testing.assert_allclose(sums, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(errors, expected_errors, rtol=1e-12, atol=1e-12)


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_value_that_is_not_finite_shows_in_its_window(value, per_neuron):
    # The scorer tells a bad value from the errors of its window: they must not hide it.
    targets, at = np.zeros((11, 40), np.float32), np.arange(11)
    for row in range(11):
        block = np.ones((11, 1, 40), np.float32)
        block[row, 0, 17] = value
        sums, errors = np.zeros((kernel.ROWS, 40)), np.zeros((2, 11))
        kernel_of(per_neuron)(block, 0, 11, 40, targets, at, 0, sums, errors)
        assert (~np.isfinite(errors).any(axis=0)).tolist() == [r == row for r in range(11)]


@pytest.mark.parametrize("columns", [4095, 4096, 4097, 9000])
def test_wide_rows_equal_a_pass_over_the_whole(columns):
    rng = np.random.default_rng(columns)
    block = rng.normal(1, 1, (10, 1, columns)).astype(np.float32)
    targets = rng.normal(1, 1, (10, columns)).astype(np.float32)
    sums, errors = np.zeros((kernel.ROWS, columns)), np.zeros((2, 10))
    kernel.accumulate_per_neuron(block, 0, 10, columns, targets, np.arange(10), 0, sums, errors)
    p, t = block[:, 0].astype(np.float64), targets.astype(np.float64)
    np.testing.assert_allclose(sums[kernel.ABSOLUTE], np.abs(p - t).sum(0), rtol=1e-12)
    np.testing.assert_allclose(sums[kernel.SQUARED], ((p - t) ** 2).sum(0), rtol=1e-12)
    np.testing.assert_allclose(sums[kernel.PRODUCT], (p * t).sum(0), rtol=1e-9)
    np.testing.assert_allclose(errors[0], np.abs(p - t).sum(1), rtol=1e-12)
    np.testing.assert_allclose(errors[1], ((p - t) ** 2).sum(1), rtol=1e-12)


def test_both_kernels_give_the_same_moments_and_errors():
    # Scores may not move when maps are asked for.
    rng = np.random.default_rng(1)
    block = rng.normal(1, 1, (19, 1, 501)).astype(np.float32)
    targets = rng.normal(1, 1, (19, 501)).astype(np.float32)
    found = []
    for per_neuron in (False, True):
        sums, errors = np.zeros((kernel.ROWS, 501)), np.zeros((2, 19))
        kernel_of(per_neuron)(block, 0, 19, 501, targets, np.arange(19), 0, sums, errors)
        found.append((sums[MOMENTS], errors))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


@BOTH
def test_same_input_gives_the_same_bits(per_neuron):
    rng = np.random.default_rng(0)
    block = rng.normal(1, 1, (19, 2, 501)).astype(np.float32)
    targets = rng.normal(1, 1, (19, 501)).astype(np.float32)
    found = []
    for _ in range(3):
        sums, errors = np.zeros((kernel.ROWS, 501)), np.zeros((2, 19))
        kernel_of(per_neuron)(block, 1, 19, 501, targets, np.arange(19), 0, sums, errors)
        found.append(sums.tobytes() + errors.tobytes())
    assert len(set(found)) == 1
