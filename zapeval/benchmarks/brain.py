"""A generated brain, which stands in for a recording: traces, stimulus, anatomy, video from a seed.

* stimulus ``u(t)``: pulses in trials that resemble each other and never repeat
* latents ``z(t+1) = z(t) + (tanh(J z(t) + a(t) B u(t)) - z(t)) / tau + noise``, with the arousal
  ``a`` in (0, 1): they saturate, are gated, and rotate by themselves where nothing is shown
* waves ``w(x, t) = sum_k exp(-d_k(x) / REACH) s_k(t - d_k(x) / v_k)``, ``d_k`` from source ``k``
* rates ``r_n(t) = log(1 + exp(l_n z(t) + q_n u(t) + m_n w(x_n, t) + p_n(t) - theta_n))``, with
  ``p`` private and slow
* traces ``y_n(t) = b_n + g_n (kernel_n * r_n)(t) + noise``, a calcium kernel with rise and decay
* video: the traces inside the neurons, fainter waves everywhere, and noise

The same seed gives the same bits on one platform and numpy version, whatever the number of threads:
no sum runs in a linear algebra library (einsum is numpy's own loop). What is shown makes the
latents forget, and traces are rounded to QUANTUM, so last-digit differences of exp and tanh
elsewhere all but surely vanish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zapeval.errors import InvalidInput, UsageError

Floats = NDArray[np.float64]
Grid = tuple[int, int, int]
Labels = NDArray[np.uint16]

STIMULUS_NAMES = ("motion x", "motion y", "rotation", "brightness", "contrast", "object")
REGIONS = ("forebrain", "midbrain", "cerebellum", "hindbrain")
EXTENT = (831.0, 539.0, 288.0)  # micrometres, x, y, z: as large as the ZAPBench recording
LOW, HIGH = -0.25, 1.5  # df/f is clipped to ZAPBench's range
QUANTUM = 1 / 32768  # traces are whole multiples of it, in df/f
NOISE = 0.002, 0.006  # of a trace, in df/f: the least and the most that a neuron has
LATENTS, WAVES = 8, 5
SLOWEST, FASTEST = 18.0, 32.0  # speeds of waves, micrometres a frame
REACH = 600.0  # micrometres over which a wave falls to 1 / e
LEAD = int(sum(EXTENT) / SLOWEST)  # frames; no wave takes as long to cross
BLOCK = 32  # frames of video from one stream of random numbers
_ANATOMY, _STIMULUS, _LATENTS, _WAVES, _TRACES, _VIDEO = range(6)


@dataclass(frozen=True, kw_only=True)
class Programme:
    """What is shown in the frames ``[start, stop)`` of one condition.

    Attributes:
        name: Plain name ("gain").
        start: First frame.
        stop: Frame after the last.
        trial: Mean length of a stimulus trial in frames; None shows no stimulus.
    """

    name: str
    start: int
    stop: int
    trial: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Waves:
    """Activity that spreads from sources through space.

    Attributes:
        sources: float64 [LEAD + frames, waves], strength at the source; row LEAD is frame 0.
        origins: float64 [waves, 3], micrometres.
        speeds: float64 [waves], micrometres a frame.
    """

    sources: Floats
    origins: Floats
    speeds: Floats

    def at(self, points: Floats, start: int, stop: int) -> Floats:
        """Returns ``w(x, t)``, float64 [stop - start, points]; points [points, 3], micrometres."""
        total = np.zeros((stop - start, len(points)))
        rows = np.arange(start, stop)[:, None] + LEAD
        for source, origin, speed in zip(self.sources.T, self.origins, self.speeds, strict=True):
            distance = np.sqrt(((points - origin) ** 2).sum(axis=1))
            delay, part = np.divmod(distance / speed, 1)
            late = rows - delay.astype(np.int64)
            arriving = (1 - part) * source[late] + part * source[late - 1]
            total += np.exp(-distance / REACH) * arriving
        return total


@dataclass(frozen=True, kw_only=True, eq=False)
class Brain:
    """A recording of a brain that never was.

    Attributes:
        seed: What it was generated from.
        traces: float32 [frames, neurons], df/f.
        stimulus: float32 [frames, features].
        stimulus_names: Names of the features.
        positions: float32 [neurons, 3], centroids in micrometres.
        regions: Region of each neuron.
        segmentation: uint16 [x, y, z]; label i + 1 is trace column i, 0 is background.
        neuropil: The waves as they show between the neurons, in df/f.
    """

    seed: int
    traces: NDArray[np.float32]
    stimulus: NDArray[np.float32]
    stimulus_names: tuple[str, ...]
    positions: NDArray[np.float32]
    regions: tuple[str, ...]
    segmentation: Labels
    neuropil: Waves

    def frames(self, start: int, stop: int) -> NDArray[np.float32]:
        """Returns the video of ``[start, stop)``, float32 [frames, x, y, z], df/f.

        The mean over a neuron's voxels is its trace (ZAPBench, Eq. 1). A frame does not depend on
        the range that it is asked for in.

        Raises:
            UsageError: The range is empty or leaves the recording.
        """
        if not 0 <= start < stop <= len(self.traces):
            known = f"[0, {len(self.traces)})"
            raise UsageError(f"video: frames [{start}, {stop}), expected a range within {known}")
        first, last = start // BLOCK, (stop - 1) // BLOCK
        video = np.concatenate([self._block(block) for block in range(first, last + 1)])
        return video[start - first * BLOCK : stop - first * BLOCK]

    def _block(self, block: int) -> NDArray[np.float32]:
        """Returns one block of frames: ``Y_s = y_n + texture_s - mean over n of the texture``."""
        start, stop = block * BLOCK, min((block + 1) * BLOCK, len(self.traces))
        labels = self.segmentation.ravel()
        noise = _rng(self.seed, _VIDEO, block).normal(0, 0.012, (BLOCK, labels.size))
        texture = self.neuropil.at(_voxel_centres(self.segmentation.shape), start, stop)
        texture += noise[: stop - start]
        shift = self.traces[start:stop] - _means(texture, labels)
        voxels = np.flatnonzero(labels)
        texture[:, voxels] += shift[:, labels[voxels] - 1]
        return texture.astype(np.float32).reshape(-1, *self.segmentation.shape)


def generate(
    seed: int, programmes: Sequence[Programme], *, neurons: int = 256, grid: Grid = (32, 16, 8)
) -> Brain:
    """Returns the brain of a seed, in a volume of grid voxels (x, y, z).

    Raises:
        InvalidInput: The programmes leave a gap or overlap, or the grid is too small.
    """
    _check(programmes)
    segmentation = _segment(_rng(seed, _ANATOMY), neurons, grid)
    positions = _means(_voxel_centres(grid).T, segmentation.ravel()).T
    homes = (positions[:, 0] / EXTENT[0] * len(REGIONS)).astype(np.int64)
    stimulus = _present(_rng(seed, _STIMULUS), programmes)
    latents = _respond(_rng(seed, _LATENTS), stimulus)
    waves = _emit(_rng(seed, _WAVES), latents)
    passing = waves.at(positions, 0, len(latents))
    return Brain(
        seed=seed,
        traces=_fluoresce(_rng(seed, _TRACES), stimulus, latents, passing, homes),
        stimulus=stimulus.astype(np.float32),
        stimulus_names=STIMULUS_NAMES,
        positions=positions.astype(np.float32),
        regions=tuple(REGIONS[home] for home in homes),
        segmentation=segmentation,
        neuropil=replace(waves, sources=_leaky(0.024 * waves.sources, np.full(WAVES, 4.0))),
    )


def _segment(rng: np.random.Generator, neurons: int, grid: Grid) -> Labels:
    """Returns labels uint16 [x, y, z]: neurons of 1 to 7 voxels, scattered over an ellipsoid.

    A neuron is a centre and its face neighbours; centres do not touch, and a voxel between several
    belongs to the first.
    """
    voxels = np.indices(grid).reshape(3, -1).T
    half = np.array(grid) / 2
    inside = (((voxels + 0.5 - half) / half) ** 2).sum(axis=1) < 1
    free, labels = inside.copy(), np.zeros(len(voxels), dtype=np.uint16)
    label = 0
    for centre in rng.permutation(np.flatnonzero(inside)):
        if free[centre] and label < neurons:
            label += 1
            near = inside & (np.abs(voxels - voxels[centre]).sum(axis=1) <= 1)
            labels[near & (labels == 0)] = label
            free[near] = False
    if label < neurons:
        raise InvalidInput(f"grid {grid}: has room for {label} of {neurons} neurons; enlarge it")
    return labels.reshape(grid)


def _means(values: Floats, labels: Labels) -> Floats:
    """Returns the mean of values [rows, voxels] over each label from 1 on, [rows, neurons]."""
    sizes, order = np.bincount(labels), np.argsort(labels, kind="stable")
    sums = np.add.reduceat(np.take(values, order, axis=1), np.cumsum(sizes)[:-1], axis=1)
    return np.asarray(sums / sizes[1:])


def _voxel_centres(grid: tuple[int, ...]) -> Floats:
    """Returns the centre of each voxel, float64 [voxels, 3], micrometres."""
    return np.asarray((np.indices(grid).reshape(3, -1).T + 0.5) * np.array(EXTENT) / grid)


def _present(rng: np.random.Generator, programmes: Sequence[Programme]) -> Floats:
    """Returns the stimulus, float64 [frames, features].

    A programme fixes the pulses of its trial: onset, length, two features. Each trial draws shifts
    of up to 4 frames, strengths of 0.6 to 1.4 and signs anew: the future is not in the past.
    """
    stimulus = np.zeros((programmes[-1].stop, len(STIMULUS_NAMES)))
    for programme in programmes:
        if programme.trial is None:
            continue
        pulses = int(np.clip(programme.trial / 24, 2, 12))
        onsets = programme.trial * (np.arange(pulses) + rng.uniform(0.1, 0.6, pulses)) / pulses
        lengths = rng.integers(8, 20, pulses)
        features = rng.integers(0, len(STIMULUS_NAMES), (pulses, 2))
        shown = stimulus[programme.start : programme.stop]
        for trial in np.arange(0, len(shown), programme.trial):
            starts = np.rint(trial + onsets + rng.uniform(-4, 4, pulses)).astype(np.int64).clip(0)
            strengths = rng.uniform(0.6, 1.4, pulses) * rng.choice((-1.0, 1.0), pulses)
            for pulse, start in enumerate(starts):
                shown[start : start + lengths[pulse], features[pulse]] = strengths[pulse]
    return stimulus


def _respond(rng: np.random.Generator, stimulus: Floats) -> Floats:
    """Returns the latents ``z(t)``, float64 [frames, latents]; pairs of them rotate."""
    frames, features = stimulus.shape
    turn = rng.normal(0, 0.03, (LATENTS, LATENTS))
    for pair in range(0, LATENTS, 2):
        angle = rng.uniform(0.37, 0.42)
        cos, sin = np.cos(angle), np.sin(angle)
        turn[pair : pair + 2, pair : pair + 2] += 1.7 * np.array([[cos, -sin], [sin, cos]])
    arousal = 1 / (1 + np.exp(-1 - 2 * _wander(rng, frames, np.full(1, 60.0))))
    drive = arousal * np.einsum("tk,kn->tn", stimulus, rng.normal(0, 1.0, (features, LATENTS)))
    noise = rng.normal(0, 0.006, (frames, LATENTS))
    latents = np.zeros((frames, LATENTS))
    for now in range(frames - 1):
        pull = np.tanh((turn * latents[now]).sum(axis=1) + drive[now])
        latents[now + 1] = latents[now] + (pull - latents[now]) / 6 + noise[now]
    return latents


def _emit(rng: np.random.Generator, latents: Floats) -> Waves:
    """Returns the waves; sources fire in bursts, at random and as the latents drive them."""
    origins = rng.uniform(0, 1, (WAVES, 3)) * np.array(EXTENT)
    speeds = rng.uniform(SLOWEST, FASTEST, WAVES)
    bursts = _wander(rng, LEAD + len(latents), np.full(WAVES, 25.0)) - 0.3
    bursts[LEAD:] += np.einsum("tk,kn->tn", latents, rng.normal(0, 0.8, (LATENTS, WAVES)))
    return Waves(sources=1.8 * np.maximum(bursts, 0), origins=origins, speeds=speeds)


def _fluoresce(
    rng: np.random.Generator,
    stimulus: Floats,
    latents: Floats,
    passing: Floats,
    homes: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Returns the traces, float32 [frames, neurons], df/f.

    Neurons differ in loadings (in part by region), in what they see of the stimulus, in their share
    of waves, threshold, kernel and noise.
    """
    frames, neurons = len(passing), len(homes)
    loadings = rng.normal(0, 0.4, (LATENTS, len(REGIONS)))[:, homes]
    loadings += rng.normal(0, 0.9, loadings.shape) * (rng.uniform(size=loadings.shape) < 0.4)
    drive = np.einsum("tk,kn->tn", latents, loadings) + rng.uniform(0.2, 1.0, neurons) * passing
    tuning = rng.normal(0, 2, (stimulus.shape[1], neurons))
    drive += np.einsum("tk,kn->tn", stimulus, tuning * (rng.uniform(size=tuning.shape) < 0.3))
    memory = rng.uniform(40, 80, neurons)
    drive += 0.8 * np.sqrt(2) * _leaky(_wander(rng, frames, memory), memory)
    rates = np.logaddexp(0, drive - rng.uniform(0.5, 2.0, neurons))
    calcium = _leaky(_leaky(rates, rng.uniform(1, 2, neurons)), rng.uniform(3, 9, neurons))
    gains = 0.036 * np.exp(rng.normal(0, 0.4, neurons))
    traces = rng.normal(-0.016, 0.016, neurons) + gains * calcium
    traces += rng.uniform(*NOISE, neurons) * rng.normal(0, 1, (frames, neurons))
    return (np.rint(np.clip(traces, LOW, HIGH) / QUANTUM) * QUANTUM).astype(np.float32)


def _leaky(inputs: Floats, decay: Floats) -> Floats:
    """Returns ``y(t) = q y(t-1) + (1 - q) x(t)``, ``q = exp(-1 / decay)``, ``y(0) = x(0)``."""
    keep = np.exp(-1 / decay)
    outputs = (1 - keep) * inputs
    outputs[0] = inputs[0]
    for now in range(1, len(outputs)):
        outputs[now] += keep * outputs[now - 1]
    return outputs


def _wander(rng: np.random.Generator, frames: int, decay: Floats) -> Floats:
    """Returns Ornstein-Uhlenbeck processes of variance 1, float64 [frames, columns of decay]."""
    keep = np.exp(-1 / decay)
    steps = rng.normal(0, 1, (frames, len(decay)))
    steps[1:] *= np.sqrt((1 + keep) / (1 - keep))
    return _leaky(steps, decay)


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _check(programmes: Sequence[Programme]) -> None:
    ends = (0, *(programme.stop for programme in programmes))
    for one, end in zip(programmes, ends, strict=False):
        if one.start != end or one.stop <= end:
            span = f"[{one.start}, {one.stop})"
            raise InvalidInput(f"condition {one.name!r}: frames {span}, expected a start at {end}")
