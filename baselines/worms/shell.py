"""The shell: what the worm models have in common, an embedding and a readout around a core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import jax
from flax import nnx

from baselines.timeseries.layers import parameter_count as live_parameters
from baselines.worms.cores import CORES, Key, dense, norm
from zapeval.benchmarks.celegans.names import NAMES
from zapeval.errors import UsageError


@final
class Shell(nnx.Module):
    """Embedding, layer norm where the core wants one, core, readout.

    The paper's shell holds a layer norm for every core; one that is not used never learns, and is
    not built here. ``parameter_count`` counts it.

    Source: Simeon et al. 2024, section 2.4.

    Args:
        core: Name of the core.
        neurons: Number of neurons.
        hidden: Width of embedding and core; the linear model's is the number of neurons.
        rngs: Keys that the weights are drawn from.

    Raises:
        UsageError: There is no such core.
    """

    def __init__(self, *, core: str, neurons: int, hidden: int, rngs: nnx.Rngs) -> None:
        if core not in CORES:
            raise UsageError(f"core {core!r}: expected one of {', '.join(CORES)}")
        kind = CORES[core]
        self.embedding = dense(neurons, hidden, rngs)
        self.norm = norm(hidden, rngs) if kind.normalised else None
        self.core = kind(hidden, rngs=rngs)
        self.readout = dense(hidden, neurons, rngs)

    def __call__(self, activity: jax.Array, key: Key = None) -> jax.Array:
        """Returns the frame after each frame, float32 ``[windows, frames, neurons]``."""
        embedded = self.embedding(activity)
        if self.norm is not None:
            embedded = self.norm(embedded)
        return self.readout(self.core(embedded, key))


@dataclass(frozen=True, kw_only=True)
class ParameterCount:
    """How many parameters a model has.

    Attributes:
        counted: As the paper counts: with a layer norm for every core, and with the transformer's
            layer twice.
        live: Those that learn, which are those that are built.
    """

    counted: int
    live: int


def parameter_count(core: str, hidden: int, neurons: int = len(NAMES)) -> ParameterCount:
    """Returns how many parameters a model has, counted on its shapes; it takes no memory.

    Args:
        core: Name of the core.
        hidden: Width; the linear model's is the number of neurons.
        neurons: Number of neurons.

    Raises:
        UsageError: There is no such core.
    """
    model = nnx.eval_shape(
        lambda: Shell(core=core, neurons=neurons, hidden=hidden, rngs=nnx.Rngs(0))
    )
    live, kind = live_parameters(model), CORES[core]
    norm_unused = 0 if kind.normalised else 2 * hidden
    return ParameterCount(counted=live + norm_unused + kind.spare(hidden), live=live)
