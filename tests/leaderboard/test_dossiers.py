"""Entries through HTTP: scores as they were scored, and nothing to whoever may not see it."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import placed
import pytest
from starlette.testclient import TestClient

from leaderboard.database import Database
from leaderboard.outcomes import result_of
from leaderboard.tables import Entry, Result

sqlite = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture
def there(database: Database) -> placed.Placed:
    found = placed.place(database, ("persistence", "var"))
    placed.rank(database, found.board)
    return found


def api(placed_entry: str) -> str:
    return f"/api/v1/entries/{placed_entry}"


def test_an_entry_shows_the_scores_of_its_card(client: TestClient, there: placed.Placed) -> None:
    card = placed.outcome_of("var").card.card
    view = client.get(api(there.entries["var"])).json()
    assert view["standing"]["rank"] == 1
    for row in view["scores"]:
        for step, number in row["steps"].items():
            assert number["value"] == card.value(row["series"], int(step), "mae")
    table = list(csv.DictReader(io.StringIO(client.get(f"{api('id-of-var')}.csv").text)))
    assert float(table[0]["step_1"]) == card.value("gain", 1, "mae")
    assert [row["series"] for row in table][-1] == "average"


@sqlite
def test_every_score_can_be_had_of_every_metric(client: TestClient, there: placed.Placed) -> None:
    card = placed.outcome_of("var").card.card
    found = client.get(f"{api('id-of-var')}/scores").json()["scores"]
    said = {(s["series"], s["step"], s["metric"]): s["value"] for s in found}
    known = {(s.series, s.step, s.metric): s.value for s in card.scores if s.series != "pooled"}
    assert said == known
    rows = list(csv.DictReader(io.StringIO(client.get(f"{api('id-of-var')}/scores.csv").text)))
    assert len(rows) == len(found)


@sqlite
def test_seeds_are_averaged_and_versions_kept(
    client: TestClient, there: placed.Placed, database: Database
) -> None:
    entry_id = there.entries["var"]
    with database.write() as session:
        for seed, slug in (("0", "var"), ("10", "linear"), ("2", "mean")):
            result = result_of(placed.outcome_of(slug), entry_id, 2)
            result.seed = seed
            session.add(result)
    placed.change(database, entry_id)
    view = client.get(api(entry_id)).json()
    assert view["version"] == 2
    assert [result["seed"] for result in view["results"]] == ["0", "2", "10"]
    cards = [placed.outcome_of(slug).card.card for slug in ("var", "linear", "mean")]
    expected = np.mean([card.value("dots", 8, "mse") for card in cards])
    mse = client.get(f"{api(entry_id)}?metric=mse").json()
    dots = next(row for row in mse["scores"] if row["series"] == "dots")
    assert dots["steps"]["8"]["value"] == pytest.approx(expected, rel=1e-12)
    first = client.get(f"{api(entry_id)}?version=1").json()
    assert len(first["results"]) == 1
    assert "not the newest" in client.get(f"/entries/{entry_id}?version=1").text
    for query in ("?version=3", "?version=x", "?metric=nothing", "?nothing=1"):
        assert client.get(f"{api(entry_id)}{query}").status_code == 422


@sqlite
def test_downloads_are_the_bytes_that_were_kept(
    client: TestClient, there: placed.Placed, database: Database
) -> None:
    outcome = placed.outcome_of("var")
    at = f"{api('id-of-var')}/results/{placed.result_id(database, 'id-of-var')}"
    card = client.get(f"{at}/scorecard.json")
    assert card.text == outcome.text
    assert card.headers["content-disposition"].startswith("attachment")
    sums = client.get(f"{at}/windows.npz")
    assert sums.content == outcome.sums
    assert json.loads(outcome.text)["sums"]["file"] in sums.headers["content-disposition"]
    assert client.get(f"{at}/receipt.json").status_code == 404
    # A result is found below its own entry alone.
    other = f"{api('id-of-persistence')}/results/{placed.result_id(database, 'id-of-var')}"
    assert client.get(f"{other}/scorecard.json").status_code == 404


ADDRESSES = (
    "/api/v1/entries/{id}",
    "/api/v1/entries/{id}.csv",
    "/api/v1/entries/{id}/scores",
    "/api/v1/entries/{id}/scores.csv",
    "/api/v1/entries/{id}/charts/steps",
    "/api/v1/entries/{id}/fact-sheet.toml",
    "/api/v1/entries/{id}/results/{result}/scorecard.json",
    "/api/v1/entries/{id}/results/{result}/windows.npz",
    "/entries/{id}",
    "/api/v1/compare?entries={id},id-of-persistence",
    "/compare?entries={id},id-of-persistence",
)


def test_a_private_entry_is_its_owners_and_admins_alone(
    client: TestClient, database: Database, member, other, admin
) -> None:
    found = placed.place(database, ("persistence", "var"))
    placed.change(database, "id-of-var", visibility="private", user_id=member.user_id)
    names = {"id": found.entries["var"], "result": placed.result_id(database, "id-of-var")}
    for address in ADDRESSES:
        at = address.format(**names)
        assert client.get(at).status_code == 404, at
        assert client.get(at, headers=other.headers).status_code == 404, at
        for person in (member, admin):
            answer = client.get(at, headers=person.headers)
            assert answer.status_code == 200, (at, answer.text)
            assert "private" in answer.headers["cache-control"], at
        # What the owner was sent is not kept for anybody else.
        assert client.get(at).status_code == 404, at


@sqlite
def test_a_withdrawn_entry_leaves_a_tombstone_and_no_numbers(
    client: TestClient, there: placed.Placed, database: Database
) -> None:
    card = client.get("/api/v1/entries/id-of-var").json()
    placed.change(database, "id-of-var", visibility="withdrawn", withdrawn="It saw the test.")
    view = client.get("/api/v1/entries/id-of-var").json()
    assert view["withdrawn"] == "It saw the test."
    assert (view["scores"], view["results"], view["standing"]) == ([], [], None)
    result = card["results"][0]["id"]
    at = f"/api/v1/entries/id-of-var/results/{result}/scorecard.json"
    assert client.get(at).status_code == 404
    assert "It saw the test." in client.get("/entries/id-of-var").text
    # One that nobody ever saw leaves nothing.
    placed.change(database, "id-of-var", published=None)
    assert client.get("/api/v1/entries/id-of-var").status_code == 404


@sqlite
def test_reported_numbers_are_shown_as_such_and_never_ranked(
    client: TestClient, there: placed.Placed, database: Database
) -> None:
    reported = {
        "metric": "mae",
        "steps": [1, 4],
        "summary": 0.01,
        "two_se": None,
        "seeds": 2,
        "by_step": {"1": 0.01, "4": 0.02},
        "average": None,
        "held_out": None,
        "source": {"what": "table 2", "digest": "sha256:" + "0" * 64},
        "curves": [
            {"context": 4, "seed": s, "series": "gain", "metric": "mae", "values": [v, 0.5]}
            for s, v in (("0", 0.1), ("1", 0.3))
        ],
    }
    with database.write() as session:
        entry = session.get_one(Entry, "id-of-var")
        for result in session.query(Result).filter_by(entry_id=entry.id):
            session.delete(result)
    placed.change(database, "id-of-var", origin="reported", reported=reported)
    view = client.get("/api/v1/entries/id-of-var").json()
    assert view["standing"]["rank"] is None
    assert view["standing"]["mark"] == "reported"
    gain = view["scores"][0]
    assert gain["steps"]["1"]["value"] == pytest.approx(0.2)
    page = client.get("/entries/id-of-var").text
    assert "reported, not scored here: table 2" in page
    compared = client.get("/api/v1/compare?entries=id-of-var,id-of-persistence")
    assert compared.status_code == 422
    assert "reported" in compared.json()["detail"]


@sqlite
def test_the_fact_sheet_comes_back_as_it_was_said(client: TestClient, there: placed.Placed) -> None:
    import tomllib

    said = tomllib.loads(client.get("/api/v1/entries/id-of-var/fact-sheet.toml").text)
    assert said["authors"] == placed.SHEET["authors"]
    assert said["cost"]["parameters"] == placed.SHEET["cost"]["parameters"]
