"""The published table: every way it may be written, and everything that may be wrong with it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from published import COMBINED, HORIZON, ORDER, TARGETS, changed, encoded, oriented, rows

from zapeval.benchmarks.published import (
    TABLE_LIMIT,
    TOLERANCE,
    read_published,
    require_published,
)
from zapeval.benchmarks.synthetic import Mini
from zapeval.benchmarks.zapbench import ZapBench
from zapeval.errors import InvalidInput, NotFound, Refused

NAMES = list(TARGETS)
EXPECTED = {
    (metric, row["condition"], row["steps_ahead"]): row[metric.upper()]
    for row in rows()
    if (row["method"], row["context"]) == ("mean", 4)
    for metric in ("mae", "mse")
}
OTHERWISE = ("taxis", 7)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "table.json"


@pytest.fixture
def read(file):
    def read(text):
        file.write_text(text)
        return read_published(None, str(file), method="mean", context=4)

    return read


def at(condition, step):
    return ("condition", condition), ("steps_ahead", step)


def with_mae(value, *only):
    return encoded(changed(lambda row: row | {"MAE": value}, *only))


def conditions_as(write):
    return [row | {"condition": write(NAMES.index(row["condition"]))} for row in rows()]


def shuffled():
    table = rows()
    np.random.default_rng(3).shuffle(table)
    return table


@pytest.mark.parametrize("orient", ["columns", "index", "records", "split", "table"])
@pytest.mark.parametrize("write", [lambda text: text, json.loads], ids=["in a string", "bare"])
def test_every_orientation_with_names_is_read(read, orient, write):
    published = read(write(encoded(rows(), orient)))
    assert published.values == EXPECTED
    assert published.metrics == ("mae", "mse")
    assert (published.xids, published.ignored) == (("101", "102"), ())


def test_expected_numbers_are_complete():
    assert len(EXPECTED) == 2 * 9 * 32
    assert all(value > 0 for value in EXPECTED.values())


@pytest.mark.parametrize(
    "write",
    [int, float, str, lambda i: NAMES[i].replace(" ", "_"), lambda i: NAMES[i].title()],
    ids=["index", "fraction", "digits", "underscores", "capitals"],
)
def test_condition_is_known_by_index_or_name(read, write):
    assert read(encoded(conditions_as(write))).values == EXPECTED


def test_order_of_conditions_does_not_matter(read):
    by_public_order = [row for i in ORDER for row in rows() if row["condition"] == NAMES[i]]
    assert [row["condition"] for row in by_public_order] != [row["condition"] for row in rows()]
    for table in (by_public_order, shuffled()):
        for orient in ("columns", "records"):
            assert read(encoded(table, orient)).values == EXPECTED


def test_indices_in_the_order_of_the_public_code_name_the_same_conditions(read):
    table = [row for i in ORDER for row in conditions_as(int) if row["condition"] == i]
    assert read(encoded(table)).values == EXPECTED


@pytest.mark.parametrize("write", [float, str])
def test_context_and_step_may_be_written_as_pandas_writes_them(read, write):
    table = [
        row | {"context": write(row["context"]), "steps_ahead": write(row["steps_ahead"])}
        for row in rows()
    ]
    assert read(encoded(table)).values == EXPECTED


def test_table_without_mse_gives_mae_alone(read):
    dropped = [{k: v for k, v in row.items() if k not in ("MSE", "xid")} for row in rows()]
    empty = [row | {"MSE": None} for row in rows()]
    for table in (dropped, empty):
        published = read(encoded(table))
        assert published.metrics == ("mae",)
        assert published.values == {k: v for k, v in EXPECTED.items() if k[0] == "mae"}


def test_missing_rows_are_listed(read):
    table = changed(lambda row: None, *at(*OTHERWISE))
    table = [row for row in table if not (row["condition"] == "dark" and row["steps_ahead"] > 30)]
    with pytest.raises(InvalidInput) as caught:
        read(encoded(table))
    text = str(caught.value)
    assert "table.json: mean, context 4: lacks " in text
    assert "MAE of taxis at step 7; MAE of dark at steps 31 to 32" in text
    assert "MSE of taxis at step 7" in text
    assert len(caught.value.findings) == 4


def test_a_row_that_one_run_lacks_is_not_missing(read):
    table = changed(lambda row: None, *at(*OTHERWISE), ("xid", 102))
    assert read(encoded(table)).values == EXPECTED


@pytest.mark.parametrize("column", ["MAE", "MSE"])
def test_a_null_is_a_missing_number(read, column):
    table = changed(lambda row: row | {column: None}, *at(*OTHERWISE))
    with pytest.raises(InvalidInput, match=rf"lacks {column} of taxis at step 7$"):
        read(encoded(table))


def test_conditions_that_are_not_known_are_named_and_left_out(read):
    more = [row | {"condition": "all", "MAE": 0.5} for row in rows()]
    assert read(encoded(rows() + more)).ignored == ("all",)
    assert read(encoded(more + rows())).values == EXPECTED
    renamed = [row | {"condition": row["condition"] + "!"} for row in rows()]
    with pytest.raises(InvalidInput, match=r"lacks MAE of gain.*not known: dark!, dots!"):
        read(encoded(renamed))
    beyond = [row | {"condition": 9} for row in rows()]
    with pytest.raises(InvalidInput, match=r"lacks MAE of gain.*not known: 9$"):
        read(encoded(beyond))


def test_steps_that_count_from_zero_are_refused(read):
    table = [row | {"steps_ahead": row["steps_ahead"] - 1} for row in rows()]
    with pytest.raises(InvalidInput, match="steps_ahead runs from 0 to 31, expected 1 to 32"):
        read(encoded(table))
    table = [row | {"steps_ahead": row["steps_ahead"] + 1} for row in rows()]
    with pytest.raises(InvalidInput, match="steps_ahead runs from 2 to 33, expected 1 to 32"):
        read(encoded(table))
    table = changed(lambda row: row | {"steps_ahead": 0.5}, *at(*OTHERWISE))
    with pytest.raises(InvalidInput, match=r"row \d+: steps_ahead is 0.5, expected a number"):
        read(encoded(table))


def test_runs_that_differ_are_refused(read):
    other = EXPECTED["mae", *OTHERWISE] + 3 * TOLERANCE
    table = with_mae(other, *at(*OTHERWISE), ("xid", 102))
    with pytest.raises(InvalidInput) as caught:
        read(table)
    text = str(caught.value)
    assert "MAE of taxis at step 7" in text
    assert f"for xid 101 and {other!r} for xid 102" in text
    nearly = EXPECTED["mae", *OTHERWISE] + TOLERANCE / 3
    assert read(with_mae(nearly, *at(*OTHERWISE), ("xid", 102))).values == EXPECTED


def test_unknown_method_or_context_lists_the_known(file):
    file.write_text(encoded(rows()))
    with pytest.raises(NotFound, match="no method 'unet'; its methods: linear, mean"):
        read_published(None, str(file), method="unet", context=4)
    with pytest.raises(NotFound, match="no mean at context 16; its contexts: 256, 4"):
        read_published(None, str(file), method="mean", context=16)


@pytest.mark.parametrize("value", ["0.02", -0.02, True, [0.02]])
def test_a_number_that_is_none_is_refused(read, value):
    with pytest.raises(InvalidInput, match=r"row \d+: MAE is .*, expected a finite number"):
        read(with_mae(value, *at(*OTHERWISE)))


def test_a_number_of_hundreds_of_digits_is_refused(read):
    with pytest.raises(InvalidInput, match="a number of 401 digits"):
        read(with_mae(10**400, *at(*OTHERWISE)))


BROKEN = {
    "truncated": (encoded(rows())[:-100], "is not valid JSON: Unterminated string"),
    "truncated inside": (json.dumps(json.loads(encoded(rows()))[:-100]), "is not valid JSON"),
    "truncated bare": (json.loads(encoded(rows()))[:-100], "is not valid JSON"),
    "empty": ("", "is not valid JSON"),
    "number": ("42", "is a JSON int, expected a pandas table"),
    "number in a string": ('"42"', "is a JSON int, expected a pandas table"),
    "null": ("null", "is a JSON NoneType, expected a pandas table"),
    "text": ('"a table"', "is not valid JSON"),
    "three times": (json.dumps(encoded(rows())), "is a string in a string"),
    "nan": ('{"method": NaN}', "NaN is no JSON value"),
    "name twice": ('{"method": {}, "method": {}}', "a name stands twice"),
    "deep": ("[" * 100_000, "nested too deep"),
    "values": (encoded(rows(), "values"), "row 0 is a JSON list without column names"),
    "list of numbers": ("[1, 2]", "row 0 is a JSON int without column names"),
    "object": ("{}", "lacks method, context, condition, steps_ahead, MAE; its columns are none"),
    "other columns": ('{"a": {"0": 1}}', "its columns are 'a'; expected a pandas table"),
    "column of another type": (
        json.dumps(oriented(rows(), "columns") | {"MAE": [1.0]}),
        "column 'MAE' is a JSON list, expected an object",
    ),
    "column of other rows": (
        json.dumps(oriented(rows(), "columns") | {"MAE": {"0": 1.0}}),
        "column 'MAE' has other rows than 'method'",
    ),
    "short row": (
        '{"columns": ["method", "context", "condition", "steps_ahead", "MAE"], '
        '"index": [0], "data": [["mean", 4]]}',
        "row 0 is no list of 5 values",
    ),
    "row without a column": (
        json.dumps([{k: v for k, v in row.items() if k != "MAE"} for row in rows()]),
        "row 0: lacks MAE; its columns are 'method', 'context'",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_table_is_refused(read, file, name):
    text, expected = BROKEN[name]
    with pytest.raises(InvalidInput) as caught:
        read(text)
    assert str(caught.value).startswith(f"{file}: ")
    assert expected in str(caught.value)


def test_bytes_that_are_no_text_are_refused(file):
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="is not valid JSON"):
        read_published(None, str(file), method="mean", context=4)


def test_a_table_beyond_the_limit_is_refused_unread(file):
    with file.open("wb") as sparse:
        sparse.truncate(TABLE_LIMIT + 1)
    with pytest.raises(InvalidInput, match=r"is 67,108,865 bytes, expected at most 67,108,864"):
        read_published(None, str(file), method="mean", context=4)


def place(tmp_path, monkeypatch, *names):
    """Writes the same table at several places, and points the data folder at one of them."""
    monkeypatch.setenv("ZAPEVAL_DATA", str(tmp_path / "mirror"))
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(encoded(rows()))


BUCKET = f"bucket/{COMBINED}"
BESIDE = "bucket/volumes/20240930/combined.json"
MIRROR = "mirror/zapbench/combined.json"


@pytest.mark.parametrize(
    ("names", "data", "expected"),
    [
        ((MIRROR, BUCKET, BESIDE), "bucket/volumes/20240930", BUCKET),
        ((MIRROR, BESIDE), "bucket/volumes/20240930", BESIDE),
        ((MIRROR,), "bucket/volumes/20240930", MIRROR),
        ((MIRROR, "own/combined.json"), "own", "own/combined.json"),
        ((MIRROR,), None, MIRROR),
    ],
)
def test_table_is_looked_for_beside_the_recording_then_in_the_mirror(
    tmp_path, monkeypatch, names, data, expected
):
    place(tmp_path, monkeypatch, *names)
    given = None if data is None else str(tmp_path / data)
    published = read_published(given, None, method="mean", context=4)
    assert published.uri == str(tmp_path / expected)
    assert published.values == EXPECTED


def test_table_may_be_given_as_file_folder_or_address(tmp_path, monkeypatch):
    place(tmp_path, monkeypatch, MIRROR, "own/combined.json")
    for given in (
        str(tmp_path / "own/combined.json"),
        str(tmp_path / "own"),
        f"file://{tmp_path}/own/combined.json",
    ):
        published = read_published(None, given, method="mean", context=4)
        assert published.uri == str(tmp_path / "own/combined.json")
    with pytest.raises(NotFound, match=r"is not at .*/nothing.json; give it with --table"):
        read_published(None, str(tmp_path / "nothing.json"), method="mean", context=4)


def test_digest_is_that_of_the_file(read, file):
    import hashlib

    published = read(encoded(rows()))
    assert published.digest == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


def test_only_the_public_recording_has_published_numbers():
    require_published(ZapBench())
    with pytest.raises(Refused, match="zapbench-mini: no numbers are published for it"):
        require_published(Mini())


def test_horizon_and_order_are_those_of_nine_conditions():
    assert (len(NAMES), sorted(ORDER), HORIZON) == (9, list(range(9)), 32)
