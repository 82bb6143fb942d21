"""Scoring: predictions and recording in, scorecard out."""
