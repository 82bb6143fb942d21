import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from baselines.volumetric.anatomy import anatomy_of, segment_means
from baselines.volumetric.loss import LOSSES, loss_of
from zapeval.errors import InvalidInput, NotFound, UsageError
from zapeval.recordings.segmentation import Segmentation

SHAPE, NEURONS = (5, 4, 3), 9
GONE, UNSCORED = 6, 2
"""A neuron without a voxel, and one that is not scored."""


@pytest.fixture
def labels():
    drawn = np.random.default_rng(0).integers(0, NEURONS + 1, size=SHAPE)
    drawn[drawn == GONE + 1] = 0
    return drawn


@pytest.fixture
def mask():
    scored = np.ones(NEURONS, bool)
    scored[UNSCORED] = False
    return scored


def frames(seed, steps=1):
    drawn = np.random.default_rng(seed).uniform(-0.25, 1.5, size=(2, steps, *SHAPE))
    return drawn.astype(np.float32)


def outputs_of(predicted):
    return jnp.moveaxis(jnp.asarray(predicted), 1, -1)


def scored_neurons(labels, mask):
    return [n for n in range(NEURONS) if mask[n] and (labels == n + 1).any()]


def test_means_are_those_of_the_recordings_segmentation(labels):
    anatomy = anatomy_of(labels, NEURONS)
    flat = labels.astype(np.int32).reshape(-1)
    voxels = np.bincount(flat, minlength=NEURONS + 1)[1:]
    reference = Segmentation(labels=flat, voxels=voxels, shape=SHAPE)
    given = frames(1, steps=3)
    found = np.asarray(segment_means(jnp.asarray(given), anatomy))
    np.testing.assert_array_equal(anatomy.missing, reference.missing)
    assert anatomy.missing.nonzero()[0].tolist() == [GONE]
    there = ~reference.missing
    for window in range(2):
        means = reference.means(given[window])
        np.testing.assert_allclose(found[window][:, there], means[:, there], atol=1e-6)
    assert (found[:, :, GONE] == 0).all()


@pytest.mark.parametrize("steps", [1, 5])
def test_the_trace_loss_is_its_twin_in_loops(small, labels, mask, steps):
    c = small(head="direct") if steps == 5 else small()
    predicted, true, windows = frames(1, steps), frames(2, steps), np.array([1.0, 0.25])
    total = weight = 0.0
    for w, step in np.ndindex(2, steps):
        for n in scored_neurons(labels, mask):
            voxels = labels == n + 1
            forecast = predicted[w, step][voxels].astype(np.float64).mean()
            truth = true[w, step][voxels].astype(np.float64).mean()
            total += windows[w] * abs(forecast - truth)
            weight += windows[w]
    anatomy = anatomy_of(labels, NEURONS, mask=mask)
    weights = jnp.asarray(windows, jnp.float32)
    found = loss_of("trace", c)(outputs_of(predicted), jnp.asarray(true), anatomy, weights)
    np.testing.assert_allclose(found, (total, weight), rtol=1e-5)
    assert weight == steps * 1.25 * (NEURONS - 2)
    traces = segment_means(jnp.asarray(true), anatomy)
    found = loss_of("trace", c)(outputs_of(predicted), traces, anatomy, weights)
    np.testing.assert_allclose(found, (total, weight), rtol=1e-5)


def test_the_voxel_loss_is_its_twin_in_loops(small, labels, mask):
    predicted, true = frames(1), frames(2)
    total = weight = 0.0
    for w, x, y, z in np.ndindex(2, *SHAPE):
        if labels[x, y, z] and mask[labels[x, y, z] - 1]:
            total += abs(float(predicted[w, 0, x, y, z]) - float(true[w, 0, x, y, z]))
            weight += 1
    anatomy = anatomy_of(labels, NEURONS, mask=mask)
    found = loss_of("voxel", small())(outputs_of(predicted), jnp.asarray(true), anatomy)
    np.testing.assert_allclose(found, (total, weight), rtol=1e-5)


def test_the_histogram_loss_is_its_twin_in_loops(small, labels, mask):
    c = small(head="hl-gauss")
    rng = np.random.default_rng(3)
    outputs, true = rng.normal(size=(2, *SHAPE, c.bins)).astype(np.float32), frames(2)
    edges = np.linspace(-0.25, 1.5, c.bins + 1)
    deviation = 0.75 * (edges[1] - edges[0])
    total = weight = 0.0
    for w in range(2):
        for n in scored_neurons(labels, mask):
            entropies = []
            for place in np.argwhere(labels == n + 1):
                logits = outputs[(w, *place)].astype(np.float64)
                shares = logits - np.log(np.exp(logits).sum())
                value = float(true[(w, 0, *place)])
                below = [math.erf((e - value) / (deviation * math.sqrt(2))) for e in edges]
                target = np.diff(below) / (below[-1] - below[0])
                entropies.append(-(target * shares).sum())
            total += np.mean(entropies)
            weight += 1
    anatomy = anatomy_of(labels, NEURONS, mask=mask)
    found = loss_of("hl-gauss", c)(jnp.asarray(outputs), jnp.asarray(true), anatomy)
    np.testing.assert_allclose(found, (total, weight), rtol=1e-4)


@pytest.mark.parametrize("name", LOSSES)
def test_what_does_not_count_moves_neither_loss_nor_gradient(small, labels, mask, name):
    c = small(head="hl-gauss" if name == "hl-gauss" else "lead-time")
    shape = (2, *SHAPE, c.outputs)
    outputs = jnp.asarray(np.random.default_rng(4).normal(size=shape), jnp.float32)
    anatomy = anatomy_of(labels, NEURONS, mask=mask)
    true = frames(2)
    spoiled = true.copy()
    spoiled[:, :, labels == UNSCORED + 1] = np.nan
    spoiled[:, :, labels == 0] = np.inf

    def loss(given, truth):
        total, weight = loss_of(name, c)(given, jnp.asarray(truth), anatomy)
        return total / weight

    plain, gradient = jax.value_and_grad(loss)(outputs, true)
    again, other = jax.value_and_grad(loss)(outputs, spoiled)
    assert np.isfinite(plain)
    assert plain == again
    np.testing.assert_array_equal(gradient, other)
    counted = np.asarray(anatomy.counted) > 0
    assert (np.asarray(gradient)[:, ~counted] == 0).all()
    assert (np.abs(np.asarray(gradient)[:, counted]).max(-1) > 0).all()


def test_a_perfect_forecast_loses_nothing(small, labels):
    true = frames(2)
    anatomy = anatomy_of(labels, NEURONS)
    for name in ("trace", "voxel"):
        total, weight = loss_of(name, small())(outputs_of(true), jnp.asarray(true), anatomy)
        assert float(total) == 0
        assert float(weight) > 0


def test_errors_that_cancel_within_a_neuron_are_no_trace_error(small):
    labels = np.ones((2, 1, 1), int)
    true = np.zeros((1, 1, 2, 1, 1), np.float32)
    predicted = np.array([1.0, -1.0], np.float32).reshape(true.shape)
    anatomy = anatomy_of(labels, 1)
    for name, expected in (("trace", 0.0), ("voxel", 2.0)):
        total, _ = loss_of(name, small())(outputs_of(predicted), jnp.asarray(true), anatomy)
        assert float(total) == expected


def test_unknown_loss_lists_the_known(small):
    with pytest.raises(NotFound, match="no loss 'mse'; known are trace, voxel, hl-gauss"):
        loss_of("mse", small())


def test_the_histogram_loss_needs_its_head(small):
    with pytest.raises(UsageError, match="needs a head hl-gauss, not direct"):
        loss_of("hl-gauss", small(head="direct"))


@pytest.mark.parametrize(
    ("change", "mask", "message"),
    [
        (lambda labels: labels - 1, None, "has labels -1 to 8, expected 0 to 9"),
        (lambda labels: labels + 1, None, "has labels 1 to 10, expected 0 to 9"),
        (lambda labels: labels * 0, None, "none of the 9 neurons is scored and has a voxel"),
        (lambda labels: labels, np.arange(NEURONS) == GONE, "none of the 9 neurons is scored"),
    ],
)
def test_segmentations_that_do_not_fit_are_refused(labels, change, mask, message):
    with pytest.raises(InvalidInput, match=message):
        anatomy_of(change(labels), NEURONS, mask=mask)


def test_frames_of_another_size_are_refused(labels):
    anatomy = anatomy_of(labels, NEURONS)
    with pytest.raises(InvalidInput, match=r"frames \[4, 4, 3\]: the segmentation is \[5, 4, 3\]"):
        segment_means(jnp.zeros((1, 1, 4, 4, 3)), anatomy)
