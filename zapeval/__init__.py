"""Evaluation of forecasts of whole-brain neural activity."""
