from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, replace

import pytest
from builders import horizon_case, worms_case

from zapeval.errors import InvalidInput, NotFound
from zapeval.scoring.environment import environment
from zapeval.scoring.scorecard import Score, read_scorecard, write_scorecard


@pytest.fixture
def card(tmp_path):
    # One null: the correlation of a constant forecast.
    case = horizon_case()
    values = case.values["test_condition_0"].copy()
    values[:, 1] = 0.5
    return case.with_values(test_condition_0=values).score(tmp_path)[0]


def refuse(name):
    raise AssertionError(f"{name} is no JSON")


def test_scorecard_comes_back_equal(tmp_path, card):
    path = tmp_path / "a.json"
    written = write_scorecard(card, path, {"file": "a.windows.npz", "digest": "blake3:00"})
    assert read_scorecard(path) == written
    assert written == replace(card, sums={"file": "a.windows.npz", "digest": "blake3:00"})
    assert not list(tmp_path.glob("*.part"))


def test_scorecard_without_sums_comes_back_equal(tmp_path, card):
    path = tmp_path / "a.json"
    write_scorecard(card, path, None)
    assert read_scorecard(path) == card


def test_equal_scorecards_are_equal_text(card):
    assert replace(card).to_json() == card.to_json()
    assert replace(card, seconds=1e6).to_json() != card.to_json()


def test_json_has_the_promised_fields(card):
    document = json.loads(card.to_json(), parse_constant=refuse)
    assert document["schema"] == "zapeval.scorecard/1"
    assert {"schema", "benchmark", "data", "predictions", "forecaster", "series"} <= set(document)
    assert {"missing", "partial", "scored_set", "scores", "summary", "sums"} <= set(document)
    assert {"environment", "seconds"} <= set(document)
    assert set(document["benchmark"]) == {
        *("id", "version", "protocol", "context", "digest", "sampled", "summary_steps")
    }
    assert set(document["series"][0]) == {
        *("name", "group", "held_out", "windows", "neurons", "scored", "missing")
    }
    assert set(document["scores"][0]) == {
        *("series", "step", "metric", "value", "low", "high", "undefined")
    }
    assert set(document["summary"]) >= {"metric", "value", "low", "high"}


def test_json_holds_every_step_of_every_row(card):
    rows = [(s["series"], s["step"], s["metric"]) for s in json.loads(card.to_json())["scores"]]
    names = ("condition 0", "condition 1", "condition 2", "average", "pooled")
    assert rows == [
        (name, step, metric)
        for name in names
        for step in range(1, 6)
        for metric in ("mae", "mse", "correlation")
    ]


def test_next_step_card_has_one_row_over_all_positions(tmp_path):
    card, _ = worms_case().score(tmp_path)
    assert {score.step for score in card.scores} == {1}
    assert [s.series for s in card.scores if s.metric == "mse"] == [
        *("worm 0", "worm 1", "worm 2", "average", "average:pair", "pooled")
    ]


def test_csv_holds_each_score_with_its_identity(card):
    rows = list(csv.DictReader(io.StringIO(card.to_csv())))
    assert len(rows) == len(card.scores)
    for row, score in zip(rows, card.scores, strict=True):
        assert row["benchmark"] == "case@1"
        assert row["context"] == "4"
        assert row["predictions"] == card.predictions["digest"]
        assert (row["series"], int(row["step"]), row["metric"]) == (
            *(score.series, score.step, score.metric),
        )
        assert (float(row["value"]) if row["value"] else None) == score.value
        for end in ("low", "high"):
            assert (float(row[end]) if row[end] else None) == getattr(score, end)
        assert int(row["undefined"]) == score.undefined
    assert any(not row["value"] for row in rows)
    assert any(row["low"] for row in rows)


def test_value_finds_a_score_and_names_one_that_is_not_there(card):
    assert card.value("condition 1", 3, "mse") in {s.value for s in card.scores}
    assert card.value("condition 0", 2, "correlation") is None
    with pytest.raises(NotFound, match="no mse of 'condition 9' at step 3"):
        card.value("condition 9", 3, "mse")
    with pytest.raises(NotFound, match="at step 6"):
        card.value("condition 0", 6, "mae")


def test_nan_is_never_written(card):
    broken = replace(card, scores=(Score(series="a", step=1, metric="mae", value=float("nan")),))
    with pytest.raises(ValueError, match="not JSON compliant"):
        broken.to_json()


def test_environment_names_versions_and_machine():
    found = environment()
    assert {"zapeval", "numpy", "numba", "tensorstore", "python", "platform", "cpus"} <= set(found)


def test_absent_scorecard_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="does not exist"):
        read_scorecard(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is no scorecard"),
        ("null", "is no scorecard"),
        ("{}", "is no scorecard"),
        ('{"schema": "zapeval.scorecard/2"}', "expected schema 'zapeval.scorecard/1'"),
        ('{"schema": "zapeval.scorecard/1"}', "does not follow"),
    ],
)
def test_other_files_are_no_scorecards(tmp_path, text, said):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=said):
        read_scorecard(path)


def test_bytes_that_are_no_text_are_no_scorecard(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="is not valid JSON"):
        read_scorecard(path)


@pytest.mark.parametrize("change", ["unknown", "missing", "unknown score", "series"])
def test_scorecard_with_other_fields_is_refused(tmp_path, card, change):
    document = {"schema": "zapeval.scorecard/1"} | asdict(card)
    if change == "unknown":
        document["rank"] = 1
    elif change == "missing":
        del document["scored_set"]
    elif change == "unknown score":
        document["scores"][0]["rank"] = 1
    else:
        document["series"] = [1]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidInput, match="does not follow"):
        read_scorecard(path)
