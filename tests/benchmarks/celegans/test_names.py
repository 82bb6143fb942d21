"""Names and labels."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapeval.benchmarks.celegans.names import (
    CHECKSUM,
    NAMES,
    SHORTER,
    SLOTS,
    canonical,
    labelling,
    nearest,
)


def test_there_are_302_names_with_the_known_checksum():
    assert len(set(NAMES)) == len(NAMES) == 302
    assert hashlib.sha256("".join(f"{name}\n" for name in NAMES).encode()).hexdigest() == CHECKSUM
    assert CHECKSUM == "ed508eaca9be817d899d88eaafba424ece5c076bbc375958cf2943fc02cadf7d"
    assert list(NAMES) == sorted(NAMES, key=str.encode)


def test_the_shorter_list_shifts_by_two_from_slot_82_on():
    assert len(SHORTER) == 300
    assert SHORTER[:82] == NAMES[:82]
    assert SHORTER[82:] == NAMES[84:]
    assert NAMES[82:84] == ("CANL", "CANR")


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("AVAL", "AVAL"),
        (" AVAL ", "AVAL"),
        ("DA01", "DA1"),
        ("VB10", "VB10"),
        ("VD010", None),
        ("AS11", "AS11"),
        ("aval", None),
        ("101", None),
    ],
)
def test_zeros_inside_a_label_are_dropped(label, name):
    assert canonical(label) == name


def test_every_name_stands_for_itself_and_with_leading_zeros_too():
    for name in NAMES:
        assert canonical(name) == name
        letters, digits = name.rstrip("0123456789"), name[len(name.rstrip("0123456789")) :]
        if digits and len(digits) == 1:
            assert canonical(f"{letters}0{digits}") == name


def test_an_unknown_name_suggests_the_nearest():
    found = labelling(["AVALL", "aval", "gland cell", "XYZ"])
    assert found.names == (None, None, None, None)
    assert found.findings[0] == (
        "column 0: label 'AVALL' is no canonical name (did you mean 'AVAL'?); kept out"
    )
    assert "did you mean 'AVAL'?" in found.findings[1]
    assert found.findings[2] == "column 2: label 'gland cell' is no canonical name; kept out"
    assert nearest("SMDVLL") == "SMDVL"


def test_uncertain_labels_are_kept_out_and_listed():
    found = labelling(["AVA?", "RMEV?", "??", "AVAL/R", "RIML*", "AVAR"])
    assert found.names == (None, None, None, None, None, "AVAR")
    assert all("uncertain; kept out" in finding for finding in found.findings)
    assert len(found.findings) == 5


def test_of_duplicates_the_first_keeps_the_name():
    found = labelling(["DA1", "AVAL", "DA01", "AVAL"])
    assert found.names == ("DA1", "AVAL", None, None)
    assert found.findings == (
        "column 2: label 'DA01' names DA1, as column 0 does; the first keeps it",
        "column 3: label 'AVAL' names AVAL, as column 1 does; the first keeps it",
    )


def test_columns_without_a_label_are_no_finding():
    found = labelling([None, "", "17", "nan", "---"])
    assert found.names == (None,) * 5
    assert found.findings == ()


@given(st.lists(st.one_of(st.none(), st.sampled_from(NAMES), st.text(max_size=8))))
def test_names_are_canonical_and_unique_and_nothing_is_silent(labels):
    found = labelling(labels)
    named = [name for name in found.names if name is not None]
    assert len(found.names) == len(labels)
    assert len(set(named)) == len(named)
    assert set(named) <= set(SLOTS)
    for column, (label, name) in enumerate(zip(labels, found.names, strict=True)):
        if label in SLOTS and name is None:
            assert any(finding.startswith(f"column {column}: ") for finding in found.findings)
