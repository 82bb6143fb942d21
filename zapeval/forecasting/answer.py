"""The answer: what a forecaster says to some contexts, held against its contract."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from zapeval.benchmarks.benchmark import Benchmark, Span
from zapeval.errors import BrokenPlugin, ZapevalError
from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecaster import Forecaster, NextStepForecaster, VideoForecaster


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
        return _checked(forecaster, forecaster.forecast, contexts, windows)
    if isinstance(forecaster, NextStepForecaster):
        whole = replace(contexts, horizon=benchmark.horizon)
        return _checked(forecaster, forecaster.next_steps, whole, windows)
    steps = range(1, benchmark.horizon + 1)
    heads = (contexts.head(k) for k in steps)
    return np.concatenate(
        [_checked(forecaster, forecaster.forecast, head, windows) for head in heads], axis=1
    )


def _checked(
    forecaster: Forecaster,
    method: Callable[[Contexts], np.ndarray],
    contexts: Contexts,
    windows: Span,
) -> np.ndarray:
    where = f"{forecaster.name}: {contexts.series}, windows [{windows[0]}, {windows[1]})"
    handed = contexts.activity.copy()
    try:
        values = method(replace(contexts, activity=handed))
    except ZapevalError:
        raise
    except (Exception, SystemExit) as error:
        raise BrokenPlugin(f"{where}: raised {type(error).__name__}: {error}") from error
    count, _, neurons = contexts.activity.shape
    _check_array(values, (count, contexts.horizon, neurons), where)
    # Bits are compared: a NaN in the recording equals itself.
    if not np.array_equal(handed.view(np.uint32), contexts.activity.view(np.uint32)):
        raise BrokenPlugin(f"{where}: changed its contexts in place; expected it to work on a copy")
    _check_finite(values, windows, where, missing=isinstance(forecaster, VideoForecaster))
    return values


def _check_array(values: object, expected: tuple[int, ...], where: str) -> None:
    if not isinstance(values, np.ndarray) or values.dtype != np.float32:
        got = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
        raise BrokenPlugin(f"{where}: returned {got}, expected a float32 NumPy array")
    if values.shape != expected:
        raise BrokenPlugin(
            f"{where}: returned shape {list(values.shape)}, expected [windows, horizon, neurons] "
            f"= {list(expected)}"
        )


def _check_finite(values: np.ndarray, windows: Span, where: str, *, missing: bool) -> None:
    """Checks for NaN and infinity; a neuron without voxels may be NaN throughout."""
    finite = np.isfinite(values)
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
