"""Scores and digests do not hang on how predictions are stored, nor on who runs the tasks."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, replace
from math import ceil
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from builders import CONTEXT, PUBLIC, StoreLayout, horizon_case, worms_case, write_zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from twins import assert_scores, data_digest_by_hand, digest_by_hand, scores_by_loops

from zapeval.recordings.recording import Recordings, open_recording
from zapeval.scoring.score import score

FISH = horizon_case(seed=20, mean=1, spread=1e-4)
WORMS = worms_case(seed=21)
CASES = {"fish": FISH, "worms": WORMS}
TWINS = {name: scores_by_loops(case) for name, case in CASES.items()}
V2 = ("blosc", "zstd", "gzip", "zlib")


@st.composite
def layouts(draw, shape=(12, 9, 10)):
    """Draws any layout that both zarr versions can be written in; chunks may exceed the array."""
    chunk = tuple(draw(st.integers(1, n)) for n in shape)
    dtype = draw(st.sampled_from(["float32", "float16", "float64"]))
    order = draw(st.sampled_from("CF"))
    separator = draw(st.sampled_from("./"))
    if draw(st.booleans()):
        return StoreLayout(
            zarr_format=2,
            chunk=chunk,
            codecs=draw(st.sampled_from([(), *((name,) for name in V2)])),
            order=order,
            separator=separator,
            dtype=dtype,
        )
    codecs = draw(st.sampled_from([(), ("blosc",), ("zstd",), ("gzip",)]))
    if draw(st.booleans()):
        codecs = (*codecs, "crc32c")
    shard = None
    if draw(st.booleans()):
        shard = tuple(
            c * draw(st.integers(1, ceil(n / c))) for c, n in zip(chunk, shape, strict=True)
        )
    return StoreLayout(
        zarr_format=3,
        chunk=chunk,
        shard=shard,
        codecs=codecs,
        order=order,
        keys=draw(st.sampled_from(["default", "v2"])),
        separator=separator,
        dtype=dtype,
    )


@pytest.mark.slow
@settings(max_examples=60)
@given(layout=layouts(), workers=st.sampled_from([1, 4]), name=st.sampled_from(sorted(CASES)))
def test_any_layout_scores_as_loops_do(layout, workers, name):
    case = CASES[name]
    stored = {key: values.astype(layout.dtype) for key, values in case.values.items()}
    rounded = {key: values.astype(np.float32) for key, values in stored.items()}
    held = replace(case, values=rounded)
    twin = scores_by_loops(held) if layout.dtype == "float16" else TWINS[name]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        predictions = case.predictions(Path(folder) / "predictions", layout)
        recordings = case.recordings(Path(folder))
        card, _ = score(predictions, case.benchmark, recordings, context=CONTEXT, run=pool.map)
    assert_scores(card, twin)
    assert card.predictions["digest"] == digest_by_hand(held)


@pytest.mark.parametrize("name", CASES)
def test_layouts_agree_to_the_last_digits(tmp_path, name):
    case = CASES[name]
    recordings = case.recordings(tmp_path)
    stores = [
        case.ours(tmp_path / "ours"),
        case.predictions(tmp_path / "public"),
        case.predictions(tmp_path / "columns", StoreLayout(chunk=(5, 2, 3))),
        case.predictions(tmp_path / "fortran", StoreLayout(chunk=(3, 9, 2), order="F")),
    ]
    cards = [score(s, case.benchmark, recordings, context=CONTEXT)[0] for s in stores]
    for card in cards[1:]:
        for one, other in zip(cards[0].scores, card.scores, strict=True):
            assert other.value == pytest.approx(one.value, rel=1e-12, abs=1e-12)
        assert card.predictions == cards[0].predictions
        assert card.data == cards[0].data
        assert card.scored_set == cards[0].scored_set


def shuffled(seed):
    """Returns a run that executes tasks in a random order and yields results in order."""

    def run(function, tasks) -> Iterator:
        tasks = list(tasks)
        results = {}
        for index in np.random.default_rng(seed).permutation(len(tasks)):
            results[index] = function(tasks[index])
        yield from (results[index] for index in range(len(tasks)))

    return run


def pickled(function, tasks) -> Iterator:
    """Sends tasks and results through pickle, as a pool of processes does."""
    for task in tasks:
        yield pickle.loads(pickle.dumps(function(pickle.loads(pickle.dumps(task)))))


def bits(card, tally):
    """Returns all that must be equal to the last bit."""
    document = asdict(card)
    del document["seconds"]
    cells = [
        {k: v.tobytes() if isinstance(v, np.ndarray) else v for k, v in vars(cell).items()}
        for cell in tally
    ]
    return document, cells


@pytest.mark.parametrize("layout", [PUBLIC, StoreLayout(chunk=(4, 2, 3), dtype="float16")])
@pytest.mark.parametrize("name", CASES)
def test_runs_are_equal_to_the_last_bit(tmp_path, name, layout):
    case = CASES[name]
    predictions = case.predictions(tmp_path / "predictions", layout)
    recordings = case.recordings(tmp_path)

    def scored(run):
        return bits(*score(predictions, case.benchmark, recordings, context=CONTEXT, run=run))

    once = scored(map)
    for workers in (1, 2, 4):
        with ThreadPoolExecutor(workers) as pool:
            assert scored(pool.map) == once
    for seed in range(3):
        assert scored(shuffled(seed)) == once
    assert scored(pickled) == once


def test_runs_with_missing_neurons_are_equal_to_the_last_bit(tmp_path):
    case = FISH.with_values(
        test_condition_0=with_nan(FISH.values["test_condition_0"], np.s_[:, :, 3])
    )
    predictions = case.predictions(tmp_path / "predictions", StoreLayout(chunk=(4, 2, 3)))
    recordings = case.recordings(tmp_path)
    options = {"context": CONTEXT}
    once = bits(*score(predictions, case.benchmark, recordings, **options))
    with ThreadPoolExecutor(4) as pool:
        again = score(predictions, case.benchmark, recordings, run=pool.map, **options)
        assert bits(*again) == once
    again = score(predictions, case.benchmark, recordings, run=shuffled(0), **options)
    assert bits(*again) == once


def with_nan(values, where):
    values = values.copy()
    values[where] = np.nan
    return values


@pytest.mark.parametrize("name", CASES)
def test_digests_follow_their_definitions(tmp_path, name):
    card, _ = CASES[name].score(tmp_path)
    assert card.predictions["digest"] == digest_by_hand(CASES[name])
    assert card.data["digest"] == data_digest_by_hand(CASES[name])


@pytest.mark.slow
def test_processes_give_the_same_bits(tmp_path):
    predictions = FISH.predictions(tmp_path / "predictions")
    recordings = FISH.recordings(tmp_path)
    once = bits(*score(predictions, FISH.benchmark, recordings, context=CONTEXT))
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        again = score(predictions, FISH.benchmark, recordings, context=CONTEXT, run=pool.map)
    assert bits(*again) == once


def test_predictions_digest_is_left_out_when_not_asked_for(tmp_path):
    card, tally = FISH.score(tmp_path, digest=False)
    assert card.predictions["digest"] is None
    assert {cell.leaf for cell in tally} == {""}
    assert_scores(card, TWINS["fish"])


@pytest.mark.parametrize("name", CASES)
def test_predictions_digest_changes_with_one_value_or_swapped_windows(tmp_path, name):
    case = CASES[name]
    array, values = next(iter(case.values.items()))
    one = values.copy()
    one[-1, -1, -1] = np.nextafter(one[-1, -1, -1], np.float32(9))
    swapped = values[[1, 0, *range(2, len(values))]]
    steps = values[:, [1, 0, *range(2, values.shape[1])]]
    neurons = values[:, :, [1, 0, *range(2, values.shape[2])]]
    digests = [
        case.with_values(**{array: changed}).score(tmp_path)[0].predictions["digest"]
        for changed in (values, one, swapped, steps, neurons)
    ]
    assert len(set(digests)) == len(digests)


def test_predictions_digest_tells_negative_zero_from_zero(tmp_path):
    # The digest is over bits: stores that differ in any are not the same store.
    zero = FISH.with_values(test_condition_1=np.zeros_like(FISH.values["test_condition_1"]))
    negative = FISH.with_values(test_condition_1=-zero.values["test_condition_1"])
    one, other = zero.score(tmp_path)[0], negative.score(tmp_path)[0]
    assert one.scores == other.scores
    assert one.predictions != other.predictions


@pytest.mark.parametrize("name", CASES)
def test_data_digest_changes_with_a_target_and_with_nothing_else(tmp_path, name):
    case = CASES[name]
    series = case.benchmark.series[0]
    key = series.recording

    def digest(frame, case=case):
        activity = case.activity[key].copy()
        activity[frame, 0] += np.float32(1)
        changed = replace(case, activity={**case.activity, key: activity})
        return changed.score(tmp_path)[0].data["digest"]

    before = case.score(tmp_path)[0].data["digest"]
    targets = {
        frame
        for one in case.benchmark.series
        if one.recording == key
        for origin in one.origins
        for frame in range(origin, origin + case.benchmark.horizon)
    }
    for frame in range(len(case.activity[key])):
        assert (digest(frame) != before) == (frame in targets), frame


def test_data_digest_passes_over_frames_between_windows(tmp_path):
    case = FISH
    series = replace(case.benchmark.series[0], origins=(4, 14))
    benchmark = replace(case.benchmark, series=(series,), frames=(("fish", 24),))
    values = {"test_condition_0": case.values["test_condition_0"][:2]}
    activity = case.activity["fish"][:24]
    case = replace(case, benchmark=benchmark, values=values, activity={"fish": activity})
    before, _ = case.score(tmp_path)
    for frame, target in ((8, True), (9, False), (13, False), (14, True), (18, True), (19, False)):
        changed = activity.copy()
        changed[frame] += 1
        card, _ = replace(case, activity={"fish": changed}).score(tmp_path)
        assert (card.data != before.data) == target, frame


def test_data_digest_does_not_hang_on_the_storage_of_the_recording(tmp_path):
    predictions = FISH.predictions(tmp_path / "predictions")
    layout = StoreLayout(zarr_format=3, chunk=(7, 3), codecs=("zstd",), dtype="float32")
    write_zarr(tmp_path / "traces", FISH.activity["fish"], layout)
    recordings = Recordings({"fish": lambda: open_recording(str(tmp_path / "traces"))})
    card, _ = score(predictions, FISH.benchmark, recordings, context=CONTEXT)
    assert card.data == FISH.score(tmp_path)[0].data
    assert_scores(card, TWINS["fish"])
