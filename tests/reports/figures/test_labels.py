from __future__ import annotations

from reports.figures.conftest import HOSTILE

from zapeval.reports.figures.labels import MOST, labels_of, numbered, short


def test_short_names_stay_as_they_are():
    assert labels_of(["tide", "persistence", "a $b$ _c"]) == ("tide", "persistence", "a $b$ _c")


def test_a_long_name_keeps_both_ends():
    assert short("a" * 100 + "b" * 100) == "a" * 24 + "…" + "b" * 15
    assert short("x" * MOST) == "x" * MOST
    assert len(short("x" * (MOST + 1))) == MOST


def test_what_could_steer_a_terminal_or_turn_text_around_is_replaced():
    assert short("a\x1b[31m\u202eb\nc\ud800") == "a\ufffd[31m\ufffdb\ufffdc\ufffd"


def test_no_two_labels_are_alike():
    names = [*HOSTILE, *HOSTILE, "a", "a", "a (2)", "x" * 24 + "1" * 30 + "y" * 15]
    labels = labels_of([*names, "x" * 24 + "2" * 30 + "y" * 15])
    assert len(set(labels)) == len(labels)
    assert numbered(["a", "a", "a (2)", "a"]) == ("a", "a (2)", "a (2) (2)", "a (3)")


def test_what_follows_a_name_is_never_cut():
    assert labels_of(["x" * 90], [", C = 4, partial"]) == (f"{short('x' * 90)}, C = 4, partial",)
