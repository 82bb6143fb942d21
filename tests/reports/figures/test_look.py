from __future__ import annotations

import sys
import warnings

import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from zapeval.errors import StorageError, UsageError
from zapeval.reports.figures import look
from zapeval.reports.figures.vega import COLOURS as WEB
from zapeval.reports.figures.vega import NEUTRAL


def test_contrast_is_that_of_the_guidelines():
    assert look.contrast("black", "white") == pytest.approx(21)
    assert look.contrast("#777777", "#FFFFFF") == pytest.approx(4.48, abs=0.01)
    assert look.contrast("#0072B2", "#0072B2") == 1


def test_the_colours_of_the_web_are_seen_on_light_and_on_dark():
    for colour in (*WEB, NEUTRAL):
        assert look.contrast(colour, "#FFFFFF") >= 3, colour
        assert look.contrast(colour, "#16181D") >= 3, colour


def test_a_cell_is_orange_below_0_white_at_0_and_blue_above():
    assert look.shade_of(0.0, 0.5)[0] == look.SKILL[1]
    assert look.shade_of(0.5, 0.5) == look.shade_of(7.0, 0.5) == (look.SKILL[2], "white")
    assert look.shade_of(-0.5, 0.5) == look.shade_of(-7.0, 0.5) == (look.SKILL[0], "black")
    red, green, blue = to_rgb(look.shade_of(0.25, 0.5)[0])
    expected = [(a + b) / 2 for a, b in zip(*map(to_rgb, look.SKILL[1:]), strict=True)]
    assert (red, green, blue) == pytest.approx(expected, abs=1 / 255)


def test_what_is_written_on_a_cell_can_be_read():
    for skill in range(-20, 21):
        face, ink = look.shade_of(skill / 10, 1.0)
        assert look.contrast(face, ink) >= 4.5


def test_an_axis_is_cut_only_where_some_error_is_huge():
    assert look.top_of([1.0, 1.2, 1.9]) is None
    assert look.top_of([]) is None
    assert look.top_of([1.0, 1.2, 1.3, 30.0], [1.1, 1.5, 99.0, None]) == pytest.approx(1.05 * 1.5)


def test_the_first_entries_look_unlike_each_other():
    assert len({look.of(index) for index in range(56)}) == 56


def test_what_is_not_installed_is_named_with_its_remedy(monkeypatch):
    look.require(*look.LIBRARIES)
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(UsageError, match=r'need altair; pip install "zapeval\[figures\]"'):
        look.require(*look.LIBRARIES)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match="need matplotlib and altair"):
        look.require(*look.LIBRARIES)
    with pytest.raises(UsageError, match="need matplotlib; "), look.style():
        pass


def plot(text="x"):
    with look.style():
        figure = Figure(layout="constrained")
        figure.subplots().set_title(text)
        return figure


def test_a_figure_is_saved_as_png_and_pdf_with_its_title(tmp_path):
    paths = look.save({"a": plot(), "b": plot()}, tmp_path / "new", title="A title", about="Of x")
    assert [path.name for path in paths] == ["a.png", "a.pdf", "b.png", "b.pdf"]
    assert b"A title" in paths[0].read_bytes()
    assert b"Of x" in paths[1].read_bytes()
    again = look.save({"a": plot(), "b": plot()}, tmp_path, title="A title", about="Of x")
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]


def test_a_script_that_the_font_lacks_is_drawn_without_a_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        look.save({"a": plot("預測 \U0001f41f")}, tmp_path, title="", about="")


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match=r"taken: can't hold figures"):
        look.save({"a": plot()}, tmp_path / "taken", title="", about="")


def test_a_figure_grows_with_its_legend():
    heights = []
    for count in (2, 40):
        figure = plot()
        with look.style():
            line = figure.axes[0].plot([1])[0]
            look.key(figure, {f"entry {i}": line for i in range(count)})
        heights.append(figure.get_figheight())
        assert len(figure.legends[0].get_texts()) == count
    assert heights[1] > heights[0]
