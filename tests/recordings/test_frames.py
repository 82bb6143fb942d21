from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapeval.benchmarks.zapbench import FRAMES, ZAPBENCH
from zapeval.errors import InvalidInput, StorageError
from zapeval.recordings.arrays import Array
from zapeval.recordings.frames import FRAMES_BYTES, Frames

BLOCK = 512
BLOCK_BYTES = BLOCK * 3 * 4
LENGTH = 4 * BLOCK + 100


class Counted(Array):
    """An array in memory that notes which frames are read, and takes its time."""

    def __init__(self, values, seconds):
        self.seconds = seconds
        self.uri, self.shape, self.dtype, self.chunk = "counted", values.shape, values.dtype, (1, 1)
        self.values = values
        self.asked = []
        self._busy = threading.Lock()

    def _read(self, spans, out):
        assert self._busy.acquire(blocking=False), "read by two threads at once"
        try:
            self.asked.append(spans[0])
            time.sleep(self.seconds)
            out[...] = self.values[tuple(slice(*span) for span in spans)]
        finally:
            self._busy.release()


def counted(dtype="float32", seconds=0.0):
    values = np.random.default_rng(0).normal(size=(LENGTH, 3)) * 100
    return Counted(values.astype(dtype), seconds)


spans = st.tuples(st.integers(0, LENGTH), st.integers(0, LENGTH)).map(sorted).map(tuple)


@given(asked=st.lists(spans, min_size=1, max_size=12), keep=st.integers(0, 6 * BLOCK_BYTES))
def test_any_spans_in_any_order_equal_plain_reads(asked, keep):
    array = counted()
    frames = Frames(array, keep)
    for start, stop in asked:
        found = frames.read((start, stop))
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, array.values[start:stop])


@pytest.mark.parametrize("dtype", ["float16", "float64", "int16"])
def test_other_types_become_float32(dtype):
    array = counted(dtype)
    found = Frames(array).read((500, 530))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, array.values[500:530].astype(np.float32))


def test_what_is_returned_is_a_copy():
    array = counted()
    frames = Frames(array)
    frames.read((10, 20))[:] = 7
    np.testing.assert_array_equal(frames.read((10, 20)), array.values[10:20])


@pytest.mark.parametrize("span", [(-1, 5), (5, 4), (LENGTH - 5, LENGTH + 1), (LENGTH, LENGTH + 9)])
def test_frames_that_are_not_there_are_an_error_as_in_a_plain_read(span):
    array = counted()
    with pytest.raises(InvalidInput) as plain:
        array.read(span)
    with pytest.raises(InvalidInput) as kept:
        Frames(array).read(span)
    assert str(kept.value) == str(plain.value)


def blocks(array):
    return [start // BLOCK for start, _ in array.asked]


@given(asked=st.lists(spans, min_size=1, max_size=20), most=st.integers(2, 5))
def test_at_most_the_budget_is_kept_and_what_was_used_last_is_not_read_again(asked, most):
    array = counted()
    frames = Frames(array, most * BLOCK_BYTES + BLOCK_BYTES // 2)
    kept: list[int] = []
    expected = []
    for start, stop in asked:
        frames.read((start, stop))
        assert len(frames._blocks) <= most
        assert sum(block.nbytes for block in frames._blocks.values()) <= most * BLOCK_BYTES
        # The twin: a list with the block that was used last at its end.
        for block in range(start // BLOCK, -(-stop // BLOCK)):
            if block in kept:
                kept.remove(block)
            else:
                expected.append(block)
            kept = [*kept, block][-most:]
    assert blocks(array) == expected


def test_two_blocks_are_kept_however_small_the_budget():
    array = counted()
    frames = Frames(array, 1)
    for _ in range(3):
        frames.read((BLOCK - 1, BLOCK + 1))
    assert blocks(array) == [0, 1]


def test_four_threads_read_each_block_once():
    array = counted(seconds=0.001)
    frames = Frames(array)
    rng = np.random.default_rng(1)
    starts = rng.integers(0, LENGTH - 40, 400)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda start: frames.read((start, start + 40)), starts))
    for start, values in zip(starts, found, strict=True):
        np.testing.assert_array_equal(values, array.values[start : start + 40])
    assert sorted(blocks(array)) == sorted(set(blocks(array)))


def test_four_threads_with_room_for_two_blocks_read_right():
    array = counted(seconds=0.001)
    frames = Frames(array, 2 * BLOCK_BYTES)
    starts = np.random.default_rng(2).integers(0, LENGTH - 600, 200)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda start: frames.read((start, start + 600)), starts))
    for start, values in zip(starts, found, strict=True):
        np.testing.assert_array_equal(values, array.values[start : start + 600])
    assert len(frames._blocks) <= 2


def test_a_block_that_could_not_be_read_is_tried_again():
    array = counted()
    frames, read = Frames(array), array._read

    def fail(spans, out):
        raise StorageError("gone")

    array._read = fail
    with pytest.raises(StorageError, match="gone"):
        frames.read((0, 5))
    array._read = read
    np.testing.assert_array_equal(frames.read((0, 5)), array.values[:5])


def test_everything_that_zapbench_trains_on_is_kept_at_full_scale():
    used = set()
    for series in ZAPBENCH.series:
        for start, stop in series.train + series.validation:
            used |= set(range(start // BLOCK, -(-stop // BLOCK)))
    assert len(used) * BLOCK * 71_721 * 4 <= FRAMES_BYTES
    assert len(used) == 15
    assert -(-FRAMES // BLOCK) == 16
