from __future__ import annotations

import io
import json
import math
import os
import shutil
import zipfile

import numpy as np
import pytest
from submitted import benchmark, change, write_card, write_entry, write_sheet

from submissions.boards import board_lines, boards_of
from submissions.card import read_card, read_plain
from submissions.entries import ENTRIES, check_entries, read_entries
from submissions.reported import read_reported
from zapeval.errors import InvalidInput
from zapeval.scoring.scorecard import read_scorecard


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A folder of two entries, nothing wrong; copied, never changed."""
    root = tmp_path_factory.mktemp("clean")
    write_entry(root / "one", 1)
    write_entry(root / "two", 2)
    return root


@pytest.fixture
def root(clean, tmp_path):
    return shutil.copytree(clean, tmp_path / "entries")


def findings(root):
    return check_entries(root).findings


def card(root):
    return root / "one" / "card.json"


def row(document, series, step, metric):
    return next(
        one
        for one in document["scores"]
        if (one["series"], one["step"], one["metric"]) == (series, step, metric)
    )


def test_entries_with_nothing_wrong_have_no_finding(root):
    intake = check_entries(root)
    assert intake.findings == ()
    assert [entry.name for entry in intake.entries] == ["one", "two"]
    assert set(intake.benchmarks) == {"zapbench-smoke@0"}


def test_the_entries_that_come_along_have_no_finding():
    assert findings(ENTRIES) == ()


def test_a_card_is_read_as_the_scorer_wrote_it(root):
    assert read_plain(card(root)) == read_scorecard(card(root))


def test_intervals_are_those_that_the_sums_make(tmp_path):
    task = benchmark("zapbench-mini")
    write_entry(tmp_path / "mini", 3, task=task)
    assert findings(tmp_path) == ()
    found = read_card(tmp_path / "mini/card.json")[0]
    assert found.card.summary.low is not None

    def narrow(document):
        summary = document["summary"]
        summary["low"] = (summary["low"] + summary["value"]) / 2

    change(tmp_path / "mini/card.json", narrow)
    (finding,) = findings(tmp_path)
    assert "mini/card.json: summary: its interval is" in finding
    assert "but the kept sums make it" in finding


def scaled(series, step, metric):
    def edit(document):
        row(document, series, step, metric)["value"] *= 0.999

    return edit


def put(value, *path):
    def edit(document):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = value

    return edit


def dropped(document):
    document["scores"] = [one for one in document["scores"] if one["step"] != 7]


def doubled(document):
    document["scores"].append(document["scores"][0])


def extra(document):
    document["scores"].append(document["scores"][0] | {"step": 33})


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (scaled("gain", 3, "mae"), "mae of gain at step 3 is"),
        (scaled("taxis", 32, "mse"), "mse of taxis at step 32 is"),
        (scaled("average", 1, "mae"), "mae of average at step 1 is"),
        (scaled("pooled", 1, "correlation"), "correlation of pooled at step 1 is"),
        (put(0.001, "summary", "value"), "summary is mae 0.001, but its parts make it"),
        (put(None, "summary", "value"), "summary is mae None, but its parts make it"),
        (put("mse", "summary", "metric"), "summary is mse"),
        (put(-0.1, "scores", 0, "value"), "mae of gain at step 1 is -0.1, expected 0 to inf"),
        (put(1.5, "scores", 2, "value"), "correlation of gain at step 1 is 1.5, expected -1 to 1"),
        (put(0.0, "scores", 1, "value"), "less than its mae squared"),
        (put(-1, "scores", 2, "undefined"), "undefined is -1"),
        (put(0.5, "summary", "low"), "summary: has half an interval"),
        (dropped, "scores are missing, mae of gain at step 7 among them"),
        (doubled, "a score stands twice"),
        (extra, "mae of gain at step 33 is no score of zapbench-smoke@0"),
        (put("sha256:" + "0" * 64, "benchmark", "digest"), "is not that of zapbench-smoke@0"),
        (put(257, "benchmark", "context"), "context 257 exceeds 256 frames"),
        (put("zapbench-none", "benchmark", "id"), "'zapbench-none': is not registered"),
        (put(9, "benchmark", "version"), "known version: zapbench-smoke@0"),
        (put("../x", "benchmark", "id"), "id: String should match pattern"),
        (put("Gain", "series", 0, "name"), "series are not those of zapbench-smoke@0"),
        (put(99, "series", 0, "windows"), "series are not those of zapbench-smoke@0"),
        (put(0, "series", 0, "scored"), "gain: scored 0 and missing 0 of 3"),
        (put("blake3:" + "0" * 64, "sums", "digest"), "but sums.digest of card.json is"),
        (put("../two/card.windows.npz", "sums", "file"), "sums.file is '../two/card.windows.npz'"),
        (put("blake3:no", "data", "digest"), "digest: String should match pattern"),
        (put("1", "scores", 0, "step"), "scores.0.step: Input should be a valid integer"),
        (put("0.1", "scores", 0, "value"), "scores.0.value: Input should be a valid number"),
        (put(1, "scores", 0, "rank"), "scores: 'rank' is no key"),
        (put(1, "rank"), "'rank' is no key"),
        (put("zapeval.scorecard/9", "schema"), "expected schema 'zapeval.scorecard/1'"),
        (put([], "summary"), "summary: "),
        (put("next-step", "benchmark", "protocol"), "benchmark.protocol is 'next-step', but that"),
        (put("series", "benchmark", "sampled"), "benchmark.sampled is 'series', but that of"),
        (put("magic", "intervals", "method"), "intervals.method is 'magic', which this version"),
        (put("loud", "missing"), "missing is 'loud', expected 'strict' or 'official'"),
        (put(-1.0, "seconds"), "seconds is -1.0, expected 0 or more"),
        (put({}, "benchmark"), "id: Field required"),
        (put(7, "forecaster", "seed"), "seeds are none, but its numbers are of 7"),
    ],
)
def test_a_tampered_card_is_found(root, edit, says):
    change(card(root), edit)
    found = findings(root)
    assert any(says in finding for finding in found), found
    assert all(str(root / "one") in finding for finding in found)


def test_sums_that_are_changed_are_found_even_with_a_fresh_digest(root):
    import blake3

    path = root / "one/card.windows.npz"
    with np.load(path) as arrays:
        values = dict(arrays)
    values["gain/absolute"] = values["gain/absolute"] * 0.5
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **values)
    path.write_bytes(buffer.getvalue())
    assert "has digest" in findings(root)[0]
    digest = "blake3:" + blake3.blake3(path.read_bytes()).hexdigest()
    change(card(root), put(digest, "sums", "digest"))
    assert "mae of gain at step 1 is" in findings(root)[0]


def with_sums(root, arrays=None, data=None):
    """Replaces the sums of an entry, with the digest that fits."""
    import blake3

    if data is None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        data = buffer.getvalue()
    (root / "one/card.windows.npz").write_bytes(data)
    change(card(root), put("blake3:" + blake3.blake3(data).hexdigest(), "sums", "digest"))
    return findings(root)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("gain/absolute", np.zeros((2, 32)), "gain/absolute is float64 [2, 32]"),
        ("gain/counts", np.zeros(32, int), "gain/counts holds other than counts from 1"),
        ("gain/squared", np.full((4, 32), np.nan), "gain/squared holds other than finite numbers"),
        ("gain/absolute", np.full((4, 32), -1.0), "gain/absolute holds other than finite numbers"),
        ("gain/origins", np.arange(4), "gain/origins are not the windows of zapbench-smoke@0"),
        ("gain/counts", np.ones(32), "gain/counts is float64 [32]"),
        ("gain/counts", None, "kept sums lack gain/counts"),
    ],
)
def test_sums_of_another_form_are_found(root, name, value, says):
    with np.load(root / "one/card.windows.npz") as arrays:
        values = dict(arrays)
    assert values["gain/absolute"].shape == (4, 32)
    values[name] = value
    if value is None:
        del values[name]
    assert any(says in finding for finding in with_sums(root, values))


def test_an_archive_that_is_none_or_a_bomb_is_refused(root):
    assert "is no archive of plain arrays" in with_sums(root, data=b"PK\x03\x04 nothing")[0]
    objects = np.array([{"a": 1}], dtype=object)
    buffer = io.BytesIO()
    np.savez(buffer, **{"gain/absolute": objects}, allow_pickle=True)
    assert "is no archive of plain arrays" in with_sums(root, data=buffer.getvalue())[0]
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gain/absolute.npy", b"\0" * (65 << 20))
    assert len(bomb.getvalue()) < 1 << 20
    assert "unpacks to more than" in with_sums(root, data=bomb.getvalue())[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"schema": NaN}', "NaN is no JSON value"),
        ('{"schema": 1e999}', "beyond the range"),
        ('{"schema": 1, "schema": 2}', "a name stands twice"),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested deeper than"),
        ("[" * 100_000, "nested deeper than"),
        ("[]", "expected an object"),
        ("{", "is not valid JSON"),
        ('{"schema": "x' + "y" * (1 << 20) + '"}', "bytes"),
        ("null", "expected an object"),
    ],
)
def test_a_hostile_document_is_refused(root, text, says):
    for name in ("card.json", "reported.json"):
        kept = card(root).read_bytes()
        (root / "one" / name).write_text(text)
        found = findings(root)
        assert any(says in one and name in one for one in found), found
        card(root).write_bytes(kept)


def test_a_document_that_is_not_utf8_is_refused(root):
    card(root).write_bytes(b'{"schema": "\xff"}')
    assert "is not valid JSON" in findings(root)[0]


def test_links_folders_and_odd_files_are_refused(root, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    for make, says in (
        (lambda: (root / "one/x.json").symlink_to(secret), "one/x.json: is a link, a folder"),
        ((root / "one/x.json").mkdir, "one/x.json: is a link, a folder"),
        (lambda: os.mkfifo(root / "one/x.json"), "one/x.json: is a link, a folder or a device"),
        (lambda: (root / "one/run.py").write_text("1 / 0"), "one/run.py: is no file of an entry"),
        (lambda: (root / "one/x.windows.npz").write_bytes(b""), "has no scorecard beside it"),
        (lambda: (root / "one/a b.json").write_text(""), "is no file of an entry"),
        (lambda: (root / "one/\x1b[2J.json").write_text(""), "is no file of an entry"),
        (
            lambda: (root / "one/big.json").write_bytes(b"0" * (3 << 20)),
            "expected at most 2,097,152",
        ),
        (lambda: (root / "one/card.windows.npz").write_bytes(b"0" * (3 << 20)), "kept sums have"),
    ):
        shutil.rmtree(root / "one")
        write_entry(root / "one", 1)
        make()
        found = findings(root)
        assert any(says in finding for finding in found), (says, found)
        assert all(finding.isprintable() for finding in found)
        assert [entry.name for entry in read_entries(root)[0]] == ["two"]
    assert secret.read_text() == "{}"


def test_a_link_to_an_entry_is_refused(root):
    (root / "three").symlink_to(root / "one")
    (finding,) = findings(root)
    assert "three: is no folder; an entry is one, and no link to one" in finding
    (root / "three").unlink()
    (root / "notes.txt").write_text("x")
    assert "notes.txt" in findings(root)[0]


@pytest.mark.parametrize("name", ["One", "a b", "_a", "-x", "x" * 65, "é", "a.part"])
def test_a_name_that_is_none_is_refused(root, name):
    (root / "one").rename(root / name)
    assert any("is no name of an entry" in finding for finding in findings(root))


def test_an_entry_of_nothing_is_refused(root):
    write_sheet(root / "three/fact-sheet.toml", name="x")
    (root / "four").mkdir()
    found = findings(root)
    assert any("three: has neither a scorecard nor reported.json" in one for one in found)
    assert any("four/fact-sheet.toml: does not exist" in one for one in found)


def test_two_entries_of_one_name_or_of_the_same_predictions_are_found(root):
    write_entry(root / "three", 3, name="model ONE")
    (finding,) = findings(root)
    assert "three: is called 'model ONE', as one is on zapbench-smoke@0, context 4" in finding
    shutil.rmtree(root / "three")
    write_entry(root / "three", 1)
    (finding,) = findings(root)
    assert f"three/card.json: its predictions are those of {root}/one/card.json" in finding


def test_one_name_may_stand_on_two_boards(root):
    write_entry(root / "three", 3, name="Model one", context=256)
    assert findings(root) == ()


def test_predictions_that_ignore_the_context_may_stand_at_two_lengths(root):
    write_card(root / "one/longer.json", 1, context=256)
    assert findings(root) == ()
    write_card(root / "one/again.json", 1, seed=1)
    write_sheet(root / "one/fact-sheet.toml", name="Model one", seeds=[1])
    assert (
        f"one/card.json: its predictions are those of {root}/one/again.json" in findings(root)[-1]
    )


def test_scorecards_of_one_board_are_seeds_of_one_forecaster(root):
    folder = root / "one"
    write_card(folder / "again.json", 5)
    assert any("has several scorecards of seed None" in one for one in findings(root))
    write_card(folder / "again.json", 5, seed=1, forecaster="other")
    assert any("are not seeds of one forecaster" in one for one in findings(root))


def test_everything_is_found_at_once(root):
    change(card(root), put(0.001, "summary", "value"))
    (root / "two/fact-sheet.toml").write_text("x = 1")
    (root / "notes.txt").write_text("")
    found = findings(root)
    for says in ("summary is mae 0.001", "notes.txt", "x: is no key", "authors: is missing"):
        assert any(says in finding for finding in found)


def test_seeds_make_one_row_with_their_mean_and_two_standard_errors(tmp_path):
    folder = tmp_path / "seeded"
    write_sheet(folder / "fact-sheet.toml", seeds=[0, 1, 2])
    values = []
    for seed in range(3):
        path = write_card(folder / f"seed-{seed}.json", seed, seed=seed)
        values.append(json.loads(path.read_text())["summary"]["value"])
    write_entry(tmp_path / "single", 9)
    intake = check_entries(tmp_path)
    assert intake.findings == ()
    (board,) = boards_of(intake.entries, intake.benchmarks)
    rows = {row.entry: row for row in board.rows}
    mean = sum(values) / 3
    spread = 2 * math.sqrt(sum((v - mean) ** 2 for v in values) / 2 / 3)
    assert (rows["seeded"].seeds, rows["single"].spread) == (3, None)
    assert rows["seeded"].summary == pytest.approx(mean, rel=1e-12)
    assert rows["seeded"].spread == pytest.approx(spread, rel=1e-12)
    assert [row.summary for row in board.rows] == sorted(row.summary for row in board.rows)


def test_boards_part_contexts_and_data_and_leave_partial_entries_last(root):
    write_entry(root / "three", 3, context=256)
    write_entry(root / "four", 4)
    change(root / "four/card.json", put("blake3:" + "5" * 64, "data", "digest"))
    change(root / "one/card.json", put(True, "partial"))
    intake = check_entries(root)
    boards = boards_of(intake.entries, intake.benchmarks)
    assert [(b.context, b.data[-1], [r.entry for r in b.rows]) for b in boards] == [
        (4, "0", ["two", "one"]),
        (4, "5", ["four"]),
        (256, "0", ["three"]),
    ]
    lines = list(board_lines(boards[0]))
    assert lines[0].startswith("# zapbench-smoke@0, context 4, data blake3:")
    assert lines[-1].endswith("partial")


def test_check_prints_the_boards_or_every_finding(run, root):
    done = run("entries", "check", root)
    assert (done.code, done.err) == (0, "")
    assert "# zapbench-smoke@0, context 4" in done.out
    assert "# 2 entries, nothing wrong" in done.out
    change(card(root), put(0.001, "summary", "value"))
    (root / "notes.txt").write_text("")
    done = run("entries", "check", root)
    assert (done.code, done.out) == (3, "")
    assert "entries: 2 things are wrong:" in done.err
    assert "notes.txt" in done.err
    assert "summary is mae 0.001" in done.err
    assert run("entries", "check", root / "none").code == 4


def test_list_names_entries_and_boards(run, root):
    done = run("entries", "list", root)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0] == "one  Model one by A. Author; zapbench-smoke@0 C=4"


@pytest.fixture
def made(tmp_path):
    """A fact sheet and two scorecards to add."""
    sheet = write_sheet(tmp_path / "made/sheet.toml", name="Added", seeds=[0, 1])
    cards = [write_card(tmp_path / f"made/seed-{i}.json", 10 + i, seed=i) for i in range(2)]
    return sheet, cards


def adding(run, root, sheet, cards, name="added"):
    return run("entries", "add", name, *cards, "--fact-sheet", sheet, "--to", root)


def test_what_is_added_is_copied_to_the_byte_and_checks(run, root, made):
    sheet, cards = made
    done = adding(run, root, sheet, cards)
    assert (done.code, done.err, done.out) == (0, "", f"{root}/added: 2 scorecards\n")
    for file in (*cards, *(one.with_suffix(".windows.npz") for one in cards)):
        assert (root / "added" / file.name).read_bytes() == file.read_bytes()
    assert (root / "added/fact-sheet.toml").read_bytes() == sheet.read_bytes()
    assert findings(root) == ()
    assert len(list(root.iterdir())) == 3


def test_an_entry_can_be_added_to_a_new_folder(run, tmp_path, made):
    assert adding(run, tmp_path / "new/entries", *made).code == 0
    assert findings(tmp_path / "new/entries") == ()


def test_nothing_is_added_where_something_is_wrong(run, root, made):
    sheet, cards = made
    before = sorted(root.rglob("*"))
    for edit, says in (
        (lambda: write_sheet(sheet, name="Model one", seeds=[0, 1]), "as one is on"),
        (lambda: write_sheet(sheet, name="Added", seeds=[0]), "seeds are 0, but"),
        (lambda: write_card(cards[1], 1, seed=1), "its predictions are those of"),
        (lambda: change(cards[0], put(0.1, "summary", "value")), "summary is mae 0.1"),
        (lambda: cards[0].with_suffix(".windows.npz").unlink(), "are missing; copy them"),
    ):
        write_sheet(sheet, name="Added", seeds=[0, 1])
        for number, path in enumerate(cards):
            write_card(path, 10 + number, seed=number)
        edit()
        done = adding(run, root, sheet, cards)
        assert (done.code, done.out) == (3, "")
        assert says in done.err
        assert ".part" not in done.err
        assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("name", ["../out", "/tmp/x", "a/b", "", "One", "."])
def test_a_name_that_leads_elsewhere_is_refused(run, root, made, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    assert adding(run, root, *made, name=name).code in (2, 3)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_entry_that_exists_is_not_replaced(run, root, made):
    before = card(root).read_bytes()
    done = adding(run, root, *made, name="one")
    assert done.code == 3
    assert "exists; remove it" in done.err
    assert card(root).read_bytes() == before


def test_two_cards_of_one_name_are_refused(run, root, made, tmp_path):
    sheet, cards = made
    other = write_card(tmp_path / "other/seed-0.json", 20, seed=2)
    done = adding(run, root, sheet, [*cards, other])
    assert done.code == 2
    assert "two scorecards are called seed-0.json" in done.err


def test_reported_numbers_that_do_not_fit_are_found(root):
    said = {
        "schema": "zapeval.reported/1",
        "benchmark": "zapbench-smoke@0",
        "source": {"what": "a table", "digest": "sha256:" + "0" * 64},
        "curves": [
            {"context": 4, "seed": "1", "series": "gain", "metric": "mae", "values": [0.1] * 32},
            {"context": 4, "seed": "1", "series": "gain", "metric": "mae", "values": [0.2] * 32},
            {"context": 4, "seed": "1", "series": "none", "metric": "mae", "values": [0.1] * 31},
            {"context": 999, "seed": "1", "series": "dots", "metric": "mse", "values": [0.1] * 32},
        ],
    }
    path = root / "three/reported.json"
    write_sheet(root / "three/fact-sheet.toml", name="R", seeds=[1])
    path.write_text(json.dumps(said))
    found = findings(root)
    for says in ("stands twice", "has no such series", "31 steps, expected 32", "longest context"):
        assert any(says in finding for finding in found)
    for curve in ({"values": [-1.0]}, {"values": []}, {"metric": "rank"}, {"context": 0}, {"x": 1}):
        path.write_text(json.dumps(said | {"curves": [said["curves"][0] | curve]}))
        with pytest.raises(InvalidInput):
            read_reported(path)
