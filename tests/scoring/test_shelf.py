from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from zapeval.scoring.shelf import Shelf


def test_value_is_made_once_however_many_ask():
    shelf, made, ready = Shelf(), [], threading.Barrier(8)

    def make():
        made.append(1)
        return object()

    def ask(_):
        ready.wait()
        return shelf.get(("run", "a"), make)

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, range(8)))
    assert (len(made), len(found)) == (1, 1)


def test_runs_do_not_share():
    shelf = Shelf()
    assert shelf.get(("one", "a"), lambda: 1) == 1
    assert shelf.get(("other", "a"), lambda: 2) == 2


def test_two_used_last_are_kept():
    shelf = Shelf()
    for name in ("a", "b"):
        shelf.get(("run", name), lambda: "old")
    shelf.get(("run", "a"), lambda: "new")
    shelf.get(("run", "c"), lambda: "old")
    assert shelf.get(("run", "a"), lambda: "new") == "old"
    assert shelf.get(("run", "b"), lambda: "new") == "new"


def test_failure_is_not_kept():
    shelf = Shelf()
    with pytest.raises(ZeroDivisionError):
        shelf.get(("run", "a"), lambda: 1 // 0)
    assert shelf.get(("run", "a"), lambda: 3) == 3


def test_cleared_run_is_made_anew_and_others_stay():
    shelf = Shelf()
    shelf.get(("one", "a"), lambda: "old")
    shelf.get(("other", "a"), lambda: "old")
    shelf.clear("one")
    assert shelf.get(("other", "a"), lambda: "new") == "old"
    assert shelf.get(("one", "a"), lambda: "new") == "new"


def test_lent_value_is_made_of_one_that_left_and_nobody_uses():
    shelf, given = Shelf(), []

    def make(name):
        return lambda spare: given.append((name, spare)) or name

    for name in ("a", "b", "c"):
        with shelf.lend(("run", name), make(name)) as value:
            assert value == name
    assert given == [("a", None), ("b", None), ("c", "a")]


def test_lent_value_in_use_is_never_given_away():
    shelf, given = Shelf(), []
    with shelf.lend(("run", "a"), lambda _: "a"):
        for name in ("b", "c", "d"):
            with shelf.lend(("run", name), given.append):
                pass
    assert "a" not in given


def test_value_in_use_by_one_of_two_is_in_use():
    shelf, given = Shelf(), []
    with shelf.lend(("run", "a"), lambda _: "a"):
        with shelf.lend(("run", "a"), lambda _: "again") as value:
            assert value == "a"
        for name in ("b", "c"):
            with shelf.lend(("run", name), given.append):
                pass
    assert given == [None, None]


def test_failure_ends_the_loan():
    shelf, given = Shelf(), []
    with pytest.raises(ZeroDivisionError), shelf.lend(("run", "a"), lambda _: "a"):
        raise ZeroDivisionError
    for name in ("b", "c"):
        with shelf.lend(("run", name), given.append):
            pass
    assert given == [None, "a"]
