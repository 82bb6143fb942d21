"""Evaluation of forecasts of whole-brain neural activity.

A plugin needs ``zapeval.Contexts`` and one of the three forecasters, and ``zapeval.Training`` if it
learns; the rest is reached by module.
"""

from zapeval.forecasting.contexts import Contexts
from zapeval.forecasting.forecaster import Forecaster, NextStepForecaster, VideoForecaster
from zapeval.forecasting.training import Training

__all__ = ["Contexts", "Forecaster", "NextStepForecaster", "Training", "VideoForecaster"]
