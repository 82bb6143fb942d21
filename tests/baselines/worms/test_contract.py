"""The worm forecasters keep the contract of every plugin.

Three stand for the six, which share all but the core: one as wide as its input, one with a state,
one with dropout and positions.
"""

from __future__ import annotations

import pytest

from zapeval.registry import FORECASTERS, find
from zapeval.testing import ForecasterContract


@pytest.mark.slow
class Worm(ForecasterContract):
    """Is made by its registered name, small, and trained for a moment."""

    name: str
    horizon = 8

    def make(self):
        sizes = {} if self.name == "worm-linear" else {"hidden": 8}
        return find(FORECASTERS, self.name)(epochs=1, **sizes)


class TestLinear(Worm):
    name = "worm-linear"


class TestLSTM(Worm):
    name = "worm-lstm"


class TestTransformer(Worm):
    name = "worm-transformer"
