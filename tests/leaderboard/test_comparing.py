"""Comparing through HTTP: the numbers are those of zapeval's own comparison."""

from __future__ import annotations

import csv
import io
from functools import cache
from typing import Any

import placed
import pytest
from starlette.testclient import TestClient

from leaderboard.database import Database
from zapeval.reports.comparison import Comparison, compare
from zapeval.reports.entries import Entry, read_entries

sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
IDS = ",".join(f"id-of-{slug}" for slug in placed.SLUGS)
AT = f"/api/v1/compare?entries={IDS}"


@pytest.fixture
def there(database: Database) -> placed.Placed:
    found = placed.place(database)
    placed.rank(database, found.board)
    return found


@cache
def contenders() -> tuple[Entry, ...]:
    """The same entries as the command line reads them from files."""
    return read_entries([placed.outcome_of(slug).card.path for slug in placed.SLUGS])


@sqlite
def test_a_comparison_is_that_of_the_command_line(client: TestClient, there: placed.Placed) -> None:
    asked: dict[str, dict[str, Any]] = {
        "": {},
        "&metric=mse": {"metric": "mse"},
        "&series=taxis&step=8": {"series": "taxis", "step": 8},
        "&baseline=mean": {"baseline": "mean"},
    }
    for query, keywords in asked.items():
        view = client.get(f"{AT}{query}").json()
        _require_equal(view, compare(contenders(), **keywords))


def _require_equal(view: dict[str, Any], expected: Comparison) -> None:
    assert [row["slug"] for row in view["entries"]] == [row.entry.name for row in expected.rows]
    for row, known in zip(view["entries"], expected.rows, strict=True):
        assert row["score"]["value"] == known.score.value
        assert row["score"]["low"] == known.score.low
        assert row["rank"] == known.rank
        assert row["group"] == known.group
        ranks = None if known.ranks is None else [known.ranks.low, known.ranks.high]
        assert row["ranks"] == ranks
    for pair, paired in zip(view["pairs"], expected.pairs, strict=True):
        assert pair["a"] == f"id-of-{paired.first}"
        assert pair["difference"] == paired.difference
        assert pair["adjusted"] == paired.adjusted


@sqlite
def test_entries_may_be_named_in_one_key_or_several(
    client: TestClient, there: placed.Placed
) -> None:
    one = client.get("/api/v1/compare?entries=id-of-var,id-of-mean").json()
    several = client.get("/api/v1/compare?entries=id-of-mean&entries=id-of-var").json()
    assert one == several


@sqlite
def test_twins_hold_both_tables(client: TestClient, there: placed.Placed) -> None:
    view = client.get(AT).json()
    twin = AT.replace("/compare", "/compare.csv")
    rows = list(csv.DictReader(io.StringIO(client.get(twin).text)))
    assert [float(row["score"]) for row in rows] == [
        one["score"]["value"] for one in view["entries"]
    ]
    pairs = list(csv.DictReader(io.StringIO(client.get(f"{twin}&part=pairs").text)))
    assert [float(row["difference"]) for row in pairs] == [
        pair["difference"] for pair in view["pairs"]
    ]
    page = client.get(AT.removeprefix("/api/v1")).text
    assert "Paired differences" in page


@sqlite
def test_what_can_not_be_compared_is_refused_with_what_can(
    client: TestClient, there: placed.Placed
) -> None:
    refused = (
        ("", 422, "2 to 20"),
        ("?entries=id-of-var", 422, "2 to 20"),
        ("?entries=id-of-var,id-of-var", 422, "2 to 20"),
        ("?entries=" + ",".join(f"e{i}" for i in range(21)), 422, "2 to 20"),
        ("?entries=id-of-var,nothing", 404, "nothing"),
        (f"?entries={IDS}&metric=correlation", 422, "mae, mse"),
        (f"?entries={IDS}&series=nothing", 422, "gain"),
        (f"?entries={IDS}&step=33", 422, "32"),
        (f"?entries={IDS}&baseline=nothing", 422, "persistence"),
        (f"?entries={IDS}&colour=red", 422, "metric"),
    )
    for query, status, said in refused:
        for address in ("/api/v1/compare", "/compare"):
            answer = client.get(f"{address}{query}")
            assert answer.status_code == status, query
            assert said in answer.json()["detail"]


@sqlite
def test_entries_of_two_boards_are_not_compared(
    client: TestClient, database: Database, there: placed.Placed
) -> None:
    from leaderboard.tables import Board
    from leaderboard.tables import Entry as Row

    with database.write() as session:
        board = Board(
            benchmark="zapbench", version=1, digest="sha256:1", context=4, data="blake3:1"
        )
        session.add(board)
        session.flush()
        session.add(
            Row(
                id="elsewhere",
                board_id=board.id,
                slug="x",
                name="x",
                visibility="public",
                fact_sheet={},
            )
        )
    answer = client.get("/api/v1/compare?entries=id-of-var,elsewhere")
    assert answer.status_code == 422
    assert "2 boards" in answer.json()["detail"]


@sqlite
def test_charts_are_vega_lite_that_names_no_other_host(
    client: TestClient, there: placed.Placed
) -> None:
    from vl_convert import vegalite_to_svg

    addresses = [
        "/api/v1/boards/zapbench-mini/4/charts/ranking",
        "/api/v1/boards/zapbench-mini/4/charts/steps",
        "/api/v1/boards/zapbench-mini/4/charts/cost",
        "/api/v1/entries/id-of-var/charts/steps",
        "/api/v1/entries/id-of-var/charts/brain",
        *(AT.replace("/compare", f"/compare/charts/{n}") for n in ("ranking", "steps", "skill")),
    ]
    for address in addresses:
        answer = client.get(address)
        assert answer.status_code == 200, (address, answer.text)
        assert "http" not in answer.text.replace("https://vega.github.io/schema/", "")
        assert "<svg" in vegalite_to_svg(answer.json())
    missing = client.get("/api/v1/entries/id-of-var/charts/nothing")
    assert missing.status_code == 404
    assert "brain" in missing.json()["detail"]
