"""Figures of scores: for print by matplotlib, for the web as Vega-Lite, both from the same rows."""
