"""Choices: an address says all that is shown, and nothing of it is ignored."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard.choices import FACETS, Choice, read_choice
from leaderboard.problems import Invalid
from leaderboard.standings import Standing

SORTABLE = ("name", "summary", "step-1")


def row(**values: object) -> Standing:
    return Standing.model_validate({"entry": "1", "slug": "a", "name": "Ann"} | values)


choices = st.builds(
    Choice,
    sort=st.sampled_from(("rank", *SORTABLE)),
    descending=st.booleans(),
    filters=st.sets(st.sampled_from(sorted(FACETS)))
    .flatmap(lambda chosen: st.tuples(*(st.sampled_from((f, f"-{f}")) for f in sorted(chosen))))
    .map(tuple),
    text=st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    page=st.integers(0, 1000),
    board=st.sampled_from(("", "abc")),
)


@given(choices)
def test_every_choice_comes_back_from_its_address(choice: Choice) -> None:
    query = parse_qsl(choice.query().removeprefix("?"), keep_blank_values=True)
    assert read_choice(query, SORTABLE) == choice


@pytest.mark.parametrize(
    ("query", "listed"),
    [
        ([("sort", "colour")], "summary"),
        ([("filter", "fast")], "verified"),
        ([("colour", "red")], "filter"),
        ([("page", "0")], "whole number"),
        ([("page", "-1")], "whole number"),
        ([("page", "१")], "whole number"),
        ([("page", "9" * 30)], "whole number"),
        ([("sort", "name"), ("sort", "rank")], "twice"),
        ([("filter", "verified"), ("filter", "-verified")], "choose one"),
        ([("text", "x" * 201)], "at most 200"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(
    query: list[tuple[str, str]], listed: str
) -> None:
    with pytest.raises(Invalid, match=listed):
        read_choice(query, SORTABLE)


def test_an_empty_value_is_no_choice() -> None:
    query = [("filter", ""), ("text", ""), ("sort", ""), ("page", "")]
    with pytest.raises(Invalid, match="page"):
        read_choice([("page", "x")], SORTABLE)
    assert read_choice(query, SORTABLE) == Choice()


def test_a_heading_leads_to_its_column_and_then_turns_it_round() -> None:
    first = Choice().sorted_by("summary")
    assert first == "?sort=summary"
    again = read_choice(parse_qsl(first[1:]), SORTABLE).sorted_by("summary")
    assert again == "?sort=-summary"


def test_filters_keep_what_has_every_facet() -> None:
    rows = [row(baseline=b, verified=v) for b in (True, False) for v in (True, False)]
    kept = [one for one in rows if Choice(filters=("baseline", "-verified")).keeps(one)]
    assert [(one.baseline, one.verified) for one in kept] == [(True, False)]


def test_text_finds_part_of_a_name_or_slug_in_any_case() -> None:
    assert Choice(text="AN").keeps(row())
    assert Choice(text="slug").keeps(row(slug="the-slug"))
    assert not Choice(text="bob").keeps(row())
