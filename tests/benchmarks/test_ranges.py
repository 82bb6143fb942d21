from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapeval.benchmarks.ranges import DECIMALS, read_range


def pair(start: str, stop: str) -> list[int | Decimal]:
    return [Decimal(end) if "." in end or "e" in end else int(end) for end in (start, stop)]


def test_a_fraction_is_the_decimal_that_was_written():
    assert floor(0.29 * 100) == 28  # what a binary float makes of it
    assert read_range(pair("0.29", "1.0")).within((0, 100)) == (29, 100)
    assert read_range(pair("0.8", "1.0")).within((0, 892)) == (713, 892)


@given(st.integers(0, 10**DECIMALS - 1), st.integers(1, 10**7), st.integers(0, 1 << 40), st.data())
def test_a_fraction_is_a_floor_in_whole_numbers(start, frames, begin, data):
    stop = data.draw(st.integers(start + 1, 10**DECIMALS))
    written = [Decimal(part).scaleb(-DECIMALS) for part in (start, stop)]
    expected = tuple(begin + part * frames // 10**DECIMALS for part in (start, stop))
    assert read_range(written).within((begin, begin + frames)) == expected


@given(st.lists(st.integers(0, 100), min_size=3, max_size=3, unique=True), st.integers(1, 5000))
def test_ranges_that_share_a_number_meet(hundredths, frames):
    a, b, c = (Decimal(part) / 100 for part in sorted(hundredths))
    left, right = (read_range(ends).within((7, 7 + frames)) for ends in ([a, b], [b, c]))
    assert left[1] == right[0]


def test_whole_numbers_are_frames_of_the_recording_whatever_the_span():
    assert read_range(pair("500", "700")).within((400, 1000)) == (500, 700)


def test_0_and_1_beside_a_fraction_are_fractions():
    assert read_range(pair("0", "0.5")).within((10, 30)) == (10, 20)
    assert read_range(pair("0.5", "1")).within((10, 30)) == (20, 30)
    assert read_range(pair("0", "1")).within((0, 30)) == (0, 1)
    assert isinstance(read_range(pair("0", "0.5")).start, Fraction)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (3, "got 3, expected a pair"),
        ([], "expected a pair"),
        ([1, 2, 3], "expected a pair"),
        (["0", "1"], "expected a pair"),
        ([False, True], r"got \[false, true\], expected a pair"),
        ([0.0, 0.5], "expected a pair"),  # a binary float never comes from a definition
        ([5, 5], "the first number below the second"),
        ([-1, 5], "below the second, from 0"),
        (pair("0.7", "0.2"), "the first number below the second"),
        (pair("0.5", "400"), r"got \[0.5, 400\], which mixes a fraction and a frame"),
        (pair("0.0", "1.5"), "expected fractions from 0.0 to 1.0"),
        (pair("-0.5", "0.5"), "expected fractions"),
        ([Decimal("0.1"), Decimal("NaN")], "expected fractions"),
        ([Decimal("0.1"), Decimal("Infinity")], "expected fractions"),
        (pair("0.1234567890123", "1.0"), "at most 12 digits after the point"),
        (pair("0e99999999", "1.0"), "at most 12 digits"),
        (pair("1e-99999999", "1.0"), "at most 12 digits"),
    ],
)
def test_what_is_no_range_says_why(value, reason):
    with pytest.raises(ValueError, match=reason):
        read_range(value)
