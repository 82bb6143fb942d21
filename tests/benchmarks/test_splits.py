from __future__ import annotations

import re
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zapeval.benchmarks.definition import Definition
from zapeval.benchmarks.splits import SeriesSplit, check_apart
from zapeval.errors import InvalidInput


def splits(frames: int, neurons: int = 3, /, **keys: Any) -> list[SeriesSplit]:
    """Returns the series of a definition over one recording, a, of so many frames."""
    base = {"id": "x", "horizon": 4, "context_lengths": [2], "split": {"test": [2, frames]}}
    recording = {"key": "a", "activity": "a.npy"}
    definition = Definition.model_validate(base | {"recordings": [recording]} | keys)
    return [
        SeriesSplit(
            definition=definition, table=table, recording=key, frames=frames, neurons=neurons
        )
        for key, table in definition.entries
    ]


def fractions(*ends: str) -> list[Decimal]:
    return [Decimal(end) for end in ends]


sizes = st.integers(1, 12)


@example(10, 0, 10, 4, 6, 1)  # only the last window has its context
@given(st.integers(1, 60), st.integers(0, 59), st.integers(1, 60), sizes, sizes, st.integers(1, 5))
def test_origins_are_those_a_loop_over_frames_finds(frames, start, stop, horizon, context, stride):
    stop, start = min(stop, frames), min(start, stop - 1, frames - 1)
    (split,) = splits(
        frames,
        horizon=horizon,
        context_lengths=[context],
        split={"test": [start, stop], "stride": stride},
    )
    fit = [
        origin
        for origin in range(frames)
        if all(start <= origin + step < stop for step in range(horizon))
        and (origin - start) % stride == 0
    ]
    if fit and fit[0] >= context:
        assert split.origins() == tuple(fit)
        return
    with pytest.raises(InvalidInput, match=r"\[split\]: test = \[\d+, \d+\]: is frames") as caught:
        split.origins()
    # The error names the first frame that works, where there is one.
    works = bool(fit) and stop - horizon >= context
    assert ("begin test at frame" in str(caught.value)) == works
    if works:
        named = int(re.findall(r"begin test at frame (\d+)", str(caught.value))[0])
        keys = {"horizon": horizon, "context_lengths": [context]}
        (mended,) = splits(frames, split={"test": [named, stop]}, **keys)
        assert mended.origins()[0] == named == context


def test_the_longest_context_length_decides_which_windows_fit():
    (split,) = splits(20, split={"test": [6, 20]}, context_lengths=[2, 6])
    assert split.origins()[0] == 6
    (split,) = splits(20, split={"test": [5, 20]}, context_lengths=[2, 6])
    with pytest.raises(InvalidInput, match=r"begin test at frame 6$"):
        split.origins()


@given(st.integers(20, 3000), st.integers(1, 6))
def test_the_fraction_that_an_error_names_works(frames, context):
    keys: dict[str, Any] = {"horizon": 2, "context_lengths": [context]}
    (split,) = splits(frames, split={"test": fractions("0.0", "1.0")}, **keys)
    with pytest.raises(InvalidInput) as caught:
        split.origins()
    named = re.findall(r"the fraction ([\d.]+)$", str(caught.value))[0]
    (mended,) = splits(frames, split={"test": fractions(named, "1.0")}, **keys)
    # Four digits are exact up to 10,000 frames.
    assert mended.origins()[0] == context


@pytest.mark.parametrize(
    ("stop", "windows", "expected"),
    [
        (18, 4, (4, 7, 10, 14)),  # 10 / 3 = 3.33, 6.67: floors 3 and 6, then the last
        (18, 1, (4,)),
        (18, 2, (4, 14)),
        (8, 1, (4,)),
        (18, 11, tuple(range(4, 15))),
    ],
)
def test_windows_are_spaced_evenly_from_the_first_to_the_last(stop, windows, expected):
    (split,) = splits(18, split={"test": [4, stop], "windows": windows})
    assert split.origins() == expected


@given(st.integers(1, 400), st.data())
def test_evenly_spaced_windows_begin_and_end_the_range_and_differ_by_one_at_most(room, data):
    windows = data.draw(st.integers(2, room + 1))
    (split,) = splits(6 + room, split={"test": [2, 6 + room], "windows": windows})
    found = split.origins()
    gaps = [b - a for a, b in pairwise(found)]
    assert (found[0], found[-1], len(found)) == (2, 2 + room, windows)
    assert min(gaps) >= 1 and max(gaps) - min(gaps) <= 1


def test_more_windows_than_fit_are_refused():
    (split,) = splits(18, split={"test": [4, 18], "windows": 12})
    with pytest.raises(InvalidInput, match=r"has room for 11 windows, expected 12 \(windows = 12"):
        split.origins()


def test_next_step_needs_one_frame_before_its_first_target():
    keys = {"protocol": "next-step", "context_lengths": None, "horizon": 5}
    (split,) = splits(10, split={"test": [1, 10]}, **keys)
    assert split.origins() == (1, 2, 3, 4, 5)
    (split,) = splits(10, split={"test": [0, 10]}, **keys)
    with pytest.raises(
        InvalidInput, match=r"length 1\) begins before frame 0, .* begin test at frame 1$"
    ):
        split.origins()


def test_fractions_are_parts_of_the_series_and_frames_are_those_of_the_recording():
    series = [
        {"name": "early", "frames": [0, 100]},
        {"name": "late", "frames": [100, 200], "test": [150, 170]},
    ]
    split = {"train": fractions("0", "0.5"), "test": fractions("0.8", "1")}
    early, late = splits(200, split=split, series=series)
    assert (early.train, early.test) == ((0, 50), (80, 100))
    assert (late.train, late.test) == ((100, 150), (150, 170))


def test_contexts_do_not_reach_before_the_first_frame_of_a_series():
    series = [{"name": "late", "frames": [100, 200]}]
    (split,) = splits(200, split={"test": [101, 200]}, series=series)
    message = "begins before frame 100, the first of the series; begin test at frame 102"
    with pytest.raises(InvalidInput, match=message):
        split.origins()


def test_a_series_that_says_stride_or_windows_replaces_both():
    series = [
        {"name": "dense", "stride": 1},
        {"name": "few", "windows": 2},
        {"name": "as split", "test": [10, 18]},
    ]
    dense, few, common = splits(18, split={"test": [4, 18], "windows": 3}, series=series)
    assert dense.origins() == tuple(range(4, 15))
    assert few.origins() == (4, 14)
    assert common.origins() == (10, 12, 14)


def test_a_held_out_series_takes_no_training_frames_from_the_split():
    split = {"train": fractions("0", "0.5"), "test": fractions("0.5", "1")}
    series = [
        {"name": "out", "held_out": True, "frames": [0, 40]},
        {"name": "in", "frames": [40, 80]},
    ]
    out, kept = splits(80, split=split, series=series)
    assert (out.train, out.validation, out.test) == (None, None, (20, 40))
    assert kept.train == (40, 60)
    assert out.series("", None).held_out


def test_a_range_outside_its_series_is_refused():
    (split,) = splits(50, split={"test": [20, 60]})
    message = r"\[split\]: test = \[20, 60\]: expected frames in \[0, 50\), those of series 'a'"
    with pytest.raises(InvalidInput, match=message):
        split.series("", None)
    (split,) = splits(50, series=[{"name": "s", "frames": [0, 51]}])
    with pytest.raises(InvalidInput, match=r"\[\[series\]\] 's': frames = \[0, 51\]: expected"):
        split.series("", None)


def test_a_recording_that_is_too_short_says_what_it_lacks():
    (split,) = splits(10, split={"test": fractions("0.8", "1.0")})
    with pytest.raises(
        InvalidInput, match=r"frames \[8, 10\) of series 'a': holds 2 frames, expec"
    ):
        split.origins()
    (split,) = splits(5, split={"test": [0, 5]}, context_lengths=[3])
    with pytest.raises(InvalidInput, match=r"its windows need context \(length 3\) and targets"):
        split.origins()
    (split,) = splits(3, split={"test": fractions("0.1", "0.3")})
    with pytest.raises(InvalidInput, match="holds no frame of series 'a', which has 3 frames"):
        split.origins()


def test_more_neurons_than_frames_hint_at_swapped_axes():
    hint = r'if these are swapped, say axes = \["neurons", "frames"\]'
    (split,) = splits(10, 100, split={"test": [8, 10]})
    with pytest.raises(InvalidInput, match=hint):
        split.origins()
    (split,) = splits(10, 5, split={"test": [8, 10]})
    with pytest.raises(InvalidInput) as caught:
        split.origins()
    assert "swapped" not in str(caught.value)


spans = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted).filter(lambda s: s[0] < s[1])
parts = st.fixed_dictionaries({"train": spans, "validation": spans, "test": spans})


@given(parts, parts, st.booleans())
def test_ranges_are_apart_where_no_frame_is_in_two_sets(first, second, held_out):
    second = second | ({"held_out": True} if held_out else {})
    if held_out:
        del second["train"], second["validation"]
    tables = [{"name": "first"} | first, {"name": "second"} | second]
    sets: dict[str, set[int]] = {"train": set(), "validation": set(), "test": set()}
    for table in (first, second):
        for part, frames in sets.items():
            if part in table:
                frames.update(range(*table[part]))
    shared = sets["train"] & sets["validation"] | sets["test"] & (
        sets["train"] | sets["validation"]
    )
    found = splits(30, split={}, series=tables)
    if not shared:
        check_apart(found)
        return
    with pytest.raises(InvalidInput, match=r"of recording 'a' are for both; move one") as caught:
        check_apart(found)
    start, stop = map(int, re.findall(r"frames \[(\d+), (\d+)\) of rec", str(caught.value))[0])
    assert set(range(start, stop)) <= shared


def test_series_of_different_recordings_may_share_frames():
    recordings = [{"keys": ["a", "b"], "activity": "{key}.npy"}]
    series = [
        {"name": "a", "train": [0, 30], "test": [30, 60]},
        {"name": "b", "train": [30, 60], "test": [0, 30]},
    ]
    found = splits(60, split={}, recordings=recordings, series=series)
    check_apart(found)
    assert [split.recording for split in found] == ["a", "b"]
