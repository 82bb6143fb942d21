"""The settings of the volumetric forecaster, as a user gives them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from baselines.volumetric.configuration import (
    FULL_RESOLUTION,
    LEVELS,
    Configuration,
    Head,
    Precision,
    Skip,
)
from baselines.volumetric.crops import RESOLUTIONS
from baselines.volumetric.sizes import Size
from zapeval.errors import InvalidInput, UsageError
from zapeval.forecasting.contexts import FUTURE_STIMULUS, STIMULUS

_NAME = "volumetric-unet"
_CONTEXT_WITH_DROPOUT = 256
_LEAST_STEPS = 50


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user may set; see VolumetricUNet.

    Raises:
        UsageError: A setting is out of range, or two don't fit together.
    """

    levels: int
    features: int
    groups: int
    blocks: int
    resolution: int
    full_resolution: bool
    crop: Sequence[int] | None
    head: Head
    loss: str
    past_stimulus: bool
    future_stimulus: bool
    skip: Skip
    upsampled_features: int
    bins: int
    dropout: float | None
    precision: Precision
    remat: bool
    steps: int
    batch: int
    rate: float
    validate_every: int | None
    validation: int
    mesh: Sequence[int] | None
    others: Sequence[str]

    def __post_init__(self) -> None:
        for what in ("crop", "mesh"):  # the command line gives lists
            object.__setattr__(self, what, _three(what, getattr(self, what)))
        for what in ("past_stimulus", "future_stimulus", "full_resolution", "remat"):
            if not isinstance(getattr(self, what), bool):
                raise UsageError(
                    f"{_NAME}: {what} is {getattr(self, what)!r}, expected true or false"
                )
        for what in ("steps", "batch", "validation", "validate_every"):
            value = getattr(self, what)
            if value is not None and (type(value) is not int or value < 1):
                raise UsageError(f"{_NAME}: {what} is {value!r}, expected a number above 0")
        if type(self.levels) is not int or not 0 <= self.levels <= len(LEVELS):
            raise UsageError(f"{_NAME}: levels is {self.levels!r}, expected 0 to {len(LEVELS)}")
        if type(self.resolution) is not int or self.resolution not in RESOLUTIONS:
            raise UsageError(f"{_NAME}: resolution is {self.resolution!r}, expected 1, 2 or 4")
        if type(self.rate) not in (int, float) or not 0 < self.rate < math.inf:
            raise UsageError(f"{_NAME}: rate is {self.rate!r}, expected a number above 0")
        if not isinstance(self.others, list | tuple) or not all(
            isinstance(one, str) for one in self.others
        ):
            raise UsageError(
                f'{_NAME}: others is {self.others!r}, expected a list such as ["fish-2.toml"]'
            )
        self.configuration(context=1, horizon=1, features=1)  # says what is wrong with the others

    @property
    def kept(self) -> Size | None:
        """Size of the centre of frames that is kept, None for all."""
        return _three("crop", self.crop)

    @property
    def validation_steps(self) -> int:
        """Steps from one validation to the next."""
        return self.validate_every or max(_LEAST_STEPS, self.steps // 100)

    @property
    def told(self) -> tuple[str, ...]:
        """Covariates that FiLM tells of."""
        asked = {STIMULUS: self.past_stimulus, FUTURE_STIMULUS: self.future_stimulus}
        return tuple(name for name, is_asked in asked.items() if is_asked)

    def configuration(self, context: int, horizon: int, features: int = 0) -> Configuration:
        """Returns the configuration for a context length, a horizon and a stimulus.

        Args:
            context: Context length in frames.
            horizon: Steps ahead.
            features: Features of the recordings' stimulus, 0 for none.

        Raises:
            UsageError: A setting is out of range, or two don't fit together.
        """
        if self.dropout is None:  # as the paper: only where contexts are long
            dropout = 0.1 if context >= _CONTEXT_WITH_DROPOUT else 0.0
        else:
            dropout = self.dropout
        finer = RESOLUTIONS.index(self.resolution) if self.full_resolution else 0
        return Configuration(
            context=context,
            horizon=horizon,
            features=self.features,
            groups=self.groups,
            resampling=LEVELS[: self.levels],
            blocks=self.blocks,
            upsampling=FULL_RESOLUTION[:finer],
            upsampled_features=self.upsampled_features,
            skip=self.skip,
            head=self.head,
            bins=self.bins,
            past_stimulus=features * self.past_stimulus,
            future_stimulus=features * self.future_stimulus,
            dropout=dropout,
            remat=self.remat,
            precision=self.precision,
        )

    def check_same(self, found: Configuration, folder: Path) -> None:
        """Refuses parameters of another configuration than the settings give.

        Args:
            found: The configuration that they are of.
            folder: Where they lie, for the message.

        Raises:
            InvalidInput: They are of another one.
        """
        features = max(found.past_stimulus, found.future_stimulus, 1)
        expected = self.configuration(found.context, found.horizon, features)
        for what, value in vars(expected).items():
            got = getattr(found, what)
            # Neither changes what parameters mean.
            if got != value and what not in ("remat", "precision"):
                raise InvalidInput(
                    f"{folder}: was trained with {what} {got}, but this {_NAME} has {what} "
                    f"{value}; set it alike, or train another"
                )


def _three(what: str, given: Sequence[int] | None) -> tuple[int, int, int] | None:
    if given is None:
        return None
    try:
        x, y, z = given
    except (TypeError, ValueError) as error:
        raise UsageError(f"{_NAME}: {what} is {given!r}, expected three numbers") from error
    if not all(type(n) is int and n >= 1 for n in (x, y, z)):
        raise UsageError(f"{_NAME}: {what} is {given!r}, expected whole numbers from 1")
    return x, y, z
