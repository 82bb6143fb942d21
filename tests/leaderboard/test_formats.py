"""Formats: what is shown, in CSV, Markdown and LaTeX, whoever wrote the words."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from leaderboard.formats import Cell, Heading, Table, guarded, to_csv, to_latex, to_markdown

HEADINGS = (
    Heading(key="name", text="entry", left=True),
    Heading(key="step-1", text="step 1", interval=True),
)


def table_of(*names: str) -> Table:
    cell = Cell(text="0.10", value=0.1 + 0.2, low=0.25, high=None, note="0.25 to ?")
    rows = tuple((Cell(text=name, value=name), cell) for name in names)
    return Table(
        title="mae",
        headings=HEADINGS,
        rows=rows,
        notes=("lower is better",),
        identity=(("context", 4),),
    )


def test_csv_keeps_all_digits_and_the_identity() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(table_of("a")))))
    assert rows == [
        {
            "context": "4",
            "name": "a",
            "step_1": repr(0.1 + 0.2),
            "step_1_low": "0.25",
            "step_1_high": "",
        }
    ]


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1",
        "\u00a0=1",
        "\u200b=1",
        "\ufeff=HYPERLINK(1)",
        "\uff1d1+1",
        "|calc",
        "%x",
    ],
)
def test_text_that_a_spreadsheet_would_run_is_guarded(text: str) -> None:
    said = guarded(text)
    assert isinstance(said, str)
    assert said.startswith("'")


@given(st.text())
def test_no_cell_of_csv_begins_a_formula_or_steers_a_terminal(text: str) -> None:
    said = guarded(text)
    assert isinstance(said, str)
    assert not said.lstrip().startswith(("=", "+", "-", "@"))
    assert all(mark.isprintable() for mark in said)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_markdown_has_one_row_for_each_entry_whatever_it_is_called(names: list[str]) -> None:
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = parser.parse(to_markdown(table_of(*names)))
    assert sum(token.type == "tr_open" for token in tokens) == 1 + len(names)
    inside = [child.type for token in tokens for child in token.children or ()]
    assert not {"link_open", "image", "html_inline", "code_inline"} & set(inside)


@given(st.text(max_size=60))
def test_latex_is_ascii_whose_braces_close(name: str) -> None:
    text = to_latex(table_of(name))
    assert text.isascii()
    plain = text.replace(r"\{", "").replace(r"\}", "")
    assert plain.count("{") == plain.count("}")
    assert plain.count(r"\\") == 2


def test_a_name_can_not_end_a_latex_table_or_read_a_file() -> None:
    text = to_latex(table_of(r"x} \end{tabular} \input{/etc/passwd} & % \\"))
    assert r"\input" not in text.replace(r"\textbackslash{}input", "")
    assert text.count(r"\end{tabular}") == 1
