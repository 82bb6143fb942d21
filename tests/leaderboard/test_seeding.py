import json
import logging
import shutil
from pathlib import Path

import pytest
from queued import user_of
from sqlalchemy import select

from leaderboard.database import Database
from leaderboard.ranking import standings
from leaderboard.seeding import seed
from leaderboard.settings import Settings
from leaderboard.standings import Standings
from leaderboard.tables import Board, Entry, Result
from submissions.boards import boards_of
from submissions.entries import ENTRIES, check_entries
from submissions.fact_sheet import FactSheet
from submissions.reported import Curve, Reported, Source
from zapeval.benchmarks.catalogue import find_recipe

NAMES = ("persistence", "mean")


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings with two of the packaged entries and a reported one."""
    root = tmp_path / "entries"
    for name in NAMES:
        shutil.copytree(ENTRIES / name, root / name)
    write_reported(root / "published", 0.03)
    return settings.model_copy(update={"entries": root})


def write_reported(folder: Path, value: float) -> None:
    recipe = find_recipe("zapbench-mini")
    task = recipe.resolve(recipe.recordings())
    numbers = Reported(
        benchmark=task.label,
        source=Source(what="a table", digest="sha256:" + "0" * 64),
        curves=[
            Curve(context=4, seed=seed, series=one.name, metric="mae", values=[value] * task.steps)
            for one in task.series
            for seed in ("1", "2")
        ],
    )
    sheet = FactSheet(
        **{"name": "Published", "authors": ["x"], "training_data": "all", "leakage": "none"},
        **{"future_stimulus": False, "model_per_step": False, "seeds": [1, 2]},
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fact-sheet.toml").write_text(sheet.to_toml())
    (folder / "reported.json").write_text(numbers.to_json())


def rows(database: Database, context: int) -> list[tuple[object, ...]]:
    with database.read() as session:
        query = select(Board).where(Board.context == context, Board.main)
        (board,) = session.scalars(query).all()
        made = Standings.model_validate(standings(session, board))
    return [(row.slug, row.rank, row.mark, row.origin, row.baseline) for row in made.rows]


def test_packaged_entries_stand_on_their_boards(database: Database, settings: Settings) -> None:
    assert seed(database, settings) == 3
    assert settings.entries is not None
    intake = check_entries(settings.entries)
    for expected in boards_of(intake.entries, intake.benchmarks):
        found = rows(database, expected.context)
        assert [one[0] for one in found] == [row.entry for row in expected.rows]
        marks = {row.entry: row.mark for row in expected.rows}
        assert {one[0]: one[2] for one in found} == marks
    assert ("persistence", 1, "", "package", True) in rows(database, 256)
    assert ("published", None, "reported", "reported", False) in rows(database, 4)
    with database.read() as session:
        entries = session.scalars(select(Entry)).all()
    assert all((one.visibility, one.user_id) == ("public", None) for one in entries)


def test_published_numbers_lie_among_the_others_by_value(
    database: Database, settings: Settings
) -> None:
    seed(database, settings)
    with database.read() as session:
        board = session.scalars(select(Board).where(Board.context == 4, Board.main)).one()
        made = standings(session, board)
    values = [row["summary"]["value"] for row in made["rows"]]
    assert values == sorted(values)
    row = next(row for row in made["rows"] if row["mark"] == "reported")
    assert row["summary"]["value"] == pytest.approx(0.03)
    assert (row["seeds"], row["two_se"], row["ranks"]) == (2, 0.0, None)


def test_seeding_again_changes_nothing_and_a_changed_entry_is_a_new_version(
    database: Database, settings: Settings
) -> None:
    seed(database, settings)

    def state() -> list[object]:
        with database.read() as session:
            return [
                *session.execute(select(Result.id, Result.version).order_by(Result.id)).all(),
                *session.execute(select(Board.id, Board.revision).order_by(Board.id)).all(),
            ]

    before = state()
    assert seed(database, settings) == 0
    assert state() == before
    assert settings.entries is not None
    file = settings.entries / "persistence" / "persistence-c4.json"
    card = json.loads(file.read_text())
    card["seconds"] += 1
    file.write_text(json.dumps(card, indent=1) + "\n")
    write_reported(settings.entries / "published", 0.02)
    assert seed(database, settings) == 2
    assert seed(database, settings) == 0
    with database.read() as session:
        query = select(Result.version).join(Entry).where(Entry.slug == "persistence")
        assert sorted(session.scalars(query)) == [1, 1, 2]
        (published,) = session.scalars(select(Entry).where(Entry.slug == "published")).all()
    assert published.reported is not None
    assert published.reported["summary"] == pytest.approx(0.02)


def test_what_is_not_in_order_is_left_out_with_a_word(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    root = settings.entries
    assert root is not None
    (root / "persistence" / "fact-sheet.toml").write_text("name = 3")
    (root / "file").write_text("no folder")
    wrong = root / "mean" / "mean-c4.json"
    card = json.loads(wrong.read_text())
    card["summary"]["value"] /= 2
    wrong.write_text(json.dumps(card))
    shutil.copytree(ENTRIES / "mean", root / "unknown")
    for file in (root / "unknown").glob("*.json"):
        file.write_text(file.read_text().replace('"zapbench-mini"', '"no-such"'))
    with caplog.at_level(logging.WARNING):
        seed(database, settings)
    for name in ("persistence", "file", "mean", "unknown"):
        assert f"entry {name}: left out" in caplog.text
    with database.read() as session:
        assert "published" in set(session.scalars(select(Entry.slug)))
        assert not {"persistence", "unknown"} & set(session.scalars(select(Entry.slug)))


def test_a_folder_that_is_not_there_stops_nothing(
    database: Database, settings: Settings, tmp_path: Path
) -> None:
    assert seed(database, settings.model_copy(update={"entries": tmp_path / "none"})) == 0


def test_somebodys_entry_is_not_taken_over(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    seed(database, settings)
    ann = user_of(database, "ann")
    with database.write() as session:
        for entry in session.scalars(select(Entry).where(Entry.slug == "mean")):
            entry.user_id, entry.origin = ann, "submission"
    with caplog.at_level(logging.WARNING):
        seed(database, settings)
    assert "somebody has submitted" in caplog.text
    with database.read() as session:
        (entry, *_) = session.scalars(select(Entry).where(Entry.slug == "mean")).all()
    assert entry.user_id == ann
