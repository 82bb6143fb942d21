from __future__ import annotations

import json

import numpy as np
import pytest
from contenders import field, keep, moved, noise

from zapeval.errors import InvalidInput, NotFound, Refused, UsageError
from zapeval.reports.entries import read_entries

FIELD = field()
BASE = noise(FIELD, np.random.default_rng(0))


@pytest.fixture
def good(tmp_path):
    return keep(tmp_path, "good", FIELD, BASE, name="good")


def edit(path, change):
    """Rewrites a scorecard's document as a function changes it."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


def test_errors_come_back_from_the_sums(good, tmp_path):
    other = keep(tmp_path, "b", FIELD, moved(BASE, 1), name="b")
    second, first = read_entries([good, other])
    assert (first.name, second.name) == ("good", "b")
    for one in FIELD.series:
        np.testing.assert_allclose(first.errors(one.name, "mae"), BASE[one.name], rtol=1e-12)
        np.testing.assert_allclose(first.errors(one.name, "mse"), BASE[one.name] ** 2, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["benchmark"].update(digest="sha256:other"), "benchmark digest: sha256:"),
        (lambda d: d["benchmark"].update(context=256), "context length: "),
        (lambda d: d["data"].update(digest="blake3:other"), "data digest: blake3:"),
        (lambda d: d.update(scored_set="sha256:less"), "scored set: sha256:"),
        (lambda d: d.update(missing="official"), "missing mode: "),
    ],
)
def test_what_differs_is_refused_by_name_and_file(good, tmp_path, change, said):
    third = keep(tmp_path, "third", FIELD, BASE, name="third")
    other = edit(keep(tmp_path, "other", FIELD, BASE, name="other"), change)
    with pytest.raises(Refused) as caught:
        read_entries([good, other, third])
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(said)
    assert f"in {good}, {third}" in lines[1] and f"in {other}" in lines[1]


def test_all_that_differs_is_said_at_once(good, tmp_path):
    def change(document):
        document["benchmark"]["context"] = 256
        document["missing"] = "official"

    other = edit(keep(tmp_path, "other", FIELD, BASE), change)
    with pytest.raises(Refused, match=r"context length: .*\nmissing mode: "):
        read_entries([good, other])


def test_partial_and_whole_cards_are_refused(good, tmp_path):
    with pytest.raises(Refused, match="scored set"):
        read_entries([good, keep(tmp_path, "p", FIELD, BASE, missing=2)])


def test_one_card_or_one_twice_is_a_usage_error(good, tmp_path):
    with pytest.raises(UsageError, match="two or more scorecards, got 1"):
        read_entries([good])
    again = good.parent / "." / good.name
    with pytest.raises(UsageError, match="given 2 times"):
        read_entries([good, tmp_path / "x" / ".." / again.name])


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda d: d.update(sums=None), Refused, "keeps no sums a window"),
        (lambda d: d["sums"].update(file="../x.npz"), InvalidInput, "expected a file beside it"),
        (lambda d: d["sums"].update(file="none.npz"), NotFound, "does not exist"),
        (lambda d: d["sums"].update(digest="blake3:0"), InvalidInput, "has digest"),
        (lambda d: d["sums"].pop("digest"), InvalidInput, "does not say where its sums are"),
        (lambda d: d["benchmark"].pop("sampled"), InvalidInput, "an earlier version"),
        (lambda d: d["benchmark"].pop("digest"), InvalidInput, "has no benchmark digest"),
        (lambda d: d["series"][0].update(windows=3), InvalidInput, "other windows"),
        (lambda d: d["series"][0].update(name="dark"), InvalidInput, "sums of 'dark'"),
        (
            lambda d: d["scores"][0].update(value=0.5),
            InvalidInput,
            r"mae of 'series 0' at step 1 is 0\.5, but",
        ),
    ],
)
def test_a_card_that_its_sums_do_not_bear_out_is_refused(good, tmp_path, change, error, said):
    other = edit(keep(tmp_path, "other", FIELD, BASE, name="other"), change)
    with pytest.raises(error, match=said) as caught:
        read_entries([good, other])
    assert "other" in str(caught.value) or "none.npz" in str(caught.value)


def test_names_that_are_taken_are_told_apart_by_file(tmp_path):
    files = [
        keep(tmp_path / "x", "a", FIELD, BASE, name="tide", version="1"),
        keep(tmp_path / "x", "b", FIELD, BASE, name="tide", version="2"),
        keep(tmp_path / "x", "c", FIELD, BASE),
        keep(tmp_path / "y", "c", FIELD, BASE),
        keep(tmp_path / "y", "d", FIELD, BASE, name="mean"),
    ]
    names = [entry.name for entry in read_entries(files)]
    assert sorted(names) == sorted(
        [f"{tmp_path}/x/c.json", f"{tmp_path}/y/c.json", "mean", "tide (a)", "tide (b)"]
    )


def test_seeds_need_seeds_that_differ(tmp_path):
    def cards(*seeds, **said):
        return [
            keep(tmp_path, f"{said}{i}", FIELD, BASE, name="net", seed=seed, **said)
            for i, seed in enumerate(seeds)
        ]

    assert [len(entry.kept) for entry in read_entries(cards(2, 0, 1))] == [3]
    (entry,) = read_entries(cards(2, 0, 1))
    assert [one.card.forecaster["seed"] for one in entry.kept] == [0, 1, 2]
    assert [len(entry.kept) for entry in read_entries(cards(0, 0))] == [1, 1]
    mixed = [*cards(0, 1), *cards(0, 1, parameters={"width": 8})]
    assert [len(entry.kept) for entry in read_entries(mixed)] == [2, 2]
