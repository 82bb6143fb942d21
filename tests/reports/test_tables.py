from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.errors import NotFound, UsageError
from zapeval.reports.tables import as_plain, names_of, ranking_table, scorecard_table
from zapeval.scoring.scorecard import Scorecard, SeriesLine
from zapeval.scoring.scores import scores_of, summary_of
from zapeval.scoring.tally import Cell, Tally

STEPS = (1, 2, 4)
NEURONS = 50


def plain_lines(card, steps, metric="mae"):
    return as_plain(scorecard_table(card, steps, metric))


def ranking_lines(cards, steps):
    return as_plain(ranking_table(cards, steps))


def benchmark_of(rows, *, protocol="horizon", horizon=4, steps=STEPS, primary="mae"):
    """Returns a benchmark with a series for each (name, group, held out)."""
    series = tuple(
        Series(
            name=name,
            array=f"array_{index}",
            recording="fish",
            origins=tuple(range(8, 11 + index % 3)),
            group=group,
            held_out=held_out,
        )
        for index, (name, group, held_out) in enumerate(rows)
    )
    return Benchmark(
        id="tiny",
        version=1,
        protocol=protocol,
        context_lengths=(4, 8),
        max_context=8,
        horizon=horizon,
        series=series,
        frames=(("fish", 30),),
        summary_steps=steps,
        primary=primary,
    )


FEW = benchmark_of(
    [("gain", "a", False), ("taxis", "", True), ("dots", "b", False), ("dark", "a", False)]
)


def card_of(
    benchmark=FEW, *, level=0.02, context=4, constant=(), undefined=0, missing=0, **forecaster
):
    """Returns a scorecard with the averages that the scorer makes, over errors drawn at random."""
    rng = np.random.default_rng(7)
    absent = np.arange(NEURONS) < missing
    cells = [
        Cell(
            series=series.name,
            step=step,
            absolute=level * NEURONS * rng.uniform(0.5, 1.5, series.windows),
            squared=level**2 * NEURONS * rng.uniform(0.5, 1.5, series.windows),
            counts=NEURONS,
            correlation=None if series.name in constant else rng.uniform(0.1, 0.9),
            defined=0 if series.name in constant else NEURONS - undefined,
            undefined=NEURONS if series.name in constant else undefined * step,
            missing=absent,
            leaf="",
            targets="",
        )
        for series in benchmark.series
        for step in range(1, benchmark.steps + 1)
    ]
    scores = scores_of(Tally(cells), benchmark)
    return Scorecard(
        benchmark={
            "id": benchmark.id,
            "version": benchmark.version,
            "protocol": benchmark.protocol,
            "context": context,
            "digest": benchmark.digest,
        },
        data={"digest": "blake3:" + "d" * 64},
        predictions={"digest": "blake3:" + "e" * 64, "kind": "traces"},
        forecaster=forecaster,
        series=tuple(
            SeriesLine(
                name=series.name,
                group=series.group,
                held_out=series.held_out,
                windows=series.windows,
                neurons=NEURONS,
                scored=NEURONS - missing,
                missing=missing,
            )
            for series in benchmark.series
        ),
        missing="strict",
        partial=missing > 0,
        scored_set="sha256:" + "f" * 64,
        scores=scores,
        summary=summary_of(scores, benchmark),
        intervals={"level": 0.95, "reason": "too few windows"},
    )


def shown(table, width=80):
    """Returns a table as a terminal of that width shows it."""
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(table)
    return text.getvalue()


def rows_of(text):
    """Returns the rows of plain lines, each split into its cells; the header comes first."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [re.split(r"  +", line.strip()) for line in lines]


def prose_of(text):
    return [line for line in text.splitlines() if line.startswith("#")]


@pytest.mark.parametrize("metric", ["mae", "correlation"])
def test_every_number_stands_in_its_row_and_column(metric):
    card = card_of()
    header, *rows = rows_of(plain_lines(card, STEPS, metric))
    assert header == ["series", "windows", "step 1", "step 2", "step 4", "mean"]
    names = {"average of a": "average:a", "taxis (held out)": "taxis"}
    for row in rows:
        values = [card.value(names.get(row[0], row[0]), step, metric) for step in STEPS]
        assert row[2:] == [f"{value:.5f}" for value in (*values, np.mean(values))]


def test_the_terminal_shows_every_number_exactly_once():
    card = card_of(benchmark_of([("gain", "", False), ("taxis", "", True), ("dots", "", False)]))
    for text in (shown(scorecard_table(card, STEPS)), plain_lines(card, STEPS)):
        for series in ("gain", "taxis", "dots", "average"):
            for step in STEPS:
                assert text.count(f"{card.value(series, step, 'mae'):.5f}") == 1
        assert text.count(f"{card.summary.value:.5f}") == 1


def test_series_come_first_then_averages_then_what_is_held_out():
    rows = rows_of(plain_lines(card_of(), STEPS))[1:]
    assert [row[0] for row in rows] == [
        *("gain", "dots", "dark"),
        *("average", "average:a", "average:b"),
        "taxis (held out)",
    ]
    assert [row[1] for row in rows] == ["3", "5", "3", "11", "6", "5", "4"]


def test_rules_set_averages_and_held_out_series_apart():
    lines = shown(scorecard_table(card_of(), STEPS)).splitlines()
    kinds = ["rule" if set(line.strip()) == {"─"} else line.split("  ")[0] for line in lines]
    assert kinds[1:11] == [
        *("series", "rule", "gain", "dots", "dark", "rule"),
        *("average", "average:a", "average:b", "rule"),
    ]
    assert kinds[11].startswith("taxis (held out)")


def test_plain_lines_draw_no_boxes():
    text = plain_lines(card_of(), STEPS)
    assert text.isascii()
    assert text.endswith("\n")
    assert "\n\naverage " in text
    assert "\n\ntaxis (held out) " in text


def test_the_pooled_row_is_not_shown():
    assert "pooled" not in plain_lines(card_of(), STEPS) + shown(scorecard_table(card_of(), STEPS))


def test_the_identity_of_the_numbers_stands_below_them():
    card = card_of(name="tide", version="2.1", seed=3)
    text = plain_lines(card, STEPS)
    assert prose_of(text)[0] == "# mae of tide, seed 3 on tiny@1, context 4"
    assert prose_of(text)[-4:] == [
        "# forecaster tide, seed 3, version 2.1",
        "# predictions blake3:eeeeeeeeeeee, traces",
        f"# benchmark tiny@1, {FEW.digest[:19]}",
        "# data blake3:dddddddddddd, scored set sha256:ffffffffffff",
    ]
    terminal = shown(scorecard_table(card, STEPS), 200)
    assert all(line.removeprefix("# ") in terminal for line in prose_of(text))


def test_a_store_without_manifest_and_digest_is_called_so():
    card = replace(card_of(), predictions={"digest": None, "kind": "traces"})
    text = plain_lines(card, STEPS)
    assert "# mae of unnamed forecaster on tiny@1" in text
    assert "# predictions no digest, traces" in text


def test_a_partial_card_says_so_in_words():
    card = card_of(missing=2)
    where = "neurons without predictions in 4 of 4 series"
    for lines in (plain_lines(card, STEPS), shown(scorecard_table(card, STEPS))):
        text = " ".join(lines.replace("#", "").split())
        assert text.startswith("mae of unnamed forecaster on tiny@1, context 4 (partial: ")
        assert f"(partial: {where}; never ranked)" in text
        assert "neurons without predictions, left out: gain 2 of 50, taxis 2 of 50" in text
    assert "partial" not in plain_lines(card_of(), STEPS)


def test_official_scores_say_that_missing_neurons_count_as_zero_error():
    card = replace(card_of(missing=2), missing="official")
    note = "# neurons without predictions, whose errors count as zero: gain 2 of 50"
    assert note in plain_lines(card, STEPS)


def test_an_undefined_correlation_is_a_dash_and_explained():
    card = card_of(constant=("dots",))
    text = plain_lines(card, STEPS, "correlation")
    rows = {row[0]: row[2:] for row in rows_of(text)[1:]}
    assert rows["dots"] == rows["average"] == rows["average:b"] == ["-"] * 4
    assert "-" not in rows["gain"] + rows["average:a"] + rows["taxis (held out)"]
    reason = "every neuron is constant on a side; so is every mean over it"
    assert f"# - is undefined, in dots: {reason}" in text
    assert "is undefined" not in plain_lines(card, STEPS)


def test_neurons_left_out_of_a_correlation_are_counted():
    text = plain_lines(card_of(undefined=3), STEPS, "correlation")
    assert "constant: gain 3 to 12 of 50, taxis 3 to 12 of 50, dots" in text
    assert "for being constant" not in plain_lines(card_of(), STEPS, "correlation")


def test_nothing_scored_is_a_dash_and_explained():
    card = card_of()
    gone = [
        replace(s, value=None) if s.series in ("gain", "average") and s.step == 2 else s
        for s in card.scores
    ]
    text = plain_lines(replace(card, scores=tuple(gone)), STEPS)
    row = next(row for row in rows_of(text) if row[0] == "gain")
    assert [cell == "-" for cell in row[2:]] == [False, True, False, True]
    assert "# - is undefined, in gain: nothing is scored; so is every mean over it" in text


def test_long_lists_in_footnotes_are_counted():
    many = benchmark_of([(f"worm {index}", "", False) for index in range(9)])
    names = [f"worm {index}" for index in range(9)]
    text = plain_lines(card_of(many, constant=names), STEPS, "correlation")
    assert "in worm 0, worm 1, worm 2, worm 3, worm 4, worm 5 and 3 more: every" in text


def test_the_summary_shows_its_interval_or_why_there_is_none():
    card = card_of()
    assert "# summary has no interval: too few windows" in plain_lines(card, STEPS)
    card = replace(card, summary=replace(card.summary, low=0.0191, high=0.0214))
    assert "# summary, 95 % interval: 0.01910 to 0.02140" in plain_lines(card, STEPS)
    assert "interval" not in plain_lines(card, STEPS, "mse")


def test_notes_of_a_card_are_shown_and_the_rest_counted():
    card = replace(card_of(), notes=tuple(f"remark {index}" for index in range(8)))
    text = plain_lines(card, STEPS)
    assert text.count("# note: remark") == 6
    assert "# … and 2 more notes; see --json" in text


def test_of_many_series_forty_are_listed_and_every_average():
    worms = [(f"worm {index}", f"lab {index % 8}", False) for index in range(287)]
    benchmark = benchmark_of(worms, protocol="next-step", steps=(1,))
    card = card_of(benchmark)
    for text in (plain_lines(card, (1,)), shown(scorecard_table(card, (1,)))):
        assert len(re.findall(r"(?m)^worm \d+ ", text)) == 40
        assert "… and 247 more; see --csv" in text
        averages = re.findall(r"(?m)^average(?::lab \d)?(?=  )", text)
        assert averages == ["average", *(f"average:lab {index}" for index in range(8))]


def test_of_many_held_out_series_ten_are_listed():
    rows = [(f"{kind} {i}", "", kind == "taxis") for i in range(22) for kind in ("gain", "taxis")]
    text = plain_lines(card_of(benchmark_of(rows)), STEPS)
    assert len(re.findall(r"(?m)^gain \d+ ", text)) == 22
    assert len(re.findall(r"(?m)^taxis \d+ \(held out\)", text)) == 10
    assert "… and 12 more; see --csv" in text


def test_held_out_series_count_towards_the_forty():
    rows = [(f"fish {index}", "", index >= 50) for index in range(70)]
    text = plain_lines(card_of(benchmark_of(rows)), STEPS)
    assert len(re.findall(r"(?m)^fish \d+ ", text)) == 40
    assert re.findall(r"… and \d+ more", text) == ["… and 20 more", "… and 10 more"]


def test_forty_series_are_all_listed():
    rows = [(f"fish {index}", "", index > 20) for index in range(40)]
    text = plain_lines(card_of(benchmark_of(rows)), STEPS)
    assert len(re.findall(r"(?m)^fish \d+", text)) == 40
    assert "more" not in text


def test_a_single_step_has_no_mean_column():
    one = benchmark_of([("a", "", False), ("b", "", True)], protocol="next-step", steps=(1,))
    card = card_of(one)
    header, *rows = rows_of(plain_lines(card, (1,)))
    assert header == ["series", "windows", "step 1"]
    assert rows[0] == ["a", "3", f"{card.value('a', 1, 'mae'):.5f}"]


@pytest.mark.parametrize(
    ("level", "pattern"),
    [
        (0.02, r"0\.0\d{4}"),
        (0.0002, r"0\.000\d{4}"),
        (12.0, r"\d+\.\d{5}"),
        (3e9, r"\d\.\d{5}e\+09"),
    ],
)
def test_small_numbers_get_more_decimals_and_huge_ones_an_exponent(level, pattern):
    rows = rows_of(plain_lines(card_of(level=level), STEPS))[1:]
    assert all(re.fullmatch(pattern, cell) for row in rows for cell in row[2:])


def test_a_perfect_forecast_scores_zeros():
    rows = rows_of(plain_lines(card_of(level=0.0), STEPS))[1:]
    assert {cell for row in rows for cell in row[2:]} == {"0.00000"}


def test_wide_names_keep_the_columns_aligned():
    names = ["長い名前の魚", "[bold]loud[/bold]", "a" * 70, "x"]
    text = plain_lines(card_of(benchmark_of([(name, "", False) for name in names])), STEPS)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len({cell_len(line) for line in lines}) == 1
    assert [row[0] for row in rows_of(text)[1:5]] == names


def test_a_narrow_terminal_folds_names_and_cuts_no_number():
    names = ["a" * 70, "[bold]loud[/bold]", "open loop"]
    card = card_of(benchmark_of([(name, "", False) for name in names]))
    text = shown(scorecard_table(card, STEPS), 60)
    values = [card.value(name, step, "mae") for name in names for step in STEPS]
    assert all(f"{value:.5f}" in text for value in values)
    folded = "".join(line.split("  ")[0].strip() for line in text.splitlines()[2:])
    assert "a" * 20 in folded
    assert "…" not in text


def test_names_of_others_cannot_steer_the_terminal():
    hostile = "tide\x1b[31m\nrank \u202e1"
    card = replace(card_of(name=hostile), notes=("see\x07\x9b31m",))
    texts = (plain_lines(card, STEPS), ranking_lines([card], STEPS))
    for text in (*texts, shown(scorecard_table(card, STEPS), 200)):
        assert "tide\ufffd[31m\ufffdrank \ufffd1" in text
        assert not set(text) & set("\x1b\x07\x9b\u202e")


def test_an_unknown_metric_lists_the_known():
    with pytest.raises(NotFound, match=r"no metric 'rmse'; known: mae, mse, correlation"):
        scorecard_table(card_of(), STEPS, "rmse")


def test_a_step_that_was_not_scored_is_named():
    with pytest.raises(NotFound, match=r"no score of '\w+' at step 32"):
        plain_lines(card_of(), (1, 32))


def test_cards_are_ranked_within_their_context_length():
    cards = [
        card_of(level=0.03, name="mean"),
        card_of(level=0.01, name="tide", context=8),
        card_of(level=0.02, name="linear"),
        card_of(level=0.04, name="mean", context=8),
    ]
    rows = rows_of(ranking_lines(cards, STEPS))
    assert rows[0] == [
        *("rank", "forecaster", "C", "summary", "step 1", "step 2", "step 4", "held out")
    ]
    assert [row[:3] for row in rows[1:]] == [
        ["1", "linear", "4"],
        ["2", "mean", "4"],
        ["1", "tide", "8"],
        ["2", "mean", "8"],
    ]
    for row, card in zip(rows[1:], (cards[2], cards[0], cards[1], cards[3]), strict=True):
        average = [card.value("average", step, "mae") for step in STEPS]
        held = np.mean([card.value("taxis", step, "mae") for step in STEPS])
        assert row[3:] == [f"{value:.5f}" for value in (card.summary.value, *average, held)]


def test_the_terminal_shows_the_same_ranking():
    cards = [card_of(level=0.03, name="mean"), card_of(name="persistence")]
    text = shown(ranking_table(cards, STEPS))
    body = [line.split() for line in text.splitlines() if re.match(r" +\d ", line)]
    assert body == [row for row in rows_of(ranking_lines(cards, STEPS)) if row[0] != "rank"]


def test_a_higher_correlation_ranks_first():
    def correlated(value, name):
        card = card_of(name=name)
        summary = replace(card.summary, metric="correlation", value=value)
        return replace(card, summary=summary)

    rows = rows_of(ranking_lines([correlated(0.2, "low"), correlated(0.5, "high")], STEPS))
    assert [row[:2] for row in rows[1:]] == [["1", "high"], ["2", "low"]]


def test_equal_summaries_share_a_rank():
    cards = [card_of(name=name, level=level) for name, level in (("c", 0.03), ("a", 0.02))]
    cards.append(card_of(name="b", level=0.02))
    rows = rows_of(ranking_lines(cards, STEPS))
    assert [row[:2] for row in rows[1:]] == [["1", "a"], ["1", "b"], ["3", "c"]]


def test_partial_cards_stand_last_and_unranked_however_good():
    good = card_of(level=0.001, name="crop", missing=2, context=4)
    text = ranking_lines([good, card_of(name="mean", context=8)], STEPS)
    rows = rows_of(text)
    assert [row[:3] for row in rows[1:]] == [["1", "mean", "8"], ["-", "crop", "4"]]
    assert "# - unranked, partial or without summary: crop" in text
    assert "unranked" not in ranking_lines([card_of()], STEPS)


def test_a_card_without_summary_is_unranked():
    card = card_of(name="flat")
    card = replace(card, summary=replace(card.summary, value=None))
    rows = rows_of(ranking_lines([card, card_of(name="mean")], STEPS))
    assert [row[:2] for row in rows[1:]] == [["1", "mean"], ["-", "flat"]]
    assert rows[2][3] == "-"


def test_a_ranking_of_one_step_without_held_out_series_shows_the_summary_alone():
    one = benchmark_of([("a", "", False)], protocol="next-step", steps=(1,))
    header, row = rows_of(ranking_lines([card_of(one, name="lstm")], (1,)))
    assert header == ["rank", "forecaster", "C", "summary"]
    assert row[:3] == ["1", "lstm", "4"]


def test_nothing_is_ranked_across_benchmarks_or_recordings():
    other = benchmark_of([("gain", "", False)])
    with pytest.raises(UsageError, match=r"one benchmark digest, got sha256:\w{12}, sha256:\w{12}"):
        ranking_table([card_of(), card_of(other)], STEPS)
    subset = replace(card_of(), data={"digest": "blake3:" + "0" * 64})
    with pytest.raises(UsageError, match=r"one data digest, got blake3:0+, blake3:d+; report"):
        ranking_table([card_of(), subset], STEPS)
    with pytest.raises(UsageError, match="got no scorecard"):
        ranking_lines([], STEPS)


def test_forecasters_of_the_same_name_are_told_apart():
    cards = [
        card_of(name="tide", seed=0),
        card_of(name="tide", seed=1),
        card_of(),
        card_of(),
        card_of(context=8),
    ]
    unnamed = "unnamed forecaster"
    assert names_of(cards) == (
        *("tide, seed 0", "tide, seed 1"),
        *(f"{unnamed} (1)", f"{unnamed} (2)", unnamed),
    )
