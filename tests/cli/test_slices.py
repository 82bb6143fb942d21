"""What ``zapeval slices`` prints, writes and refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from cli.conftest import tree
from cli.tiny import TOML, Layout, activity, write_array, write_benchmark, write_predictions

TABLE = "name,region,x,y,z\n" + "".join(
    f"n{index},{region},{10 * index},{5 * index % 7},{index % 3}\n"
    for index, region in enumerate(("left", "right", "left", "", "right"))
)


@pytest.fixture
def placed(tmp_path: Path) -> Path:
    """The file of the tiny benchmark, whose recording has a neuron table."""
    folder = tmp_path / "placed"
    file = write_benchmark(folder, TOML.replace("fish.npy", "fish"))
    write_array(folder / "fish" / "traces", activity(), Layout(zarr_format=3, chunk=(16, 3)))
    (folder / "fish" / "neurons.csv").write_text(TABLE)
    return file


@pytest.fixture
def scored(run, placed: Path, tmp_path: Path) -> Path:
    """A folder with maps and the scorecard that was written with them."""
    store, folder = write_predictions(tmp_path / "tide.zarr"), tmp_path / "scored"
    outputs = ("--maps", folder / "tide.zarr", "--json", folder / "tide.json")
    assert run("score", store, "-b", placed, "-c", 2, *outputs, "-q").code == 0
    return folder


def test_the_table_has_groups_and_summary_steps(run, placed, scored):
    done = run("slices", scored / "tide.zarr", "-b", placed)
    assert done.code == 0, done.err
    lines = [line.split() for line in done.out.splitlines() if line and line[0] != "#"]
    assert lines[0][:2] == ["group", "neurons"]
    assert [line[:2] for line in lines[1:]] == [["left", "2"], ["right", "2"], ["all", "5"]]
    card = json.loads((scored / "tide.json").read_text())
    assert float(lines[-1][-1]) == pytest.approx(card["summary"]["value"], abs=1e-5)
    assert "1 of 5 neurons are in no group" in done.out
    assert "no intervals: maps keep" in done.out
    assert "\x1b" not in done.out


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_file_holds_what_is_printed_instead(run, placed, scored, out, form):
    maps = (scored / "tide.zarr", "-b", placed, "--card", scored / "tide.json")
    written = run("slices", *maps, f"--{form}", out / "made")
    printed = run("slices", *maps, f"--{form}", "-")
    assert (written.code, printed.code) == (0, 0), written.err + printed.err
    assert (out / "made").read_text().rstrip("\n") == printed.out.rstrip("\n")
    assert "left" in written.out


def test_files_hold_everything_unless_options_say_which(run, placed, scored, out):
    maps = (scored / "tide.zarr", "-b", placed, "-q", "--json", out / "x.json")
    assert run("slices", *maps).out == ""
    rows = json.loads((out / "x.json").read_text())["rows"]
    assert len(rows) == 3 * 4 * 4 * 3  # groups, series and averages, steps, metrics
    assert run("slices", *maps, "--metric", "mse", "--series", "still").code == 0
    rows = json.loads((out / "x.json").read_text())["rows"]
    assert {(row["metric"], row["series"]) for row in rows} == {("mse", "still")}
    assert len(rows) == 3 * 4


def test_groups_may_come_from_activity_or_a_file(run, placed, scored, out, tmp_path):
    maps = scored / "tide.zarr"
    done = run("slices", maps, "-b", placed, "--by", "activity:2", "--csv", out / "x.csv")
    assert done.code == 0, done.err
    rows = list(csv.DictReader((out / "x.csv").read_text().splitlines()))
    sizes = {row["group"]: row["neurons"] for row in rows}
    assert sizes == {"activity 1 of 2": "3", "activity 2 of 2": "2", "all": "5"}
    (tmp_path / "mine.csv").write_text("neuron,group\nn1,a\n4,b\n")
    done = run("slices", maps, "-b", placed, "--by", tmp_path / "mine.csv")
    assert done.code == 0, done.err
    assert "3 of 5 neurons are in no group" in done.out


def test_refusals_have_their_exit_codes_and_write_nothing(run, placed, scored, out, tmp_path):
    maps = scored / "tide.zarr"
    (tmp_path / "wrong.csv").write_text("neuron,group\nn9,a\n")
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "tiny.toml"
    text = placed.read_text().replace("version = 2", "version = 3")
    other.write_text(
        text.replace('"fish"\nactivity = "fish"', '"fish"\nactivity = "../placed/fish"')
    )
    card = json.loads((scored / "tide.json").read_text())
    for score in card["scores"]:
        score["value"] = 2 * score["value"]
    (tmp_path / "card.json").write_text(json.dumps(card))
    cases = [
        (2, (maps, "-b", placed, "--by", "x"), "expected region, activity:N"),
        (3, (maps, "-b", placed, "--by", tmp_path / "wrong.csv"), "wrong.csv: line 2: neuron 'n9'"),
        (4, (maps, "-b", placed, "--by", out / "none.csv"), "does not exist"),
        (4, (maps,), "give the file with -b"),
        (4, (maps, "-b", placed, "--series", "x"), "known: still, moving"),
        (4, (out / "none.zarr", "-b", placed), "is no folder"),
        (3, (tmp_path / "tide.zarr", "-b", placed), "holds no maps"),
        (5, (maps, "-b", other), "is of tiny@2"),
        (5, (maps, "-b", placed, "--card", tmp_path / "card.json"), "written with the maps"),
    ]
    for code, arguments, said in cases:
        done = run("slices", *arguments, "--json", out / "made.json")
        assert (done.code, done.out) == (code, ""), (arguments, done.err)
        assert said in done.err
    assert tree(out) == {}


def test_outputs_spare_each_other_and_what_is_read(run, placed, scored, out):
    before = tree(scored)
    maps = (scored / "tide.zarr", "-b", placed, "--card", scored / "tide.json")
    for arguments, said in (
        (("--json", "-", "--csv", "-"), "would both write it"),
        (("--json", out / "x", "--csv", out / "x"), "would both write it"),
        (("--json", scored / "tide.json"), "is read"),
        (("--csv", scored / "tide.zarr" / "x.csv"), "which is read"),
        (("--csv", out), "expected a file"),
    ):
        done = run("slices", *maps, *arguments)
        assert done.code == 2
        assert said in done.err
    assert tree(scored) == before
    assert tree(out) == {}
