"""Matching: the width at which a model has about a given number of parameters."""

from __future__ import annotations

from baselines.worms.shell import parameter_count

WIDEST = 1 << 16
"""The widest model that is looked at."""


def width_for(core: str, parameters: int, neurons: int) -> int:
    """Returns the width at which the number of parameters that learn comes nearest.

    Args:
        core: Name of the core.
        parameters: How many are wanted.
        neurons: Number of neurons.
    """
    low, high = 1, WIDEST
    while high - low > 1:
        middle = (low + high) // 2
        if parameter_count(core, middle, neurons).live <= parameters:
            low = middle
        else:
            high = middle
    return min(
        (low, high), key=lambda width: abs(parameter_count(core, width, neurons).live - parameters)
    )
