"""Scaling experiments: how the loss of the worm models falls with data and with size.

Source: Simeon et al. 2024, section 3 (Figs. 4 to 7).
"""
