"""The contract of a forecaster, as tests that a plugin inherits.

::

    from zapeval.testing import ForecasterContract

    class TestMine(ForecasterContract):
        def make(self):
            return Mine()
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from abc import abstractmethod
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from zapeval.forecasting.causality import check_causal
from zapeval.forecasting.checkpoint import load_checkpoint
from zapeval.forecasting.contexts import COVARIATES, Contexts
from zapeval.forecasting.forecaster import Forecaster, NextStepForecaster
from zapeval.forecasting.train import train
from zapeval.forecasting.trial import Trial
from zapeval.recordings.recording import Recordings


class ForecasterContract:
    """What every forecaster keeps; inherit it in a test class and write ``make``.

    A forecaster that learns is fitted to a small generated recording: let ``make`` return one that
    does so in seconds. What it asks for, stimulus or video, is generated too.

    Attributes:
        context: Context length of the trial, in frames.
        horizon: Steps of the trial; for a ``NextStepForecaster`` the length of its sequences.
        neurons: Neurons of the trial.
        windows: Windows of the trial.
        volume: Size of the trial's frames of video, in voxels.
        rtol: How far forecasts that must be the same may be apart, relative to their values.
        atol: How far they may be apart beside that, in df/f.
    """

    context = 4
    horizon = 32
    neurons = 13
    windows = 5
    volume = (8, 8, 4)
    rtol = 1e-5
    atol = 1e-6

    @abstractmethod
    def make(self) -> Forecaster:
        """Returns a new forecaster, equal each time; not fitted yet if it learns."""

    def contexts(self) -> Contexts:
        """Returns the trial's contexts."""
        trial = self._trial()
        return trial.contexts(trial.recordings())

    def test_has_a_name(self) -> None:
        """Its name is a word that can stand in a table and on a command line."""
        name = self.make().name
        assert name
        assert name == name.strip()
        assert "/" not in name

    def test_says_what_it_is(self) -> None:
        """Version, parameters and what it asks for can stand in a manifest."""
        made = self.make()
        assert isinstance(made.version, str)
        assert isinstance(made.leaks, str)
        parameters = dict(made.parameters)
        assert json.loads(json.dumps(parameters, allow_nan=False)).keys() == parameters.keys()
        assert not isinstance(made.covariates, str), "covariates is a tuple of words"
        assert set(made.covariates) <= set(COVARIATES)

    def test_returns_float32_windows_by_horizon_by_neurons(self) -> None:
        """Shape and type are those of the contract."""
        values = self._ask(self.contexts())
        assert isinstance(values, np.ndarray)
        assert values.dtype == np.float32
        assert values.shape == (self.windows, self.horizon, self.neurons)

    def test_forecasts_finite_numbers(self) -> None:
        """No NaN, no infinity."""
        assert np.isfinite(self._ask(self.contexts())).all()

    def test_forecasts_the_same_twice(self) -> None:
        """A second forecaster, and a second call, give the same bits."""
        first = self._ready()
        values = _asked(first, self.contexts())
        np.testing.assert_array_equal(_asked(first, self.contexts()), values)
        np.testing.assert_array_equal(self._ask(self.contexts()), values)

    def test_leaves_its_contexts_alone(self) -> None:
        """What it is handed is not changed."""
        contexts = self.contexts()
        before = {name: values.copy() for name, values in _arrays(contexts).items()}
        self._ask(contexts)
        for name, values in _arrays(contexts).items():
            np.testing.assert_array_equal(values, before[name], err_msg=name)

    def test_forecasts_a_window_alone_as_in_a_batch(self) -> None:
        """A window's forecast hangs on its own context, not on the windows beside it."""
        together = self._ask(self.contexts())
        trial = self._trial()
        for window in range(self.windows):
            one = trial.contexts(trial.recordings(), (window, window + 1))
            self._same(self._ask(one)[0], together[window])

    def test_forecasts_from_its_context_and_no_other_frame(self) -> None:
        """Where everything but a window's context is changed, its forecast stays."""
        trial = self._trial()
        for window in {0, self.windows - 1}:
            other = trial.changed([trial.context_frames(window)])
            span = (window, window + 1)
            kept = self._ask(trial.contexts(trial.recordings(other), span))
            self._same(kept, self._ask(trial.contexts(trial.recordings(), span)))

    def test_forecasts_a_frame_from_earlier_ones(self) -> None:
        """A next-step forecaster's outputs hang on no later input."""
        made = self._ready()
        if isinstance(made, NextStepForecaster):
            check_causal(made, self.contexts())

    def test_rolls_out_over_a_horizon(self) -> None:
        """A next-step forecaster can be fed back, the length of a sequence at most."""
        made = self._ready()
        if isinstance(made, NextStepForecaster):
            whole, steps = self.contexts(), self.horizon - 1
            later = whole.future_stimulus
            begun = replace(
                whole.head(1),
                horizon=steps,
                future_stimulus=None if later is None else later[:, :steps],
            )
            values = made.forecast(begun)
            assert values.dtype == np.float32
            assert values.shape == (self.windows, steps, self.neurons)
            assert np.isfinite(values).all()

    def test_forecasts_the_same_when_it_is_loaded(self) -> None:
        """What is saved, and loaded into another forecaster, is all that was learned."""
        made = self.make()
        if made.learns:
            self._train(made, "saved", self._trial().recordings())
            loaded = self._loaded("saved")
            self._same(_asked(loaded, self.contexts()), _asked(made, self.contexts()))

    def test_learns_the_same_from_the_same_seed(self) -> None:
        """A second fit with the same seed gives the same forecasts."""
        made = self.make()
        if made.learns:
            self._train(made, "again", self._trial().recordings())
            again = _asked(self._loaded("again"), self.contexts())
            self._same(again, self._ask(self.contexts()))

    def test_learns_nothing_from_test_frames(self) -> None:
        """Where every test frame is changed, it learns the same; unless it says that it leaks."""
        made = self.make()
        if made.learns and not made.leaks:
            trial = self._trial()
            other = trial.changed([*trial.series.train, *trial.series.validation])
            self._train(made, "other test frames", trial.recordings(other))
            values = _asked(self._loaded("other test frames"), self.contexts())
            self._same(values, self._ask(self.contexts()))

    def _same(self, values: np.ndarray, expected: np.ndarray) -> None:
        np.testing.assert_allclose(values, expected, rtol=self.rtol, atol=self.atol)

    def _ask(self, contexts: Contexts) -> np.ndarray:
        return _asked(self._ready(), contexts)

    def _ready(self) -> Forecaster:
        """Returns a new forecaster that can forecast: one that learns, as it was fitted once."""
        made = self.make()
        if not made.learns:
            return made
        if not (self._place() / "fitted").exists():
            self._train(made, "fitted", self._trial().recordings())
        return self._loaded("fitted")

    def _train(self, made: Forecaster, name: str, recordings: Recordings) -> None:
        folder = self._place() / name
        shutil.rmtree(folder, ignore_errors=True)
        benchmark = self._trial().benchmark
        train(made, benchmark, recordings, folder, context=self.context, seed=0)

    def _loaded(self, name: str) -> Forecaster:
        made = self.make()
        folder, benchmark = self._place() / name, self._trial().benchmark
        load_checkpoint(made, folder, benchmark, self._trial().recordings(), self.context)
        return made

    def _trial(self) -> Trial:
        made = self.make()
        return Trial(
            protocol="next-step" if isinstance(made, NextStepForecaster) else "horizon",
            context=self.context,
            horizon=self.horizon,
            neurons=self.neurons,
            windows=self.windows,
            covariates=tuple(made.covariates),
            volume=self.volume,
        )

    @classmethod
    def _place(cls) -> Path:
        """Returns a folder for what the tests of a class share; it goes when the process ends."""
        if "_folder" not in vars(cls):
            cls._folder = Path(tempfile.mkdtemp(prefix="zapeval-contract-"))
            atexit.register(partial(shutil.rmtree, cls._folder, ignore_errors=True))
        return cls._folder

    _folder: Path


def _asked(forecaster: Forecaster, contexts: Contexts) -> np.ndarray:
    if isinstance(forecaster, NextStepForecaster):
        return forecaster.next_steps(contexts)
    return forecaster.forecast(contexts)


def _arrays(contexts: Contexts) -> dict[str, np.ndarray]:
    """Returns what a forecaster is handed and could change."""
    arrays = {
        "activity": contexts.activity,
        "mask": contexts.mask,
        "stimulus": contexts.stimulus,
        "future_stimulus": contexts.future_stimulus,
    }
    if contexts.neurons is not None:
        arrays["neurons.positions"] = contexts.neurons.positions
    return {name: values for name, values in arrays.items() if values is not None}
