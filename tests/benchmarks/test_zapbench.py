"""ZAPBench's frames and windows, against a table written out from the papers and public code."""

from __future__ import annotations

import numpy as np
import pytest
from builders import StoreLayout, write_zarr

from zapeval.benchmarks import zapbench
from zapeval.benchmarks.benchmark import context_span, windows_in
from zapeval.benchmarks.zapbench import (
    HORIZON,
    MAX_CONTEXT,
    MIRRORED,
    ZAPBENCH,
    ZapBench,
    conditions,
    zapbench_series,
)
from zapeval.recordings.mirror import Item, fetch
from zapeval.recordings.recording import Recordings

# Name, padded bounds, frames for training, validation and test, first target frame, test windows,
# training windows at C=4 and C=256, validation windows.
TABLE = (
    ("gain", (1, 648), (454, 64, 129), 519, 98, (419, 167), 33),
    ("dots", (650, 2421), (1240, 177, 354), 2067, 323, (1205, 953), 146),
    ("flash", (2423, 3077), (459, 65, 130), 2947, 99, (424, 172), 34),
    ("taxis", (3079, 3734), (0, 0, 399), 3335, 368, (0, 0), 0),
    ("turning", (3736, 5046), (917, 131, 262), 4784, 231, (882, 630), 100),
    ("position", (5048, 5637), (414, 58, 117), 5520, 86, (379, 127), 27),
    ("open loop", (5639, 6622), (689, 98, 196), 6426, 165, (654, 402), 67),
    ("rotation", (6624, 7278), (459, 65, 130), 7148, 99, (424, 172), 34),
    ("dark", (7280, 7878), (420, 59, 119), 7759, 88, (385, 133), 28),
)
DIGEST = "sha256:7615d637a83c3acf44e98f270f932bf350ee16b729ba7a8c81cb1b890d489056"


def frames_in(spans):
    return sum(stop - start for start, stop in spans)


def test_windows_are_those_of_the_papers():
    assert [series.windows for series in ZAPBENCH.series] == [
        98,
        323,
        99,
        368,
        231,
        86,
        165,
        99,
        88,
    ]
    assert ZAPBENCH.windows == 1557
    assert sum(s.windows for s in ZAPBENCH.series if not s.held_out) == 1189


@pytest.mark.parametrize("index", range(9))
def test_condition_is_split_as_in_the_table(index):
    name, bounds, (train, validation, test), first, windows, of_train, of_validation = TABLE[index]
    condition, series = conditions()[index], ZAPBENCH.series[index]
    assert (condition.index, condition.name, series.name) == (index, name, name)
    assert condition.span == bounds
    assert frames_in(series.train) == train
    assert frames_in(series.validation) == validation
    assert frames_in([condition.test]) == test
    assert series.origins[0] == first == condition.test[0]
    assert series.origins == tuple(range(first, first + windows))
    assert series.origins[-1] + HORIZON == bounds[1]
    for context, expected in zip((4, 256), of_train, strict=True):
        found = [windows_in((a + context, b), HORIZON) for a, b in series.train]
        assert sum(map(len, found)) == expected
    # The context of validation windows may reach into training frames, as in the public code.
    found = [windows_in(span, HORIZON) for span in series.validation]
    assert sum(map(len, found)) == of_validation


def test_training_and_validation_windows_sum_to_the_papers():
    assert [sum(row[5][i] for row in TABLE) for i in (0, 1)] == [4772, 2756]
    assert sum(row[6] for row in TABLE) == 469


def test_splits_join_and_cover_the_condition():
    for condition in conditions():
        if condition.train is None:
            assert condition.validation is None
            assert condition.test == (condition.span[0] + MAX_CONTEXT, condition.span[1])
            continue
        assert condition.train[0] == condition.span[0]
        assert condition.train[1] == condition.validation[0]
        assert condition.validation[1] == condition.test[0]
        assert condition.test[1] == condition.span[1]


@pytest.mark.parametrize("context", [1, 4, 256])
def test_contexts_stay_within_their_condition_and_targets_do_not_move(context):
    for condition, series in zip(conditions(), ZAPBENCH.series, strict=True):
        start, stop = context_span(ZAPBENCH, series.origins[0], context)
        assert stop == condition.test[0]
        assert start >= condition.span[0]


def test_window_count_follows_the_papers_formula_at_any_context():
    # Their bounds begin a context earlier, and they count (hi - lo) - 32 - C + 1 windows.
    for context in (4, 256):
        for condition, series in zip(conditions(), ZAPBENCH.series, strict=True):
            low, high = condition.test[0] - context, condition.test[1]
            assert series.windows == (high - low) - 32 - context + 1


def test_taxis_alone_is_held_out():
    assert [s.name for s in ZAPBENCH.series if s.held_out] == ["taxis"]


def test_arrays_are_named_as_the_public_code_names_them():
    assert [series.array for series in ZAPBENCH.series] == [
        *("test_condition_0", "test_condition_1", "test_condition_2"),
        *("test_holdout_condition_3", "test_condition_4", "test_condition_5"),
        *("test_condition_6", "test_condition_7", "test_condition_8"),
    ]


def test_task_is_that_of_the_papers():
    assert (ZAPBENCH.label, ZAPBENCH.protocol) == ("zapbench@1", "horizon")
    assert (ZAPBENCH.horizon, ZAPBENCH.context_lengths, ZAPBENCH.max_context) == (32, (4, 256), 256)
    assert (ZAPBENCH.primary, ZAPBENCH.summary_steps) == ("mae", (1, 4, 8, 16, 32))
    assert ZAPBENCH.frames == (("zapbench", 7879),)
    assert (ZAPBENCH.sampled, ZAPBENCH.frame_seconds) == ("time", 0.9141)


def test_digest_is_frozen():
    assert ZAPBENCH.digest == DIGEST, (
        "what determines the scores of zapbench@1 has changed: people hold scores under this "
        "digest, so make it zapbench@2 and leave version 1 as it was"
    )


def test_thinned_windows_are_some_of_all():
    for every in (1, 7, 26):
        for series, whole in zip(
            zapbench_series("brain", every=every), ZAPBENCH.series, strict=True
        ):
            assert series.origins == whole.origins[::every]
            assert series.recording == "brain"


def test_recipe_resolves_without_a_recording():
    recipe = ZapBench()
    assert recipe.resolve(Recordings({})) is ZAPBENCH
    assert (recipe.id, recipe.version, recipe.title) == ("zapbench", 1, ZAPBENCH.title)


def test_recording_is_opened_where_it_is_said_to_be(tmp_path):
    np.save(tmp_path / "few.npy", np.zeros((7879, 3), np.float32))
    recording = ZapBench().recordings(str(tmp_path / "few.npy"))["zapbench"]
    assert (recording.frames, recording.neurons) == (7879, 3)


def test_default_recording_is_the_public_bucket_until_a_mirror_is_complete(tmp_path, monkeypatch):
    monkeypatch.setenv("ZAPEVAL_DATA", str(tmp_path))
    opened = []
    monkeypatch.setattr(zapbench, "open_recording", opened.append)  # the bucket is out of reach
    zapbench.open_zapbench(None)
    assert opened == ["gs://zapbench-release/volumes/20240930"]


def test_default_recording_is_the_mirror_where_it_is_complete(tmp_path, monkeypatch):
    monkeypatch.setenv("ZAPEVAL_DATA", str(tmp_path / "data"))
    layout = StoreLayout(zarr_format=3, chunk=(4, 3))
    write_zarr(tmp_path / "bucket" / "traces", np.zeros((8, 3), np.float32), layout)
    items = [Item(source="traces", target="traces")]
    fetch(str(tmp_path / "bucket"), items, zapbench.mirror_folder())
    recording = ZapBench().recordings()["zapbench"]
    assert recording.uri == str(tmp_path / "data" / "zapbench")
    assert (recording.frames, recording.neurons) == (8, 3)


def test_mirror_holds_what_scoring_needs():
    assert "traces" in {item.target for item in MIRRORED}
