from __future__ import annotations

import math
from statistics import fmean

import pytest

from baselines.worms.scaling import figures, table
from baselines.worms.scaling.cells import Document, Generation, Result, SourceLoss, Trace

NAIVE = 0.13


def document(model, worms, seed, slope=-0.5, generation=None):
    losses = tuple(
        SourceLoss(source=source, worms=3, loss=scale * worms**slope, pooled=1, naive=NAIVE,
                   naive_pooled=1)
        for source, scale in (("", 2.0), ("Kato2015", 1.0), ("Uzel2022", 3.0))
    )  # fmt: skip
    result = Result(
        train_steps=400 * worms,
        counted=200 * worms,
        live=100 * worms,
        losses=losses,
        steps=6,
        best_step=3,
        seconds=1.5,
        drawn=("a", "b"),
        curve=((3, 0.7, 0.5),),
        generation=generation,
    )
    said = {"model": model, "hidden": worms, "worms": worms, "seed": seed}
    return Document(**said, digest="", configuration={}, result=result)


SLOPES = {"worm-ctrnn": -0.65, "worm-feedforward": -0.4}


@pytest.fixture
def documents():
    return [
        document(model, worms, seed, slope)
        for model, slope in SLOPES.items()
        for worms in (10, 40, 160)
        for seed in (0, 1)
    ]


def drawn(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


def test_laws_are_those_of_each_model_and_source(documents):
    laws = table.laws_of(table.rows_of(documents), "train_steps")
    assert len(laws) == 2 * 3
    for (model, _), law in laws.items():
        assert (law.slope, law.points) == (pytest.approx(SLOPES[model]), 6)


def test_the_loss_is_drawn_against_train_time_steps_with_its_law_and_the_naive_loss(documents):
    made = figures.data_figures({"worms": documents})
    assert set(made) == {"data", "data-sources"}
    (axes,) = drawn(made["data"])
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    laws = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_marker() == ""]
    for line, slope in zip(laws, SLOPES.values(), strict=False):
        (a, b), (low, high) = line.get_xdata(), line.get_ydata()
        assert math.log(high / low) / math.log(b / a) == pytest.approx(slope)
    assert any(list(line.get_ydata()) == [NAIVE, NAIVE] for line in axes.lines)
    titles = [axes.get_title() for axes in drawn(made["data-sources"])]
    assert titles == ["Kato2015", "Uzel2022"]


def test_several_sets_stand_side_by_side(documents):
    made = figures.data_figures({"real": documents, "sines": documents})
    assert [axes.get_title() for axes in drawn(made["data"])] == ["real", "sines"]


def test_models_are_drawn_against_both_counts_and_width(documents):
    (figure,) = figures.model_figures({"worms": documents}).values()
    across = [max(line.get_xdata()) for axes in drawn(figure) for line in axes.lines[:1]]
    assert across == [100 * 160, 200 * 160, 160]


def test_what_is_generated_is_drawn_over_what_followed():
    trace = Trace(worm="w", neuron="AVAL", seen=(1.0, -1.0), followed=(0.5, 1), generated=(0, 0))
    generation = Generation(worms=1, loss=(1.0, 3.0), naive=(2.0, 2.0), traces=(trace,))
    made = figures.generation_figure([document("worm-ctrnn", 10, 0, generation=generation)])
    astray, neuron = drawn(made)
    assert [list(line.get_ydata()) for line in astray.lines] == [[1.0, fmean((1, 3))], [2.0, 2.0]]
    assert list(neuron.lines[0].get_ydata()) == [1.0, -1.0, 0.5, 1]
    assert list(neuron.lines[1].get_xdata()) == [0, 1]
    assert figures.generation_figure([document("worm-ctrnn", 10, 0)]) is None


def test_no_label_shows_the_code_of_a_formula(documents):
    made = figures.data_figures({"worms": documents}) | figures.model_figures({"w": documents})
    for figure in made.values():
        figure.canvas.draw()
        for axes in drawn(figure):
            labels = [*axes.get_xticklabels(which="both"), *axes.get_yticklabels(which="both")]
            assert not any("$" in label.get_text() for label in labels)
            assert sum(bool(label.get_text()) for label in labels) > 2


def test_what_runs_away_leaves_the_axes_and_flattens_nothing_else():
    trace = Trace(worm="w", neuron="AVAL", seen=(1.0, -1.0), followed=(0.5, 1), generated=(0, None))
    away = Generation(worms=1, loss=(1.0, 1e30, None), naive=(2.0, 2.0, 2.0), traces=(trace,))
    made = figures.generation_figure([document("worm-linear", 10, 0, generation=away)])
    astray, _ = drawn(made)
    assert 2.0 < astray.get_ylim()[1] < 20
