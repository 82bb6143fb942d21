"""Frames of other recordings join the training, within their bounds, and nothing else."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import videos

from baselines.volumetric.configuration import Configuration
from baselines.volumetric.forecaster import VolumetricUNet
from baselines.volumetric.loader import VideoBatches
from baselines.volumetric.others import other_series
from baselines.volumetric.sharding import layout_over
from zapeval.errors import InvalidInput, NotFound, UsageError
from zapeval.recordings.stores import open_store
from zapeval.recordings.writer import Layout, write_array

C = Configuration(
    context=videos.CONTEXT,
    horizon=videos.HORIZON,
    features=4,
    groups=2,
    resampling=(),
    blocks=1,
)
FIRST, SECOND = (10, 24), (40, 49)
"""Ranges of the other recording that are trained on; frames between them are poisoned."""

TOML = """\
id = "others"
context_lengths = [3]
horizon = 4
[[recordings]]
key = "second"
activity = "second"
[[series]]
name = "a"
frames = [0, 30]
train = [10, 24]
test = [24, 30]
[[series]]
name = "b"
frames = [30, 49]
train = [40, 49]
test = [34, 40]
[[series]]
name = "c"
frames = [49, 60]
test = [53, 60]
held_out = true
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two recordings and a TOML file over the second one, whose other frames hold no number."""
    folder = tmp_path_factory.mktemp("recordings")
    videos.write(folder / "fish")
    frames, labels = videos.video(seed=1), videos.labels()
    traces = videos.traces(frames, labels)
    inside = np.zeros(videos.FRAMES, bool)
    for start, stop in (FIRST, SECOND):
        inside[start:stop] = True
    frames[~inside] = np.nan
    store = open_store(folder / "second")
    write_array(store.child("traces"), traces, Layout(chunk=traces.shape))
    write_array(store.child("segmentation"), labels, Layout(chunk=labels.shape))
    write_array(store.child("video"), frames, Layout(chunk=(1, *videos.VOLUME)))
    (folder / "others.toml").write_text(TOML)
    return folder


def made(data, folder, places, **options):
    notes = []
    given = videos.training(data / "fish", folder, note=notes.append)
    series = other_series([str(place) for place in places], given, ("video",))
    layout = layout_over(devices=jax.devices()[:1])
    return VideoBatches(given, C, layout, **{"size": 1, "others": series, **options}), notes


def start_of(frames, values):
    """Returns at which frame of a video some frames begin, or None."""
    for t in range(len(values) - len(frames) + 1):
        if np.array_equal(values[t : t + len(frames)], frames):
            return t
    return None


def test_they_are_drawn_within_their_bounds_and_never_validated_with(data, tmp_path):
    batches, notes = made(data, tmp_path, [data / "others.toml"], validation=99)
    ours, theirs = videos.video(), videos.video(seed=1)
    drawn = {"ours": 0, "theirs": set()}
    for step in range(300):
        batch = batches.train(step)
        frames, truth = (np.asarray(batch[name])[0] for name in ("frames", "truth"))
        if start_of(frames, ours) is not None:
            drawn["ours"] += 1
            continue
        start, lead = start_of(frames, theirs), int(batch["lead"][0])
        wanted = start + videos.CONTEXT + lead - 1
        assert start_of(truth, theirs) == wanted
        assert any(a <= start and wanted < b for a, b in (FIRST, SECOND))
        drawn["theirs"].add(start)
    # As many windows as fit a lead time of 1; each is as likely as one of ours.
    windows = sum(b - a - videos.CONTEXT for a, b in (FIRST, SECOND))
    assert drawn["theirs"] == {t for a, b in (FIRST, SECOND) for t in range(a, b - videos.CONTEXT)}
    share = windows / (windows + 30 - videos.CONTEXT)
    assert drawn["ours"] == pytest.approx(300 * (1 - share), abs=40)
    validated = list(batches.validation())
    assert len(validated) == 9
    for batch in validated:
        assert start_of(np.asarray(batch["frames"])[0], ours) is not None
    assert notes == [f"{data / 'others.toml'}: 11 windows of another recording join the training"]


def test_frames_outside_their_bounds_are_out_of_reach(data, tmp_path):
    given = videos.training(data / "fish", tmp_path)
    one, other = other_series([str(data / "others.toml")], given, ("video",))
    assert (one.validation_origins, one.validation) == ((), ())
    assert np.isfinite(one.video(FIRST)).all()
    for span in ((9, 12), (23, 25), (30, 31)):
        with pytest.raises(InvalidInput, match="is tested on"):
            one.video(span)
    with pytest.raises(InvalidInput, match="are not training or validation frames"):
        other.activity((39, 41))
    with pytest.raises(InvalidInput, match="no training or validation window"):
        one.contexts([FIRST[0] + videos.CONTEXT - 1])


def test_all_frames_of_a_folder_join(data, tmp_path):
    videos.write(tmp_path / "third", seed=2)
    batches, notes = made(data, tmp_path, [tmp_path / "third"])
    assert notes[0].endswith("54 windows of another recording join the training")
    values, starts = videos.video(seed=2), set()
    for step in range(400):
        start = start_of(np.asarray(batches.train(step)["frames"])[0], values)
        starts |= set() if start is None else {start}
    assert {min(starts), max(starts)} <= {0, 1, 2, 54, 55, 56}


def test_the_benchmarks_own_recording_is_refused_wherever_it_is(data, tmp_path):
    videos.write(tmp_path / "copy")
    (tmp_path / "copy.toml").write_text(TOML.replace('"second"', '"copy"'))
    for place in (data / "fish", tmp_path / "copy", tmp_path / "copy.toml"):
        with pytest.raises(InvalidInput, match=r"is recording 'fish' of waves@1, which is tested"):
            made(data, tmp_path, [place])


def test_what_is_no_other_recording_is_refused(data, tmp_path):
    with pytest.raises(NotFound, match="nowhere"):
        made(data, tmp_path, [tmp_path / "nowhere"])
    (data / "short.toml").write_text(
        TOML.replace("[10, 24]", "[10, 16]").replace("[40, 49]", "[43, 49]")
    )
    with pytest.raises(InvalidInput, match=r"no training range holds a window of 3 \+ 4 frames"):
        made(data, tmp_path, [data / "short.toml"])
    with pytest.raises(UsageError, match="others is 'fish-2', expected a list"):
        VolumetricUNet(others="fish-2")
