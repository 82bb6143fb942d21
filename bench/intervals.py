"""Coverage of the intervals, by simulation: how often a 95 % interval holds the true mean.

    python bench/intervals.py                2,000 trials of each case, one core for a minute
    python bench/intervals.py --trials 500   a shorter trial

Errors follow a first-order autoregression (phi) from window to window; the truth is known. Beside
the interval of a scorecard stand

* independent: mean +/- 1.96 standard errors, as if windows were independent;
* bootstrap: the stationary block bootstrap (Politis & Romano 1994, JASA 89(428)), percentile
  interval of 300 draws, with the automatic block length of Politis & White (2004, Econometric
  Reviews 23(1)), corrected by Patton, Politis & White (2009, same 28(4));
* by window: our method on the mean over steps of each window, without putting errors in the order
  of the frames that they are about.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np

from zapeval.benchmarks.zapbench import SUMMARY_STEPS, ZAPBENCH
from zapeval.scoring.kernel import influence
from zapeval.scoring.longrun import LongRun, long_run
from zapeval.scoring.student import critical
from zapeval.scoring.uncertainty import about_frames, spread_between

SEED = 0
PHIS = (0.0, 0.5, 0.9)
SIZES = (88, 300)
SHORT = (8, 30)
SHARES = (0.0, 0.7, 1.0)
ANIMALS = (5, 8, 20)
NEURONS = 40
BOOTSTRAP_TRIALS = 500
DRAWS = 300
CONDITIONS = tuple(series.windows for series in ZAPBENCH.series if not series.held_out)


class Share(float):
    """A share of the trials."""


def main() -> None:
    """Runs every simulation and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=2000)
    options = parser.parse_args()
    random = np.random.default_rng(SEED)
    begun = time.monotonic()
    for section in (_single, _summary, _average, _paired, _animals, _correlation, _others):
        section(random, options.trials)
    print(f"\n{options.trials:,} trials of each, seed {SEED}, {time.monotonic() - begun:.0f} s")


def _single(random: np.random.Generator, trials: int) -> None:
    print("\nscore of one series and step")
    _row("phi", "windows", "ours", "independent", "bootstrap")
    for phi in PHIS:
        for count in (*SHORT, *SIZES):
            errors = autoregression(random, phi, (count, trials))
            found = covered(errors.mean(axis=0), [ours(errors)])
            _row(phi, count, found, independent([errors]), bootstrap(random, [errors]))


def _summary(random: np.random.Generator, trials: int) -> None:
    steps = ", ".join(map(str, SUMMARY_STEPS))
    print(f"\nmean over steps {steps}, whose errors share that of the frame they are about")
    _row("phi", "windows", "shared", "ours", "independent", "bootstrap", "by window")
    for phi in PHIS:
        for count in SIZES:
            for share in SHARES:
                errors = sharing(random, phi, share, count, trials)
                windows = errors.mean(axis=1)
                mean = windows.mean(axis=0)
                _row(
                    *(phi, count, share, covered(mean, [aligned(errors)])),
                    *(independent([windows]), bootstrap(random, [windows])),
                    covered(mean, [ours(windows)]),
                )


def _average(random: np.random.Generator, trials: int) -> None:
    print(
        f"\naverage over {len(CONDITIONS)} conditions of {', '.join(map(str, CONDITIONS))} windows"
    )
    _row("phi", "score", "ours", "independent", "bootstrap")
    for phi in PHIS:
        parts = [autoregression(random, phi, (count, trials)) for count in CONDITIONS]
        mean = np.mean([part.mean(axis=0) for part in parts], axis=0)
        found = covered(mean, [ours(part) for part in parts])
        _row(phi, "one step", found, independent(parts), bootstrap(random, parts))
        whole = [sharing(random, phi, 0.7, count, trials) for count in CONDITIONS]
        windows = [errors.mean(axis=1) for errors in whole]
        mean = np.mean([part.mean(axis=0) for part in windows], axis=0)
        found = covered(mean, [aligned(errors) for errors in whole])
        _row(phi, "summary", found, independent(windows), bootstrap(random, windows))


def _paired(random: np.random.Generator, trials: int) -> None:
    print("\npaired test at 5 % of two forecasters that differ by nothing: share found to differ")
    _row("phi", "windows", "ours", "independent", "bootstrap")
    for phi in PHIS:
        for count in SIZES:
            # What two forecasters find hard alike cancels; the rest differs.
            first, second = (autoregression(random, phi, (count, trials)) for _ in range(2))
            errors = first - second
            found = Share(1 - covered(errors.mean(axis=0), [ours(errors)]))
            others = independent([errors]), bootstrap(random, [errors])
            _row(phi, count, found, *(Share(1 - other) for other in others))


def _animals(random: np.random.Generator, trials: int) -> None:
    print("\naverage over animals, each with an error of its own")
    _row("animals", "errors", "ours", "independent")
    for count in ANIMALS:
        for name, errors in (
            ("normal", random.standard_normal((count, trials))),
            ("skewed", random.gamma(4, 0.25, (count, trials)) - 1),
        ):
            mean = errors.mean(axis=0)
            spreads = [spread_between(column.tolist(), [1.0] * count) for column in errors.T]
            ends = [spread.around(m) for spread, m in zip(spreads, mean, strict=True) if spread]
            found = Share(np.mean([low <= 0 <= high for low, high in ends]))
            _row(count, name, found, independent([errors]))


def _correlation(random: np.random.Generator, trials: int) -> None:
    print(f"\nmean correlation of {NEURONS} neurons (true r 0.5), half of the noise common to all")
    _row("phi", "windows", "ours", "independent")
    trials = max(trials // 2, 1)
    for phi in PHIS:
        for count in SIZES:
            parts = [_influences(random, phi, count) for _ in range(trials)]
            mean = np.array([r for r, _ in parts]) - 0.5
            moved = np.stack([moves for _, moves in parts], axis=1)
            iid = 1.96 * moved.std(axis=0, ddof=1) / math.sqrt(count)
            _row(phi, count, covered(mean, [ours(moved)]), Share(np.mean(np.abs(mean) <= iid)))


def _others(_: np.random.Generator, trials: int) -> None:
    print("\nscore of one series and step, errors that are no autoregression of first order")
    # A stream of its own: these rows can be run alone.
    random = np.random.default_rng(SEED)
    _row("errors", "windows", "ours", "independent", "bootstrap")
    for name in ("MA(5)", "AR .9 + noise", "drift + noise", "lognormal .7"):
        for count in SIZES:
            errors = _process(random, name, (count, trials))
            others = independent([errors]), bootstrap(random, [errors])
            _row(name, count, covered(errors.mean(axis=0), [ours(errors)]), *others)


def _process(random: np.random.Generator, name: str, shape: tuple[int, int]) -> np.ndarray:
    """Returns errors of mean 0: moving averages, sums with white noise, skewed ones."""
    if name == "MA(5)":
        noise = random.standard_normal((shape[0] + 5, shape[1]))
        return np.sum([noise[lag : lag + shape[0]] for lag in range(6)], axis=0)
    if name == "lognormal .7":
        return np.exp(autoregression(random, 0.7, shape)) - math.exp(0.5)
    phi, spread = (0.9, 1) if name == "AR .9 + noise" else (0.97, 2)
    return autoregression(random, phi, shape) + spread * random.standard_normal(shape)


def _influences(random: np.random.Generator, phi: float, count: int) -> tuple[float, np.ndarray]:
    """Returns a mean correlation, and each window's influence on it, by the scorer's kernel."""
    shape = count, NEURONS
    common = autoregression(random, phi, (2, count, 1), axis=1)
    own = autoregression(random, phi, (2, *shape), axis=1)
    targets, noise = (common + own) / math.sqrt(2)
    forecasts = (0.5 * targets + math.sqrt(0.75) * noise).astype(np.float32)
    targets = targets.astype(np.float32)
    standard = np.empty((5, NEURONS))
    z = []
    for side, values in enumerate((forecasts.astype(float), targets.astype(float))):
        standard[2 * side] = values.mean(axis=0)
        standard[2 * side + 1] = 1 / values.std(axis=0)
        z.append((values - standard[2 * side]) * standard[2 * side + 1])
    r = (z[0] * z[1]).mean(axis=0)
    standard[4] = r / 2
    moved = np.zeros(count)
    rows = np.arange(count)
    influence(forecasts[:, None], 0, count, NEURONS, targets, rows, 0, standard, moved)
    return float(r.mean()), moved / NEURONS


def autoregression(
    random: np.random.Generator, phi: float, shape: tuple[int, ...], axis: int = 0
) -> np.ndarray:
    """Returns stationary AR(1) series of mean 0 and variance 1 along an axis."""
    values = np.moveaxis(random.standard_normal(shape), axis, 0)
    values[1:] *= math.sqrt(1 - phi * phi)
    for index in range(1, len(values)):
        values[index] += phi * values[index - 1]
    return np.moveaxis(values, 0, axis)


def sharing(
    random: np.random.Generator, phi: float, share: float, count: int, trials: int
) -> np.ndarray:
    """Returns errors ``[windows, summary steps, trials]`` that share those of their frames."""
    frames = autoregression(random, phi, (count + max(SUMMARY_STEPS) - 1, trials))
    own = autoregression(random, phi, (count, len(SUMMARY_STEPS), trials))
    about = np.stack([frames[step - 1 : step - 1 + count] for step in SUMMARY_STEPS], axis=1)
    errors: np.ndarray = math.sqrt(share) * about + math.sqrt(1 - share) * own
    return errors


def ours(errors: np.ndarray) -> LongRun:
    """Returns the long-run coefficients of means of series ``[windows, trials]``."""
    return long_run((errors - errors.mean(axis=0)) / len(errors))


def aligned(errors: np.ndarray) -> LongRun:
    """Returns those of means over the summary steps, in the order of frames."""
    every = np.zeros((len(errors), max(SUMMARY_STEPS), errors.shape[2]))
    every[:, np.array(SUMMARY_STEPS) - 1] = errors
    weights = {step: 1 / len(SUMMARY_STEPS) for step in SUMMARY_STEPS}
    return long_run(about_frames(np.arange(len(errors)), every, weights))


def covered(mean: np.ndarray, parts: list[LongRun]) -> Share:
    """Returns the share of trials whose interval of an average of series holds 0."""
    shares = [part.variance / len(parts) ** 2 for part in parts]
    variance = np.sum(shares, axis=0)
    below = sum((s / variance) ** 2 / p.degrees for s, p in zip(shares, parts, strict=True))
    half = np.array([critical(1 / b) for b in below]) * np.sqrt(variance)
    return Share(np.mean(np.abs(mean) <= half))


def independent(parts: list[np.ndarray]) -> Share:
    """Returns the coverage of mean +/- 1.96 SE."""
    mean = np.mean([part.mean(axis=0) for part in parts], axis=0)
    variance = np.sum([part.var(axis=0, ddof=1) / len(part) for part in parts], axis=0)
    return Share(np.mean(np.abs(mean) <= 1.96 * np.sqrt(variance) / len(parts)))


def bootstrap(random: np.random.Generator, parts: list[np.ndarray]) -> Share:
    """Returns the coverage of the stationary block bootstrap, on some of the trials."""
    trials = min(BOOTSTRAP_TRIALS, parts[0].shape[1])
    hits = 0
    for trial in range(trials):
        means = [_resampled(random, part[:, trial]) for part in parts]
        low, high = np.quantile(np.mean(means, axis=0), (0.025, 0.975))
        hits += low <= 0 <= high
    return Share(hits / trials)


def _resampled(random: np.random.Generator, values: np.ndarray) -> np.ndarray:
    """Returns means of stationary bootstrap samples, float64 ``[draws]``."""
    count = len(values)
    length = block_length(values)
    # A mean needs only the blocks' sums: starts, geometric lengths, and cumulative sums.
    blocks = math.ceil(count / length + 6 * math.sqrt(count / length)) + 8
    lengths = random.geometric(1 / length, (DRAWS, blocks))
    before = np.cumsum(lengths, axis=1) - lengths
    lengths = np.clip(count - before, 0, np.minimum(lengths, count))
    starts = random.integers(0, count, (DRAWS, blocks))
    sums = np.concatenate(([0.0], np.cumsum(np.concatenate((values, values)))))
    totals = (sums[starts + lengths] - sums[starts]).sum(axis=1)
    taken: np.ndarray = totals / lengths.sum(axis=1)
    return taken


def block_length(values: np.ndarray) -> float:
    """Returns the automatic block length (Politis & White 2004, section 3; corrected 2009)."""
    count = len(values)
    centred = values - values.mean()
    tested = max(5, math.ceil(math.log10(count) ** 0.5))
    most = math.ceil(math.sqrt(count)) + tested
    lags = range(most + 1)
    covariance = np.array([centred[: count - k] @ centred[k:] / count for k in lags])
    small = np.abs(covariance / covariance[0]) < 2 * math.sqrt(math.log10(count) / count)
    runs = (m for m in range(most - tested + 1) if small[m + 1 : m + 1 + tested].all())
    width = min(2 * max(next(runs, most), 1), most)
    taper = np.minimum(1, 2 * (1 - np.arange(width + 1) / width)) * covariance[: width + 1]
    slope = 2 * (taper * np.arange(width + 1)).sum()
    spectrum = 2 * taper[1:].sum() + taper[0]
    length = (slope**2 / spectrum**2 * count) ** (1 / 3) if spectrum else 1.0
    return float(np.clip(length, 1, math.ceil(min(3 * math.sqrt(count), count / 3))))


def _row(*cells: object) -> None:
    """Prints a row; shares of trials in percent, figures of the simulation as they are."""
    texts = [f"{100 * cell:.1f} %" if isinstance(cell, Share) else str(cell) for cell in cells]
    print("  ".join(f"{text:>11}" for text in texts))


if __name__ == "__main__":
    main()
