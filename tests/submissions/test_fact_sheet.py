from __future__ import annotations

import re

import pytest
from submitted import SHEET, write_sheet

from submissions.fact_sheet import LIMIT, Cost, FactSheet, read_fact_sheet
from zapeval.errors import InvalidInput, NotFound


def refused(path):
    with pytest.raises(InvalidInput) as caught:
        read_fact_sheet(path)
    return caught.value.findings


def test_a_sheet_is_read_as_it_stands(tmp_path):
    sheet = read_fact_sheet(write_sheet(tmp_path / "s.toml", seeds=[0, 7], code="https://a.org/x"))
    assert (sheet.name, sheet.authors, sheet.seeds) == ("A model", ["A. Author"], [0, 7])
    assert (sheet.code, sheet.paper, sheet.cost) == ("https://a.org/x", "", Cost())
    assert not sheet.future_stimulus


def test_what_is_written_is_read_as_the_same_sheet(tmp_path):
    sheet = FactSheet(
        **SHEET | {"name": "Ünïcode (v2), C=4", "authors": ['Q "uote" \\ slash', "李"]},
        code="https://example.org:8443/a/b?c=d&e=(f)#g",
        seeds=[3, "201", "a-b"],
        cost=Cost(parameters=12, training_hours=0.1, hardware="1 GPU"),
    )
    (tmp_path / "s.toml").write_text(sheet.to_toml())
    assert read_fact_sheet(tmp_path / "s.toml") == sheet


@pytest.mark.parametrize("key", ["name", "authors", "training_data", "future_stimulus", "leakage"])
def test_a_key_that_is_missing_is_named_with_its_file(tmp_path, key):
    path = write_sheet(tmp_path / "s.toml", **{key: None})
    (finding,) = refused(path)
    assert finding.startswith(f"{path}: {key}: is missing; expected ")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", ""),
        ("name", "=cmd()"),
        ("name", "x" * 81),
        ("name", "<b>x</b>"),
        ("name", "a\u202eb"),
        ("name", "a\nb"),
        ("authors", []),
        ("authors", ["\u001b[31mred"]),
        ("authors", ["x"] * 101),
        ("authors", "A. Author"),
        ("code", "javascript:alert(1)"),
        ("code", "http://example.org"),
        ("code", "https://user:secret@example.org"),
        ("code", "https://example.org/\" onclick='x'"),
        ("code", " https://example.org"),
        ("code", "https://example.org\nx"),
        ("paper", "JaVaScRiPt:alert(1)"),
        ("paper", "data:text/html,x"),
        ("paper", "https://" + "a" * 500),
        ("training_data", "x" * 2001),
        ("training_data", "a\u0000b"),
        ("leakage", ""),
        ("future_stimulus", "yes"),
        ("model_per_step", 1),
        ("seeds", [-1]),
        ("seeds", [True]),
        ("seeds", [1.5]),
        ("seeds", ["../x"]),
        ("seeds", list(range(1001))),
        ("neuron_subset", 3),
    ],
)
def test_a_wrong_value_is_refused_with_file_and_key(tmp_path, key, value):
    path = write_sheet(tmp_path / "s.toml", **{key: value})
    findings = refused(path)
    assert findings
    for finding in findings:
        assert finding.startswith(f"{path}: {key}: ")
        assert "expected" in finding
        assert finding.isprintable()
        assert len(finding) < 600


@pytest.mark.parametrize(
    "line",
    ["parameters = -1", "training_hours = nan", "training_hours = inf", 'hardware = "\\u0007"'],
)
def test_a_wrong_cost_is_refused_with_its_key(tmp_path, line):
    path = write_sheet(tmp_path / "s.toml")
    path.write_text(path.read_text() + f"[cost]\n{line}\n")
    (finding,) = refused(path)
    assert finding.startswith(f"{path}: [cost] {line.split()[0]}: got ")


def test_unknown_keys_are_refused_all_at_once(tmp_path):
    path = write_sheet(tmp_path / "s.toml", nmae="x", rank=1, name=None)
    findings = refused(path)
    assert len(findings) == 3
    assert sum("is no key here; known: name, authors" in text for text in findings) == 2


def test_a_seed_that_stands_twice_is_refused(tmp_path):
    assert "'1' stands twice" in refused(write_sheet(tmp_path / "s.toml", seeds=["1", 1]))[0]


def test_a_sheet_that_is_no_toml_is_refused(tmp_path):
    path = tmp_path / "s.toml"
    for data, says in (
        (b"name = ", "is no valid TOML"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a = " + b"[" * 20_000 + b"]" * 20_000, "nested too deep|no valid TOML"),
        (b'name = "a"\nname = "b"', "is no valid TOML"),
        (b"x = " + b"9" * 6000, "is no valid TOML"),
        (b"#" * (LIMIT + 1), "bytes"),
    ):
        path.write_bytes(data)
        (finding,) = refused(path)
        assert re.search(says, finding), finding
        assert str(path) in finding


def test_a_sheet_that_is_no_plain_file_is_refused(tmp_path):
    real = write_sheet(tmp_path / "real.toml")
    (tmp_path / "link.toml").symlink_to(real)
    assert "link" in refused(tmp_path / "link.toml")[0]
    (tmp_path / "folder.toml").mkdir()
    assert "folder" in refused(tmp_path / "folder.toml")[0]
    with pytest.raises(NotFound):
        read_fact_sheet(tmp_path / "none.toml")
