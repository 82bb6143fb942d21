import json
from pathlib import Path
from typing import Any

import pytest
from queued import manifest_of, queue, scored, user_of, write_store
from sqlalchemy import select

from leaderboard.database import Database
from leaderboard.keys import signing_key
from leaderboard.outcomes import (
    Changed,
    Outcome,
    Taken,
    accept,
    read_outcome,
    require_of,
    result_of,
    touch,
)
from leaderboard.ranking import standings
from leaderboard.settings import Settings
from leaderboard.standings import Standings
from leaderboard.states import locked
from leaderboard.tables import Board, Entry, Job, Result, Submission
from zapeval.errors import ZapevalError
from zapeval.reports.comparison import compare
from zapeval.reports.entries import read_entries


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Stores and what scoring them left, by name; the noisier the worse."""
    root = tmp_path_factory.mktemp("outcomes")
    made: dict[str, tuple[Path, Path]] = {}
    for name, seed, noise in (
        ("one", 1, 0.01),
        ("two", 2, 0.01),
        ("plain", None, 0.02),
        ("worse", None, 0.05),
    ):
        # Seeds 1 and 2 are of one forecaster.
        called = "mine" if seed else name
        # The smaller benchmark has too few windows for intervals.
        store = write_store(
            root / f"{name}.zarr",
            benchmark="zapbench-mini",
            name=called,
            seed=seed,
            rng=seed or 9,
            noise=noise,
        )
        made[name] = (store, scored(store, root / name))
    return made


Folders = dict[str, tuple[Path, Path]]


def accepted(
    database: Database,
    settings: Settings,
    folders: Folders,
    which: str,
    *,
    user: str,
    name: str = "mine",
    sheet: dict[str, Any] | None = None,
    outcome: Outcome | None = None,
) -> Result:
    """Accepts an outcome for a new submission."""
    store, folder = folders[which]
    one = queue(database, settings, user, store, name=name, sheet=sheet, copied=False)
    made = outcome or read_outcome(folder, signing_key(settings))
    with database.write() as session:
        submission = locked(session, one)
        assert submission is not None
        require_of(made, submission, submission.digest)
        result = accept(session, submission, made)
        session.flush()
        _ = result.entry.slug
    return result


def public(database: Database) -> None:
    with database.write() as session:
        for entry in session.scalars(select(Entry)):
            entry.visibility = "public"


def ranked(database: Database) -> tuple[dict[str, Any], Board]:
    with database.read() as session:
        board = session.scalars(select(Board)).one()
        made = standings(session, board)
    Standings.model_validate(made)
    json.dumps(made, allow_nan=False)
    return made, board


def test_a_seed_joins_the_version_and_anything_else_is_the_next(
    database: Database, settings: Settings, folders: Folders
) -> None:
    ann = user_of(database, "ann")
    versions = [
        accepted(database, settings, folders, which, user=ann).version
        for which in ("one", "two", "one", "two", "plain", "plain")
    ]
    # A seed that is there already begins a version; so does another forecaster, or no seed.
    assert versions == [1, 1, 2, 2, 3, 4]
    with database.read() as session:
        (entry,) = session.scalars(select(Entry)).all()
        assert entry.visibility == "private"
        (board,) = session.scalars(select(Board)).all()
        assert board.main and board.revision == 7
        assert len(session.scalars(select(Job).where(Job.kind == "rank")).all()) == 1


def test_a_seed_with_another_fact_sheet_is_another_version(
    database: Database, settings: Settings, folders: Folders
) -> None:
    ann = user_of(database, "ann")
    said = {"name": "Mine", "authors": ["x"], "future_stimulus": True, "seeds": [1]}
    first = accepted(database, settings, folders, "one", user=ann, sheet=said)
    other = said | {"seeds": [2], "cost": {"parameters": 3}}
    assert accepted(database, settings, folders, "two", user=ann, sheet=other).version == 1
    changed = said | {"future_stimulus": False}
    assert accepted(database, settings, folders, "two", user=ann, sheet=changed).version == 2
    with database.read() as session:
        entry = session.get_one(Entry, first.entry_id)
    assert (entry.name, entry.fact_sheet["future_stimulus"]) == ("Mine", False)


def test_a_name_belongs_to_whoever_was_first(
    database: Database, settings: Settings, folders: Folders
) -> None:
    accepted(database, settings, folders, "one", user=user_of(database, "ann"))
    bob = user_of(database, "bob")
    with pytest.raises(Taken, match="another name"):
        accepted(database, settings, folders, "plain", user=bob)
    accepted(database, settings, folders, "plain", user=bob, name="bobs")


def test_nothing_joins_an_entry_that_was_withdrawn(
    database: Database, settings: Settings, folders: Folders
) -> None:
    ann = user_of(database, "ann")
    accepted(database, settings, folders, "one", user=ann)
    with database.write() as session:
        session.scalars(select(Entry)).one().visibility = "withdrawn"
    with pytest.raises(Taken, match="was withdrawn meanwhile"):
        accepted(database, settings, folders, "two", user=ann)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_another_recording_does_not_take_a_board_over(
    database: Database, settings: Settings, folders: Folders
) -> None:
    ann = user_of(database, "ann")
    first = accepted(database, settings, folders, "one", user=ann)
    with database.write() as session:
        board = session.get_one(Board, first.entry.board_id)
        board.data = "blake3:" + "0" * 64
    with pytest.raises(Changed, match="--rescore"):
        accepted(database, settings, folders, "plain", user=ann, name="other")
    with database.read() as session:
        assert [one.main for one in session.scalars(select(Board))] == [True]
    # What only others have scored gives way.
    with database.write() as session:
        for result in session.scalars(select(Result)):
            result.submission_id = None
    accepted(database, settings, folders, "plain", user=ann, name="other")
    with database.read() as session:
        assert sorted(one.main for one in session.scalars(select(Board))) == [False, True]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("findings.json", '[{"kind": "x", "severity": "high", "message": "m"}]'),
        ("findings.json", '[{"kind": "x", "severity": "y", "message": "m", "evidence": {}}]'),
        ("findings.json", '{"a": NaN}'),
        ("maps.json", '{"metric": "mae"}'),
        ("maps.json", "[" * 5000),
        ("scorecard.json", "{}"),
        ("scorecard.json", '{"schema": "zapeval.scorecard/1"}'),
    ],
)
def test_what_a_child_leaves_is_read_as_a_strangers(
    folders: Folders, settings: Settings, tmp_path: Path, name: str, text: str
) -> None:
    for file in folders["one"][1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    key = signing_key(settings)
    read_outcome(tmp_path, key)
    (tmp_path / name).write_text(text)
    with pytest.raises(ZapevalError):
        read_outcome(tmp_path, key)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_an_outcome_with_other_sums_or_through_a_link_is_refused(
    folders: Folders, settings: Settings, tmp_path: Path
) -> None:
    source = folders["one"][1]
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    key = signing_key(settings)
    other = folders["two"][1] / "scorecard.windows.npz"
    (tmp_path / "scorecard.windows.npz").write_bytes(other.read_bytes())
    with pytest.raises(ZapevalError, match="digest"):
        read_outcome(tmp_path, key)
    (tmp_path / "scorecard.json").unlink()
    (tmp_path / "scorecard.json").symlink_to(source / "scorecard.json")
    with pytest.raises(ZapevalError, match="link"):
        read_outcome(tmp_path, key)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_an_outcome_of_other_predictions_is_refused(
    database: Database, settings: Settings, folders: Folders
) -> None:
    made = read_outcome(folders["plain"][1], signing_key(settings))
    with pytest.raises(ZapevalError, match="something else"):
        accepted(database, settings, folders, "one", user=user_of(database, "ann"), outcome=made)


def test_standings_are_those_of_the_comparison(
    database: Database, settings: Settings, folders: Folders, tmp_path: Path
) -> None:
    ann = user_of(database, "ann")
    for which, name in (("one", "mine"), ("two", "mine"), ("plain", "plain"), ("worse", "worse")):
        accepted(database, settings, folders, which, user=ann, name=name)
    public(database)
    made, board = ranked(database)
    assert (made["revision"], made["metric"]) == (board.revision, "mae")
    files = []
    for which in folders:
        own = tmp_path / which
        own.mkdir()
        for file in folders[which][1].glob("scorecard*"):
            (own / file.name).write_bytes(file.read_bytes())
        files.append(own / "scorecard.json")
    expected = compare(read_entries(files))
    assert [row["slug"] for row in made["rows"]] == ["mine", "plain", "worse"]
    for row, known in zip(made["rows"], expected.rows, strict=True):
        assert known.ranks is not None
        assert row["rank"] == known.rank
        assert row["ranks"] == [known.ranks.low, known.ranks.high]
        assert (row["group"], row["seeds"]) == (known.group, len(known.entry.kept))
        assert row["two_se"] == known.over_seeds
        assert row["summary"]["value"] == pytest.approx(known.score.value, rel=1e-12)
    assert len(made["pairs"]) == len(expected.pairs) == 3
    for pair, known_pair in zip(made["pairs"], expected.pairs, strict=True):
        assert pair["difference"] == known_pair.difference
        assert pair["adjusted"] == known_pair.adjusted
    single = made["rows"][1]
    card = json.loads((folders["plain"][1] / "scorecard.json").read_text())
    assert single["summary"] == {key: card["summary"][key] for key in ("value", "low", "high")}
    at_four = next(
        s for s in card["scores"] if (s["series"], s["step"], s["metric"]) == ("average", 4, "mae")
    )
    assert single["by_step"]["4"]["value"] == at_four["value"]


def test_equal_scores_share_a_rank_whoever_came_first(
    database: Database, settings: Settings, folders: Folders
) -> None:
    for name in ("zed", "abe", "mid"):
        accepted(database, settings, folders, "plain", user=user_of(database, name), name=name)
    accepted(database, settings, folders, "worse", user=user_of(database, "w"), name="last")
    public(database)
    rows = ranked(database)[0]["rows"]
    assert [(row["slug"], row["rank"]) for row in rows] == [
        ("abe", 1),
        ("mid", 1),
        ("zed", 1),
        ("last", 4),
    ]
    assert [row["ranks"] for row in rows[:3]] == [[1, 3]] * 3


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_what_is_private_withdrawn_or_partial_is_not_ranked(
    database: Database, settings: Settings, folders: Folders
) -> None:
    names = ("public", "private", "withdrawn", "partial")
    made = {
        name: accepted(
            database, settings, folders, "plain", user=user_of(database, name), name=name
        )
        for name in names
    }
    with database.write() as session:
        for name, result in made.items():
            entry = session.get_one(Entry, result.entry_id)
            entry.visibility = name if name != "partial" else "public"
        row = session.get_one(Result, made["partial"].id)
        card = json.loads(row.card)
        card["partial"] = row.partial = True
        row.card = json.dumps(card)
    rows = ranked(database)[0]["rows"]
    assert [(row["slug"], row["rank"], row["mark"]) for row in rows] == [
        ("public", 1, ""),
        ("partial", None, "partial"),
    ]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_card_without_sums_is_ranked_and_not_compared(
    database: Database, settings: Settings, folders: Folders
) -> None:
    ann = user_of(database, "ann")
    for which in ("one", "plain", "worse"):
        accepted(database, settings, folders, which, user=ann, name=which)
    with database.write() as session:
        for result in session.scalars(select(Result)):
            if result.entry.slug == "plain":
                result.sums = None
    public(database)
    made, _ = ranked(database)
    assert [row["rank"] for row in made["rows"]] == [1, 2, 3]
    assert [row["ranks"] is None for row in made["rows"]] == [False, True, False]
    assert "plain" in made["reason"]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_an_empty_board_has_standings(database: Database) -> None:
    with database.write() as session:
        board = Board(benchmark="b", version=1, digest="d", context=4, data="x")
        session.add(board)
        session.flush()
        touch(session, board.id)
        touch(session, board.id)
    made, found = ranked(database)
    assert (made["rows"], made["pairs"], found.revision) == ([], [], 3)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_result_says_what_its_scorecard_says(settings: Settings, folders: Folders) -> None:
    outcome = read_outcome(folders["one"][1], signing_key(settings))
    row = result_of(outcome, "entry", 3)
    card = json.loads(row.card)
    assert (row.seed, row.version, row.submission_id) == ("1", 3, None)
    assert (row.summary, row.low, row.high) == tuple(
        card["summary"][key] for key in ("value", "low", "high")
    )
    assert row.predictions == card["predictions"]["digest"]
    assert card["forecaster"]["name"] == manifest_of(folders["one"][0])["forecaster"]["name"]


def test_submissions_of_one_name_share_an_entry(
    database: Database, settings: Settings, folders: Folders
) -> None:
    ann = user_of(database, "ann")
    first = accepted(database, settings, folders, "one", user=ann)
    second = accepted(database, settings, folders, "plain", user=ann)
    assert first.entry_id == second.entry_id
    with database.read() as session:
        found = session.scalars(select(Submission.entry_id)).all()
    assert set(found) == {first.entry_id}
