"""The configuration of a volumetric UNet: everything that its parameters and outputs hang on."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from zapeval.errors import NotFound, UsageError

Factor = tuple[int, int, int]
"""How much coarser or finer, per axis x, y, z."""

Head = Literal["lead-time", "direct", "hl-gauss", "autoregression"]
Skip = Literal["add", "concat"]
Precision = Literal["float32", "bfloat16"]

HEADS: tuple[Head, ...] = ("lead-time", "direct", "hl-gauss", "autoregression")
SKIPS: tuple[Skip, ...] = ("add", "concat")
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")

LEVELS: tuple[Factor, ...] = ((2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2))
"""The paper's resamplings, from the first: z is four times coarser than x and y to begin with."""

FULL_RESOLUTION: tuple[Factor, ...] = ((2, 2, 1), (2, 2, 1))
"""What leads from the 4x coarser input to the full resolution."""

NAMED = {"S21": 0, "S64": 2, "S256": 4}
"""The paper's spatial contexts, by the levels that give them."""

LEAD_WIDTH = 32
"""Width of the embedding of the lead time."""

STIMULUS_WIDTH = 256
"""Width of the embedding of a stimulus."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Says what a volumetric UNet is built of; by default as the paper's S256.

    Attributes:
        context: Context length in frames; they are the channels of the first convolution.
        horizon: Largest lead time in frames.
        features: Features at every resolution (F).
        groups: Groups of the group norms.
        resampling: Factor from each level to the next coarser one; none for one resolution.
        blocks: Residual blocks at each level, on the way up; the coarsest has one more, so that
            the operations stay about the same for any number of levels.
        upsampling: Factor of each step from the resolution of the input to that of the output.
        upsampled_features: Features beyond the resolution of the input (F').
        upsampled_blocks: Residual blocks at each step of ``upsampling``.
        skip: How a level joins what comes up from below: ``add`` or ``concat``.
        head: ``lead-time``, one frame at the lead time that is asked for; ``direct``, all frames
            of the horizon at once; ``hl-gauss``, like lead-time, each voxel as a histogram;
            ``autoregression``, the next frame, which is fed back for those after it.
        bins: Bins of that histogram.
        past_stimulus: Stimulus features during the context that it is told, 0 for none.
        future_stimulus: Stimulus features during the horizon that it is told, 0 for none.
        dropout: Share of the channels that training drops before a second convolution.
        remat: Whether blocks and head are computed again on the way back, which saves memory.
        precision: Type of the convolutions; parameters and norms are float32 in any case.

    Raises:
        UsageError: A value is out of range, or two don't fit together.
    """

    context: int
    horizon: int = 32
    features: int = 128
    groups: int = 16
    resampling: tuple[Factor, ...] = LEVELS
    blocks: int = 3
    upsampling: tuple[Factor, ...] = ()
    upsampled_features: int = 32
    upsampled_blocks: int = 1
    skip: Skip = "add"
    head: Head = "lead-time"
    bins: int = 64
    past_stimulus: int = 0
    future_stimulus: int = 0
    dropout: float = 0.0
    remat: bool = False
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name in ("resampling", "upsampling"):  # JSON knows lists alone
            object.__setattr__(self, name, _factors(name, getattr(self, name)))
        least = {"past_stimulus": 0, "future_stimulus": 0, "bins": 2}
        counts = ("context", "horizon", "features", "groups", "blocks", "upsampled_features")
        for name in (*counts, "upsampled_blocks", *least):
            _check_count(name, getattr(self, name), least.get(name, 1))
        _check_choice("skip", self.skip, SKIPS)
        _check_choice("head", self.head, HEADS)
        _check_choice("precision", self.precision, PRECISIONS)
        if not (isinstance(self.dropout, int | float) and 0 <= self.dropout < 1):
            raise UsageError(f"volumetric: dropout is {self.dropout!r}, expected 0 to below 1")
        self._check_groups()
        self._check_fed_back()

    def _check_groups(self) -> None:
        widths = {"features": self.features}
        if self.upsampling:
            widths["upsampled_features"] = self.upsampled_features
        for name, width in widths.items():
            if width % self.groups:
                raise UsageError(
                    f"volumetric: {name} is {width}, expected a multiple of groups, which is "
                    f"{self.groups}; change one of them"
                )

    def _check_fed_back(self) -> None:
        if self.head != "autoregression":
            return
        if self.upsampling:
            raise UsageError(
                "volumetric: a head autoregression is fed its own frames, which must be of the "
                "input's resolution; leave full resolution out"
            )
        if self.past_stimulus or self.future_stimulus:
            raise UsageError(
                "volumetric: a head autoregression takes no stimulus, which is not fed back; use "
                "another head"
            )

    @property
    def levels(self) -> int:
        """Number of resamplings; 0 where there is one resolution."""
        return len(self.resampling)

    @property
    def outputs(self) -> int:
        """Numbers that come out for each voxel."""
        several = {"direct": self.horizon, "hl-gauss": self.bins}
        return several.get(self.head, 1)

    @property
    def steps(self) -> int:
        """Frames that come out at once."""
        return self.horizon if self.head == "direct" else 1

    @property
    def told_lead_time(self) -> bool:
        """Whether it is asked for one lead time."""
        return self.head in ("lead-time", "hl-gauss")

    @property
    def embedding(self) -> int:
        """Width of all that FiLM tells the blocks: lead time and stimulus."""
        stimuli = bool(self.past_stimulus) + bool(self.future_stimulus)
        return LEAD_WIDTH * self.told_lead_time + STIMULUS_WIDTH * stimuli

    @property
    def coarsest(self) -> Factor:
        """How much coarser the coarsest level is than the input, per axis."""
        return product(self.resampling)

    @property
    def finest(self) -> Factor:
        """How much finer the output is than the input, per axis."""
        return product(self.upsampling)

    def blocks_at(self, level: int) -> int:
        """Returns the number of blocks at a level, 0 being the resolution of the input."""
        return self.blocks + (level == self.levels)


def named(
    name: str, *, context: int, full_resolution: bool = False, **changes: Any
) -> Configuration:
    """Returns one of the paper's configurations.

    Source: Immer et al. 2025, section 4 and appendix; dropout is 0.1 at 256 frames, else 0.

    Args:
        name: ``S21``, ``S64`` or ``S256``, after the spatial context.
        context: Context length in frames.
        full_resolution: Whether the output is four times finer in x and y than the input.
        changes: Attributes that differ.

    Raises:
        NotFound: There is none of that name.
        UsageError: A change is out of range, or there is no such attribute.
    """
    if name not in NAMED:
        raise NotFound(f"volumetric: no configuration {name!r}; known are {', '.join(NAMED)}")
    base = Configuration(
        context=context,
        resampling=LEVELS[: NAMED[name]],
        upsampling=FULL_RESOLUTION if full_resolution else (),
        dropout=0.1 if context >= 256 else 0.0,
    )
    unknown = [change for change in changes if change not in vars(base)]
    if unknown:
        raise UsageError(
            f"volumetric: a configuration has no {unknown[0]!r}; it has {', '.join(vars(base))}"
        )
    return replace(base, **changes)


def product(factors: tuple[Factor, ...]) -> Factor:
    """Returns the product of factors, per axis."""
    x, y, z = (math.prod(factor[axis] for factor in factors) for axis in range(3))
    return x, y, z


def _factors(name: str, given: Any) -> tuple[Factor, ...]:
    try:
        factors = tuple((x, y, z) for x, y, z in given)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"volumetric: {name} is {given!r}, expected factors like (2, 2, 1)"
        ) from error
    for factor in factors:
        if not all(type(n) is int and n >= 1 for n in factor) or max(factor) == 1:
            raise UsageError(
                f"volumetric: {name} has {factor}, expected whole numbers from 1, one above 1"
            )
    return factors


def _check_count(name: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:
        raise UsageError(f"volumetric: {name} is {value!r}, expected a whole number from {least}")


def _check_choice(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"volumetric: {name} is {value!r}, expected {' or '.join(known)}")
