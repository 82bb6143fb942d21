"""Losses of the volumetric model, by name; each is a sum of errors and the sum of their weights."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from baselines.volumetric.anatomy import Anatomy, segment_means
from baselines.volumetric.configuration import Configuration
from baselines.volumetric.heads import Histogram, frames_of
from baselines.volumetric.sharding import Layout
from zapeval.errors import NotFound, UsageError

Errors = tuple[jax.Array, jax.Array]
"""The weighted sum of a batch's errors, and the sum of the weights."""

Measure = Callable[[Configuration, jax.Array, jax.Array, Anatomy, jax.Array, Layout | None], Errors]

VolumeLoss = Callable[..., Errors]
"""``loss(outputs, truth, anatomy, windows=None)``; see loss_of."""


def loss_of(name: str, configuration: Configuration, layout: Layout | None = None) -> VolumeLoss:
    """Returns a loss, ``loss(outputs, truth, anatomy, windows=None) -> (sum, weight)``.

    ``outputs`` are the model's, ``[batch, x, y, z, outputs]``; ``truth`` the true frames, float32
    ``[batch, steps, x, y, z]``, or for ``trace`` true traces, ``[batch, steps, neurons]``;
    ``windows`` the weight of each window, ``[batch]``, by default 1.

    Args:
        name: ``trace``, ``voxel`` or ``hl-gauss``.
        configuration: The configuration of the model.
        layout: Where volumes lie; None on one device.

    Raises:
        NotFound: There is no loss of that name.
        UsageError: The model's head gives no histograms, which the loss needs.
    """
    if name not in LOSSES:
        raise NotFound(f"volumetric: no loss {name!r}; known are {', '.join(LOSSES)}")
    if name == "hl-gauss" and configuration.head != "hl-gauss":
        raise UsageError(
            f"volumetric: the loss hl-gauss needs a head hl-gauss, not {configuration.head}"
        )
    measure = LOSSES[name]

    def loss(
        outputs: jax.Array, truth: jax.Array, anatomy: Anatomy, windows: jax.Array | None = None
    ) -> Errors:
        weight = jnp.ones(len(outputs)) if windows is None else windows
        return measure(configuration, outputs, truth, anatomy, weight, layout)

    return loss


def trace_error(
    configuration: Configuration,
    outputs: jax.Array,
    truth: jax.Array,
    anatomy: Anatomy,
    windows: jax.Array,
    layout: Layout | None,
) -> Errors:
    """Returns the mean absolute error of traces: of means over neurons' voxels.

    ``(1/N) sum_n |y'_n - y_n|``, where both are means over the voxels of neuron n. The mean being
    linear, true frames are subtracted first, and one pass over the voxels does.

    Source: Immer et al. 2025, Eq. 3.
    """
    frames = frames_of(configuration, outputs)
    if truth.ndim == frames.ndim:
        differences = segment_means(frames - truth, anatomy, layout)
    else:
        differences = segment_means(frames, anatomy, layout) - truth
    return _weighted(differences, anatomy.weight, windows)


def voxel_error(
    configuration: Configuration,
    outputs: jax.Array,
    truth: jax.Array,
    anatomy: Anatomy,
    windows: jax.Array,
    layout: Layout | None,
) -> Errors:
    """Returns the mean absolute error of voxels, over those of neurons that count."""
    del layout  # Elementwise, then sums: nothing has to travel but those.
    return _weighted(frames_of(configuration, outputs) - truth, anatomy.counted, windows)


def histogram_error(
    configuration: Configuration,
    outputs: jax.Array,
    truth: jax.Array,
    anatomy: Anatomy,
    windows: jax.Array,
    layout: Layout | None,
) -> Errors:
    """Returns the cross-entropy of histograms (HL-Gauss), as mean over neurons of their voxels'.

    Source: Farebrother et al. 2024 (arXiv 2403.03950), section 3.
    """
    counted = jnp.where(anatomy.counted > 0, truth[:, 0], jnp.zeros((), truth.dtype))
    target = Histogram(bins=configuration.bins).of(counted)
    entropy = -(target * jax.nn.log_softmax(outputs, axis=-1)).sum(axis=-1)
    means = segment_means(entropy[:, None], anatomy, layout)
    return _weighted(means, anatomy.weight, windows)


LOSSES: dict[str, Measure] = {
    "trace": trace_error,
    "voxel": voxel_error,
    "hl-gauss": histogram_error,
}


def _weighted(differences: jax.Array, weight: jax.Array, windows: jax.Array) -> Errors:
    """Returns the sum of ``[batch, steps, ..]``, without signs, weighted by ``[..]`` and window."""
    # What has no weight may be anything, NaN too, and is to leave gradients alone.
    counted = jnp.where(weight > 0, differences, jnp.zeros((), differences.dtype))
    each = (jnp.abs(counted) * weight).sum(axis=tuple(range(1, counted.ndim)))
    return (each * windows).sum(), weight.sum() * windows.sum() * counted.shape[1]
