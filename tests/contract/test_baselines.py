"""The reference forecasters keep the contract of every plugin."""

from __future__ import annotations

from zapeval.registry import FORECASTERS, find
from zapeval.testing import ForecasterContract


class Registered(ForecasterContract):
    """Is made by its registered name."""

    name: str

    def make(self):
        return find(FORECASTERS, self.name)()


class TestPersistence(Registered):
    name = "persistence"


class TestMean(Registered):
    name = "mean"


class TestMeanOfTwo(Registered):
    context = 9
    horizon = 3

    def make(self):
        return find(FORECASTERS, "mean")(window=2)


class TestDrift(Registered):
    name = "drift"


class TestSeasonalNaive(Registered):
    name = "seasonal-naive"


class TestLeastSquares(Registered):
    name = "least-squares"


class TestLeastSquaresFromTheLastFrame(Registered):
    name = "least-squares-last"


class TestVectorAutoregression(Registered):
    name = "var"
