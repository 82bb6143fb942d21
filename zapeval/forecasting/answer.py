"""The answer: what a forecaster says to some contexts, held against its contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Span
from zapeval.errors import BrokenPlugin, ZapevalError
from zapeval.forecasting.contexts import VIDEO, Contexts
from zapeval.forecasting.forecaster import Forecaster, NextStepForecaster


def answer(
    forecaster: Forecaster, benchmark: Benchmark, contexts: Contexts, windows: Span
) -> np.ndarray:
    """Returns the checked forecast of a batch, float32 ``[windows, horizon, neurons]``.

    Under ``next-step`` position ``k`` is forecast one step ahead from the ``k`` frames before it: a
    ``NextStepForecaster`` is trusted to (see causality.py), any other is handed those frames alone.

    Args:
        forecaster: Who is asked.
        benchmark: Whose windows they are.
        contexts: What it sees.
        windows: Numbers ``[start, stop)`` of the windows in their series, for messages.

    Raises:
        BrokenPlugin: It raises, changes its input, or returns what the contract does not allow.
    """
    if benchmark.protocol == "horizon":
        return ask(forecaster, forecaster.forecast, contexts, windows)
    if isinstance(forecaster, NextStepForecaster):
        whole = replace(contexts, horizon=benchmark.horizon)
        return ask(forecaster, forecaster.next_steps, whole, windows)
    steps = range(1, benchmark.horizon + 1)
    heads = (contexts.head(k) for k in steps)
    return np.concatenate(
        [ask(forecaster, forecaster.forecast, head, windows) for head in heads], axis=1
    )


def ask(
    forecaster: Forecaster,
    method: Callable[[Contexts], np.ndarray],
    contexts: Contexts,
    windows: Span,
) -> np.ndarray:
    """Returns what a method of a forecaster answers, float32 ``[windows, horizon, neurons]``.

    Args:
        forecaster: Who is asked.
        method: Its method.
        contexts: What it sees; it is handed a copy of the activity.
        windows: Numbers ``[start, stop)`` of the windows in their series, for messages.

    Raises:
        BrokenPlugin: It raises, changes its input, or returns what the contract does not allow.
    """
    where = f"{forecaster.name}: {contexts.series}, windows [{windows[0]}, {windows[1]})"
    handed = contexts.activity.copy()
    try:
        answered = method(replace(contexts, activity=handed))
    except ZapevalError:
        raise
    except (Exception, SystemExit, GeneratorExit) as error:
        raise BrokenPlugin(f"{where}: raised {type(error).__name__}: {error}") from error
    values = check_array(answered, contexts, where)
    # Bits are compared: a NaN in the recording equals itself.
    if not np.array_equal(handed.view(np.uint32), contexts.activity.view(np.uint32)):
        raise BrokenPlugin(f"{where}: changed its contexts in place; expected it to work on a copy")
    # Who sees video may see no voxel of a neuron.
    missing = VIDEO in forecaster.covariates
    _check_finite(values, contexts.mask, windows, where, missing=missing)
    return values


def check_array(answered: object, contexts: Contexts, where: str) -> np.ndarray:
    """Returns what was answered as a plain array, if type and shape are right.

    Args:
        answered: What a forecaster returned.
        contexts: For what.
        where: Who returned it, for messages.

    Raises:
        BrokenPlugin: They are not.
    """
    if not isinstance(answered, np.ndarray) or answered.dtype != np.float32:
        got = answered.dtype if isinstance(answered, np.ndarray) else type(answered).__name__
        raise BrokenPlugin(f"{where}: returned {got}, expected a float32 NumPy array")
    windows, _, neurons = contexts.activity.shape
    expected = [windows, contexts.horizon, neurons]
    if list(answered.shape) != expected:
        raise BrokenPlugin(
            f"{where}: returned shape {list(answered.shape)}, expected [windows, horizon, neurons] "
            f"= {expected}"
        )
    # A masked array would hide from the checks what it then shows to the store.
    return np.asarray(answered)


def _check_finite(
    values: np.ndarray, mask: np.ndarray | None, windows: Span, where: str, *, missing: bool
) -> None:
    """Checks scored neurons for NaN and infinity; one without voxels may be NaN throughout."""
    finite = np.isfinite(values)
    if mask is not None:
        finite |= ~mask
    if finite.all():
        return
    if missing:
        finite |= np.isnan(values).all(axis=(0, 1))
        if finite.all():
            return
    index = np.unravel_index(int((~finite).argmax()), values.shape)
    window, step, neuron = (int(i) for i in index)
    raise BrokenPlugin(
        f"{where}: returned {values[index]} for window {windows[0] + window}, step {step + 1}, "
        f"neuron {neuron}; expected finite numbers"
    )
