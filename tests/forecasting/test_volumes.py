"""Forecast video is written frame by frame, and scores as its traces do."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import videos

from zapeval.benchmarks.benchmark import Benchmark
from zapeval.errors import BrokenPlugin, InvalidInput, StorageError, UsageError
from zapeval.forecasting.forecast import forecast
from zapeval.forecasting.forecaster import Forecaster, VideoForecaster
from zapeval.forecasting.predictions import open_predictions
from zapeval.forecasting.volumes import forecast_volumes
from zapeval.recordings.arrays import open_array
from zapeval.recordings.grid import Grid
from zapeval.recordings.recording import Recordings, open_recording
from zapeval.scoring.score import score


class Fading(VideoForecaster):
    """Lets the newest frame fade; sees every other voxel along x, counts the windows it films."""

    name = "fading"
    grid = Grid(offset=(1, 0, 0), stride=(2, 1, 1))

    def __init__(self):
        self.filmed = []

    def frames(self, contexts):
        for window, origin in enumerate(contexts.origins):
            self.filmed.append(origin)
            newest = contexts.video[window][-1, 1::2]
            for step in range(contexts.horizon, 0, -1):
                yield window, step, newest * np.float32(0.9**step)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recording")
    videos.write(folder)
    return folder


@pytest.fixture
def make(data, tmp_path):
    """Writes volumes; returns their path."""

    def make(forecaster, name="volumes.zarr", benchmark=None, **options):
        given = benchmark or videos.benchmark()
        path, recordings = tmp_path / name, videos.opened(data)
        forecast_volumes(forecaster, given, recordings, path, context=videos.CONTEXT, **options)
        return path

    return make


def scored(path, data):
    return score(
        open_predictions(path), videos.benchmark(), videos.opened(data), context=videos.CONTEXT
    )[0]


def test_volumes_score_as_the_traces_of_the_same_forecaster(make, data, tmp_path):
    told, notes = [], []
    of_volumes = scored(make(Fading(), progress=told.append, note=notes.append), data)
    recordings = videos.opened(data)
    traces = tmp_path / "traces.zarr"
    forecast(Fading(), videos.benchmark(), recordings, traces, context=videos.CONTEXT)
    of_traces = scored(traces, data)
    assert (of_volumes.predictions["kind"], of_traces.predictions["kind"]) == ("volume", "traces")
    assert of_volumes.series == of_traces.series
    assert of_volumes.scored_set == of_traces.scored_set
    assert of_volumes.data == of_traces.data
    for one, other in zip(of_volumes.scores, of_traces.scores, strict=True):
        assert (one.series, one.step, one.metric) == (other.series, other.step, other.metric)
        assert one.value == pytest.approx(other.value, rel=1e-6, abs=1e-7)
    assert sum(told) == videos.benchmark().windows
    windows = videos.benchmark().windows
    size = windows * videos.HORIZON * 4 * 4 * 2 * 4
    assert notes[0].startswith(
        f"{windows * videos.HORIZON} frames of 4 x 4 x 2 float32: at most {size:,} bytes, "
    )


def test_frames_lie_a_file_each_with_grid_and_manifest(make):
    path = make(Fading(), dtype="float16")
    values = open_array(path / "all")
    windows = videos.benchmark().windows
    assert values.shape == (windows, videos.HORIZON, 4, 4, 2)
    assert (values.dtype, values.chunk) == (np.float16, (1, 1, 4, 4, 2))
    files = [file for file in (path / "all" / "c").rglob("*") if file.is_file()]
    assert len(files) == windows * videos.HORIZON
    grid = open_predictions(path).manifest.grid
    assert (grid.offset, grid.stride) == ((1, 0, 0), (2, 1, 1))
    newest = videos.video()[videos.benchmark().series[0].origins[5] - 1, 1::2]
    found = values.read((5, 6), (2, 3))[0, 0]
    np.testing.assert_allclose(found, newest * 0.9**3, atol=1e-3)


def test_an_interrupted_run_films_what_lacks_a_frame_and_nothing_else(make, data, tmp_path):
    class Interrupted(Fading):
        def frames(self, contexts):
            for window, step, frame in super().frames(contexts):
                if contexts.origins[window] == 49 and step == 2:
                    raise KeyboardInterrupt
                yield window, step, frame

    with pytest.raises(KeyboardInterrupt):
        make(Interrupted())
    assert not (tmp_path / "volumes.zarr").exists()
    damaged = tmp_path / ".volumes.zarr.part" / "all" / "c" / "1" / "3" / "0" / "0" / "0"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    again, told = Fading(), []
    path = make(again, progress=told.append)
    origins = videos.benchmark().series[0].origins
    assert again.filmed == [origins[0], origins[1], *origins[3:]]  # the first tells the size
    assert told[0] == 2
    whole = make(Fading(), "whole.zarr")
    np.testing.assert_array_equal(open_array(path / "all").read(), open_array(whole / "all").read())
    names = [sorted(str(f.relative_to(p)) for f in p.rglob("*")) for p in (path, whole)]
    assert names[0] == names[1]


def test_a_disk_without_room_is_refused_before_a_frame_is_written(make, monkeypatch, tmp_path):
    needed = videos.benchmark().windows * videos.HORIZON * 128
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    with pytest.raises(StorageError, match=rf"no room for {needed:,} bytes of frames"):
        make(Fading())
    assert not list(tmp_path.rglob("c"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed))
    assert make(Fading()).exists()


BROKEN = {
    "of another type": (lambda w, s, f: (w, s, f.astype(np.float64)), "got float64"),
    "flat": (lambda w, s, f: (w, s, f[0]), r"got float32 \(4, 2\), expected float32 \[x, y, z\]"),
    "of another size": (lambda w, s, f: (w, s, f[:s]), r"expected \(4, 4, 2\) as before"),
    "twice": (lambda w, s, f: (w, max(s, 2), f), "step 2; expected each of steps 1 to 4 once"),
    "beyond the horizon": (lambda w, s, f: (w, s + 1, f), "step 5; expected each of"),
    "of another window": (lambda w, s, f: (w + 1, s, f), "for window 1 of 1"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_frame_that_breaks_the_contract_is_refused(make, kind, tmp_path):
    change, message = BROKEN[kind]

    class Broken(Fading):
        def frames(self, contexts):
            yield from (change(*found) for found in super().frames(contexts))

    with pytest.raises(BrokenPlugin, match=message):
        make(Broken())
    assert not (tmp_path / "volumes.zarr").exists()


def test_a_frame_too_few_is_refused(make):
    class Short(Fading):
        def frames(self, contexts):
            yield from list(super().frames(contexts))[:-1]

    with pytest.raises(BrokenPlugin, match="window 0: got 3 frames, expected one for each step"):
        make(Short())


def test_a_forecaster_without_frames_is_refused(make):
    class Zeros(Forecaster):
        name = "zeros"

        def forecast(self, contexts):
            return np.zeros((len(contexts), contexts.horizon, videos.NEURONS), np.float32)

    with pytest.raises(UsageError, match="zeros: gives no frames of video"):
        make(Zeros())


def test_frames_that_lie_differently_need_stores_of_their_own(data, tmp_path):
    class Centred(Fading):
        def grid_of(self, contexts):
            return Grid(offset=(1 if contexts.recording == "fish" else 0, 0, 0), stride=(2, 1, 1))

    one = videos.benchmark().series[0]
    both = (one, replace(one, name="other", array="other", recording="second"))
    frames = (("fish", videos.FRAMES), ("second", videos.FRAMES))
    given: Benchmark = replace(videos.benchmark(), series=both, frames=frames)
    keys = ("fish", "second")
    recordings = Recordings({key: lambda: open_recording(str(data)) for key in keys})
    path = tmp_path / "volumes.zarr"
    with pytest.raises(InvalidInput, match=r"frames of other lie at .* one store has one grid"):
        forecast_volumes(Centred(), given, recordings, path, context=videos.CONTEXT)
