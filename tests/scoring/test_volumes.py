"""Predicted volumes score as the traces that the segmentation draws from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from builders import CONTEXT, Case, StoreLayout, horizon_case, manifest, write_store, write_zarr
from twins import assert_scores, digest_by_hand, scores_by_loops

from zapeval.errors import InvalidInput
from zapeval.forecasting.manifest import GridPart
from zapeval.recordings.recording import Recordings, open_recording
from zapeval.scoring.score import score

SHAPE = (6, 5, 4)
NEURONS = 7
WHOLE = GridPart()
LABELS = StoreLayout(zarr_format=3, chunk=(4, 3, 2), dtype="uint16")
LAYOUTS = {
    "a volume a chunk": StoreLayout(),
    "pieces": StoreLayout(zarr_format=3, chunk=(2, 2, 2, 3, 2), codecs=("zstd",)),
    "float16": StoreLayout(dtype="float16"),
}


@dataclass(frozen=True, kw_only=True)
class VolumeCase:
    """A case with labels ``[x, y, z]`` whose predictions are volumes at a grid."""

    case: Case
    labels: np.ndarray
    grid: GridPart = WHOLE

    def score(self, folder: Path, layout: StoreLayout | None = None, *, said=True, **options):
        note = manifest(self.case.benchmark, grid=self.grid) if said else None
        layout = layout or StoreLayout()
        predictions = write_store(folder / "volumes", self.case.values, layout, note)
        recordings = recorded(folder / "recording", self.case, self.labels)
        return score(predictions, self.case.benchmark, recordings, context=CONTEXT, **options)

    def traces(self) -> Case:
        """Returns the case of the traces, extracted by loops over voxels."""
        grid = self.grid
        values = {name: means(v, self.labels, grid) for name, v in self.case.values.items()}
        return replace(self.case, values=values)


def recorded(folder, case, labels):
    """Writes a recording's folder: traces, and labels where they are given."""
    layout = StoreLayout(zarr_format=3, chunk=(16, 5))
    write_zarr(folder / "traces", case.activity["fish"], layout)
    if labels is not None:
        write_zarr(folder / "segmentation", labels, LABELS)
    return Recordings({"fish": lambda: open_recording(str(folder))})


def means(volumes, labels, grid):
    """Returns the mean over each neuron's voxels, by loops; NaN without one."""
    voxels = {n: [] for n in range(NEURONS)}
    for index in np.ndindex(volumes.shape[2:]):
        at = tuple(o + s * i for o, s, i in zip(grid.offset, grid.stride, index, strict=True))
        if labels[at]:
            voxels[int(labels[at]) - 1].append(index)
    traces = np.full((*volumes.shape[:2], NEURONS), np.nan, np.float32)
    for window, step in np.ndindex(volumes.shape[:2]):
        volume = volumes[window, step].astype(np.float64)
        for neuron, own in voxels.items():
            if own:
                mean = math.fsum(volume[index] for index in own) / len(own)
                traces[window, step, neuron] = mean
    return traces


def volume_case(*, grid=WHOLE, shape=SHAPE, seed=0, labels=None):
    rng = np.random.default_rng(seed)
    if labels is None:
        # Each neuron has a voxel on every grid used here, and some voxels are background.
        labels = rng.integers(0, NEURONS + 1, SHAPE).astype(np.uint16)
        labels.reshape(-1)[: NEURONS + 1] = np.arange(NEURONS + 1)
    case = horizon_case(neurons=NEURONS, horizon=3, windows=(5, 3, 4))
    values = {
        name: rng.normal(0.1, 0.3, (*array.shape[:2], *shape)).astype(np.float32)
        for name, array in case.values.items()
    }
    return VolumeCase(case=replace(case, values=values), labels=labels, grid=grid)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_volumes_score_as_their_traces(tmp_path, layout):
    volumes = volume_case()
    if layout == "float16":
        rounded = {
            name: values.astype(np.float16).astype(np.float32)
            for name, values in volumes.case.values.items()
        }
        volumes = replace(volumes, case=replace(volumes.case, values=rounded))
    card, _ = volumes.score(tmp_path, LAYOUTS[layout])
    traces = volumes.traces()
    assert_scores(card, scores_by_loops(traces), tolerance=1e-6)
    of_traces, _ = traces.score(tmp_path)
    assert card.predictions == {"digest": digest_by_hand(volumes.case), "kind": "volume"}
    assert of_traces.predictions["kind"] == "traces"
    assert not card.partial
    for one, other in zip(card.scores, of_traces.scores, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-6, abs=1e-6)
    assert (card.data, card.scored_set) == (of_traces.data, of_traces.scored_set)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_volumes_influence_correlations_as_their_traces(tmp_path, layout):
    volumes = volume_case()
    _, tally = volumes.score(tmp_path, LAYOUTS[layout], intervals="all")
    _, of_traces = volumes.traces().score(tmp_path, intervals="all")
    for one, other in zip(tally, of_traces, strict=True):
        tolerance = 1e-2 if layout == "float16" else 1e-5
        np.testing.assert_allclose(one.influence, other.influence, rtol=0, atol=tolerance)


def test_volumes_without_a_manifest_lie_voxel_on_voxel(tmp_path):
    volumes = volume_case()
    card, _ = volumes.score(tmp_path, said=False)
    assert_scores(card, scores_by_loops(volumes.traces()), tolerance=1e-6)


@pytest.mark.parametrize(
    ("offset", "stride", "shape"),
    [
        ((0, 0, 0), (2, 1, 1), (3, 5, 4)),
        ((1, 0, 0), (1, 1, 1), (5, 5, 4)),
        ((1, 2, 1), (2, 1, 2), (3, 3, 2)),
    ],
)
def test_coarse_and_cropped_volumes_score_as_their_traces(tmp_path, offset, stride, shape):
    grid = GridPart(offset=offset, stride=stride)
    volumes = volume_case(grid=grid, shape=shape)
    traces = volumes.traces()
    lost = {n for n in range(NEURONS) if np.isnan(traces.values["test_condition_0"][0, 0, n])}
    card, _ = volumes.score(tmp_path)
    missing = {series.name: lost for series in volumes.case.benchmark.series}
    assert_scores(card, scores_by_loops(traces, missing=missing), tolerance=1e-6)
    assert {line.missing for line in card.series} == {len(lost)}
    assert card.partial == bool(lost)


def test_wrong_grid_gives_other_scores(tmp_path):
    volumes = volume_case(grid=GridPart(offset=(1, 0, 0)), shape=(5, 5, 4))
    shifted = replace(volumes, grid=WHOLE)
    card, _ = volumes.score(tmp_path / "a")
    other, _ = shifted.score(tmp_path / "b")
    assert card.summary.value != other.summary.value


@pytest.mark.parametrize("missing", ["strict", "official"])
def test_neuron_without_voxels_is_listed(tmp_path, missing):
    volumes = volume_case()
    labels = np.where(volumes.labels == 3, 0, volumes.labels).astype(np.uint16)
    volumes = replace(volumes, labels=labels)
    card, _ = volumes.score(tmp_path, missing=missing)
    assert card.partial
    assert {(line.neurons, line.scored, line.missing) for line in card.series} == {(7, 6, 1)}
    if missing == "strict":
        lost = {series.name: {2} for series in volumes.case.benchmark.series}
        assert_scores(card, scores_by_loops(volumes.traces(), missing=lost), tolerance=1e-6)


def test_masked_volumes_score_as_their_traces(tmp_path):
    volumes = volume_case()
    mask = (True, False, True, True, False, True, True)
    series = tuple(replace(one, mask=mask) for one in volumes.case.benchmark.series)
    benchmark = replace(volumes.case.benchmark, series=series)
    volumes = replace(volumes, case=replace(volumes.case, benchmark=benchmark))
    card, _ = volumes.score(tmp_path)
    assert_scores(card, scores_by_loops(volumes.traces()), tolerance=1e-6)


def test_background_may_be_anything(tmp_path):
    volumes = volume_case()
    expected, _ = volumes.score(tmp_path / "a")
    x, y, z = np.argwhere(volumes.labels == 0)[0]
    values = volumes.case.values["test_condition_0"].copy()
    values[:, :, x, y, z] = np.nan
    changed = replace(volumes, case=volumes.case.with_values(test_condition_0=values))
    card, _ = changed.score(tmp_path / "b")
    assert card.scores == expected.scores
    assert not card.partial


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxel_that_is_not_finite_is_refused_by_window_step_and_neuron(tmp_path, value):
    volumes = volume_case()
    x, y, z = np.argwhere(volumes.labels == 4)[0]
    values = volumes.case.values["test_condition_1"].copy()
    values[2, 1, x, y, z] = value
    changed = replace(volumes, case=volumes.case.with_values(test_condition_1=values))
    with pytest.raises(InvalidInput, match=rf"test_condition_1\[2, 1, 3\]: is {value}"):
        changed.score(tmp_path)


def test_recording_without_a_segmentation_is_refused(tmp_path):
    volumes = replace(volume_case(), labels=None)
    with pytest.raises(InvalidInput, match=r"holds volumes, but .*recording has no segmentation"):
        volumes.score(tmp_path)


def test_volume_beyond_the_segmentation_is_refused(tmp_path):
    volumes = volume_case(grid=GridPart(offset=(1, 0, 0)))
    with pytest.raises(InvalidInput, match=r"needs voxel 6 of axis 0, which has 6"):
        volumes.score(tmp_path)


def test_label_that_names_no_neuron_is_refused(tmp_path):
    volumes = volume_case()
    labels = volumes.labels.copy()
    labels[2, 2, 2] = NEURONS + 1
    with pytest.raises(InvalidInput, match="label 8, but the recording has 7 neurons"):
        replace(volumes, labels=labels).score(tmp_path)


def test_each_series_may_have_volumes_of_its_own_size(tmp_path):
    volumes = volume_case()
    values = volumes.case.values["test_condition_1"][..., :3, :, :2].copy()
    cropped = replace(volumes, case=volumes.case.with_values(test_condition_1=values))
    traces = cropped.traces()
    lost = set(np.flatnonzero(np.isnan(traces.values["test_condition_1"][0, 0])).tolist())
    card, _ = cropped.score(tmp_path)
    assert_scores(card, scores_by_loops(traces, missing={"condition 1": lost}), tolerance=1e-6)
