from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from zapeval.benchmarks.definition import Definition, RecordingTable, SeriesTable, Split
from zapeval.benchmarks.own import read_own
from zapeval.errors import InvalidInput, NotFound

FULL = """\
id = "full"
version = 2
title = "t"
citation = "c"
protocol = "horizon"
context_lengths = [4, 8]
horizon = 4
summary_steps = [1, 4]
primary = "mse"
sampled = "time"
frame_seconds = 0.5
[split]
train = [0, 40]
validation = [40, 50]
test = [50, 70]
stride = 2
[[recordings]]
key = "a"
activity = "{key}.npy"
axes = ["frames", "neurons"]
exclude = [1]
group = "g"
[[series]]
name = "one"
recording = "a"
frames = [0, 80]
held_out = false
group = "h"
array = "first"
"""
"""Nearly every key, each on a line of its own: what an edit below is made to."""


@pytest.fixture
def read(tmp_path: Path):
    def read(text: str):
        (tmp_path / "own.toml").write_text(text)
        return read_own(tmp_path / "own.toml")

    return read


def edited(*edits: tuple[str, str]) -> str:
    text = FULL
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("horizon = 4\n", "", "horizon: is missing; expected a whole number from 1"),
        ("horizon = 4\n", "horizon = 4.0\n", "horizon: got 4.0, expected a whole number from 1"),
        ("horizon = 4\n", "horizon = true\n", "horizon: got true, expected a whole number from 1"),
        ("horizon = 4\n", "horizon = 0\n", "horizon: got 0, expected a whole number from 1"),
        ('id = "full"', 'id = "a/b"', "id: got 'a/b', expected letters, digits, - and _, begin"),
        ("version = 2", "version = -1", "version: got -1, expected a whole number from 0"),
        ('"horizon"', '"steps"', 'protocol: got \'steps\', expected "horizon" or "next-step"'),
        ('"mse"', '"correlation"', 'primary: got \'correlation\', expected "mae" or "mse"'),
        ("0.5", "-0.5", "frame_seconds: got -0.5, expected seconds above 0"),
        ("0.5", "nan", "frame_seconds: got NaN, expected seconds above 0"),
        ("stride = 2", "stride = -1", "[split]: stride: got -1, expected a whole number of frames"),
        ("stride = 2", "stride = 2\nwindows = 3", "[split]: has both stride and windows; keep one"),
        ("[40, 50]", "[40, 0.5]", "[split]: validation: got [40, 0.5], which mixes a fraction"),
        ("[50, 70]", "[0.8, 1.1]", "[split]: test: got [0.8, 1.1], expected fractions from 0.0"),
        ("stride", "strode", "[split]: strode: is no key of this table; did you mean stride?"),
        ("stride", "zzz", "is no key of this table; known: train, validation, test, stride, windo"),
        (
            "stride",
            "axes",
            "[split]: axes: is no key of this table; it belongs to [[recordings]]",
        ),
        (
            "stride = 2",
            "version = 1",
            "[split]: version: is no key of this table; it belongs to the top of the file, above",
        ),
        ("[split]", "[[split]]", "[split]: got [{'train'"),
        ("[[recordings]]", "[recordings]", "expected one table [[recordings]] or more, in two"),
        ('key = "a"', "", "[[recordings]] number 1: expected either key or keys; give one of them"),
        ('key = "a"', 'key = "../a"', "[[recordings]] number 1: key: got '../a', expected letters"),
        ('key = "a"', 'keys = ["b", ""]', "[[recordings]] number 1: keys: got '' as entry 2, expe"),
        ('"{key}.npy"', '"a.npy"\nkeys = ["a"]', "expected either key or keys; give one of them"),
        ("exclude = [1]", "exclude = [-1]", "number 1: exclude: got -1 as entry 1, expected a li"),
        ("exclude = [1]", "exclude = [1, 1]", "number 1: exclude: lists a neuron twice; keep it "),
        ("exclude = [1]", 'exclude = [1]\nmask = "m"', "number 1: has both exclude and mask; keep"),
        ('"frames", "neurons"', '"neurons"', 'axes: got [\'neurons\'], expected ["frames", "neur'),
        ('"frames", "neurons"', '"time", "neurons"', "number 1: axes: got 'time' as entry 1, exp"),
        ("held_out = false", "held_out = 0", "[[series]] number 1: held_out: got 0, expected true"),
        (
            "held_out = false",
            "held_out = true\ntrain = [0, 9]",
            "[[series]] number 1: held_out: has train or validation frames; a held-out series has",
        ),
        ("held_out = false", "held_out = true", "[[series]]: every series is held out; leave one"),
        ('name = "one"', 'name = "a/b"', "[[series]] number 1: name: got 'a/b', expected letters"),
        ('name = "one"', 'name = "average"', "series name 'average' is taken; give that [[series"),
        ('array = "first"', 'array = "zarr.json"', "series array 'zarr.json' is taken; give that"),
        ('array = "first"', 'array = "../x"', "[[series]] number 1: array: got '../x', expected "),
        ('recording = "a"', 'recording = "b"', "'one': recording: got 'b', expected one of a"),
        ("test = [50, 70]\n", "", "series 'one': has no test frames; give [split] test"),
        ("[4, 8]", "[8, 4]", "context_lengths: got [8, 4], expected each number once, in ascend"),
        ("[4, 8]", "[4, 4]", "context_lengths: got [4, 4], expected each number once, in ascend"),
        ("context_lengths = [4, 8]", "", "context_lengths: is missing; expected a list such as "),
        ("[1, 4]", "[1, 5]", "summary_steps: got [1, 5], expected steps from 1 to 4 (the horizon)"),
        ("[1, 4]", "[4, 1]", "summary_steps: got [4, 1], expected each number once, in ascending"),
        (
            'protocol = "horizon"',
            'protocol = "next-step"',
            "context_lengths: got [4, 8], expected [4]: next-step sees as many frames as it has",
        ),
        ("[4, 8]", "[4, 8", "is no valid TOML: Unclosed array (at line 7, column 1)"),
        ('id = "full"', 'id = "full"\nid = "full"', "is no valid TOML: Cannot overwrite a value"),
        ("0.5", "1e99999999999999999999", "is no valid TOML: "),
    ],
)
def test_a_wrong_key_names_file_table_got_and_expected(read, tmp_path, old, new, complaint):
    with pytest.raises(InvalidInput) as caught:
        read(edited((old, new)))
    assert f"{tmp_path}/own.toml: " in str(caught.value)
    assert complaint in str(caught.value)


def test_the_sound_definition_is_sound(read):
    assert read(FULL).version == 2


def test_every_wrong_key_is_named_at_once(read):
    with pytest.raises(InvalidInput) as caught:
        read(edited(("stride = 2", "stride = -1"), ("version = 2", "version = 'x'"), ("[1]", "3")))
    places = [finding.split(": ")[1:3] for finding in caught.value.findings]
    assert places == [
        ["version", "got 'x', expected a whole number from 0 (0"],
        ["[split]", "stride"],
        ["[[recordings]] number 1", "exclude"],
    ]
    assert str(caught.value).count("\n- ") == 3


@pytest.mark.parametrize(
    "second", ['"b", "a"', '"c"]\nactivity = "{key}"\n[[recordings]]\nkeys = ["a"']
)
def test_a_key_that_stands_twice_is_refused(read, second):
    text = edited(('key = "a"\nactivity', f'keys = ["a", {second}]\nactivity'))
    with pytest.raises(InvalidInput, match=r"\[\[recordings\]\]: key 'a' stands twice; rename one"):
        read(text)


def test_several_keys_need_a_place_in_the_path(read):
    with pytest.raises(InvalidInput, match=r"would all read the same file; expected \{key\} in it"):
        read(edited(('key = "a"', 'keys = ["a", "b"]'), ('"{key}.npy"', '"a.npy"')))


def test_a_series_says_which_of_several_recordings_it_is_of(read):
    edits = (('key = "a"', 'keys = ["a", "b"]'), ('recording = "a"', ""))
    with pytest.raises(InvalidInput, match="'one': recording: is missing, expected one of a, b"):
        read(edited(*edits))


def test_names_that_differ_only_in_case_would_share_a_folder(read):
    second = '\n[[series]]\nname = "two"\nrecording = "a"\narray = "FIRST"\n'
    with pytest.raises(InvalidInput, match="series array 'FIRST' is taken"):
        read(FULL + second)


def test_a_missing_definition_and_a_binary_one_are_errors(tmp_path):
    with pytest.raises(NotFound, match=r"none\.toml: does not exist; expected a TOML file"):
        read_own(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInput, match=r"binary\.toml: is no TOML file: it is not UTF-8"):
        read_own(tmp_path / "binary.toml")
    with pytest.raises(InvalidInput, match="could not be read"):
        read_own(tmp_path)


WRONG = (
    *("-1", "0", "3", "9" * 30, "0.5", "1e400", "nan", "-inf", "0e99999999", "true", "2000-01-01"),
    *("''", "'x'", "'a\\b'", "'../../x'", "'%s'", "'{key}{key}'", "'s3:///'", '"\\u0000"'),
    *("[]", "[[]]", "[3]", "[1, 2]", "[2, 1]", "[0.2, 0.4]", "['x', 'y']", "[true]", "[nan, 1]"),
    *("{}", "{a = 1}", "[{}]", "[{key = 'b', activity = 'a.npy'}]"),
)
"""Values that are wrong for most keys."""

KEYS = {
    "": Definition,
    "[split]\n": Split,
    "[[recordings]]\n": RecordingTable,
    "[[series]]\n": SeriesTable,
}


@pytest.mark.parametrize("table", KEYS)
def test_whatever_a_key_holds_the_answer_is_a_benchmark_or_a_sentence(read, tmp_path, table):
    np.save(tmp_path / "a.npy", np.zeros((80, 3), np.float32))
    for key, value in product(KEYS[table].model_fields, WRONG):
        kept = [line for line in FULL.splitlines() if not line.startswith(f"{key} = ")]
        start = kept.index(table.strip()) + 1 if table else 0
        text = "\n".join([*kept[:start], f"{key} = {value}", *kept[start:]])
        try:
            recipe = read(text)
            recipe.resolve(recipe.recordings())
        except (InvalidInput, NotFound) as error:
            assert str(error).startswith(f"{tmp_path}/own.toml: "), text
