"""The volumetric video model: frames of video in, a frame of video out.

Source: Immer et al. 2025, "Forecasting Whole-Brain Neuronal Activity from Volumetric Video"
(arXiv 2503.00073).

What a configuration says (``configuration``, ``structure``, ``fields``, ``sizes``) and what a
forecaster is told (``settings``, ``crops``, ``memory``) need no JAX; the model (``blocks``,
``unet``, ``heads``, ``rollout``), its losses (``loss``, ``anatomy``), where their arrays lie
(``sharding``), what is read into them (``specimens``, ``loader``) and what is compiled
(``learning``) do. ``forecaster`` is the plugin, ``studies`` lay its choices side by side.
"""
