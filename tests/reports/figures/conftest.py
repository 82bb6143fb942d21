"""Comparisons to draw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from contenders import field, keep, moved, noise

from zapeval.reports.comparison import Comparison, compare
from zapeval.reports.entries import read_entries

HOSTILE = (
    "<script>alert(1)</script>",
    "javascript:alert(1)",
    "https://outside.example/x.png",
    "'); datum.constructor('",
    'x" + shown + "',
    "$\\frac{1}{",
    "a\x00b\x1b[31m\n\u202ec",
    "y" * 200,
    "y" * 199 + "z",
    "_hidden",
    "",
)
"""Names that are text, whatever they look like."""


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Comparison]:
    """Returns a maker of comparisons: entries by name, each a little worse than the one before."""

    def make(names=("tide", "persistence", "drift"), benchmark=None, *, costs=None, **options):
        benchmark = benchmark or field()
        rng = np.random.default_rng(0)
        base = noise(benchmark, rng)
        files = []
        for index, name in enumerate(names):
            errors = moved(noise(benchmark, rng, level=0.0, spread=0.02), 0.1 * index)
            total = {series: base[series] + errors[series] for series in base}
            said = {"cost": costs[name]} if costs and name in costs else {}
            files.append(keep(tmp_path / "kept", str(index), benchmark, total, name=name, **said))
        return compare(read_entries(files), **options)

    return make
