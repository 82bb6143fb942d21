"""The split of a series: its ranges as frames of a recording, and the windows of its test range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal, NoReturn

from zapeval.benchmarks.benchmark import Series, Span, windows_in
from zapeval.benchmarks.definition import Definition, SeriesTable
from zapeval.benchmarks.ranges import Range
from zapeval.errors import InvalidInput

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True)
class SeriesSplit:
    """What a definition says of one series, over a recording of known length.

    Attributes:
        definition: The whole definition.
        table: What it says of the series.
        recording: Key of its recording.
        frames: Number of frames of the recording.
        neurons: Number of its neurons.
    """

    definition: Definition
    table: SeriesTable
    recording: str
    frames: int
    neurons: int

    @cached_property
    def span(self) -> Span:
        """Frames of the series: contexts, targets and all ranges lie in them.

        Raises:
            InvalidInput: They do not lie in the recording.
        """
        if self.table.frames is None:
            return 0, self.frames
        where = f"[[series]] {self.table.name!r}: frames"
        return self._frames(where, self.table.frames, (0, self.frames))

    @cached_property
    def train(self) -> Span | None:
        """Frames to train on, or None."""
        return None if self.table.held_out else self._part("train")

    @cached_property
    def validation(self) -> Span | None:
        """Frames for choosing checkpoints, or None."""
        return None if self.table.held_out else self._part("validation")

    @cached_property
    def test(self) -> Span:
        """Frames that hold the targets.

        Raises:
            InvalidInput: There are none, or they do not lie in the series.
        """
        span = self._part("test")
        if span is None:
            raise InvalidInput(f"series {self.table.name!r}: has no test frames")
        return span

    @property
    def parts(self) -> Iterator[tuple[Part, Span]]:
        """Its ranges by name."""
        if self.train is not None:
            yield "train", self.train
        if self.validation is not None:
            yield "validation", self.validation
        yield "test", self.test

    def series(self, group: str, mask: tuple[bool, ...] | None) -> Series:
        """Returns the series.

        Raises:
            InvalidInput: A range does not lie in it, or its windows do not fit.
        """
        return Series(
            name=self.table.name,
            array=self.table.array_name,
            recording=self.recording,
            group=group if self.table.group is None else self.table.group,
            held_out=self.table.held_out,
            train=() if self.train is None else (self.train,),
            validation=() if self.validation is None else (self.validation,),
            origins=self.origins(),
            mask=mask,
        )

    def origins(self) -> tuple[int, ...]:
        """Returns the origins of the windows whose targets lie in the test range.

        They begin every ``stride`` frames, or are ``windows`` of them spaced evenly: number ``i``
        of ``n`` is ``floor(i * (last - first) / (n - 1))`` frames after the first, exactly.

        Raises:
            InvalidInput: A window or its longest context does not fit.
        """
        horizon = self.definition.horizon
        first, last = self.test[0], self.test[1] - horizon
        if last < first:
            self._refuse_test(
                f"holds {self.test[1] - first} frames, expected at least {horizon}, the horizon; "
                f"widen it{self._swapped}"
            )
        self._check_context(first, last)
        stride, windows = self._spacing
        if windows is None:
            return windows_in(self.test, horizon, stride)
        if windows > last - first + 1:
            self._refuse_test(
                f"has room for {last - first + 1} windows, expected {windows} (windows = "
                f"{windows}); widen it, or ask for fewer"
            )
        return tuple(first + i * (last - first) // max(windows - 1, 1) for i in range(windows))

    @property
    def _spacing(self) -> tuple[int, int | None]:
        """Stride and number of windows; what a series says of either replaces both."""
        own = self.table.stride is not None or self.table.windows is not None
        table = self.table if own else self.definition.split
        return table.stride or 1, table.windows

    def _check_context(self, first: int, last: int) -> None:
        horizon = self.definition.horizon
        needed = self.definition.contexts[-1] if self.definition.protocol == "horizon" else 1
        earliest = self.span[0] + needed
        if first >= earliest:
            return
        if last < earliest:
            self._refuse_test(
                f"its windows need context (length {needed}) and targets (length {horizon}), but "
                f"the series has frames [{self.span[0]}, {self.span[1]}) and the test range ends "
                f"at {self.test[1]}; shorten them, or widen the range{self._swapped}"
            )
        begin, said = f"frame {earliest}", self._said("test")[1]
        if said is not None and said.fractions:
            # Rounded up to four digits, so that its frame is no earlier.
            share = -(-needed * 10_000 // (self.span[1] - self.span[0])) / 10_000
            begin += f", the fraction {share}"
        self._refuse_test(
            f"the context of its first window (length {needed}) begins before frame "
            f"{self.span[0]}, the first of the series; begin test at {begin}"
        )

    def _part(self, part: Part) -> Span | None:
        where, said = self._said(part)
        return None if said is None else self._frames(where, said, self.span)

    def _said(self, part: Part) -> tuple[str, Range | None]:
        """Returns a range and where it is written: by the series itself, else by [split]."""
        own: Range | None = getattr(self.table, part)
        if own is not None:
            return f"[[series]] {self.table.name!r}: {part}", own
        common: Range | None = getattr(self.definition.split, part)
        return f"[split]: {part}", common

    def _frames(self, where: str, said: Range, span: Span) -> Span:
        start, stop = said.within(span)
        if start >= stop:
            raise InvalidInput(
                f"{where} = {said.text}: holds no frame of series {self.table.name!r}, which has "
                f"{span[1] - span[0]} frames; widen it{self._swapped}"
            )
        if start < span[0] or stop > span[1]:
            raise InvalidInput(
                f"{where} = {said.text}: expected frames in [{span[0]}, {span[1]}), those of "
                f"series {self.table.name!r} (recording {self.recording!r}); change it, or give "
                f"the series a range of its own{self._swapped}"
            )
        return start, stop

    def _refuse_test(self, what: str) -> NoReturn:
        where, said = self._said("test")
        text = "" if said is None else said.text
        raise InvalidInput(
            f"{where} = {text}: is frames [{self.test[0]}, {self.test[1]}) of series "
            f"{self.table.name!r}: {what}"
        )

    @property
    def _swapped(self) -> str:
        if self.frames >= self.neurons:
            return ""
        return (
            f"; recording {self.recording!r} has {self.frames} frames and {self.neurons} neurons: "
            'if these are swapped, say axes = ["neurons", "frames"]'
        )


def check_apart(splits: Sequence[SeriesSplit]) -> None:
    """Checks that no frame of a recording is for two of training, validation and test.

    Raises:
        InvalidInput: One is, within a series or between two.
    """
    ranges: dict[str, list[tuple[str, Part, Span]]] = {}
    for split in splits:
        own = ranges.setdefault(split.recording, [])
        own += [(split.table.name, part, span) for part, span in split.parts]
    for recording, found in ranges.items():
        for (name, part, span), (other, part2, span2) in combinations(found, 2):
            start, stop = max(span[0], span2[0]), min(span[1], span2[1])
            if part != part2 and start < stop:
                raise InvalidInput(
                    f"{part} of series {name!r}, frames [{span[0]}, {span[1]}), overlaps {part2} "
                    f"of series {other!r}, frames [{span2[0]}, {span2[1]}): frames [{start}, "
                    f"{stop}) of recording {recording!r} are for both; move one"
                )
