"""A range of frames as a definition writes it: whole frames, or fractions of a recording."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import floor

from zapeval.benchmarks.benchmark import Span

DECIMALS = 12
"""Most digits after the point of a fraction."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """A range of frames as it was written: whole frames, or fractions of a span.

    Attributes:
        start: Its first frame (int), or the fraction that it begins at.
        stop: The frame after its last (int), or the fraction that it ends at.
        text: How it was written ("[0.7, 0.8]").
    """

    start: int | Fraction
    stop: int | Fraction
    text: str

    @property
    def fractions(self) -> bool:
        """Whether it is written in fractions."""
        return isinstance(self.start, Fraction)

    def within(self, span: Span) -> Span:
        """Returns its frames ``[start, stop)``: a fraction ``f`` of n frames is ``floor(f * n)``.

        The product is exact: a fraction is the decimal number that was written, never a binary
        float, so 0.29 of 100 frames is 29.
        """
        begin, frames = span[0], span[1] - span[0]
        if isinstance(self.start, Fraction) and isinstance(self.stop, Fraction):
            return begin + floor(self.start * frames), begin + floor(self.stop * frames)
        return int(self.start), int(self.stop)


def shown(value: object) -> str:
    """Returns a value as TOML writes it, cut to 60 characters."""
    if isinstance(value, list):
        return ("[" + ", ".join(shown(item) for item in value[:12]) + "]")[:60]
    if isinstance(value, bool):
        return str(value).lower()
    return (str(value) if isinstance(value, Decimal) else repr(value))[:60]


def read_range(value: object) -> Range:
    """Returns the range that a pair of TOML numbers means, floats read as Decimal.

    Raises:
        ValueError: It is no pair of frames in order, and none of fractions.
    """
    ends = value if isinstance(value, list) else []
    if len(ends) != 2 or any(type(end) not in (int, Decimal) for end in ends):
        raise ValueError(f"got {shown(value)}, expected a pair like [0, 700] or [0.0, 0.7]")
    if any(isinstance(end, Decimal) for end in ends):
        start, stop = (_fraction(end, value) for end in ends)
    else:
        start, stop = ends
    if not 0 <= start < stop:
        raise ValueError(f"got {shown(value)}, expected the first number below the second, from 0")
    return Range(start=start, stop=stop, text=shown(value))


def _fraction(end: int | Decimal, value: object) -> Fraction:
    # 0 and 1 may be written without a point beside a fraction; any other frame may not.
    if isinstance(end, int) and end not in (0, 1):
        raise ValueError(
            f"got {shown(value)}, which mixes a fraction and a frame; write two frames "
            "(whole numbers) or two fractions (0.0 to 1.0)"
        )
    if isinstance(end, Decimal) and not (end.is_finite() and 0 <= end <= 1):
        raise ValueError(
            f"got {shown(value)}, expected fractions from 0.0 to 1.0; frames are written as whole "
            "numbers, without a point"
        )
    if isinstance(end, Decimal) and abs(int(end.as_tuple().exponent)) > DECIMALS:
        raise ValueError(f"got {shown(value)}, expected at most {DECIMALS} digits after the point")
    return Fraction(end)
