"""The pooled loss: every entry of all series counts the same, where a benchmark asks for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import Case

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.errors import InvalidInput


def case(*, extra=("mse_pooled",), protocol="next-step"):
    """Returns two series of 2 and 5 neurons that are scored, and of 3 and 4 windows."""
    rng = np.random.default_rng(0)
    series = tuple(
        Series(
            name=name,
            array=name,
            recording="r",
            origins=tuple(range(start, start + windows)),
            mask=tuple(n < scored for n in range(6)),
            group=group,
        )
        for name, start, windows, scored, group in (("a", 4, 3, 2, "g"), ("b", 9, 4, 5, ""))
    )
    benchmark = Benchmark(
        id="pooled",
        version=1,
        protocol=protocol,
        context_lengths=(4,),
        max_context=4,
        horizon=3,
        series=series,
        frames=(("r", 30),),
        summary_steps=(1,),
        extra_metrics=extra,
    )
    values = {
        s.array: rng.normal(size=(s.windows, 3, 6)).astype(np.float32) for s in benchmark.series
    }
    activity = {"r": rng.normal(size=(30, 6)).astype(np.float32)}
    return Case(benchmark=benchmark, activity=activity, values=values)


def squares(case, series, steps):
    """Returns every squared error of a series at some steps."""
    truth = case.activity["r"].astype(np.float64)
    return [
        (float(case.values[series.array][w, k, n]) - truth[origin + k, n]) ** 2
        for w, origin in enumerate(series.origins)
        for k in steps
        for n in range(6)
        if series.mask[n]
    ]


@pytest.mark.parametrize("protocol", ["next-step", "horizon"])
def test_the_pooled_loss_is_the_mean_over_every_entry(tmp_path, protocol):
    made = case(protocol=protocol)
    card, _ = made.score(tmp_path)
    for step in range(1, made.benchmark.steps + 1):
        steps = range(3) if protocol == "next-step" else [step - 1]
        own = [squares(made, series, steps) for series in made.benchmark.series]
        every = [*own[0], *own[1]]
        for row in ("average", "pooled"):
            assert card.value(row, step, "mse_pooled") == pytest.approx(np.mean(every), rel=1e-12)
        assert card.value("average:g", step, "mse_pooled") == pytest.approx(np.mean(own[0]))
        assert card.value("a", step, "mse_pooled") == card.value("a", step, "mse")
        eq4 = np.mean([np.mean(one) for one in own])
        assert card.value("average", step, "mse") == pytest.approx(eq4, rel=1e-12)
        assert abs(eq4 - np.mean(every)) > 1e-3


def test_without_asking_there_is_none_and_the_other_scores_are_the_same(tmp_path):
    with_it, _ = case().score(tmp_path)
    without, _ = case(extra=()).score(tmp_path)
    assert [s for s in with_it.scores if s.metric != "mse_pooled"] == list(without.scores)


def test_asking_for_it_is_part_of_the_digest_and_not_asking_is_not():
    asked, plain = case().benchmark, case(extra=()).benchmark
    assert asked.digest != plain.digest
    assert replace(asked, extra_metrics=()).digest == plain.digest


def test_other_extra_metrics_are_refused():
    with pytest.raises(InvalidInput, match="extra metric 'r2', expected one of mse_pooled"):
        case(extra=("r2",))
