from __future__ import annotations

import gc
import math
from dataclasses import replace

import numpy as np
import pytest
import zarr
from builders import horizon_case, manifest, worms_case

from zapeval.benchmarks.zapbench import ZAPBENCH
from zapeval.errors import InvalidInput, Refused
from zapeval.forecasting.predictions import open_predictions
from zapeval.forecasting.writing import WINDOWS_A_BLOCK, PredictionsWriter, layout_of
from zapeval.recordings.metadata import CHUNK_LIMIT

CONTEXT_FRAMES = 4


def test_zebrafish_is_stored_a_step_and_an_even_share_of_neurons_a_chunk():
    layout = layout_of(ZAPBENCH, 71721)
    assert layout.chunk == (32, 1, 8192)
    assert layout.shard == (32, 32, 9 * 8192)


@pytest.mark.parametrize("neurons", [1, 7, 302, 8192, 8193, 71721, 200_000])
@pytest.mark.parametrize("make", [horizon_case, worms_case])
@pytest.mark.parametrize("horizon", [1, 5, 32, 1000])
def test_any_shape_has_one_file_a_block_of_whole_chunks(neurons, make, horizon):
    benchmark = make().benchmark
    protocol = benchmark.protocol
    series = replace(benchmark.series[0], origins=(CONTEXT_FRAMES,), mask=None)
    benchmark = replace(
        benchmark,
        horizon=horizon,
        series=(series,),
        frames=((series.recording, CONTEXT_FRAMES + horizon),),
        summary_steps=(1,),
    )
    layout = layout_of(benchmark, neurons)
    assert layout.shard is not None
    for size, chunk, shard in zip(
        (WINDOWS_A_BLOCK, horizon, neurons), layout.chunk, layout.shard, strict=True
    ):
        assert shard % chunk == 0
        assert size <= shard < size + chunk
    assert math.prod(layout.chunk) * 4 <= CHUNK_LIMIT
    assert layout.chunk[2] <= 8192
    if protocol == "horizon":
        assert layout.chunk[1] == 1


def begun(path, case, dtype="float32"):
    return PredictionsWriter(path, manifest(case.benchmark), dtype)


def test_blocks_are_given_in_order_and_those_written_no_more(tmp_path):
    case = horizon_case(windows=(70, 4, 11))
    series = case.benchmark.series[0]
    values = case.values[series.array]
    writer = begun(tmp_path / "a", case)
    assert list(writer.todo(case.benchmark, series, 7)) == [(0, 32), (32, 64), (64, 70)]
    writer.write(series, 32, values[32:64])
    assert list(writer.todo(case.benchmark, series, 7)) == [(0, 32), (64, 70)]
    writer.close()
    again = begun(tmp_path / "a", case)
    assert list(again.todo(case.benchmark, series, 7)) == [(0, 32), (64, 70)]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("make", [horizon_case, worms_case])
def test_store_reads_as_it_was_written(tmp_path, make, dtype):
    case = make()
    predictions = case.ours(tmp_path / "a", dtype)
    assert predictions.manifest == manifest(case.benchmark)
    assert not predictions.broken
    group = zarr.open_group(str(tmp_path / "a"), mode="r")
    for name, values in case.values.items():
        array = group[name]
        assert array.dtype == dtype
        np.testing.assert_array_equal(array[...], values.astype(dtype))
        np.testing.assert_array_equal(predictions.arrays[name].read(), values.astype(dtype))


def test_store_appears_when_it_is_finished(tmp_path):
    case = horizon_case()
    writer = begun(tmp_path / "a", case)
    for series in case.benchmark.series:
        for start, stop in writer.todo(case.benchmark, series, 7):
            writer.write(series, start, case.values[series.array][start:stop])
        assert not (tmp_path / "a").exists()
    writer.finish()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]
    assert set(open_predictions(str(tmp_path / "a")).arrays) == set(case.values)


def test_folder_that_exists_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(InvalidInput, match="a: exists; remove it or choose another name"):
        begun(tmp_path / "a", horizon_case())
    assert not (tmp_path / ".a.part").exists()


def test_too_large_for_float16_is_refused_and_named(tmp_path):
    case = horizon_case()
    series = case.benchmark.series[0]
    values = case.values[series.array].copy()
    values[2, 1, 0] = -65520
    writer = begun(tmp_path / "a", case, "float16")
    list(writer.todo(case.benchmark, series, 7))
    with pytest.raises(InvalidInput, match="65520 does not fit float16; store float32"):
        writer.write(series, 0, values)


def test_largest_float16_is_stored(tmp_path):
    case = horizon_case()
    values = {name: np.full_like(array, 65504) for name, array in case.values.items()}
    predictions = replace(case, values=values).ours(tmp_path / "a", "float16")
    assert (predictions.arrays["test_condition_0"].read() == 65504).all()


@pytest.mark.parametrize("make", [horizon_case, worms_case])
def test_raw_blocks_lie_as_compressed_ones_do(make):
    benchmark = make().benchmark
    packed, raw = (
        layout_of(benchmark, 9000, compressed=compressed) for compressed in (True, False)
    )
    assert (packed.chunk, packed.shard) == (raw.chunk, raw.shard)
    assert (packed.compressed, raw.compressed) == (True, False)


def test_second_writer_is_refused_until_the_first_lets_go(tmp_path):
    case = horizon_case()
    first = begun(tmp_path / "a", case)
    with pytest.raises(Refused, match=r"\.a\.part: another forecast is writing it"):
        begun(tmp_path / "a", case)
    first.close()
    again = begun(tmp_path / "a", case)
    again.close()
    again.close()


def test_writer_that_is_dropped_lets_go(tmp_path):
    case = horizon_case()
    begun(tmp_path / "a", case)
    gc.collect()
    begun(tmp_path / "a", case).close()


def test_block_is_written_a_second_time_as_the_last_values_say(tmp_path):
    case = horizon_case(windows=(70, 4, 11))
    writer = begun(tmp_path / "a", case)
    for series in case.benchmark.series:
        values = case.values[series.array]
        for start, stop in writer.todo(case.benchmark, series, 7):
            writer.write(series, start, values[start:stop] + 1)
            writer.write(series, start, values[start:stop])
    writer.finish()
    for name, array in open_predictions(str(tmp_path / "a")).arrays.items():
        np.testing.assert_array_equal(array.read(), case.values[name])


def test_finished_store_keeps_no_journal_and_no_lock(tmp_path):
    case = horizon_case()
    writer = begun(tmp_path / "a", case)
    for series in case.benchmark.series:
        for start, stop in writer.todo(case.benchmark, series, 7):
            writer.write(series, start, case.values[series.array][start:stop])
    # As a process leaves it that was killed while it wrote.
    (tmp_path / ".a.part" / "test_condition_0" / "c" / "0" / "0" / "0.__lock").write_bytes(b"")
    assert (tmp_path / ".a.part" / ".blocks.jsonl").is_file()
    writer.finish()
    names = {path.name for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert names == {"zarr.json", "0"}
