"""Real recordings through the whole round, and the tables that docs print of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from documents import PROJECT

from baselines.naive import Mean, Persistence
from zapeval.benchmarks.own import read_own
from zapeval.benchmarks.zebrafish import ZebrafishRegions
from zapeval.forecasting.forecast import forecast
from zapeval.forecasting.predictions import open_predictions
from zapeval.scoring.score import score

PAGE = PROJECT / "docs" / "own-recordings.md"
FORECASTERS = {"persistence": Persistence, "mean": Mean}
SHOWN = (1, 4, 8, 16, 32)
REGIONS = 65


@pytest.fixture(scope="module")
def cards(recordings_folder, tmp_path_factory):
    """Scorecards of both naive forecasters at both context lengths."""
    recipe = ZebrafishRegions()
    recordings = recipe.recordings(str(recordings_folder / "zebrafish_legare2025_regions"))
    benchmark = recipe.resolve(recordings)
    found = {}
    for name, make in FORECASTERS.items():
        for context in benchmark.context_lengths:
            path = tmp_path_factory.mktemp("fish") / f"{name}-{context}.zarr"
            forecast(make(), benchmark, recordings, path, context=context)
            found[name, context], _ = score(
                open_predictions(str(path)), benchmark, recordings, context=context
            )
    return found


def rows(heading: str) -> dict[tuple[str, ...], list[float]]:
    """Returns the rows of the first table of the page whose head begins so."""
    pattern = rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)"
    table = re.search(pattern, PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert table is not None
    lines = table[1].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    keys = 2 if heading == "forecaster" else 1
    return {tuple(row[:keys]): [float(x) for x in row[keys:]] for row in cells if len(row) > 1}


def test_averages_over_the_fish_are_those_of_the_docs(cards):
    table = rows("forecaster")
    assert len(table) == len(cards)
    for (name, context), card in cards.items():
        expected = [
            card.summary.value,
            *(card.value("average", step, "mae") for step in SHOWN),
            *(card.value("average", step, "correlation") for step in SHOWN),
        ]
        np.testing.assert_allclose(table[name, str(context)], expected, atol=6e-4)
        np.testing.assert_allclose(table[name, str(context)][:6], expected[:6], atol=6e-5)


def test_each_fish_scores_as_in_the_docs(cards):
    for (fish,), values in rows("fish").items():
        expected = [cards["mean", 4].value(f"fish{fish}", step, "mae") for step in SHOWN]
        np.testing.assert_allclose(values, expected, atol=6e-5)


def test_constant_regions_count_as_undefined_and_not_as_missing(cards, recordings_folder):
    folder = recordings_folder / "zebrafish_legare2025_regions"
    card = cards["persistence", 4]
    left_out = {10, 34, 44, 49, 69}
    for index, line in enumerate(card.series, start=1):
        assert (line.scored, line.missing) == (REGIONS, 0)
        activity = np.load(folder / f"timeseries_regions_fish{index}.npy").T.astype(np.float32)
        scored = [region for region in range(70) if region not in left_out]
        constant = np.ptp(activity[713:, scored], axis=0) == 0
        undefined = {
            score.undefined
            for score in card.scores
            if score.series == line.name and score.metric == "correlation" and score.step == 1
        }
        assert undefined == {int(constant.sum())}
    assert not card.partial


def test_worm_scores_next_step_as_a_loop_does(recordings_folder, tmp_path: Path):
    folder = recordings_folder / "celegans_atanas2023_2022-08-02-01"
    trace = json.loads((folder / "time_trace.json").read_text())
    activity = np.array([row[1] for row in trace], dtype=np.float32)
    np.save(tmp_path / "worm.npy", activity)
    (tmp_path / "worm.toml").write_text(
        'id = "worm"\nprotocol = "next-step"\nhorizon = 180\n'
        "[split]\ntrain = [0.0, 0.5]\ntest = [0.5, 1.0]\nwindows = 8\n"
        '[[recordings]]\nkey = "worm"\nactivity = "worm.npy"\nexclude = [3]\n'
    )
    recipe = read_own(tmp_path / "worm.toml")
    recordings = recipe.recordings()
    benchmark = recipe.resolve(recordings)
    forecast(Persistence(), benchmark, recordings, tmp_path / "p.zarr", context=180)
    card, _ = score(open_predictions(str(tmp_path / "p.zarr")), benchmark, recordings, context=180)
    errors = [
        np.abs(activity[o : o + 180].astype(float) - activity[o - 1 : o + 179])
        for o in benchmark.series[0].origins
    ]
    expected = np.delete(np.stack(errors), 3, axis=2).mean()
    assert card.value("worm", 1, "mae") == pytest.approx(expected, rel=1e-9)
