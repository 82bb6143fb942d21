"""Forensics: signs that predictions were made from what they had to forecast.

Findings with numbers, on a bounded sample (sample.py); whether one is a fault is for people to say.

* A forecast can't know the measurement noise of a frame that nobody had seen. With the forward
  third difference ``u_f = x_f - 3 x_{f+1} + 3 x_{f+2} - x_{f+3}``, in which the noise of frame f
  stands with weight one and slow activity hardly at all, the share of that noise in predictions is
  ``cov(p, u) / cov(x, u)``: one for a copy, however much noise was put on it, near zero for a
  forecast. p is taken as what the last frames before the window do not explain linearly. Targets
  moved by a few frames are tried where nobody could see them, the latest first: u of a frame holds
  no noise of earlier ones.
* The noise of a trace, ``sigma``, is estimated from its third differences, whose variance is
  ``20 sigma^2`` for white noise. Even the true activity has a mean absolute error of
  ``sigma sqrt(2 / pi)``: predictions below that know the noise. Signals that are not slow make
  sigma too large, so only errors far below are findings.
* Two honest forecasts differ by something that depends on the context, and so from step to step
  much alike. A difference that is small, and white over steps, windows and neurons, is added noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from submissions.sample import Part, take_all
from zapeval.benchmarks.benchmark import Benchmark
from zapeval.forecasting.predictions import Predictions
from zapeval.recordings.recording import Recordings

SHIFTS = (0, -1, 1, -2, 2, -3, 3, 4, 5, 6)
"""Frames by which targets are moved."""

SAME_SHARE = 0.01
"""Share of values that may equal their target by chance, as where traces are quantised."""

NOISE_SHARE, NOISE_SURE, NOISE_Z = 0.15, 0.5, 6.0
"""Share of the targets' own noise that is a finding, that is a grave one, and its least z score."""

NOISE_TRACE = 0.03
"""Share from which, where another shift is a finding, this one is taken for its source."""

FAR_BELOW, BELOW = 0.5, 0.8
"""Error as a share of the noise floor that is a grave finding, and a finding."""

ROUNDING = 1e-3
"""Difference between two entries, as a share of their error, that is no more than rounding."""

NEAR, WHITE = 1.0, 0.1
"""Difference, as a share of the error, that is looked at; correlation below which it is white."""

Severity = Literal["high", "medium"]

_LAGS = 4
_THIRD = (1.0, -3.0, 3.0, -1.0)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One sign.

    Attributes:
        kind: What it is a sign of, in a word or three.
        severity: ``high`` or ``medium``.
        message: A sentence.
        evidence: The numbers behind it.
    """

    kind: str
    severity: Severity
    message: str
    evidence: Mapping[str, float | int | str]


def examine(
    predictions: Predictions,
    benchmark: Benchmark,
    recordings: Recordings,
    *,
    others: Sequence[Predictions] = (),
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> tuple[Finding, ...]:
    """Returns the signs in a predictions store.

    Args:
        predictions: The store.
        benchmark: What it is for.
        recordings: Its recordings.
        others: Stores that it may be a copy of.
        seed: Seed of the sample.
        progress: Told of each store that is done.

    Raises:
        InvalidInput: A store is not the benchmark's, or holds other than finite numbers.
        StorageError: A chunk is missing or cannot be read.
    """
    parts = list(take_all(predictions, benchmark, recordings, seed))
    found = [*_copies(parts), *_noise(parts), *_floor(parts)]
    if progress is not None:
        progress(1)
    for other in others:
        theirs = list(take_all(other, benchmark, recordings, seed))
        found += _another(parts, theirs, other.uri)
        if progress is not None:
            progress(1)
    return tuple(found)


def noise_of(frames: np.ndarray) -> np.ndarray:
    """Returns the noise of traces by their third differences, float64 ``[neurons]``.

    Args:
        frames: Activity, ``[frames, neurons]``; rows with NaN count for nothing.
    """
    third = np.diff(frames, 3, axis=0)
    whole = np.isfinite(third).all(axis=1)
    return np.asarray(np.sqrt(np.square(third[whole]).mean(axis=0) / 20.0))


def _copies(parts: Sequence[Part]) -> Iterator[Finding]:
    """Yields where predictions are the bits of what nobody could see."""
    for shift in SHIFTS:
        same = total = 0
        for part in parts:
            for step in _open_steps(part, shift):
                targets = part.at(step, shift)
                # What does not move equals its neighbours, and can be guessed.
                moving = np.ptp(targets, axis=0) > 0
                equal = part.values[:, step].astype(np.float32) == targets.astype(np.float32)
                same += int(equal[:, moving].sum())
                total += int(moving.sum()) * len(targets)
        if total and same / total > SAME_SHARE:
            share = same / total
            what = "targets" if shift == 0 else f"targets moved by {shift:+d} frames"
            yield Finding(
                kind="copy" if shift == 0 else "shifted copy",
                severity="high" if share > 0.1 else "medium",
                message=f"{share:.1%} of the sampled predictions equal the {what}",
                evidence={"shift": shift, "equal": same, "of": total},
            )


def _noise(parts: Sequence[Part]) -> Iterator[Finding]:
    """Yields where predictions carry noise of frames that nobody could see."""
    # The difference at a frame holds the noise of the frames behind it too, three times as strong:
    # what an earlier shift shows belongs to the latest one that shows any.
    shares = {shift: noise_share(parts, shift) for shift in sorted(SHIFTS, reverse=True)}
    if not any(share > NOISE_SHARE and z > NOISE_Z for share, z, _ in shares.values()):
        return
    for shift, (share, z, samples) in shares.items():
        if share > NOISE_TRACE and z > NOISE_Z:
            what = "their targets" if shift == 0 else f"the targets moved by {shift:+d} frames"
            yield Finding(
                kind="noise of the targets",
                severity="high" if share > NOISE_SURE else "medium",
                message=f"the predictions hold {share:.0%} of the measurement noise of {what}, "
                "which could not be known",
                evidence={
                    "shift": shift,
                    "share": round(share, 4),
                    "z": round(z, 1),
                    "samples": samples,
                },
            )
            return


def noise_share(parts: Sequence[Part], shift: int) -> tuple[float, float, int]:
    """Returns the share of the noise of targets moved by shift, its z score, and of how many."""
    pairs = [_covariances(part, step, shift) for part in parts for step in _open_steps(part, shift)]
    own = np.concatenate([np.zeros(0), *(pair[0] for pair in pairs)])
    full = np.concatenate([np.zeros(0), *(pair[1] for pair in pairs)])
    if len(own) < 2 or not full.sum() > 0:
        return 0.0, 0.0, len(own)
    spread = float(own.std(ddof=1)) * math.sqrt(len(own))
    return float(own.sum() / full.sum()), float(own.sum()) / spread if spread else 0.0, len(own)


def _floor(parts: Sequence[Part]) -> Iterator[Finding]:
    """Yields where the error lies below that of a forecast without error but for the noise."""
    for step in sorted({part.place.steps[i] for part in parts for i in (0, -1)}):
        error = floor = 0.0
        for part in parts:
            if step not in part.place.steps:
                continue
            index = part.place.steps.index(step)
            error += float(np.abs(part.values[:, index] - part.at(index)).mean(axis=0).sum())
            floor += float(noise_of(part.frames).sum()) * float(np.sqrt(2 / np.pi))
        if floor > 0 and error < BELOW * floor:
            yield Finding(
                kind="error below the noise",
                severity="high" if error < FAR_BELOW * floor else "medium",
                message=f"at step {step} the mean absolute error is {error / floor:.0%} of what "
                "the noise of the recording alone would make it",
                evidence={"step": step, "share": round(error / floor, 4)},
            )


def _another(ours: Sequence[Part], theirs: Sequence[Part], name: str) -> Iterator[Finding]:
    """Yields where predictions are another entry's, or those with noise on them."""
    pairs = [
        (one.values - two.values, two, one)
        for one, two in zip(ours, theirs, strict=True)
        if one.values.shape == two.values.shape
    ]
    if not pairs:
        return
    squares = sum(float(np.square(difference).sum()) for difference, _, _ in pairs)
    errors = sum(float(np.square(two.values - two.frames[two.rows]).sum()) for _, two, _ in pairs)
    size = float(np.sqrt(squares / errors)) if errors > 0 else float("inf")
    evidence: dict[str, float | int | str] = {"other": name, "difference": float(f"{size:.3g}")}
    if squares == 0 or size < ROUNDING:
        what = "equal" if squares == 0 else "equal but for rounding"
        yield Finding(
            kind="another entry's predictions",
            severity="high",
            message=f"the sampled predictions are {what} to those of {name}",
            evidence=evidence,
        )
        return
    white = max(_structure(difference, two) for difference, two, _ in pairs)
    if size < NEAR and white < WHITE:
        yield Finding(
            kind="another entry's predictions",
            severity="high",
            message=f"the predictions are those of {name} with noise of {size:.0%} of its error: "
            "the difference depends on nothing",
            evidence=evidence | {"structure": round(white, 4)},
        )


def _structure(difference: np.ndarray, part: Part) -> float:
    """Returns how far a difference is from white: the largest of its correlations.

    Between neighbouring steps, windows and neurons, and with the last frame that was seen.
    """
    centred = difference - difference.mean()
    pairs = [(centred[:-1], centred[1:]), (centred[:, :-1], centred[:, 1:])]
    pairs += [(centred[..., :-1], centred[..., 1:]), (centred, part.last_seen)]
    pairs.append((centred, part.values - part.last_seen))
    return max(abs(_correlation(a, b)) for a, b in pairs)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    a, b = a[both] - a[both].mean() if both.any() else a[both], b[both]
    if not a.size:
        return 0.0
    b = b - b.mean()
    scale = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0


def _open_steps(part: Part, shift: int) -> Iterator[int]:
    """Yields the steps (indices) at which the targets moved by shift lie beyond what was seen."""
    for step, lead in enumerate(part.leads):
        inside = part.rows[:, step] + shift + len(_THIRD) <= len(part.frames)
        if shift > -lead and inside.all() and np.isfinite(part.at(step, shift)).all():
            yield step


def _covariances(part: Part, step: int, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the covariance of predictions, and of targets, with u; float64 ``[neurons]`` each."""
    rows = part.rows[:, step] + shift
    u = sum(weight * part.frames[rows + k] for k, weight in enumerate(_THIRD))
    lead = part.leads[step]
    seen = [part.frames[part.rows[:, step] - lead - lag] for lag in range(_LAGS)]
    whole = np.isfinite(u).all(axis=1) & np.isfinite(seen).all(axis=(0, 2))
    if whole.sum() <= _LAGS:
        return np.zeros(0), np.zeros(0)
    u = _centred(u[whole])
    unexplained = _unexplained(part.values[whole, step], [lag[whole] for lag in seen])
    return (unexplained * u).mean(axis=0), (_centred(part.frames[rows][whole]) * u).mean(axis=0)


def _unexplained(values: np.ndarray, seen: Sequence[np.ndarray]) -> np.ndarray:
    """Returns what the last frames do not explain linearly, with weights that neurons share."""
    values = _centred(values)
    columns = np.stack([_centred(lag).ravel() for lag in seen], axis=1)
    weights = np.linalg.lstsq(columns, values.ravel(), rcond=None)[0]
    return np.asarray(values - (columns @ weights).reshape(values.shape))


def _centred(values: np.ndarray) -> np.ndarray:
    return np.asarray(values - values.mean(axis=0))
