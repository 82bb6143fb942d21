"""Worm models: one shell and six cores, from each frame of a worm to the next.

Called ``model(activity, key)``: float32 ``[windows, frames, neurons]`` in, the frame after each of
them out, in the same shape. Position ``k`` hangs on the frames up to ``k``. A key draws dropout;
without one there is none.

Source: Simeon et al. 2024, section 2.4 and Table II.
"""
