"""Compositions: forecasters made of forecasters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from zapeval.errors import UsageError
from zapeval.forecasting.answer import check_array
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecaster import Forecaster
from zapeval.forecasting.training import Training, TrainingSeries

By = Literal["instance", "last"]
_EPSILON = 1e-5


class _Composition(Forecaster):
    """Does with its parts what is done with it."""

    def __init__(self, parts: Sequence[Forecaster]) -> None:
        if not parts:
            raise UsageError(f"{type(self).__name__}: made of nothing; give it forecasters")
        self.parts = tuple(parts)
        self.covariates = tuple(sorted({name for part in parts for name in part.covariates}))
        self.leaks = "; ".join(sorted({part.leaks for part in parts if part.leaks}))

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Who its parts are."""
        return {
            "of": [
                {"name": part.name, "version": part.version, "parameters": dict(part.parameters)}
                for part in self.parts
            ]
        }

    @property
    def size(self) -> int | None:
        """Sum over its parts."""
        sizes = [part.size for part in self.parts]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def learns(self) -> bool:
        """Whether one of its parts does."""
        return any(part.learns for part in self.parts)

    def fit(self, training: Training) -> None:
        """Fits each part that learns."""
        for number, part in enumerate(self.parts):
            if part.learns:
                part.fit(self._for_part(_for_one(part, training, number)))

    def save(self, folder: Path) -> None:
        """Saves each part in a folder of its own."""
        for number, part in enumerate(self.parts):
            if part.learns:
                (folder / str(number)).mkdir()
                part.save(folder / str(number))

    def load(self, folder: Path) -> None:
        """Loads each part."""
        for number, part in enumerate(self.parts):
            if part.learns:
                part.load(folder / str(number))

    def _for_part(self, training: Training) -> Training:
        return training


@final
class Ensembled(_Composition):
    """Forecasts the mean of several forecasts.

    Args:
        parts: Forecasters.
    """

    name = "ensembled"
    version = "1"

    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the mean of what its parts forecast."""
        total = np.zeros((), np.float64)
        for part in self.parts:
            total = total + _asked(part, contexts)
        mean: np.ndarray = (total / len(self.parts)).astype(np.float32)
        return mean


@final
class Autoregressive(_Composition):
    """Feeds a few steps of a forecast back until the horizon is reached.

    Args:
        part: The forecaster.
        steps: How many of its steps are fed back at a time.
    """

    name = "autoregressive"
    version = "1"

    def __init__(self, part: Forecaster, steps: int = 1) -> None:
        if steps < 1:
            raise UsageError(f"autoregressive: {steps} steps at a time, expected at least 1")
        if part.covariates:
            raise UsageError(
                f"autoregressive: {part.name} asks for {', '.join(part.covariates)}, which are "
                "not fed back; use one that forecasts from activity alone"
            )
        super().__init__([part])
        self._steps = steps

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its part, and the steps."""
        return {**super().parameters, "steps": self._steps}

    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the roll-out; the context keeps its length."""
        length = contexts.activity.shape[1]
        sequence = contexts.activity
        done = 0
        while done < contexts.horizon:
            steps = min(self._steps, contexts.horizon - done)
            seen = replace(
                contexts,
                activity=sequence[:, -length:].copy(),
                horizon=self._steps,
                origins=tuple(origin + done for origin in contexts.origins),
            )
            newest = _asked(self.parts[0], seen)[:, :steps]
            sequence = np.concatenate([sequence, newest], axis=1)
            done += steps
        return sequence[:, length:]

    def _for_part(self, training: Training) -> Training:
        return training.shortened(self._steps)


@final
class Normalised(_Composition):
    """Forecasts each neuron relative to its own context, and undoes that.

    Args:
        part: The forecaster.
        by: ``instance`` takes out the context's mean and divides by its standard deviation
            (reversible instance normalisation without its affine part, Kim et al. 2022, ICLR);
            ``last`` takes out the last value (NLinear, Zeng et al. 2023, arXiv 2205.13504).
    """

    name = "normalised"
    version = "1"

    def __init__(self, part: Forecaster, by: By = "instance") -> None:
        if by not in ("instance", "last"):
            raise UsageError(f"normalised: by {by!r}, expected 'instance' or 'last'")
        super().__init__([part])
        self._by = by

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Its part, and by what it is normalised."""
        return {**super().parameters, "by": self._by}

    def forecast(self, contexts: Contexts) -> np.ndarray:
        """Returns the forecast on the scale of the contexts."""
        shift, scale = self._scale(contexts.activity)
        normal = replace(contexts, activity=(contexts.activity - shift) / scale)
        forecast: np.ndarray = _asked(self.parts[0], normal) * scale + shift
        return forecast

    def _for_part(self, training: Training) -> Training:
        def normal(series: TrainingSeries) -> TrainingSeries:
            return series.scaled(self._apply)

        return replace(training, series=tuple(map(normal, training.series)))

    def _apply(self, activity: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Puts values on the scale of contexts."""
        shift, scale = self._scale(activity)
        normal: np.ndarray = (values - shift) / scale
        return normal

    def _scale(self, activity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._by == "last":
            last = activity[:, -1:]
            return last, np.ones_like(last)
        mean = activity.mean(axis=1, keepdims=True, dtype=np.float64)
        deviation = activity.std(axis=1, keepdims=True, dtype=np.float64)
        return mean.astype(np.float32), (deviation + _EPSILON).astype(np.float32)


def _asked(part: Forecaster, contexts: Contexts) -> np.ndarray:
    """Returns the forecast of a part, which gets a copy to work on.

    Its shape is checked here: NumPy would stretch one that does not fit.
    """
    answered = part.forecast(replace(contexts, activity=contexts.activity.copy()))
    return check_array(answered, contexts, f"{part.name}: {contexts.series}")


def _for_one(part: Forecaster, training: Training, number: int) -> Training:
    """Returns what one part is handed: folders and, from the second on, a seed of its own.

    Test frames stay closed to a part that doesn't itself declare that it leaks.
    """
    folder, record = training.folder / str(number), training.record / f"part-{number}"
    folder.mkdir(exist_ok=True)
    record.mkdir(exist_ok=True)
    seed = training.seed
    if number:
        # Not seed + number, which is the seed of another run's other part.
        seed = int(np.random.SeedSequence([seed, number]).generate_state(1)[0] >> 1)
    series, held_out = training.series, training.held_out
    if not part.leaks:
        series = tuple(one.sealed() for one in series)
        held_out = tuple(one.sealed() for one in held_out)
    return replace(
        training, series=series, held_out=held_out, folder=folder, record=record, seed=seed
    )
