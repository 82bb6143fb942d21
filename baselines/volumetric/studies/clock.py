"""The clock: how much longer a study takes, by the work that is left and how fast it went."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from baselines.volumetric.settings import Settings
from baselines.volumetric.sizes import Size
from baselines.volumetric.structure import layers

BACKWARD = 2
"""A step's way back, in forward passes."""

FIRST = 20
"""Steps from which a speed is taken; those before compile, or are still on their way."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a training and the forecasts after it cost, in numbers that convolutions move.

    At the sizes of a CPU this tells more than operations do.

    Attributes:
        steps: Training steps.
        step: Work of a step, its share of the validations included.
        forecast: Work of all forecasts.
    """

    steps: int
    step: float
    forecast: float

    @property
    def total(self) -> float:
        """All of it."""
        return self.steps * self.step + self.forecast


def work_of(
    parameters: Mapping[str, Any], context: int, horizon: int, frame: Size, windows: int
) -> Work:
    """Returns the work of a ``volumetric-unet``.

    Args:
        parameters: What it says of itself.
        context: Context length in frames.
        horizon: Steps ahead.
        frame: Size of the video's frames in voxels.
        windows: Windows to forecast.
    """
    s = Settings(**parameters)
    c = s.configuration(context, horizon)
    x, y, z = s.kept or frame
    voxels = x // s.resolution * (y // s.resolution) * z
    moved = [part for part in layers(c) if part.kind == "conv"]
    forward = sum(float(part.scale) * voxels * (part.inputs + part.outputs) for part in moved)
    validation = s.validation / s.validation_steps
    step = forward * (s.batch * (1 + BACKWARD) + validation)
    return Work(steps=s.steps, step=step, forecast=forward * windows * (horizon // c.steps))


class Clock:
    """Tells how much longer it takes.

    Args:
        left: All work there is.
        now: Tells the time in seconds.
    """

    def __init__(self, left: float, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._left = left
        self._done = self._seconds = 0.0

    def spent(self, work: float, seconds: float) -> None:
        """Takes down that some work is done, and how long it took."""
        self._left -= work
        self._done += work
        self._seconds += seconds

    def passed(self, work: float) -> None:
        """Takes down that some work is done already, whenever that was."""
        self._left -= work

    @property
    def left(self) -> str:
        """How much longer, "" where nothing is done yet."""
        if not self._done:
            return ""
        return told(max(0.0, self._left) * self._seconds / self._done)


class Watch:
    """Watches one training for a clock.

    Args:
        clock: The clock.
        work: The training's work.
    """

    def __init__(self, clock: Clock, work: Work) -> None:
        self._clock, self._work = clock, work
        self._marks: list[tuple[int, float]] = []

    def step(self, done: int) -> None:
        """Is told how many steps are done."""
        last = self._marks[-1][0] if self._marks else 0
        if self._marks and done - last < FIRST:
            return
        now, work = self._clock.now(), self._work.step * (done - last)
        if len(self._marks) < 2:  # compiling, or taken up from where it was interrupted
            self._clock.passed(work)
        else:
            self._clock.spent(work, now - self._marks[-1][1])
        self._marks.append((done, now))

    def end(self) -> None:
        """Takes down that the training is over, however early."""
        last = self._marks[-1][0] if self._marks else 0
        self._clock.passed(self._work.step * (self._work.steps - last))


def told(seconds: float) -> str:
    """Returns a duration in words: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
