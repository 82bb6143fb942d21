"""The contract of a forecaster, as tests that a plugin inherits.

::

    from zapeval.testing import ForecasterContract

    class TestMine(ForecasterContract):
        def make(self):
            return Mine()
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecaster import Forecaster


class ForecasterContract:
    """What every forecaster keeps; inherit it in a test class and write ``make``.

    Attributes:
        context: Context length of the trial, in frames.
        horizon: Steps of the trial.
        neurons: Neurons of the trial.
        windows: Windows of the trial.
    """

    context = 4
    horizon = 32
    neurons = 13
    windows = 5

    @abstractmethod
    def make(self) -> Forecaster:
        """Returns a new forecaster, ready to forecast; equal each time."""

    def contexts(self) -> Contexts:
        """Returns the trial's contexts."""
        activity = np.random.default_rng(0).normal(0.1, 0.05, size=self._shape())
        return Contexts(
            activity=activity.astype(np.float32),
            horizon=self.horizon,
            series="trial",
            origins=tuple(range(self.context, self.context + self.windows)),
        )

    def test_has_a_name(self) -> None:
        """Its name is a word that can stand in a table and on a command line."""
        name = self.make().name
        assert name
        assert name == name.strip()
        assert "/" not in name

    def test_returns_float32_windows_by_horizon_by_neurons(self) -> None:
        """Shape and type are those of the contract."""
        values = self.make().forecast(self.contexts())
        assert isinstance(values, np.ndarray)
        assert values.dtype == np.float32
        assert values.shape == (self.windows, self.horizon, self.neurons)

    def test_forecasts_finite_numbers(self) -> None:
        """No NaN, no infinity."""
        assert np.isfinite(self.make().forecast(self.contexts())).all()

    def test_forecasts_the_same_twice(self) -> None:
        """A second forecaster, and a second call, give the same bits."""
        first = self.make()
        values = first.forecast(self.contexts())
        np.testing.assert_array_equal(first.forecast(self.contexts()), values)
        np.testing.assert_array_equal(self.make().forecast(self.contexts()), values)

    def test_leaves_its_contexts_alone(self) -> None:
        """What it is handed is not changed."""
        contexts = self.contexts()
        before = contexts.activity.copy()
        self.make().forecast(contexts)
        np.testing.assert_array_equal(contexts.activity, before)

    def test_forecasts_a_window_alone_as_in_a_batch(self) -> None:
        """A window's forecast hangs on its own context, not on the windows beside it."""
        together = self.make().forecast(self.contexts())
        contexts = self.contexts()
        for window in range(self.windows):
            alone = Contexts(
                activity=contexts.activity[window : window + 1].copy(),
                horizon=self.horizon,
                series=contexts.series,
                origins=contexts.origins[window : window + 1],
            )
            one = self.make().forecast(alone)
            np.testing.assert_allclose(one[0], together[window], rtol=1e-5, atol=1e-6)

    def _shape(self) -> tuple[int, int, int]:
        return self.windows, self.context, self.neurons
