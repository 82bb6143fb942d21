from __future__ import annotations

import json
import sys

import matplotlib as mpl
import pytest
from contenders import field

from zapeval.errors import StorageError, UsageError
from zapeval.reports.figures import gallery

COSTS = {"tide": {"training_seconds": 3.5}}


def named(paths):
    return sorted({path.name.partition(".")[0] for path in paths})


def test_each_figure_is_a_png_a_pdf_and_a_chart(made, tmp_path):
    paths = gallery.draw(made(costs=COSTS), tmp_path / "new")
    names = ["average", "by_step", "cost", "ranking", "skill"]
    assert sorted(path.name for path in paths) == sorted(
        f"{name}.{ending}" for name in names for ending in ("png", "pdf", "vl.json")
    )
    begins = {".png": b"\x89PNG", ".pdf": b"%PDF", ".json": b'{"$schema":'}
    for path in paths:
        assert path.read_bytes().startswith(begins[path.suffix])
    assert b"arena@1, context 4" in (tmp_path / "new" / "ranking.png").read_bytes()


def test_charts_say_what_they_are_about(made, tmp_path):
    gallery.draw(made(costs=COSTS), tmp_path)
    titles = {
        path.name.partition(".")[0]: json.loads(path.read_text())["title"]["text"]
        for path in tmp_path.glob("*.vl.json")
    }
    assert titles == {
        "ranking": "mae of average, mean of steps 1, 2, 4 on arena@1, context 4",
        "cost": "mae of average, mean of steps 1, 2, 4 on arena@1, context 4",
        "skill": "skill in mae, steps 1, 2, 4 on arena@1, context 4",
        "by_step": "mae on arena@1, context 4",
        "average": "mae on arena@1, context 4",
    }


def test_what_there_is_nothing_to_show_of_is_left_out(made, tmp_path):
    paths = gallery.draw(made(("tide", "drift")), tmp_path)
    assert named(paths) == ["average", "by_step", "ranking"]


def test_next_step_benchmarks_are_drawn_series_by_series(made, tmp_path):
    paths = gallery.draw(made(benchmark=field(protocol="next-step")), tmp_path)
    assert named(paths) == ["by_series", "ranking", "skill"]


def test_partial_cards_are_drawn_without_ranks(made, tmp_path):
    comparison = made()
    for row in comparison.rows:
        object.__setattr__(row, "rank", None)
    object.__setattr__(comparison, "partial", True)
    gallery.draw(comparison, tmp_path)
    chart = json.loads((tmp_path / "ranking.vl.json").read_text())
    assert [row["entry"] for row in chart["datasets"]["rows"]] == ["tide", "persistence", "drift"]
    assert "(partial" in chart["title"]["text"]


def test_equal_comparisons_give_equal_bytes(made, tmp_path):
    first = gallery.draw(made(costs=COSTS), tmp_path / "first")
    with mpl.rc_context({"font.size": 20, "savefig.dpi": 50}):
        second = gallery.draw(made(costs=COSTS), tmp_path / "second")
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name


@pytest.mark.parametrize("absent", ["matplotlib", "altair"])
def test_without_a_library_nothing_is_drawn(made, tmp_path, monkeypatch, absent):
    comparison = made()
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(UsageError, match=rf'need {absent}; pip install "zapeval\[figures\]"'):
        gallery.draw(comparison, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_chart_that_cannot_be_written_is_named(made, tmp_path):
    (tmp_path / "ranking.vl.json").mkdir()
    with pytest.raises(StorageError, match=r"ranking\.vl\.json: can't be written"):
        gallery.draw(made(), tmp_path)
