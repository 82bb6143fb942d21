"""What ``zapeval compare`` prints, writes and refuses."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from cli.conftest import tree
from cli.tiny import write_predictions
from contenders import field, keep, moved, noise
from rich.console import Console

from zapeval.cli.console import fits
from zapeval.reports.comparison import compare
from zapeval.reports.entries import read_entries
from zapeval.reports.standings import standings_table

FIELD = field()
FORMS = ("latex", "markdown", "csv", "json")


@pytest.fixture
def cards(tmp_path: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    base = noise(FIELD, rng)
    return [
        keep(tmp_path / "cards", "a", FIELD, base, name="tide"),
        keep(tmp_path / "cards", "b", FIELD, moved(base, 0.2), name="persistence"),
        keep(tmp_path / "cards", "c", FIELD, noise(FIELD, rng, level=2), name="drift"),
    ]


def test_scorecards_that_score_wrote_are_compared(run, tiny, tmp_path):
    files = []
    for name in ("one", "two"):
        store = write_predictions(tmp_path / name)
        files.append(tmp_path / f"{name}.json")
        assert run("score", store, "-b", tiny, "-c", 2, "--json", files[-1], "-q").code == 0
    done = run("compare", *files, "--json", "-")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    summary = json.loads(files[0].read_text())["summary"]
    for entry in document["entries"]:
        assert entry["value"] == pytest.approx(summary["value"], rel=1e-12)
        assert (entry["rank"], entry["tie_group"]) == (1, 1)
        assert entry["ranks"] == {"low": 1, "high": 2}


def test_the_table_is_plain_where_it_is_no_terminal(run, cards):
    done = run("compare", *cards)
    assert done.code == 0, done.err
    assert "\x1b" not in done.out
    rows = [line.split() for line in done.out.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert "# differences in" not in done.out


def test_pairs_are_shown_on_request(run, cards):
    done = run("compare", *cards, "--pairs")
    assert "# differences in mae of average" in done.out


def test_the_order_of_the_arguments_changes_nothing(run, cards):
    assert run("compare", *cards, "--pairs").out == run("compare", *cards[::-1], "--pairs").out


@pytest.mark.parametrize("form", FORMS)
def test_a_file_holds_what_is_printed_instead(run, cards, out, form):
    file = out / "made"
    written = run("compare", *cards, f"--{form}", file)
    printed = run("compare", *cards, f"--{form}", "-")
    assert (written.code, printed.code) == (0, 0), written.err + printed.err
    assert file.read_text().rstrip("\n") == printed.out.rstrip("\n")
    assert "forecaster" in written.out


def test_quiet_prints_nothing(run, cards, out):
    done = run("compare", *cards, "-q", "--csv", out / "x.csv")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert (out / "x.csv").exists()


def test_a_slice_is_chosen_by_options(run, cards):
    options = ("--series", "series 2", "--step", 3, "--metric", "mse", "--baseline", "drift")
    document = json.loads(run("compare", *cards, *options, "--json", "-").out)
    assert document["slice"] == {"metric": "mse", "series": "series 2", "steps": [3]}
    assert document["baseline"] == "drift"


def test_refusals_have_their_exit_codes_and_write_nothing(run, cards, out, tmp_path):
    other = keep(
        tmp_path / "other", "x", field(context=8), noise(field(), np.random.default_rng(1))
    )
    bare = json.loads(cards[0].read_text()) | {"sums": None}
    (out.parent / "bare.json").write_text(json.dumps(bare))
    (out.parent / "broken.json").write_text("{")
    cases = [
        (5, (cards[0], other), "differ in"),
        (5, (cards[0], out.parent / "bare.json"), "keeps no sums"),
        (3, (cards[0], out.parent / "broken.json"), "not valid JSON"),
        (4, (cards[0], out / "none.json"), "does not exist"),
        (4, (*cards, "--baseline", "x"), "known: drift, persistence, tide"),
        (4, (*cards, "--series", "x"), "known: average"),
        (2, (*cards, "--step", 9), "expected 1 to 4"),
        (2, (cards[0],), "two or more"),
        (2, (cards[0], cards[0]), "given 2 times"),
    ]
    for code, arguments, said in cases:
        done = run("compare", *arguments, "--json", out / "made.json")
        assert (done.code, done.out) == (code, ""), arguments
        assert said in done.err
    assert tree(out) == {}


def test_outputs_spare_each_other_and_what_is_read(run, cards, out):
    before = tree(cards[0].parent)
    for arguments, said in (
        (("--json", "-", "--csv", "-"), "would both write it"),
        (("--json", out / "x", "--csv", out / "x"), "would both write it"),
        (("--json", cards[1]), "is read"),
        (("--csv", cards[1].with_suffix(".windows.npz")), "is read"),
        (("--csv", out), "expected a file"),
    ):
        done = run("compare", *cards, *arguments)
        assert done.code == 2
        assert said in done.err
    assert tree(cards[0].parent) == before
    assert tree(out) == {}


NAMES = ("average", "by_step", "cost", "ranking", "skill")


def test_figures_are_drawn_in_every_form(run, out, tmp_path):
    rng = np.random.default_rng(0)
    files = [
        keep(tmp_path / "cards", "a", FIELD, noise(FIELD, rng), name="persistence"),
        keep(
            tmp_path / "cards",
            "b",
            FIELD,
            noise(FIELD, rng, level=2),
            name="<script>",
            cost={"training_seconds": 2.5},
        ),
    ]
    done = run("compare", *files, "--figures", out / "new" / "figures")
    assert done.code == 0, done.err
    assert (done.err, "<script>" in done.out) == ("", True)
    assert sorted(path.name for path in (out / "new" / "figures").iterdir()) == sorted(
        f"{name}.{ending}" for name in NAMES for ending in ("png", "pdf", "vl.json")
    )
    chart = json.loads((out / "new" / "figures" / "ranking.vl.json").read_text())
    table = json.loads(run("compare", *files, "--json", "-").out)
    assert [row["value"] for row in chart["datasets"]["rows"]] == [
        entry["value"] for entry in table["entries"]
    ]


def test_a_figure_that_there_is_nothing_for_is_said(run, cards, out):
    done = run("compare", cards[0], cards[2], "--figures", out / "figures")
    assert done.code == 0
    assert "no figure of skill" in done.err
    assert "no figure of cost" in done.err
    quiet = run("compare", cards[0], cards[2], "--figures", out / "figures", "-q")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")


@pytest.mark.parametrize("absent", ["matplotlib", "altair"])
def test_without_what_draws_nothing_is_read(run, out, monkeypatch, absent):
    monkeypatch.setitem(sys.modules, absent, None)
    done = run("compare", "none.json", "neither.json", "--figures", out / "figures")
    assert done.code == 2
    assert f'need {absent}; pip install "zapeval[figures]"' in " ".join(done.err.split())
    assert tree(out) == {}


def test_figures_spare_files_and_leave_none_half_written(run, cards, out):
    taken = out / "taken"
    taken.write_text("")
    assert run("compare", *cards, "--figures", taken).code == 2
    named = out / "ranking.vl.json"
    named.write_bytes(cards[0].read_bytes())
    done = run("compare", *cards[1:], named, "--figures", out)
    assert (done.code, "choose another folder" in done.err) == (2, True)
    done = run("compare", *cards, "--json", out / "x.vl.json", "--figures", out)
    assert (done.code, "choose another folder" in done.err) == (2, True)
    assert run("compare", *cards, "--step", 9, "--figures", out / "new").code == 2
    assert sorted(path.name for path in out.iterdir()) == ["ranking.vl.json", "taken"]


def test_a_table_that_a_terminal_would_squeeze_is_printed_plain(cards):
    table = standings_table(compare(read_entries(cards)))
    prose = table.title, table.caption
    widths = [width for width in range(30, 200) if fits(table, Console(width=width))]
    assert widths == list(range(widths[0], 200))
    assert (table.title, table.caption) == prose
    for width, whole in ((widths[0], True), (widths[0] - 20, False)):
        console = Console(width=width, file=io.StringIO(), color_system=None)
        console.print(table)
        assert ("\u2026" not in console.file.getvalue()) == whole
