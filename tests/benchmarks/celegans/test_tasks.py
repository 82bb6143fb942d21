"""Splits, windows and their benchmarks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.celegans.loops import pairs_by_loops
from hypothesis import given
from hypothesis import strategies as st

from zapeval.benchmarks.benchmark import context_span
from zapeval.benchmarks.celegans.tasks import (
    GENERATION,
    NEXT_STEP,
    TASKS,
    THREE_WAY,
    Entry,
    benchmark_over,
    parts_of,
    starts_in,
)
from zapeval.errors import InvalidInput


def entry(frames, name="w", key=None, labelled=3):
    mask = tuple(slot < labelled for slot in range(302))
    return Entry(key=key or f"{name}@1", name=name, source="S", frames=frames, mask=mask)


@given(frames=st.integers(362, 4000))
def test_next_step_windows_are_those_of_the_paper(frames):
    (series,) = benchmark_over(NEXT_STEP, [entry(frames)]).series
    stamps = np.arange(frames)[:, None]
    cut = [(int(x[0, 0]), int(y[0, 0])) for x, y in pairs_by_loops(stamps)]
    benchmark = benchmark_over(NEXT_STEP, [entry(frames)])
    ours = [(context_span(benchmark, o, 180)[0], o) for o in series.origins]
    assert ours == cut
    assert series.train == ((0, math.floor(frames / 2)),)
    assert series.validation == ((math.ceil(frames / 2), frames),)
    assert ours[-1][1] + 180 == frames


@given(frames=st.integers(720, 4000))
def test_generation_windows_are_those_of_the_paper(frames):
    (series,) = benchmark_over(GENERATION, [entry(frames)]).series
    offsets = np.floor(np.linspace(0, math.floor(frames / 2) - 360, 32)).astype(int)
    assert list(series.origins) == (math.ceil(frames / 2) + 180 + offsets).tolist()
    assert series.origins[-1] + 180 == frames


@given(frames=st.integers(724, 4000))
def test_the_three_parts_share_no_frame(frames):
    (series,) = benchmark_over(THREE_WAY, [entry(frames)]).series
    (train,), (validation,) = series.train, series.validation
    tested = series.origins[0] - 1, series.origins[-1] + 180
    assert train[1] <= validation[0] < validation[1] <= tested[0] < tested[1] == frames
    assert validation[1] - validation[0] == tested[1] - tested[0]


@given(frames=st.integers(181, 5000), windows=st.integers(2, 64))
def test_starts_are_the_floors_of_evenly_spaced_numbers(frames, windows):
    room = frames - 181
    exact = [math.floor(number * room / (windows - 1) + 1e-12) for number in range(windows)]
    assert list(starts_in(frames, 181, windows)) == exact


@pytest.mark.parametrize(
    ("task", "fewest"), [(NEXT_STEP, 362), (GENERATION, 720), (THREE_WAY, 724)]
)
def test_a_worm_is_in_where_each_part_holds_a_window(task, fewest):
    assert not any(task.fits(frames) for frames in range(fewest))
    assert all(task.fits(frames) for frames in range(fewest, fewest + 9))
    benchmark = benchmark_over(task, [entry(fewest), entry(40, "short")])
    assert [series.name for series in benchmark.series] == ["w"]
    assert len(set(benchmark.series[0].origins)) <= 2
    assert benchmark.series[0].windows == 32


def test_no_worm_long_enough_is_refused_with_what_is_needed():
    with pytest.raises(InvalidInput, match="none of 2 worms is long enough: the longest has 300"):
        benchmark_over(NEXT_STEP, [entry(40), entry(300, "b")])
    with pytest.raises(InvalidInput, match="a window needs 181"):
        starts_in(180, 181)


def test_another_worm_makes_another_benchmark():
    digests = {
        benchmark_over(task, [entry(800, key=key, labelled=labelled)]).digest
        for task in TASKS
        for key, labelled in (("w@1", 3), ("w@2", 3), ("w@1", 4))
    }
    assert len(digests) == 9


@pytest.mark.parametrize("frames", [7, 8, 9, 10, 11])
def test_parts_of_an_odd_number_leave_the_middle_out(frames):
    train, rest = parts_of("halves", frames)
    assert train == (0, frames // 2)
    assert rest == (math.ceil(frames / 2), frames)
