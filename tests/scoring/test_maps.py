from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr
from builders import CONTEXT, StoreLayout, horizon_case, targets_of, worms_case

from zapeval.recordings.stores import open_store
from zapeval.scoring.score import score

CASES = {
    "fish": horizon_case,
    "worms": worms_case,
    "masked": lambda: horizon_case(mask=(True, False, True, True, False, True, True)),
}
METRICS = ("mae", "mse", "correlation")


def mapped(case, folder, layout=None, **options):
    """Scores a case with maps; returns the card and the maps as zarr-python reads them."""
    predictions = case.predictions(folder / "predictions", layout)
    recordings = case.recordings(folder)
    card, _ = score(
        predictions,
        case.benchmark,
        recordings,
        context=CONTEXT,
        maps=open_store(folder / "maps.zarr"),
        **options,
    )
    return card, zarr.open_group(str(folder / "maps.zarr"), mode="r")


@pytest.mark.parametrize("layout", [None, StoreLayout(chunk=(4, 2, 3))])
@pytest.mark.parametrize("name", CASES)
def test_maps_average_to_the_scores(tmp_path, name, layout):
    case = CASES[name]()
    with ThreadPoolExecutor(4) as pool:
        card, maps = mapped(case, tmp_path, layout, run=pool.map)
    for series in case.benchmark.series:
        neurons = case.activity[series.recording].shape[1]
        for metric in METRICS:
            values = maps[f"{series.array}/{metric}"][...]
            assert values.dtype == np.float32
            assert values.shape == (case.benchmark.steps, neurons)
            mask = np.array(series.mask or (True,) * neurons)
            assert (np.isnan(values) == ~mask).all()
            for step in range(1, case.benchmark.steps + 1):
                mean = np.nanmean(values[step - 1].astype(np.float64))
                assert mean == pytest.approx(
                    card.value(series.name, step, metric), rel=1e-6, abs=1e-6
                )


def test_maps_hold_each_neurons_own_score(tmp_path):
    case = horizon_case()
    _, maps = mapped(case, tmp_path)
    for series in case.benchmark.series:
        t = targets_of(case, series).astype(np.float64)
        p = case.values[series.array].astype(np.float64)
        own = maps[series.array]
        np.testing.assert_allclose(own["mae"][...], np.abs(p - t).mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(own["mse"][...], ((p - t) ** 2).mean(axis=0), rtol=1e-6)
        for step, neuron in np.ndindex(own["correlation"].shape):
            r = np.corrcoef(p[:, step, neuron], t[:, step, neuron])[0, 1]
            assert own["correlation"][step, neuron] == pytest.approx(r, abs=1e-6)


def test_maps_are_nan_where_a_neuron_is_missing_or_undefined(tmp_path):
    case = horizon_case()
    values = case.values["test_condition_0"].copy()
    values[:, :, 3] = np.nan
    values[:, 2, 5] = 0.25
    card, maps = mapped(case.with_values(test_condition_0=values), tmp_path)
    own = maps["test_condition_0"]
    assert card.partial
    for metric in METRICS:
        gaps = np.isnan(own[metric][...])
        assert gaps[:, 3].all()
        assert gaps.sum() == (6 if metric == "correlation" else 5)
    assert np.isnan(own["correlation"][2, 5])
    assert not np.isnan(maps["test_condition_1/mae"][...]).any()


def test_maps_say_what_they_are_of(tmp_path):
    case = horizon_case()
    _, maps = mapped(case, tmp_path)
    assert dict(maps.attrs) == {
        "schema": "zapeval.maps/1",
        "benchmark": "case@1",
        "digest": case.benchmark.digest,
    }
    assert maps["test_condition_1"].attrs["series"] == "condition 1"


def test_scores_with_maps_are_those_without(tmp_path):
    case = horizon_case()
    card, _ = mapped(case, tmp_path)
    for one, other in zip(card.scores, case.score(tmp_path)[0].scores, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-12, abs=1e-12)
