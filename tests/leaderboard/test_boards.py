"""Boards through HTTP: what is shown is what was asked for, in every format alike."""

from __future__ import annotations

import csv
import io

import placed
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from leaderboard.caching import Memory
from leaderboard.database import Database

BOARD = "/api/v1/boards/zapbench-mini/4"
PAGE = "/boards/zapbench-mini/4"

sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture(autouse=True)
def fresh(app: FastAPI) -> None:
    """Every request asks the database anew."""
    app.state.memory = Memory(fresh=0.0)


@pytest.fixture
def there(database: Database) -> placed.Placed:
    found = placed.place(database)
    placed.rank(database, found.board)
    return found


def slugs(client: TestClient, query: str = "") -> list[str]:
    answer = client.get(f"{BOARD}{query}")
    assert answer.status_code == 200, answer.text
    return [row["slug"] for row in answer.json()["rows"]]


def test_a_board_is_ranked_with_rank_intervals_and_ties(
    client: TestClient, there: placed.Placed
) -> None:
    view = client.get(BOARD).json()
    assert view["board"]["id"] == there.board
    values = [row["summary"]["value"] for row in view["rows"]]
    assert values == sorted(values)
    assert [row["rank"] for row in view["rows"]] == [1, 2, 3, 4]
    for row in view["rows"]:
        low, high = row["ranks"]
        assert 1 <= low <= row["rank"] <= high <= 4
        assert row["group"] >= 1
    assert view["baseline"] == "persistence"


def test_boards_are_listed_with_who_leads(client: TestClient, there: placed.Placed) -> None:
    (line,) = client.get("/api/v1/boards").json()["boards"]
    assert line["path"] == "zapbench-mini@1/4"
    assert line["best"]["slug"] == slugs(client)[0]
    assert line["entries"] == 4


@sqlite
def test_any_column_sorts_both_ways_and_its_empty_cells_stay_last(
    client: TestClient, there: placed.Placed
) -> None:
    columns = client.get(BOARD).json()["columns"]
    sortable = [column["key"] for column in columns if column["sortable"]]
    assert {"rank", "name", "summary", "step-1", "step-32", "skill", "wins"} <= set(sortable)
    for key in sortable:
        up, down = slugs(client, f"?sort={key}"), slugs(client, f"?sort=-{key}")
        assert sorted(up) == sorted(down) == sorted(placed.SLUGS)
    rows = client.get(f"{BOARD}?sort=-step-32").json()["rows"]
    scores = [row["by_step"]["32"]["value"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    # The baseline is compared with nothing, so it has no share of wins.
    assert slugs(client, "?sort=wins")[-1] == slugs(client, "?sort=-wins")[-1] == "persistence"


@sqlite
def test_filters_and_text_leave_what_was_asked_for(
    client: TestClient, there: placed.Placed
) -> None:
    assert set(slugs(client, "?filter=baseline")) == {"mean", "persistence"}
    assert set(slugs(client, "?filter=-baseline&text=LIN")) == {"linear"}
    assert slugs(client, "?filter=verified") == []


@sqlite
def test_ties_share_a_rank_whatever_the_order_they_came_in(
    client: TestClient, database: Database
) -> None:
    found = placed.place(database, ("var", "linear"))
    with database.write() as session:
        from leaderboard.outcomes import result_of
        from leaderboard.tables import Entry

        for slug in ("zz-twin", "aa-twin"):
            twin = Entry(
                board_id=found.board,
                slug=slug,
                name=slug,
                visibility="public",
                fact_sheet=placed.SHEET,
            )
            session.add(twin)
            session.flush()
            session.add(result_of(placed.outcome_of("var"), twin.id, 1))
    placed.rank(database, found.board)
    ranks = {row["slug"]: row["rank"] for row in client.get(BOARD).json()["rows"]}
    assert ranks == {"aa-twin": 1, "var": 1, "zz-twin": 1, "linear": 4}


@sqlite
def test_every_twin_holds_the_rows_and_columns_of_the_page(
    client: TestClient, there: placed.Placed
) -> None:
    query = "?sort=-name&filter=-baseline"
    view = client.get(f"{BOARD}{query}").json()
    names = [row["name"] for row in view["rows"]]
    assert names == ["The var", "The linear"]
    table = list(csv.DictReader(io.StringIO(client.get(f"{BOARD}.csv{query}").text)))
    assert [row["name"] for row in table] == names
    assert [float(row["summary"]) for row in table] == [
        row["summary"]["value"] for row in view["rows"]
    ]
    keys = [column["key"].replace("-", "_") for column in view["columns"]]
    assert [key for key in table[0] if key in keys] == keys
    for ending in ("md", "tex"):
        text = client.get(f"{BOARD}.{ending}{query}").text
        assert text.index("The var") < text.index("The linear")
        assert "The mean" not in text
    page = client.get(f"{PAGE}{query}", headers={"Accept": "text/html"}).text
    assert page.index(">The var<") < page.index(">The linear<")
    assert "The mean" not in page


@sqlite
def test_a_page_leads_to_its_twins_under_its_own_address(
    client: TestClient, there: placed.Placed
) -> None:
    for ending in ("json", "csv", "md", "tex"):
        answer = client.get(f"{PAGE}.{ending}?sort=name", follow_redirects=True)
        assert answer.status_code == 200
        assert "The linear" in answer.text


@sqlite
def test_what_an_address_does_not_know_is_refused_with_what_it_does(
    client: TestClient, there: placed.Placed
) -> None:
    refused = {
        "?sort=nothing": "summary",
        "?filter=nothing": "future-stimulus",
        "?nothing=1": "sort",
        "?page=x": "whole number",
        "?board=nothing": "known",
    }
    for query, listed in refused.items():
        for address in (BOARD, f"{BOARD}.csv", PAGE):
            answer = client.get(f"{address}{query}")
            assert answer.status_code == 422
            assert answer.headers["content-type"] == "application/problem+json"
            assert listed in answer.json()["detail"]


@sqlite
def test_what_is_not_there_is_missing_and_says_what_is(
    client: TestClient, there: placed.Placed
) -> None:
    for path in ("zapbench-mini/5", "zapbench-mini@7/4", "nothing/4", "zapbench-mini/4.xls"):
        answer = client.get(f"/api/v1/boards/{path}")
        assert answer.status_code == 404
        assert "there is" in answer.json()["detail"]
        page = client.get(f"/boards/{path}", headers={"Accept": "text/html"}, follow_redirects=True)
        assert page.status_code == 404
    assert "no such board; there is: zapbench-mini@1/4" in page_of(client, "zapbench-mini/5")


def page_of(client: TestClient, path: str) -> str:
    return client.get(f"/boards/{path}", headers={"Accept": "text/html"}).text


@sqlite
def test_pages_hold_a_hundred_rows_and_the_twins_all_if_asked(
    client: TestClient, database: Database
) -> None:
    found = placed.place(database, ("var",))
    placed.rank(database, found.board)
    with database.write() as session:
        from leaderboard.tables import Board

        board = session.get_one(Board, found.board)
        assert board.standings is not None
        (row,) = board.standings["rows"]
        rows = [row | {"entry": f"e{i}", "slug": f"s{i}", "rank": i + 1} for i in range(250)]
        board.standings = board.standings | {"rows": rows}
        board.revision += 1
    views = [client.get(f"{BOARD}?page={page}").json() for page in (1, 2, 3)]
    assert [len(view["rows"]) for view in views] == [100, 100, 50]
    seen = [row["entry"] for view in views for row in view["rows"]]
    assert seen == [f"e{i}" for i in range(250)]
    assert len(slugs(client, "?page=all")) == 250
    assert client.get(f"{BOARD}?page=4").status_code == 404
    assert client.get(f"{PAGE}?page=all").status_code == 422
    assert "Page 2 of 3" in client.get(f"{PAGE}?page=2").text


def test_private_entries_are_on_no_board(
    client: TestClient, there: placed.Placed, database: Database
) -> None:
    placed.change(database, there.entries["var"], visibility="private")
    assert "var" not in slugs(client)
    assert "The var" not in client.get(PAGE).text


@sqlite
def test_an_answer_is_sent_again_only_when_the_board_has_changed(
    client: TestClient, there: placed.Placed, database: Database
) -> None:
    for address in (BOARD, f"{BOARD}.csv", PAGE, f"{BOARD}/charts/ranking"):
        first = client.get(address)
        tag = first.headers["etag"]
        assert "public" in first.headers["cache-control"]
        again = client.get(address, headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert client.get(f"{address}?sort=name").headers["etag"] != tag
    tags = {a: client.get(a).headers["etag"] for a in (BOARD, PAGE)}
    placed.change(database, there.entries["var"], name="Renamed")
    for address, tag in tags.items():
        answer = client.get(address, headers={"If-None-Match": tag})
        assert answer.status_code == 200
        assert "Renamed" in answer.text


@sqlite
def test_answers_are_packed_only_for_those_who_take_it(
    client: TestClient, there: placed.Placed
) -> None:
    plain = client.get(BOARD, headers={"Accept-Encoding": "identity"})
    small = client.get(BOARD, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert plain.json() == small.json()
    assert "Accept-Encoding" in plain.headers["vary"]


@sqlite
def test_a_new_version_of_a_benchmark_keeps_the_old_board_and_says_what_changed(
    client: TestClient, database: Database, there: placed.Placed
) -> None:
    from leaderboard.tables import Board

    with database.write() as session:
        old = session.get_one(Board, there.board)
        assert old.standings is not None
        rows = [dict(row) for row in old.standings["rows"]]
        rows[0]["summary"] = {"value": 0.5, "low": None, "high": None}
        new = Board(
            benchmark=old.benchmark,
            version=2,
            digest="sha256:" + "1" * 64,
            context=4,
            data=old.data,
            main=True,
            standings=old.standings | {"rows": rows},
        )
        session.add(new)
    assert client.get(BOARD).json()["board"]["version"] == 2
    assert client.get("/api/v1/boards/zapbench-mini@1/4").json()["board"]["version"] == 1
    changes = client.get(f"{BOARD}/changes").json()
    first = changes["entries"][0]
    assert first["difference"] == pytest.approx(0.5 - first["before"]["value"])
    assert "What zapbench-mini@2 changed" in client.get(f"{PAGE}/changes").text
    assert client.get("/api/v1/boards/zapbench-mini@1/4/changes").status_code == 404
