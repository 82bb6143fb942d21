"""Studies of the volumetric model: grids of cells, trained, forecast and scored side by side.

Source: Immer et al. 2025, "Forecasting Whole-Brain Neuronal Activity from Volumetric Video"
(arXiv 2503.00073).
"""
