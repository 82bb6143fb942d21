"""What the outputs of a volumetric UNet say: frames in df/f, straight or as histograms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from baselines.volumetric.configuration import Configuration

LOWEST, HIGHEST = -0.25, 1.5
"""Range of the recording's df/f, which is clipped to it."""

SPREAD = 0.75
"""Standard deviation of a target's histogram, in bins."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Turns values into histograms of a Gaussian around them, and back (HL-Gauss).

    Source: Farebrother et al. 2024 (arXiv 2403.03950), section 3; range and spread of Immer et al.
    2025.

    Attributes:
        bins: Number of bins from LOWEST to HIGHEST.
    """

    bins: int

    @property
    def edges(self) -> np.ndarray:
        """Borders of the bins, float32 ``[bins + 1]``."""
        return np.linspace(LOWEST, HIGHEST, self.bins + 1, dtype=np.float32)

    @property
    def centres(self) -> np.ndarray:
        """Middle of each bin, float32 ``[bins]``."""
        middles: np.ndarray = (self.edges[:-1] + self.edges[1:]) / 2
        return middles

    def of(self, values: jax.Array) -> jax.Array:
        """Returns the share of each bin, ``[.., bins]``, for values ``[..]``; they sum to 1."""
        width = math.sqrt(2) * SPREAD * (HIGHEST - LOWEST) / self.bins
        # Beyond the range lies the nearest border, so that some share is never far from zero.
        inside = jnp.clip(values, LOWEST, HIGHEST)[..., None]
        below = jax.scipy.special.erf((self.edges - inside) / width)
        # Rounded, a function that never falls may fall a little.
        shares = jnp.maximum(jnp.diff(below, axis=-1), 0.0)
        return shares / (below[..., -1:] - below[..., :1])

    def mean(self, logits: jax.Array) -> jax.Array:
        """Returns the expected value ``[..]`` of histograms given as logits ``[.., bins]``."""
        # No matrix product, which accelerators round more coarsely.
        return (jax.nn.softmax(logits, axis=-1) * self.centres).sum(axis=-1)


def frames_of(configuration: Configuration, outputs: jax.Array) -> jax.Array:
    """Returns the forecast frames in df/f, float32 ``[batch, steps, x, y, z]``.

    Args:
        configuration: The configuration of the model.
        outputs: What the model gave, ``[batch, x, y, z, outputs]``.
    """
    if configuration.head == "hl-gauss":
        return Histogram(bins=configuration.bins).mean(outputs)[:, None]
    return jnp.moveaxis(outputs, -1, 1)
