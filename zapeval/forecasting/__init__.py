"""Forecasting: forecasters, and the predictions they leave."""
