from __future__ import annotations

import sys
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

from zapeval.benchmarks.benchmark import Benchmark, Series
from zapeval.errors import NotFound, StorageError, UsageError
from zapeval.reports.figures.curves import error_by_step, figures_of, labels_of
from zapeval.reports.figures.look import COLOURS
from zapeval.reports.figures.rows import curves_of_cards
from zapeval.scoring.scorecard import Scorecard, SeriesLine
from zapeval.scoring.scores import scores_of, summary_of
from zapeval.scoring.tally import Cell, Tally

HORIZON = 6
STEPS = range(1, HORIZON + 1)


def benchmark_of(rows, *, protocol="horizon"):
    """Returns a benchmark with a series for each (name, group, held out)."""
    return Benchmark(
        id="tiny",
        version=1,
        protocol=protocol,
        context_lengths=(4, 8),
        max_context=8,
        horizon=HORIZON,
        series=tuple(
            Series(
                name=name,
                array=f"array_{index}",
                recording="fish",
                origins=(8, 9),
                group=group,
                held_out=held_out,
            )
            for index, (name, group, held_out) in enumerate(rows)
        ),
        frames=(("fish", 30),),
        summary_steps=(1,),
    )


FEW = benchmark_of([("gain", "", False), ("taxis", "", True), ("dots", "", False)])
FISH = benchmark_of(
    [(f"{kind} {i}", f"fish {i}", kind == "taxis") for i in range(9) for kind in ("gain", "taxis")]
)


def card_of(benchmark=FEW, *, level=0.02, context=4, constant=(), intervals=False, **forecaster):
    """Returns a scorecard with the averages that the scorer makes, over errors drawn at random."""
    rng = np.random.default_rng(round(1e6 * level))
    cells = [
        Cell(
            series=series.name,
            step=step,
            absolute=level * rng.uniform(0.7, 1.3, series.windows),
            squared=level**2 * rng.uniform(0.7, 1.3, series.windows),
            counts=1,
            correlation=None if series.name in constant else rng.uniform(0.1, 0.9),
            defined=1,
            undefined=0,
            missing=np.zeros(1, dtype=bool),
            leaf="",
            targets="",
        )
        for series in benchmark.series
        for step in range(1, benchmark.steps + 1)
    ]
    scores = scores_of(Tally(cells), benchmark)
    if intervals:
        scores = tuple(replace(s, low=s.value * 0.9, high=s.value * 1.2) for s in scores)
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
                neurons=1,
                scored=1,
                missing=0,
            )
            for series in benchmark.series
        ),
        missing="strict",
        partial=False,
        scored_set="sha256:" + "f" * 64,
        scores=scores,
        summary=summary_of(scores, benchmark),
        intervals={"level": 0.95, "reason": None},
    )


def drawn(cards, metric="mae", seconds=None, marked=()):
    labels = labels_of(metric, seconds=seconds)
    return figures_of(curves_of_cards(cards, metric), cards[0].series, labels, marked)


def curve(card, series, metric="mae"):
    return [card.value(series, step, metric) for step in STEPS]


def panels_of(figure):
    """Returns the curves of each visible panel by its title, a list of values a line."""
    return {
        axes.get_title(): [list(line.get_ydata()) for line in axes.lines]
        for axes in figure.axes
        if axes.get_visible()
    }


def legend_of(figure):
    return [text.get_text().strip() for text in figure.legends[0].get_texts()]


def test_each_series_gets_a_panel_with_the_scores_of_every_card():
    cards = [card_of(name="mean"), card_of(name="tide", level=0.01, context=8)]
    figures = drawn(cards)
    assert list(figures) == ["by_step", "average"]
    panels = panels_of(figures["by_step"])
    assert list(panels) == ["gain", "dots", "taxis (held out)"]
    for title, lines in panels.items():
        assert lines == [curve(card, title.removesuffix(" (held out)")) for card in cards]
    assert legend_of(figures["by_step"]) == ["mean, C = 4", "tide, C = 8"]
    for axes in figures["by_step"].axes:
        assert all(list(line.get_xdata()) == list(STEPS) for line in axes.lines)


@pytest.mark.parametrize("metric", ["mae", "mse", "correlation"])
def test_the_average_stands_beside_what_is_held_out(metric):
    card = card_of()
    panels = panels_of(drawn([card], metric)["average"])
    assert panels == {
        "average of 2 series": [curve(card, "average", metric)],
        "taxis (held out)": [curve(card, "taxis", metric)],
    }


def test_several_held_out_series_are_averaged_without_weights():
    rows = [("gain", "", False), ("taxis", "", True), ("dark", "", True)]
    card = card_of(benchmark_of(rows), intervals=True)
    figure = drawn([card])["average"]
    mean = np.mean([curve(card, "taxis"), curve(card, "dark")], axis=0)
    assert panels_of(figure)["mean of 2 held out"] == [pytest.approx(list(mean))]
    average, held_out = figure.axes
    assert len(average.collections) == 1
    assert not held_out.collections


def test_without_held_out_series_the_average_stands_alone():
    card = card_of(benchmark_of([("gain", "", False)]))
    assert list(panels_of(drawn([card])["average"])) == ["average of 1 series"]


def test_held_out_panels_look_unlike_the_others():
    *trained, held_out = drawn([card_of()])["by_step"].axes
    assert {axes.title.get_style() for axes in trained} == {"normal"}
    assert held_out.title.get_style() == "italic"
    assert held_out.get_facecolor() not in {axes.get_facecolor() for axes in trained}


def test_an_interval_is_a_band_around_its_line():
    card = card_of(intervals=True)
    gain = drawn([card])["by_step"].axes[0]
    (band,) = gain.collections
    ends = band.get_paths()[0].vertices
    for step, value in zip(STEPS, curve(card, "gain"), strict=True):
        at = ends[ends[:, 0] == step, 1]
        assert (at.min(), at.max()) == pytest.approx((0.9 * value, 1.2 * value))
    assert not drawn([card_of()])["by_step"].axes[0].collections


def test_no_two_cards_look_alike():
    cards = [card_of(name=f"f{i}", context=c) for c in (4, 8) for i in range(20)]
    lines = drawn(cards)["average"].axes[0].lines
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}
    assert len(looks) == 40
    assert {line.get_color() for line in lines} == set(COLOURS)


def test_a_forecaster_keeps_its_colour_across_context_lengths():
    cards = [card_of(name=n, context=c) for c in (4, 8) for n in ("mean", "tide")]
    short_mean, short_tide, long_mean, long_tide = drawn(cards)["average"].axes[0].lines
    assert short_mean.get_color() == long_mean.get_color() != short_tide.get_color()
    assert short_mean.get_linestyle() == short_tide.get_linestyle() != long_tide.get_linestyle()


def test_markers_and_ticks_stand_at_the_summary_steps():
    for marked, expected in (((1, 4, 6), [1, 4, 6]), ((), [1, 3, 6]), ((2, 99), [2])):
        axes = drawn([card_of()], marked=marked)["by_step"].axes[0]
        assert list(axes.get_xticks()) == expected
        at = axes.lines[0].get_markevery()
        assert [list(STEPS)[index] for index in at] == expected


def test_the_axes_say_what_and_in_which_unit():
    cards = [card_of()]
    figure = drawn(cards, seconds=0.9141)["by_step"]
    assert figure.get_supxlabel() == "steps ahead (0.914 s each)"
    assert figure.get_supylabel() == "MAE (df/f)"
    assert drawn(cards)["by_step"].get_supxlabel() == "steps ahead"
    assert drawn(cards, "correlation")["average"].get_supylabel() == "Pearson's r"
    assert labels_of("mse", "z-score") == ("steps ahead", "MSE ((z-score)²)")


def test_panels_share_an_axis_unless_one_would_look_flat():
    card = card_of()
    limits = {axes.get_ylim() for axes in drawn([card])["by_step"].axes}
    assert len(limits) == 1
    far = [replace(s, value=9 * s.value) if s.series == "gain" else s for s in card.scores]
    figure = drawn([replace(card, scores=tuple(far))])["by_step"]
    assert len({axes.get_ylim() for axes in figure.axes}) == 3


def test_an_undefined_score_is_a_gap_and_an_empty_panel_says_so():
    card = card_of(constant=("dots",))
    figure = drawn([card], "correlation")["by_step"]
    gain, dots, _ = figure.axes
    assert np.isnan(dots.lines[0].get_ydata()).all()
    assert [text.get_text() for text in dots.texts] == ["undefined"]
    assert not gain.texts
    average = drawn([card, card_of(name="tide")], "correlation")["average"].axes[0]
    assert np.isnan(average.lines[0].get_ydata()).all()
    assert not average.texts


def test_a_partial_card_is_called_so():
    card = replace(card_of(name="crop"), partial=True)
    assert legend_of(drawn([card])["by_step"]) == ["crop, C = 4, partial"]


def test_names_are_shown_as_they_are(tmp_path):
    names = ("_hidden", r"$\nonsense{$", "a\nb", "x" * 300)
    figure = drawn([card_of(name=name) for name in names])["average"]
    shown = [label.removesuffix(", C = 4") for label in legend_of(figure)]
    assert shown == ["_hidden", r"$\nonsense{$", "a\ufffdb", "x" * 24 + "…" + "x" * 15]
    assert not any(text.get_parse_math() for text in figure.legends[0].get_texts())
    figure.savefig(tmp_path / "names.png")


def test_of_many_series_each_forecaster_gets_a_panel_with_all_of_them():
    cards = [card_of(FISH, name="mean"), card_of(FISH, name="tide", level=0.01)]
    figures = drawn(cards)
    assert list(figures) == ["spread", "average", "by_group"]
    panels = panels_of(figures["spread"])
    assert list(panels) == ["mean, C = 4", "tide, C = 4"]
    for card, lines in zip(cards, panels.values(), strict=True):
        series = [line for line in lines if line]
        assert series == [curve(card, f"gain {i}") for i in range(9)] + [curve(card, "average")]
    assert legend_of(figures["spread"]) == ["each series", "average"]


def test_of_many_series_each_group_gets_a_panel():
    cards = [card_of(FISH, name="mean"), card_of(FISH, name="tide", level=0.01)]
    panels = panels_of(drawn(cards)["by_group"])
    assert panels == {
        f"average of fish {i}": [curve(card, f"average:fish {i}") for card in cards]
        for i in range(9)
    }


def test_too_many_groups_get_no_panels():
    rows = [(f"gain {i}", f"fish {i}", False) for i in range(17)]
    assert list(drawn([card_of(benchmark_of(rows))])) == ["spread", "average"]


def test_sixteen_series_still_get_a_panel_each():
    rows = [(f"gain {i}", "", False) for i in range(16)]
    panels = panels_of(drawn([card_of(benchmark_of(rows))])["by_step"])
    assert list(panels) == [f"gain {i}" for i in range(16)]


def rows_of(figure):
    """Returns the dots of each row by its label: (value, colour, marker), from top to bottom."""
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    found = {label: [] for label in labels}
    lines = [line for line in axes.lines if line.get_marker() != "None"]
    for line in lines:
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
            dot = (x, to_hex(line.get_color()).upper(), line.get_marker())
            found[labels[round(y)]].append(dot)
    return found


def test_one_step_is_drawn_as_a_dot_for_each_series():
    rows = [("a", "lab", False), ("b", "lab", False), ("c", "", True)]
    benchmark = benchmark_of(rows, protocol="next-step")
    cards = [card_of(benchmark, name="ctrnn"), card_of(benchmark, name="lstm", level=0.01)]
    figures = drawn(cards, "mse")
    assert list(figures) == ["by_series"]
    names = {
        "a": "a",
        "b": "b",
        "average of lab": "average:lab",
        "average of 2 series": "average",
        "c (held out)": "c",
    }
    assert rows_of(figures["by_series"]) == {
        label: [
            (card.value(name, 1, "mse"), colour, marker)
            for card, colour, marker in zip(cards, COLOURS, "os", strict=False)
        ]
        for label, name in names.items()
    }
    (axes,) = figures["by_series"].axes
    assert axes.yaxis_inverted()
    assert axes.get_xlabel() == "MSE ((df/f)²)"
    assert legend_of(figures["by_series"]) == ["ctrnn", "lstm"]


def test_one_step_of_many_series_is_drawn_as_a_row_for_each_group():
    rows = [(f"worm {i}", f"lab {i % 2}", i > 39) for i in range(44)]
    card = card_of(benchmark_of(rows, protocol="next-step"), name="lstm")
    found = rows_of(drawn([card])["by_series"])
    assert list(found) == [
        *("average of lab 0", "average of lab 1", "average of 40 series", "mean of 4 held out")
    ]
    for lab in range(2):
        *dots, mean = (dot[0] for dot in found[f"average of lab {lab}"])
        assert dots == [card.value(f"worm {i}", 1, "mae") for i in range(lab, 40, 2)]
        assert mean == card.value(f"average:lab {lab}", 1, "mae")
    assert len(found["average of 40 series"]) == 41
    assert found["average of 40 series"][-1][0] == card.value("average", 1, "mae")
    *dots, mean = (dot[0] for dot in found["mean of 4 held out"])
    assert mean == pytest.approx(np.mean(dots))


def test_forty_series_of_one_step_get_a_row_each():
    rows = [(f"worm {i}", "", False) for i in range(40)]
    found = rows_of(drawn([card_of(benchmark_of(rows, protocol="next-step"))])["by_series"])
    assert list(found) == [*(f"worm {i}" for i in range(40)), "average of 40 series"]


def test_an_interval_of_one_step_is_a_line_through_its_dot():
    benchmark = benchmark_of([("a", "", False)], protocol="next-step")
    card = card_of(benchmark, intervals=True)
    (axes,) = drawn([card])["by_series"].axes
    value = card.value("a", 1, "mae")
    ends = axes.collections[0].get_segments()[0][:, 0]
    assert list(ends) == pytest.approx([0.9 * value, 1.2 * value])


def test_equal_scorecards_give_equal_bytes(tmp_path):
    cards = [card_of(name="mean", intervals=True), card_of(name="tide", level=0.01)]
    first = error_by_step(cards, tmp_path / "first")
    with mpl.rc_context({"font.size": 20, "savefig.dpi": 50, "axes.labelcolor": "red"}):
        second = error_by_step(cards, tmp_path / "deep" / "second")
    names = [f"mae_{name}.{kind}" for name in ("by_step", "average") for kind in ("png", "pdf")]
    assert [path.name for path in first] == [path.name for path in second] == names
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()
        assert one.read_bytes()[:4] in (b"\x89PNG", b"%PDF")
        assert b"e" * 64 in one.read_bytes()


def test_other_scores_give_other_bytes(tmp_path):
    (one, *_), (two, *_) = (
        error_by_step([card_of(level=level)], tmp_path / str(level)) for level in (0.02, 0.03)
    )
    assert one.read_bytes() != two.read_bytes()


def test_the_settings_of_matplotlib_are_left_alone(tmp_path):
    with mpl.rc_context({"font.size": 20}):
        before = dict(mpl.rcParams)
        error_by_step([card_of()], tmp_path)
        assert dict(mpl.rcParams) == before


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r'pip install "zapeval\[figures\]"'):
        error_by_step([card_of()], tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match=r"taken: can't hold figures"):
        error_by_step([card_of()], tmp_path / "taken")


def test_cards_of_several_benchmarks_are_not_drawn_together(tmp_path):
    with pytest.raises(UsageError, match="one benchmark digest"):
        error_by_step([card_of(), card_of(FISH)], tmp_path)
    with pytest.raises(UsageError, match="got no scorecard"):
        error_by_step([], tmp_path)


def test_an_unknown_metric_lists_the_known(tmp_path):
    with pytest.raises(NotFound, match="no metric 'rmse'; known: mae, mse, correlation"):
        error_by_step([card_of()], tmp_path, "rmse")
