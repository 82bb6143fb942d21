"""Columns: which neurons are read at a time, so that memory is bounded for any recording."""

from __future__ import annotations

from collections.abc import Iterator

from zapeval.benchmarks.benchmark import Span

COLUMNS = 4096
"""Neurons that are read at a time: whole chunks of the public recording, which are 512 wide."""


def columns_of(neurons: int) -> Iterator[Span]:
    """Yields ranges ``[start, stop)`` of neurons that are read at a time, in order."""
    for start in range(0, neurons, COLUMNS):
        yield start, min(start + COLUMNS, neurons)
