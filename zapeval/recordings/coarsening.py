"""Coarsening: a video's voxels and labels, seen more coarsely along x and y.

Source: Immer et al. 2025 (arXiv 2503.00073), appendix: frames are averaged, labels
picked at a stride.
"""

from __future__ import annotations

import numpy as np


def pooled(frames: np.ndarray, factor: int) -> np.ndarray:
    """Returns averages over ``factor x factor`` voxels in x and y, ``[frames, x, y, z]``."""
    if factor == 1:
        return frames
    count, x, y, z = frames.shape
    blocks = frames.reshape(count, x // factor, factor, y // factor, factor, z)
    means: np.ndarray = blocks.mean(axis=(2, 4))
    return means


def picked(labels: np.ndarray, factor: int) -> np.ndarray:
    """Returns the label in the middle, ``factor // 2``, of each ``factor x factor`` voxels.

    Args:
        labels: Integers ``[x, y, z]``.
        factor: How much coarser, in x and y.
    """
    return labels[factor // 2 :: factor, factor // 2 :: factor]
