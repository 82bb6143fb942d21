from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from builders import horizon_case, worms_case
from hypothesis import given
from hypothesis import strategies as st

from zapeval.benchmarks import benchmark as module
from zapeval.benchmarks.benchmark import (
    Benchmark,
    Series,
    context_span,
    mask_array,
    target_span,
    windows_in,
)
from zapeval.errors import InvalidInput, NotFound, UsageError

FISH = horizon_case().benchmark
WORMS = worms_case().benchmark


def with_series(benchmark, index=0, **changes):
    """Returns the benchmark with a series changed."""
    series = list(benchmark.series)
    series[index] = replace(series[index], **changes)
    return replace(benchmark, series=tuple(series))


# Windows


def test_horizon_window_sees_the_frames_before_its_origin():
    for context in (1, 4, 256):
        assert context_span(FISH, 300, context) == (300 - context, 300)


def test_next_step_window_sees_the_input_of_each_position():
    for context in (1, 4):
        assert context_span(WORMS, 9, context) == (8, 8 + WORMS.horizon)


@pytest.mark.parametrize("benchmark", [FISH, WORMS])
def test_target_span_is_from_the_first_target_to_the_last(benchmark):
    for series in benchmark.series:
        frames = {o + k for o in series.origins for k in range(benchmark.horizon)}
        assert target_span(benchmark, series) == (min(frames), max(frames) + 1)


@given(
    start=st.integers(0, 50),
    length=st.integers(0, 60),
    horizon=st.integers(1, 40),
    stride=st.integers(1, 7),
)
def test_windows_are_all_whose_targets_lie_within(start, length, horizon, stride):
    stop = start + length
    found = windows_in((start, stop), horizon, stride)
    assert found == tuple(
        origin
        for origin in range(start, stop)
        if origin + horizon <= stop and (origin - start) % stride == 0
    )


def test_mask_is_an_array_of_flags():
    series = replace(FISH.series[0], mask=(True, False, True))
    mask = mask_array(series, 3)
    assert mask.dtype == bool
    assert mask.tolist() == [True, False, True]
    assert mask_array(FISH.series[0], 3) is None


def test_mask_of_another_length_is_refused():
    series = replace(FISH.series[0], mask=(True, False, True))
    with pytest.raises(InvalidInput, match=r"3 flags, expected one for each .* 4 neurons"):
        mask_array(series, 4)


# What users ask of it


def test_label_windows_and_steps():
    assert FISH.label == "case@1"
    assert FISH.windows == 9 + 4 + 11
    assert (FISH.steps, WORMS.steps) == (FISH.horizon, 1)


def test_series_is_found_by_name_and_unknown_lists_the_known():
    assert FISH.one("condition 1") is FISH.series[1]
    with pytest.raises(NotFound, match="'gain': not in case@1; known: condition 0, condition 1"):
        FISH.one("gain")


def test_context_length_is_checked():
    several = replace(FISH, context_lengths=(2, 4))
    assert FISH.check_context(None) == 4
    assert several.check_context(1) == 1
    assert several.check_context(4) == 4
    with pytest.raises(UsageError, match="say -c 2 or 4"):
        several.check_context(None)
    for context in (0, 5, -1):
        with pytest.raises(UsageError, match=f"context length {context} is not allowed; .* 1 to 4"):
            several.check_context(context)


# What is no benchmark

BROKEN = {
    "no series": (lambda b: replace(b, series=()), "has no series"),
    "a name twice": (lambda b: with_series(b, name="condition 1"), "name 'condition 1' is taken"),
    "an array twice": (lambda b: with_series(b, array="test_condition_1"), "array .* is taken"),
    "average": (lambda b: with_series(b, name="average"), "a series is called 'average'"),
    "average:a": (lambda b: with_series(b, name="average:a"), "names a row of the scorecard"),
    "pooled": (lambda b: with_series(b, name="pooled"), "a series is called 'pooled'"),
    "all held out": (
        lambda b: replace(b, series=tuple(replace(s, held_out=True) for s in b.series)),
        "every series is held out",
    ),
    "no horizon": (lambda b: replace(b, horizon=0), "horizon 0 is below 1"),
    "no summary": (lambda b: replace(b, summary_steps=()), "expected some of 1 to 5"),
    "summary at step 0": (lambda b: replace(b, summary_steps=(0, 1)), "expected some of 1 to 5"),
    "summary beyond": (lambda b: replace(b, summary_steps=(1, 6)), "expected some of 1 to 5"),
    "no contexts": (lambda b: replace(b, context_lengths=()), "expected ascending"),
    "contexts descend": (lambda b: replace(b, context_lengths=(4, 2)), "expected ascending"),
    "a context twice": (lambda b: replace(b, context_lengths=(4, 4)), "expected ascending"),
    "context 0": (lambda b: replace(b, context_lengths=(0, 4)), "expected ascending"),
    "a long context": (lambda b: replace(b, context_lengths=(4, 8)), "exceeds the longest allowed"),
    "no recording": (lambda b: with_series(b, recording="worm"), "'worm' is not one of"),
    "too early": (lambda b: with_series(b, origins=(3, 5)), r"need frames \[-1, 10\)"),
    "too early for the longest context": (
        lambda b: with_series(replace(b, context_lengths=(1, 4)), origins=(3, 5)),
        r"need frames \[-1, 10\)",
    ),
    "too late": (
        lambda b: with_series(b, origins=(50,)),
        r"\[46, 55\), but .* \[0, 52\)",
    ),
    "no window": (lambda b: with_series(b, origins=()), "has no window"),
    "origins decrease": (lambda b: with_series(b, origins=(6, 5)), "window origins decrease"),
    "an empty range": (lambda b: with_series(b, train=((5, 5),)), r"\[5, 5\) is empty"),
    "a negative range": (lambda b: with_series(b, validation=((-1, 5),)), r"\[-1, 5\) is empty"),
    "no neuron": (lambda b: with_series(b, mask=(False,) * 7), "its mask scores no neuron"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_fit_together_is_refused(name):
    broken, said = BROKEN[name]
    with pytest.raises(InvalidInput, match=said):
        broken(FISH)


def test_next_step_summary_has_one_step():
    with pytest.raises(InvalidInput, match=r"summary steps \[2\], expected some of 1 to 1"):
        replace(WORMS, summary_steps=(2,))


def test_next_step_window_needs_the_frame_before_it():
    with pytest.raises(InvalidInput, match=r"need frames \[-1, "):
        with_series(WORMS, origins=(0,))


# The digest

PROSE = {"title", "citation", "frame_seconds"}
CHANGES = {
    "id": lambda b: replace(b, id="other"),
    "version": lambda b: replace(b, version=2),
    "protocol": lambda b: replace(b, protocol="next-step", summary_steps=(1,)),
    "context_lengths": lambda b: replace(b, context_lengths=(3, 4)),
    "max_context": lambda b: replace(b, context_lengths=(3,), max_context=3),
    "horizon": lambda b: replace(b, horizon=4, summary_steps=(1,)),
    "series": lambda b: replace(b, series=b.series[::-1]),
    "frames": lambda b: replace(b, frames=(("fish", 1000),)),
    "primary": lambda b: replace(b, primary="mse"),
    "extra_metrics": lambda b: replace(b, extra_metrics=("mse_pooled",)),
    "summary_steps": lambda b: replace(b, summary_steps=(1,)),
    "sampled": lambda b: replace(b, sampled="series"),
}
SERIES_CHANGES = {
    "name": {"name": "other"},
    "array": {"array": "other"},
    "recording": {"recording": "twin"},
    "origins": {"origins": (4, 5, 6, 7, 8, 9, 10, 11, 11)},
    "group": {"group": "other"},
    "held_out": {"held_out": True},
    "train": {"train": ((0, 4),)},
    "validation": {"validation": ((0, 4),)},
    "mask": {"mask": (True,) * 7},
}


def test_every_field_is_known_to_these_tests():
    # A new field must be decided on: it goes into the digest, or it is prose.
    assert {field.name for field in fields(Benchmark)} == {*CHANGES, *PROSE}
    assert {field.name for field in fields(Series)} == set(SERIES_CHANGES)


@pytest.mark.parametrize("name", CHANGES)
def test_digest_changes_with_every_field_that_scores_hang_on(name):
    changed = CHANGES[name](FISH)
    assert getattr(changed, name) != getattr(FISH, name)
    assert changed.digest != FISH.digest


@pytest.mark.parametrize("name", SERIES_CHANGES)
def test_digest_changes_with_every_field_of_a_series(name):
    twins = replace(FISH, frames=(*FISH.frames, ("twin", 1000)))
    assert with_series(twins, **SERIES_CHANGES[name]).digest != twins.digest


@pytest.mark.parametrize("name", sorted(PROSE))
def test_digest_does_not_change_with_prose(name):
    value = 0.5 if name == "frame_seconds" else "anything else"
    assert replace(FISH, **{name: value}).digest == FISH.digest


def test_digest_changes_with_the_metric_definitions(monkeypatch):
    before = FISH.digest
    monkeypatch.setattr(module, "METRIC_DEFINITIONS", module.METRIC_DEFINITIONS + 1)
    assert FISH.digest != before


masks = st.lists(st.booleans(), min_size=1, max_size=20).filter(any).map(tuple)


@given(one=masks, other=masks)
def test_digests_of_masks_are_equal_only_where_the_masks_are(one, other):
    digests = with_series(FISH, mask=one).digest, with_series(FISH, mask=other).digest
    assert (digests[0] == digests[1]) == (one == other)


@given(
    one=st.lists(st.integers(4, 40), min_size=1, max_size=4).map(lambda o: tuple(sorted(o))),
    other=st.lists(st.integers(4, 40), min_size=1, max_size=4).map(lambda o: tuple(sorted(o))),
)
def test_digests_of_origins_are_equal_only_where_the_origins_are(one, other):
    digests = with_series(FISH, origins=one).digest, with_series(FISH, origins=other).digest
    assert (digests[0] == digests[1]) == (one == other)


def test_digest_does_not_hang_on_the_order_of_the_recordings():
    assert replace(WORMS, frames=WORMS.frames[::-1]).digest == WORMS.digest


def test_digest_is_the_same_for_equal_benchmarks():
    assert horizon_case(seed=5).benchmark.digest == FISH.digest
    numpy_origins = tuple(int(o) for o in np.array(FISH.series[0].origins))
    assert with_series(FISH, origins=numpy_origins).digest == FISH.digest


def test_a_primary_metric_that_does_not_exist_is_refused():
    with pytest.raises(
        InvalidInput, match="primary metric 'r2', expected one of mae, mse, correlation"
    ):
        replace(horizon_case().benchmark, primary="r2")
