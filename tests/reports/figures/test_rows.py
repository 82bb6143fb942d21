from __future__ import annotations

import json

import numpy as np
import pytest
from contenders import field, keep, moved, noise
from reports.figures.conftest import HOSTILE

from zapeval.reports.comparison import compare
from zapeval.reports.entries import read_entries
from zapeval.reports.figures.rows import (
    costs_of,
    curves_of,
    curves_of_cards,
    skills_of,
    standings_of,
)
from zapeval.scoring.scorecard import read_scorecard

STEPS = (1, 2, 4)


def means(comparison, name):
    """Returns the mean errors of an entry by series and step, window by window and by hand."""
    (row,) = (row for row in comparison.rows if row.entry.name == name)
    found = {}
    for line in row.entry.lines:
        for step in range(1, 5):
            total, count = 0.0, 0
            for kept in row.entry.kept:
                sums, counts = (kept.sums[f"{line.name}/{what}"] for what in ("absolute", "counts"))
                for window in range(line.windows):
                    total += sums[window, step - 1] / counts[step - 1]
                    count += 1
            found[line.name, step] = total / count
    return found


def test_a_standing_is_a_row_of_the_comparison(made):
    comparison = made()
    assert [one.entry for one in standings_of(comparison)] == ["tide", "persistence", "drift"]
    for one, row in zip(standings_of(comparison), comparison.rows, strict=True):
        by_hand = means(comparison, one.entry)
        score = np.mean([by_hand[f"series {s}", step] for s in (0, 1) for step in STEPS])
        assert one.value == pytest.approx(score, rel=1e-12)
        assert (one.low, one.high) == (row.score.low, row.score.high)
        assert (one.rank, one.first, one.last) == (row.rank, row.ranks.low, row.ranks.high)
        assert one.baseline == (one.entry == "persistence")
    assert [one.tie for one in standings_of(comparison)] == ["a", "b", "c"]


def test_a_cell_of_the_matrix_is_one_less_the_ratio_of_mean_errors(made):
    comparison = made()
    base = means(comparison, "persistence")
    cells = skills_of(comparison)
    assert [(cell.entry, cell.column, cell.kind) for cell in cells] == [
        (entry, column, kind)
        for entry in ("tide", "drift")
        for column, kind in (
            ("series 0", "series"),
            ("series 1", "series"),
            ("average of 2 series", "average"),
            ("series 2 (held out)", "held out"),
        )
    ]
    of = {
        "series 0": ["series 0"],
        "series 1": ["series 1"],
        "average of 2 series": ["series 0", "series 1"],
        "series 2 (held out)": ["series 2"],
    }
    for cell in cells:
        own, series = means(comparison, cell.entry), of[cell.column]
        over = [(name, step) for name in series for step in STEPS]
        expected = 1 - sum(own[at] for at in over) / sum(base[at] for at in over)
        assert cell.value == pytest.approx(expected, rel=1e-9)
        assert cell.low < cell.value < cell.high


def test_several_held_out_series_of_many_count_the_same(made):
    benchmark = field([30] * 26, held_out=(24, 25))
    comparison = made(("tide", "persistence"), benchmark)
    (cell,) = (cell for cell in skills_of(comparison) if cell.kind == "held out")
    own, base = (means(comparison, name) for name in ("tide", "persistence"))
    over = [(f"series {s}", step) for s in (24, 25) for step in STEPS]
    assert cell.column == "mean of 2 held out"
    assert cell.value == pytest.approx(1 - sum(map(own.get, over)) / sum(map(base.get, over)))


def test_the_average_of_the_matrix_is_the_skill_of_the_table(made):
    comparison = made()
    cells = {cell.entry: cell for cell in skills_of(comparison) if cell.kind == "average"}
    for row in comparison.rows:
        if row.entry.name in cells:
            cell = cells[row.entry.name]
            assert (cell.value, cell.low, cell.high) == pytest.approx(
                (row.skill.value, row.skill.low, row.skill.high), rel=1e-9
            )


def test_one_step_and_another_baseline_are_followed(made):
    comparison = made(step=2, baseline="drift", metric="mae")
    (cell, *_) = skills_of(comparison)
    own, base = (means(comparison, name)["series 0", 2] for name in ("tide", "drift"))
    assert cell.value == pytest.approx(1 - own / base)


def test_without_baseline_there_is_no_matrix(made):
    assert skills_of(made(("tide", "drift"))) == ()


def test_curves_are_the_scores_of_the_card_with_its_intervals(made):
    comparison = made()
    for row, one in zip(comparison.rows, curves_of(comparison), strict=True):
        card = row.entry.kept[0].card
        for score in card.scores:
            if score.metric == "mae" and score.series != "pooled":
                found = one.scores[score.series, score.step]
                assert (found.value, found.low, found.high) == pytest.approx(
                    (score.value, score.low, score.high), rel=1e-9
                )
        (same,) = curves_of_cards([card], "mae")
        assert same.scores.keys() >= one.scores.keys()


def test_curves_of_seeds_are_their_mean(tmp_path):
    rng, benchmark = np.random.default_rng(0), field()
    base = noise(benchmark, rng)
    files = [
        keep(tmp_path, f"s{i}", benchmark, noise(benchmark, rng), name="tide", seed=i)
        for i in range(3)
    ]
    files.append(keep(tmp_path, "p", benchmark, moved(base, 0.4), name="persistence"))
    comparison = compare(read_entries(files))
    by_hand, cards = means(comparison, "tide"), [read_scorecard(file) for file in files[:3]]
    (tide, _) = curves_of(comparison)
    for (series, step), value in by_hand.items():
        assert tide.scores[series, step].value == pytest.approx(value)
        assert value == pytest.approx(np.mean([card.value(series, step, "mae") for card in cards]))
    # Seeds whose errors are independent make the mean of them surer than one.
    widths = [s.high - s.low for s in tide.scores.values()]
    one = curves_of_cards(cards[:1], "mae")[0]
    assert np.mean(widths) < np.mean([one.scores[k].high - one.scores[k].low for k in tide.scores])


def test_a_cost_is_what_the_manifest_says(made):
    costs = {"tide": {"parameters": 7, "training_seconds": 1.5, "hardware": "a\x1bb"}}
    tide, persistence = costs_of(made(("tide", "persistence"), costs=costs))
    assert (tide.parameters, tide.seconds, tide.hardware) == (7, 1.5, "a\ufffdb")
    assert (persistence.parameters, persistence.seconds, persistence.hardware) == (None, None, "")


def test_rows_are_plain_numbers_and_texts(made):
    comparison = made(costs={"tide": {"parameters": 7}})
    rows = [*standings_of(comparison), *skills_of(comparison), *costs_of(comparison)]
    rows += [score for one in curves_of(comparison) for score in one.scores.values()]
    for row in rows:
        assert {type(value) for value in vars(row).values()} <= {str, int, float, bool, type(None)}
        json.dumps(vars(row), allow_nan=False)


def test_hostile_names_become_labels_that_differ(made):
    labels = [one.entry for one in standings_of(made(HOSTILE))]
    assert len(set(labels)) == len(HOSTILE)
    assert all(label.isprintable() and label for label in labels)


def test_too_few_windows_leave_numbers_without_intervals(made):
    comparison = made(benchmark=field((3, 3, 3)))
    rows = [*standings_of(comparison), *skills_of(comparison)]
    rows += [score for one in curves_of(comparison) for score in one.scores.values()]
    assert all(row.value is not None and row.low is None and row.high is None for row in rows)
