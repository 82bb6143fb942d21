from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
import videos

from baselines.batches import ahead
from baselines.volumetric.configuration import Configuration
from baselines.volumetric.loader import VideoBatches
from baselines.volumetric.sharding import layout_over
from baselines.volumetric.specimens import loss_of_neurons
from zapeval.errors import InvalidInput, StorageError

C = Configuration(
    context=videos.CONTEXT,
    horizon=videos.HORIZON,
    features=4,
    groups=2,
    resampling=(),
    blocks=1,
    dropout=0.1,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    videos.write(folder)
    return folder


@pytest.fixture
def batches(data, tmp_path):
    """Makes batches of one window."""

    def make(c=C, mask=None, seed=0, where=data, **options):
        layout = layout_over(devices=jax.devices()[:1])
        given = videos.training(where, tmp_path, mask=mask, seed=seed)
        return VideoBatches(given, c, layout, **{"size": 1, **options})

    return make


def found_in(frames, values):
    """Returns at which frame of a video some frames begin."""
    starts = range(len(values) - len(frames) + 1)
    matches = [t for t in starts if np.allclose(values[t : t + len(frames)], frames, atol=1e-6)]
    assert len(matches) == 1
    return matches[0]


def test_the_frame_lies_at_the_lead_time_from_the_context(batches):
    values, seen = videos.video(), set()
    made = batches()
    for step in range(120):
        batch = made.train(step)
        lead, start = int(batch["lead"][0]), found_in(np.asarray(batch["frames"])[0], values)
        end = found_in(np.asarray(batch["truth"])[0], values)
        assert end == start + videos.CONTEXT + lead - 1
        assert end < 30, "a frame beyond the training range"
        seen.add((lead, end))
    assert {lead for lead, _ in seen} == {1, 2, 3, 4}
    assert {end for _, end in seen} >= {3, 29}, "the first and the last that there is"
    assert batch["key"].dtype == np.uint32


def test_every_target_of_a_lead_time_is_as_likely(batches):
    made = batches()
    for lead in range(1, videos.HORIZON + 1):
        ends = [origin + lead - 1 for _, origin in made._windows(0, lead)]
        assert ends == list(range(videos.CONTEXT + lead - 1, 30))


def test_a_step_gives_the_same_batch_again_and_a_thread_reads_ahead(batches):
    first = [np.asarray(b["frames"]) for b in ahead(batches().train, 0, 6)]
    for step, frames in enumerate(first):
        np.testing.assert_array_equal(frames, batches().train(step)["frames"])
    other = [np.asarray(batches(seed=1).train(step)["frames"]) for step in range(6)]
    assert any(not np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_validation_has_recorded_traces_and_the_same_windows_each_time(batches):
    values, recorded = videos.video(), videos.traces(videos.video(), videos.labels())
    made, leads = batches(size=2, validation=7), []
    for again in (made.validation(), made.validation()):
        weights = 0.0
        for batch in again:
            for window in range(2):
                start = found_in(np.asarray(batch["frames"])[window], values)
                lead = int(batch["lead"][window])
                end = start + videos.CONTEXT + lead - 1
                assert 30 <= end < 42
                np.testing.assert_array_equal(batch["truth"][window, 0], recorded[end])
                leads.append(lead)
            weights += float(batch["windows"].sum())
            assert "key" not in batch
        assert weights == 7
    assert leads[:8] == leads[8:]
    assert set(leads) == {1, 2, 3, 4}


def test_a_coarser_crop_is_averaged_and_its_output_may_be_fine(batches):
    c = replace(C, upsampling=((2, 2, 1),), upsampled_features=2)
    made = batches(c, kept=(4, 4, 2), resolution=2)
    batch = made.train(3)
    centre = videos.video()[:, 2:6]
    coarse = centre.reshape(-1, 2, 2, 2, 2, 2).mean(axis=(2, 4))
    start = found_in(np.asarray(batch["frames"])[0], coarse)
    end = start + videos.CONTEXT + int(batch["lead"][0]) - 1
    np.testing.assert_allclose(batch["truth"][0, 0], centre[end], rtol=1e-6)
    np.testing.assert_array_equal(batch["anatomy"].labels, videos.labels()[2:6])
    sentence = loss_of_neurons(made.specimens[0])
    assert sentence.startswith("3 of 6 neurons have no voxel")
    assert sentence.endswith(": 0, 4, 5")
    assert loss_of_neurons(batches().specimens[0]) == ""


def test_all_frames_at_once_have_no_lead_time(batches):
    batch = batches(replace(C, head="direct")).train(0)
    assert batch["truth"].shape == (1, videos.HORIZON, *videos.VOLUME)
    assert "lead" not in batch
    values = videos.video()
    start = found_in(np.asarray(batch["frames"])[0], values)
    assert found_in(np.asarray(batch["truth"])[0], values) == start + videos.CONTEXT


def test_bytes_are_counted(batches):
    made = batches()
    made.train(0)
    assert made.read_bytes == (videos.CONTEXT + 1) * np.prod(videos.VOLUME) * 4


def test_a_volume_that_does_not_divide_names_sizes_that_work(batches):
    deep = replace(C, resampling=((2, 2, 1), (2, 2, 2), (2, 2, 2)))
    with pytest.raises(InvalidInput, match=r"y is 4, expected a multiple of 8 .*z is 2, .* of 4"):
        batches(deep)


def test_a_segmentation_of_another_shape_is_refused(tmp_path):
    other = tmp_path / "other"
    videos.write(other)
    path = str(other / "segmentation")
    _rewrite(path, np.ones((8, 4, 3), np.uint16))
    with pytest.raises(InvalidInput, match=r"\[8, 4, 3\], but the video's frames are \[8, 4, 2\]"):
        _made(other, tmp_path)


def test_a_crop_without_a_neuron_is_refused(tmp_path):
    other = tmp_path / "other"
    videos.write(other)
    found = videos.labels()
    found[2:6] = 0
    _rewrite(str(other / "segmentation"), found)
    with pytest.raises(InvalidInput, match="none of the 6 neurons is scored and has a voxel"):
        _made(other, tmp_path, kept=(4, 4, 2))


def test_a_video_of_another_length_is_refused(tmp_path):
    other = tmp_path / "other"
    videos.write(other)
    _rewrite(str(other / "video"), videos.video()[:-1])
    with pytest.raises(InvalidInput, match=r"shape \[59, 8, 4, 2\], expected \[60 frames, x, y, z"):
        _made(other, tmp_path)


def test_a_voxel_that_is_not_finite_is_refused(tmp_path):
    other = tmp_path / "other"
    videos.write(other)
    values = videos.video()
    values[:, 3, 2, 1] = np.nan
    _rewrite(str(other / "video"), values)
    with pytest.raises(InvalidInput, match="video: holds values that are not finite"):
        _made(other, tmp_path).train(0)


def test_a_chunk_that_is_missing_is_no_zero(tmp_path):
    other = tmp_path / "other"
    videos.write(other)
    for chunk in (other / "video" / "c").rglob("*"):
        if chunk.is_file() and chunk.parent.parent.name == "1":
            chunk.unlink()
    with pytest.raises(StorageError):
        _made(other, tmp_path).train(0)


def test_test_frames_are_out_of_reach(data, tmp_path):
    series = videos.training(data, tmp_path).series[0]
    with pytest.raises(InvalidInput, match="hold frame 46, which recording 'fish' is tested on"):
        series.video((44, 48))


def _made(data, folder, **options):
    layout = layout_over(devices=jax.devices()[:1])
    return VideoBatches(videos.training(data, folder), C, layout, size=1, **options)


def _rewrite(uri, values):
    import shutil

    from zapeval.recordings.stores import open_store
    from zapeval.recordings.writer import Layout, write_array

    shutil.rmtree(uri)
    write_array(open_store(uri), values, Layout(chunk=values.shape))
