"""Time series models: Flax modules from the activity of a context to the steps of the horizon.

Each is built from keyword arguments ``context, horizon, neurons, features, rngs`` and sizes of its
own, and called ``model(activity, stimulus, future_stimulus)``: float32 ``[windows, context,
neurons]``, ``[windows, context, features]`` and ``[windows, horizon, features]`` in, float32
``[windows, horizon, neurons]`` out. Windows don't see each other.
"""
