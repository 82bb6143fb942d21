"""The reference forecasters keep the contract of every plugin."""

from __future__ import annotations

from baselines.naive import Mean, Persistence
from zapeval.testing import ForecasterContract


class TestPersistence(ForecasterContract):
    def make(self):
        return Persistence()


class TestMean(ForecasterContract):
    def make(self):
        return Mean()


class TestMeanOfTwo(ForecasterContract):
    context = 9
    horizon = 3

    def make(self):
        return Mean(window=2)
