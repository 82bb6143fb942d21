from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess

import numpy as np
import pytest
from contenders import field, keep, moved, noise
from rich.console import Console

from zapeval.reports.comparison import compare
from zapeval.reports.entries import read_entries
from zapeval.reports.latex import to_latex
from zapeval.reports.standings import (
    letter,
    pairs_table,
    standings_table,
    to_csv,
    to_markdown,
)
from zapeval.reports.tables import as_plain

FIELD = field()
HOSTILE = r'=1+1 & 50% $x$ #1 {a}_b^c~<d>|"`\input{/etc/passwd}' + "\x1b[31m é 脳 ±"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("cards"), np.random.default_rng(0)
    base = noise(FIELD, rng)
    close = {name: values + 0.05 * rng.normal(size=values.shape) for name, values in base.items()}
    files = [
        keep(folder, "a", FIELD, base, name=HOSTILE, cost={"parameters": 1234567}),
        keep(folder, "b", FIELD, close, name="net", seed=0),
        keep(folder, "c", FIELD, close, name="net", seed=1),
        keep(folder, "d", FIELD, moved(base, 0.5), name="persistence"),
    ]
    return compare(read_entries(files))


def test_lines_hold_every_entry_in_order_of_rank(made):
    rows = [
        line for line in as_plain(standings_table(made)).splitlines() if re.match(r" *\d", line)
    ]
    assert [int(row.split()[0]) for row in rows] == [row.rank for row in made.rows]
    assert "persistence" in rows[-1]
    assert all("\x1b" not in row for row in rows)
    assert "2, ± " in next(row for row in rows if " net " in row)


def test_prose_begins_with_a_mark_and_says_what_is_shown(made):
    text = as_plain(standings_table(made))
    prose = "\n".join(line for line in text.splitlines() if line.startswith("# "))
    for said in (
        "tie: ",
        "ranks: ",
        "seeds: ",
        "skill: ",
        "benchmark arena@1, sha256:",
        "all its paired",
    ):
        assert said in prose
    assert all(line.startswith("#") or not re.match("[A-Z]", line) for line in text.splitlines())


def test_no_column_is_cut_where_the_terminal_has_room(made):
    console = Console(width=300, file=io.StringIO(), color_system=None)
    console.print(standings_table(made))
    assert "\u2026" not in console.file.getvalue()


def test_the_matrix_is_antisymmetric(made):
    rows = [
        line for line in as_plain(pairs_table(made)).splitlines() if "(" in line and line[0] != "#"
    ]
    signs = [re.findall(r"([+-]?)(0\.\d+) \(", row) for row in rows]
    assert [len(row) for row in signs] == [2, 2, 2]
    assert [row[0][1] for row in signs[1:]] == [number for _, number in signs[0]]
    assert signs[0][1][0] == "-" and signs[2][0][0] == "+"


@pytest.mark.parametrize(
    ("group", "text"), [(None, ""), (1, "a"), (26, "z"), (27, "aa"), (53, "ba")]
)
def test_groups_have_letters(group, text):
    assert letter(group) == text


def test_markdown_has_as_many_cells_in_each_row(made):
    text = to_markdown(made, pairs=True)
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert len(tables) == 2
    for table in tables:
        # A bar that is escaped belongs to a cell.
        counts = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(counts) == 1
    assert "\\<d\\>" in text and "<d>" not in text


def test_csv_is_read_back_and_holds_no_formula(made):
    rows = list(csv.DictReader(io.StringIO(to_csv(made))))
    assert [row["forecaster"][:4] for row in rows].count("'=1+") == 1
    for row, shown in zip(rows, made.rows, strict=True):
        assert float(row["score"]) == shown.score.value
        assert float(row["low"]) == shown.score.low
        assert int(row["rank_low"]) == shown.ranks.low
        assert float(row["skill"]) == shown.skill.value
        assert row["benchmark"] == "arena@1"
        for key, value in row.items():
            assert value[:1] not in set("=+-@") or float(value) <= 0, key
    assert rows[-1]["skill"] == "0.0"


# LaTeX, by a parser that knows no more than a table needs.

COMMANDS = {
    *("begin", "end", "centering", "caption", "toprule", "midrule", "bottomrule", "textbf", "pm"),
    *("textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater"),
    *("textbar", "textasciigrave"),
}
TOKEN = re.compile(r"\\(?P<word>[a-zA-Z]+)|\\(?P<mark>[^a-zA-Z])|(?P<one>.)", re.DOTALL)


def parse(text):
    """Returns rows of cells of the only tabular; fails on what LaTeX would not take."""
    assert text.isascii()
    depth, math, stack, arguments, rows, cells = 0, False, [], [], [], [""]
    tokens, inside = list(TOKEN.finditer(text)), False
    position = 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        word, mark, one = token["word"], token["mark"], token["one"]
        if word:
            assert word in COMMANDS, word
            assert (word == "pm") <= math
            if word in ("begin", "end"):
                name, position = argument(tokens, position)
                if word == "begin":
                    stack.append(name)
                else:
                    assert stack.pop() == name
                inside = "tabular" in stack
                if word == "begin" and name == "tabular":
                    layout, position = argument(tokens, position)
                    arguments.append(layout)
                    cells = [""]
            elif word in ("toprule", "midrule", "bottomrule"):
                assert inside and not "".join(cells).strip()
                cells = [""]
            elif inside:
                cells[-1] += token[0]
        elif mark == "\\":
            assert inside and depth == 0
            rows.append([cell.strip() for cell in cells])
            cells = [""]
        elif mark is not None:
            assert mark in "&%$#_{}`'^~=.\"", mark
            cells[-1] += token[0] if inside else ""
        elif one == "&":
            assert inside and depth == 0 and not math
            cells.append("")
        elif one == "$":
            math = not math
        else:
            assert one not in "%#^_~", one
            depth += {"{": 1, "}": -1}.get(one, 0)
            assert depth >= 0
            cells[-1] += one if inside else ""
    assert not stack and not depth and not math
    assert len({len(row) for row in rows} | {len(arguments[0])}) == 1
    return rows


def argument(tokens, position):
    """Returns the text in the braces that begin at a position, and where they end."""
    assert tokens[position][0] == "{"
    end = next(i for i in range(position, len(tokens)) if tokens[i][0] == "}")
    return "".join(token[0] for token in tokens[position + 1 : end]), end + 1


def test_latex_is_what_a_strict_parser_takes(made):
    header, *rows = parse(to_latex(made))
    assert len(rows) == len(made.rows)
    assert header[:4] == ["rank", "ranks", "tie", "forecaster"]
    names = [row[3] for row in rows]
    hostile = next(name for name in names if "etc" in name)
    assert hostile == (
        r"=1+1 \& 50\% \$x\$ \#1 \{a\}\_b\textasciicircum{}c\textasciitilde{}\textless{}d"
        r"\textgreater{}\textbar{}''\textasciigrave{}\textbackslash{}input\{/etc/passwd\}"
        r"U+FFFD[31m \'{e} U+8133 \pm"
    )


def test_latex_has_the_best_and_its_ties_in_bold(made):
    header, *rows = parse(to_latex(made))
    score = header.index("mae")
    bold = [row[score].startswith(r"\textbf") for row in rows]
    assert bold == [row.group == 1 for row in made.rows]
    assert 0 < sum(bold) < len(bold)
    assert to_latex(made).count(r"\textbf") == sum(bold)


def test_latex_compiles_without_a_warning(made, tmp_path):
    engine = shutil.which("pdflatex")
    if engine is None:
        pytest.skip("needs pdflatex (Debian: texlive-latex-recommended)")
    table = to_latex(made)
    document = [r"\documentclass{article}", r"\usepackage{booktabs}"]
    document += [r"\usepackage[landscape,margin=1cm]{geometry}", r"\begin{document}", r"\tiny"]
    (tmp_path / "table.tex").write_text("\n".join([*document, table, r"\end{document}", ""]))
    command = [engine, "-no-shell-escape", "-halt-on-error", "-interaction=nonstopmode"]
    done = subprocess.run([*command, "table.tex"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    log = (tmp_path / "table.log").read_text(errors="replace")
    assert [line for line in log.splitlines() if "Warning" in line or "Missing" in line] == []


def test_the_parser_refuses_what_latex_would(made):
    good = to_latex(made)
    for bad in (
        good.replace(r"\&", "&", 1),
        good.replace(r"\_", "_", 1),
        good.replace(r"\end{tabular}", ""),
        good.replace(r"\toprule", r"\input"),
        good.replace(r"\{", "{", 1),
    ):
        assert bad != good
        with pytest.raises(AssertionError):
            parse(bad)
