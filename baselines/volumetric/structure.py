"""The layers of a configuration, counted: parameters and operations, without building a model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from baselines.volumetric.configuration import STIMULUS_WIDTH, Configuration, Factor

Kind = Literal["conv", "dense", "norm", "film"]

TAPS = 27
"""Voxels under a 3 x 3 x 3 kernel."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer with parameters.

    Attributes:
        name: Where it stands.
        kind: ``conv`` (3 x 3 x 3 voxels), ``dense`` (each voxel by itself), ``norm``, ``film`` (a
            dense layer on what the whole volume is told).
        inputs: Features in.
        outputs: Features out.
        scale: Voxels of its output for each voxel of the input volume; 0 where it has none.
    """

    name: str
    kind: Kind
    inputs: int
    outputs: int
    scale: Fraction

    @property
    def parameters(self) -> int:
        """Number of learned parameters: weights, and a bias for each feature out."""
        if self.kind == "norm":
            return 2 * self.outputs
        taps = TAPS if self.kind == "conv" else 1
        return taps * self.inputs * self.outputs + self.outputs

    def flops(self, voxels: int) -> int:
        """Returns its operations on one volume, a multiplication and an addition being two.

        Norms and activations are left out; so is that kernels reach beyond the border.
        """
        if self.kind == "norm":
            return 0
        taps = TAPS if self.kind == "conv" else 1
        places = 1 if self.kind == "film" else int(self.scale * voxels)
        return 2 * taps * self.inputs * self.outputs * places


def layers(configuration: Configuration) -> tuple[Layer, ...]:
    """Returns all layers with parameters, in the order in which they are applied."""
    return tuple(_layers(configuration))


def parameter_count(configuration: Configuration) -> int:
    """Returns the number of learned parameters.

    With lead time, no stimulus, no upsampling and added skips, for context C, features F and B
    blocks in all: ``27 C F + 96 F + 1 + B (54 F^2 + 72 F)``.
    """
    return sum(layer.parameters for layer in layers(configuration))


def flops(configuration: Configuration, volume: tuple[int, int, int]) -> int:
    """Returns the operations of one forward pass over one volume.

    Args:
        configuration: The configuration.
        volume: Size of the input in voxels.
    """
    return sum(layer.flops(math.prod(volume)) for layer in layers(configuration))


def _layers(configuration: Configuration) -> Iterator[Layer]:
    c, width = configuration, configuration.features
    told = {"past": c.past_stimulus * c.context, "future": c.future_stimulus * c.horizon}
    for name, inputs in told.items():
        if inputs:
            yield _layer(f"{name} stimulus", "film", inputs, STIMULUS_WIDTH, Fraction(0))
    yield _layer("in", "conv", c.context, width, Fraction(1))
    scale = _scale(c.resampling)
    for level in range(c.levels, -1, -1):
        joined = 2 * width if c.skip == "concat" and level < c.levels else width
        for number in range(c.blocks_at(level)):
            name = f"level {level} block {number}"
            yield from _block(c, name, joined if number == 0 else width, width, scale)
        scale = scale * math.prod(c.resampling[level - 1]) if level else scale
    if c.upsampling:
        yield _layer("narrow norm", "norm", width, width, scale)
        yield _layer("narrow conv", "conv", width, c.upsampled_features, scale)
        width = c.upsampled_features
    for step, factor in enumerate(c.upsampling):
        scale *= math.prod(factor)
        for number in range(c.upsampled_blocks):
            yield from _block(c, f"upsampling {step} block {number}", width, width, scale)
    yield _layer("out norm", "norm", width, width, scale)
    yield from _film(c, "out", width)
    yield _layer("out", "conv", width, c.outputs, scale)


def _block(
    c: Configuration, name: str, inputs: int, width: int, scale: Fraction
) -> Iterator[Layer]:
    yield _layer(f"{name} norm 1", "norm", inputs, inputs, scale)
    yield _layer(f"{name} conv 1", "conv", inputs, width, scale)
    yield _layer(f"{name} norm 2", "norm", width, width, scale)
    yield from _film(c, name, width)
    yield _layer(f"{name} conv 2", "conv", width, width, scale)
    if inputs != width:
        yield _layer(f"{name} shortcut", "dense", inputs, width, scale)


def _film(c: Configuration, name: str, width: int) -> Iterator[Layer]:
    if c.embedding:
        yield _layer(f"{name} film", "film", c.embedding, 2 * width, Fraction(0))


def _layer(name: str, kind: Kind, inputs: int, outputs: int, scale: Fraction) -> Layer:
    return Layer(name=name, kind=kind, inputs=inputs, outputs=outputs, scale=scale)


def _scale(factors: tuple[Factor, ...]) -> Fraction:
    return Fraction(1, math.prod(math.prod(factor) for factor in factors))
