"""Evaluation of forecasts of whole-brain neural activity.

A plugin needs ``zapeval.Forecaster`` and ``zapeval.Contexts``; the rest is reached by module.
"""

from zapeval.forecasting.forecaster import Contexts, Forecaster

__all__ = ["Contexts", "Forecaster"]
