from __future__ import annotations

import json

import pytest
from published import CONTEXT, HORIZON, encoded, rows

from submissions.entries import check_entries
from submissions.entry import read_entry
from submissions.reported import read_reported
from zapeval.benchmarks.zapbench import CONDITIONS, SUMMARY_STEPS


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "combined.json"
    path.write_text(encoded(rows()))
    return path


def write(path, table, **options):
    path.write_text(encoded(table, **options))
    return path


def brought(run, table, out):
    done = run("entries", "import-zapbench", table, "--out", out)
    assert (done.code, done.err) == (0, ""), done
    return done


@pytest.mark.parametrize("orient", ["columns", "records", "split", "index", "table"])
def test_every_value_survives_to_the_last_digit(run, tmp_path, orient):
    path = write(tmp_path / "combined.json", rows(), orient=orient)
    brought(run, path, tmp_path / "entries")
    seen = 0
    for row in rows():
        numbers = cached(tmp_path / "entries" / f"zapbench-{row['method']}" / "reported.json")
        place = (row["context"], str(row["xid"]), row["condition"], row["steps_ahead"])
        assert numbers.value(*place, "mae") == row["MAE"]
        assert numbers.value(*place, "mse") == row["MSE"]
        seen += 2
    total = sum(
        len(curve.values)
        for file in (tmp_path / "entries").glob("*/reported.json")
        for curve in cached(file).curves
    )
    assert seen == total == 2 * len(rows())


def cached(path, _known={}):  # noqa: B006
    if path not in _known:
        _known[path] = read_reported(path)
    return _known[path]


def test_a_number_is_written_as_the_table_writes_it(run, tmp_path):
    changed = [
        row | {"MAE": 0.1 + 0.2 if row["steps_ahead"] == 1 else row["MAE"]} for row in rows()
    ]
    path = write(tmp_path / "combined.json", changed)
    brought(run, path, tmp_path / "entries")
    assert "0.30000000000000004" in (tmp_path / "entries/zapbench-mean/reported.json").read_text()


def test_methods_are_entries_and_runs_are_seeds(run, table, tmp_path):
    done = brought(run, table, tmp_path / "entries")
    assert "C=4, 2 runs; C=256, 1 runs" in done.out
    intake = check_entries(tmp_path / "entries")
    assert intake.findings == ()
    by_name = {entry.name: entry for entry in intake.entries}
    assert set(by_name) == {"zapbench-linear", "zapbench-mean"}
    linear, mean = by_name["zapbench-linear"], by_name["zapbench-mean"]
    assert linear.seeds == ("201", "202", "203")
    assert (mean.reported.seeds(4), mean.reported.seeds(256)) == (("101", "102"), ("103",))
    assert mean.sheet.training_data == "none"
    assert linear.cards == ()


def test_the_board_marks_reported_rows_and_gives_them_no_interval(run, table, tmp_path):
    brought(run, table, tmp_path / "entries")
    done = run("entries", "check", tmp_path / "entries")
    assert (done.code, done.err) == (0, "")
    assert "# zapbench@1, context 4: summary mae" in done.out
    lines = {line.split()[0]: line for line in done.out.splitlines() if line}
    assert lines["zapbench-linear"].endswith("reported")
    trained = [name for name in CONDITIONS if name != "taxis"]
    values = [
        sum(
            row["MAE"]
            for row in rows()
            if (row["method"], row["context"], row["xid"]) == ("linear", CONTEXT, xid)
            and row["condition"] in trained
            and row["steps_ahead"] in SUMMARY_STEPS
        )
        / (len(trained) * len(SUMMARY_STEPS))
        for xid in (201, 202, 203)
    ]
    cells = lines["zapbench-linear"].split()
    assert cells[-5:-3] == [f"{sum(values) / 3:.5f}", "-"]
    assert cells[-3] == "3"


def test_conditions_are_found_by_name_or_index_and_others_left_out(run, tmp_path):
    numbered = [row | {"condition": CONDITIONS.index(row["condition"])} for row in rows()]
    numbered += [row | {"condition": "average"} for row in rows()]
    path = write(tmp_path / "combined.json", numbered)
    done = run("entries", "import-zapbench", path, "--out", tmp_path / "entries")
    assert done.code == 0
    assert done.err == "left out, as the benchmark has no such condition: average\n"
    named = read_reported(tmp_path / "entries/zapbench-linear/reported.json")
    taxis = next(r for r in rows() if r["condition"] == "taxis" and r["method"] == "linear")
    assert named.value(4, "201", "taxis", 1, "mae") == taxis["MAE"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: row | {"steps_ahead": row["steps_ahead"] - 1}, "steps_ahead is 0"),
        (lambda row: row | {"context": None}, "context is None, expected a number from 1"),
        (lambda row: row | {"xid": 7}, "another row of"),
        (lambda row: row | {"method": "../../etc"}, "method is '../../etc', expected a name"),
        (lambda row: row | {"method": 3}, "method is 3, expected a name"),
        (lambda row: row | {"xid": "../x"}, "xid is '../x'"),
        (lambda row: row | {"MAE": -1.0}, "expected a finite number from 0"),
        (lambda row: row | {"MAE": "0.1"}, "expected a finite number from 0"),
        (lambda row: None if row["steps_ahead"] == HORIZON else row, "expected steps 1 to 32 of"),
        (lambda row: row | {"condition": "x"}, "has no row of a known condition"),
        (lambda row: row | {"method": f"m{id(row)}"}, "methods, expected at most 100"),
    ],
)
def test_a_table_that_is_not_whole_is_refused_and_nothing_is_written(run, tmp_path, change, says):
    changed = [new for row in rows() if (new := change(row)) is not None]
    path = write(tmp_path / "combined.json", changed)
    done = run("entries", "import-zapbench", path, "--out", tmp_path / "entries")
    assert (done.code, done.out) == (3, "")
    assert says in done.err
    assert not (tmp_path / "entries").exists()


def test_two_methods_of_one_folder_name_are_refused(run, tmp_path):
    table = [*rows(), *(row | {"method": "Linear"} for row in rows() if row["method"] == "linear")]
    done = run("entries", "import-zapbench", write(tmp_path / "c.json", table), "--out", tmp_path)
    assert (done.code, "make the same folder name" in done.err) == (3, True)


def test_entries_that_exist_are_not_replaced(run, table, tmp_path):
    brought(run, table, tmp_path / "entries")
    before = (tmp_path / "entries/zapbench-mean/reported.json").stat().st_mtime_ns
    done = run("entries", "import-zapbench", table, "--out", tmp_path / "entries")
    assert (done.code, "exists; remove it or choose another folder" in done.err) == (3, True)
    assert (tmp_path / "entries/zapbench-mean/reported.json").stat().st_mtime_ns == before


def test_a_table_that_is_none_is_refused(run, tmp_path):
    for text in ("", "[1]", json.dumps(json.dumps(json.dumps("x"))), "[" * 50_000):
        (tmp_path / "combined.json").write_text(text)
        done = run(
            "entries", "import-zapbench", tmp_path / "combined.json", "--out", tmp_path / "e"
        )
        assert done.code == 3
    assert run("entries", "import-zapbench", tmp_path / "none.json", "--out", tmp_path).code == 4


def test_an_entry_whose_seeds_are_changed_is_found(run, table, tmp_path):
    brought(run, table, tmp_path / "entries")
    sheet = tmp_path / "entries/zapbench-linear/fact-sheet.toml"
    sheet.write_text(sheet.read_text().replace('"203"', '"204"'))
    assert "seeds are 201, 202, 204, but" in read_entry(sheet.parent)[1][0]
